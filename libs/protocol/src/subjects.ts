import type { Bus } from '@ringside/machine';
import { exitReasonName } from '@ringside/x86';

/**
 * Every subject of Ringside. Per VM: `ringside.vm.<id>.<group>.<last>`; control plane: `ringside.ctl.<verb>`; translators: `ringside.translate`.
 * On a VM's subjects its id is one token, so a subject permission (`ringside.vm.7.>`) is an isolation boundary.
 */
export type SubjectGroup = 'exit' | 'io' | 'cpu' | 'console';
export type CpuVerb = 'read' | 'effects' | 'run' | 'pause' | 'kick' | 'registers' | 'step' | 'stats' | 'stop' | 'release' | 'disassemble' | 'translated' | 'digest';
export type ConsoleVerb = 'in' | 'out' | 'fetch';

/** What a control-plane verb is for, and who answers it. */
export const CONTROL_VERBS = [
  // People and scripts → hypervisor
  'vm.create', 'vm.list', 'vm.show', 'vm.start', 'vm.pause', 'vm.stop', 'vm.delete', 'vm.registers', 'vm.step', 'vm.stats', 'vm.disassemble', 'vm.translated',
  'image.put', 'image.has',
  // People and scripts → device-model
  'document.list', 'document.fetch',
  // Hypervisor → guest-cpu, device-model
  'cpu.create', 'board.create', 'board.finish', 'board.digest', 'board.release', 'image.fetch',
  // guest-cpu → hypervisor: a machine changed its state
  'vm.changed',
] as const;
export type ControlVerb = (typeof CONTROL_VERBS)[number];

const VM_ID = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;

/** Ids are one subject token and a DNS label, so that the same name serves NATS and Kubernetes. */
export function isVmId(text: string): boolean {
  return VM_ID.test(text);
}

export const exitSubject = (vmId: string, reason: number): string => `ringside.vm.${vmId}.exit.${exitReasonName(reason)}`;
export const ioSubject = (vmId: string, bus: Bus): string => `ringside.vm.${vmId}.io.${bus}`;
export const cpuSubject = (vmId: string, verb: CpuVerb): string => `ringside.vm.${vmId}.cpu.${verb}`;
export const consoleSubject = (vmId: string, verb: ConsoleVerb): string => `ringside.vm.${vmId}.console.${verb}`;
export const controlSubject = (verb: ControlVerb): string => `ringside.ctl.${verb}`;
/** Guest code to any translator of the queue group, which has the same name: a miss of a VM's translation cache. */
export const TRANSLATE_SUBJECT = 'ringside.translate';
/** Every instance of every service answers: who is there. */
export const SERVICES_SUBJECT = 'ringside.ctl.services';
/** All of a VM's subjects of one group: what a service subscribes to when it claims the VM. */
export const groupSubjects = (vmId: string, group: SubjectGroup): string => `ringside.vm.${vmId}.${group}.*`;

/** A subject with the VM's id replaced: low cardinality, for span names and metrics. */
export const subjectTemplate = (group: SubjectGroup, last: string): string => `ringside.vm.{id}.${group}.${last}`;

const PREFIX = 'ringside.vm.';
const GROUPS: ReadonlySet<string> = new Set<SubjectGroup>(['exit', 'io', 'cpu', 'console']);

/** Null for a subject that is not a VM's. */
export function parseVmSubject(subject: string): { vmId: string; group: SubjectGroup; last: string } | null {
  if (!subject.startsWith(PREFIX)) return null;
  const [vmId, group, last, ...more] = subject.slice(PREFIX.length).split('.');
  if (vmId === undefined || group === undefined || last === undefined || last === '' || more.length > 0 || !isVmId(vmId) || !GROUPS.has(group)) return null;
  return { vmId, group: group as SubjectGroup, last };
}
