/** What a person asks for: the same words on the command line, in messages and in `vm show`. */
export const PATHS = ['native', 'trap-and-emulate', 'paravirt', 'binary-translation', 'hardware-assisted'] as const;
export type Path = (typeof PATHS)[number];
export type Mmu = 'none' | 'nested' | 'shadow' | 'direct';
/** `modelled:` and the name of a cost table (modelled/generations.ts): time passes as under `virtual`, and the guest's TSC counts that hardware's cycles. */
export type ClockKind = 'virtual' | 'real' | `modelled:${string}`;

/** A step of scripted console input, evaluated inside the UART on the bytes the guest sends. */
export interface ScriptStep { expect: string; send: string }

export interface VmSpec {
  id: string;
  path: Path;
  mmu: Mmu;
  /** Ring in which the guest's kernel runs: 0; on paravirt 1 (3 follows). */
  guestKernelRing: 0 | 1 | 3;
  memoryMiB: number;
  clock: ClockKind;
  /** Name of a built-in guest, or `sha256:…` of an image sent before. */
  guest: string;
  commandLine: string;
  /** Disk image: name of a built-in one, `sha256:…`, or null for none. */
  disk: string | null;
  script: ScriptStep[];
  /** Port ranges that go straight to the device model, without an exit. */
  grantedPorts: { from: number; to: number }[];
  /** Keep the running hash over guest states (slow: one observer call per instruction). */
  hashStates: boolean;
}
