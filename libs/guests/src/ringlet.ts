/** What a client needs to know to drive the teaching kernel through its console. */
export const RINGLET = {
  /** The shell's prompt: the machine waits for a line. */
  prompt: 'ringlet$ ',
  /** Typed at the prompt: power off. */
  haltCommand: 'halt',
  disk: 'ringlet',
  /** Smallest and usual RAM, MiB. */
  minimumMemoryMiB: 8,
  memoryMiB: 32,
  /** Ports that the paravirtualized build's drivers expect to be granted: ATA and the parallel port. */
  grantedPorts: [{ from: 0x1f0, to: 0x1f7 }, { from: 0x3f6, to: 0x3f6 }, { from: 0x378, to: 0x37a }],
} as const;

/** Operations that `bench` runs, by their names in libs/core/machine/src/mark.ts (all but `boot`, which happens by itself). */
export const RINGLET_OPERATIONS = [
  'empty', 'syscall', 'in', 'cr-write', 'call-ret', 'page-fault', 'divide-error', 'pte-modify', 'pte-modify-batch', 'context-switch',
  'fork', 'disk-read', 'print',
] as const;
export type RingletOperation = (typeof RINGLET_OPERATIONS)[number];

/** The line to type: one repetition to warm up, then `repetitions` between the marks, with the timer tick held. */
export function benchCommand(operation: RingletOperation, repetitions: number): string {
  return `bench ${operation} ${repetitions}`;
}

/** What the shell prints when it is done, before the next prompt. */
export function benchDone(operation: RingletOperation, repetitions: number): string {
  return `bench ${operation} ${repetitions}: done`;
}
