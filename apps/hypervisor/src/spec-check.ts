import { CLOCKS, generationRefusal, modelledTable, parseClockName, PATHS, type Mmu, type Path, type VmSpec } from '@ringside/machine';
import { ControlFailure } from '@ringside/nats-transport';
import { isVmId } from '@ringside/protocol';

/** What is built. */
const BUILT: Record<Path, { mmus: readonly Mmu[]; rings: readonly number[] }> = {
  native: { mmus: ['none'], rings: [0] },
  'trap-and-emulate': { mmus: ['shadow'], rings: [1] },
  paravirt: { mmus: ['direct'], rings: [1, 3] },
  'binary-translation': { mmus: ['shadow'], rings: [1] },
  'hardware-assisted': { mmus: ['nested', 'shadow'], rings: [0] },
};
const MEMORY_MIB = { least: 1, most: 2_048 };

/** @throws ControlFailure `invalid`, saying which word of the spec is wrong and what it may be */
export function checkSpec(spec: VmSpec): void {
  const refuse = (sentence: string): never => { throw new ControlFailure('invalid', sentence); };
  if (typeof spec !== 'object' || spec === null) refuse('a VM is created from a spec');
  if (typeof spec.id !== 'string' || !isVmId(spec.id)) refuse(`"${shown(spec.id)}" cannot name a VM: lower-case letters, digits and inner hyphens, at most 63`);
  if (!PATHS.includes(spec.path)) refuse(`there is no path "${shown(spec.path)}"; there are ${PATHS.join(', ')}`);
  const built = BUILT[spec.path];
  if (!built.mmus.includes(spec.mmu)) refuse(`on ${spec.path} there is no mmu "${shown(spec.mmu)}"; there is ${built.mmus.join(', ')}`);
  if (!built.rings.includes(spec.guestKernelRing)) refuse(`on ${spec.path} the guest's kernel runs in ring ${built.rings.join(' or ')}, not ${shown(spec.guestKernelRing)}`);
  if (!Number.isInteger(spec.memoryMiB) || spec.memoryMiB < MEMORY_MIB.least || spec.memoryMiB > MEMORY_MIB.most) refuse(`a VM has ${MEMORY_MIB.least} to ${MEMORY_MIB.most} MiB of memory, not ${shown(spec.memoryMiB)}`);
  if (parseClockName(spec.clock) === undefined) refuse(`there is no clock "${shown(spec.clock)}"; there are ${CLOCKS.join(', ')}`);
  const table = modelledTable(spec.clock);
  const impossible = table === null ? null : generationRefusal(table, spec);
  if (impossible !== null) refuse(impossible);
  if (typeof spec.guest !== 'string' || typeof spec.commandLine !== 'string') refuse('a spec names its guest and has a command line, if an empty one');
  if (spec.disk !== null && typeof spec.disk !== 'string') refuse('the disk is the name of an image, or null');
  if (!Array.isArray(spec.script) || spec.script.some((step) => typeof step?.expect !== 'string' || typeof step.send !== 'string')) refuse('a script is a list of { expect, send }');
  if (!Array.isArray(spec.grantedPorts) || spec.grantedPorts.some((range) => !isPort(range?.from) || !isPort(range.to) || range.from > range.to)) refuse('granted ports are ranges { from, to } from 0 to 65535');
}

/** What was sent may be anything JSON has, and not all of that turns into text. */
function shown(value: unknown): string {
  return typeof value === 'string' || typeof value === 'number' ? String(value) : typeof value;
}

function isPort(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) <= 0xffff;
}
