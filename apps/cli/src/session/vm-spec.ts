import { CLOCKS, generationRefusal, modelledTable, parseClockName, type ClockKind, type Mmu, type Path, type ScriptStep, type VmSpec } from '@ringside/machine';
import { RINGLET } from '@ringside/guests';
import { isVmId } from '@ringside/protocol';
import { usageFailure } from '../failure.js';

/** What this version runs. */
export const BUILT_PATHS = ['native', 'trap-and-emulate', 'paravirt', 'binary-translation', 'hardware-assisted'] as const satisfies readonly Path[];
export type BuiltPath = (typeof BUILT_PATHS)[number];

interface PathChoices { mmus: readonly Mmu[]; rings: readonly VmSpec['guestKernelRing'][] }
/** The first of each is the default. */
const choices: Record<BuiltPath, PathChoices> = {
  native: { mmus: ['none'], rings: [0] },
  'trap-and-emulate': { mmus: ['shadow'], rings: [1] },
  paravirt: { mmus: ['direct'], rings: [1, 3] },
  'binary-translation': { mmus: ['shadow'], rings: [1] },
  'hardware-assisted': { mmus: ['nested', 'shadow'], rings: [0] },
};

/** What `--guest` may name. On paravirt, `ringlet` stands for the build whose privileged operations are hypercalls. */
export const BUILT_IN_GUESTS = ['ringlet', 'ringlet-pv'] as const;
export const BUILT_IN_DISKS = ['ringlet'] as const;

export function parsePath(text: string): BuiltPath {
  const path = BUILT_PATHS.find((name) => name === text);
  if (path !== undefined) return path;
  throw usageFailure(`There is no path "${text}"; there are ${BUILT_PATHS.join(', ')}.`);
}

/** For --help, without `real`. */
export const CLOCK_HELP = `virtual: the same counts on every run; ${CLOCKS.filter((clock) => modelledTable(clock) !== null).join(', ')}: as virtual, and the guest's TSC counts that hardware's cycles`;

export function parseClock(text: string): ClockKind {
  const clock = parseClockName(text);
  if (clock === undefined) throw usageFailure(`There is no clock "${text}"; there are ${CLOCKS.join(', ')}.`);
  return clock;
}

export interface SpecChoices {
  id: string;
  path: BuiltPath;
  mmu?: string | undefined;
  guestKernelRing?: number | undefined;
  memoryMiB?: number | undefined;
  clock: ClockKind;
  /** Built-in name or `sha256:…`. */
  guest: string;
  commandLine?: string | undefined;
  disk?: string | null | undefined;
  script?: ScriptStep[] | undefined;
  grantedPorts?: VmSpec['grantedPorts'] | undefined;
  hashStates?: boolean | undefined;
}

/** Fills in what was not said, and refuses what does not go together. */
export function vmSpec(given: SpecChoices): VmSpec {
  const { mmus, rings } = choices[given.path];
  const table = modelledTable(given.clock);
  // Hardware that cannot do a path's first choice may do its second.
  const possible = mmus.find((mmu) => table === null || generationRefusal(table, { path: given.path, mmu }) === null) ?? mmus[0]!;
  const mmu = given.mmu === undefined ? possible : mmus.find((name) => name === given.mmu);
  if (mmu === undefined) throw usageFailure(`On ${given.path} there is no mmu "${given.mmu}"; there is ${mmus.join(', ')}.`);
  const impossible = table === null ? null : generationRefusal(table, { path: given.path, mmu });
  if (impossible !== null) throw usageFailure(`With --clock ${given.clock}: ${impossible}.`);
  const ring = given.guestKernelRing === undefined ? rings[0]! : rings.find((number) => number === given.guestKernelRing);
  if (ring === undefined) throw usageFailure(`On ${given.path} the guest's kernel runs in ring ${rings.join(' or ')}, not ${given.guestKernelRing}.`);
  if (!isVmId(given.id)) throw usageFailure(`"${given.id}" cannot name a VM: lower-case letters, digits and inner hyphens, at most 63.`);
  const teaching = BUILT_IN_GUESTS.some((name) => name === given.guest);
  return {
    id: given.id, path: given.path, mmu, guestKernelRing: ring, memoryMiB: given.memoryMiB ?? RINGLET.memoryMiB, clock: given.clock,
    guest: given.path === 'paravirt' && given.guest === 'ringlet' ? 'ringlet-pv' : given.guest, commandLine: given.commandLine ?? '',
    disk: given.disk === undefined ? (teaching ? RINGLET.disk : null) : given.disk,
    script: given.script ?? [],
    grantedPorts: given.grantedPorts ?? (given.path === 'paravirt' && teaching ? RINGLET.grantedPorts.map((range) => ({ ...range })) : []),
    hashStates: given.hashStates ?? false,
  };
}

/** `0x378-0x37a` or `0x3f6`. */
export function parsePortRange(text: string): { from: number; to: number } {
  const match = /^(0x[0-9a-f]{1,4}|\d{1,5})(?:-(0x[0-9a-f]{1,4}|\d{1,5}))?$/i.exec(text);
  const from = Number(match?.[1]);
  const to = Number(match?.[2] ?? match?.[1]);
  if (match === null || from > to || to > 0xffff) throw usageFailure(`"${text}" is no port range: 0x378-0x37a, or one port.`);
  return { from, to };
}
