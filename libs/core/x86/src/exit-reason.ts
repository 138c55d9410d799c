/**
 * Why control left the guest. Numbers below 0x100 are the basic exit reasons of VMX (SDM Vol. 3D, Appendix C);
 * from 0x100 up are reasons that VMX does not have.
 */
export const ExitReason = {
  ExceptionOrNmi: 0,
  ExternalInterrupt: 1,
  TripleFault: 2,
  InterruptWindow: 7,
  TaskSwitch: 9,
  Cpuid: 10,
  Hlt: 12,
  Invd: 13,
  Invlpg: 14,
  Rdpmc: 15,
  Rdtsc: 16,
  Vmcall: 18,
  CrAccess: 28,
  DrAccess: 29,
  IoInstruction: 30,
  Rdmsr: 31,
  Wrmsr: 32,
  Mwait: 36,
  Monitor: 39,
  Pause: 40,
  GdtrIdtrAccess: 46,
  LdtrTrAccess: 47,
  EptViolation: 48,
  EptMisconfiguration: 49,
  /** Qualification bit 0 (ours): the device model's own deadline, named in answer to a granted port, is due. */
  PreemptionTimer: 52,
  Wbinvd: 54,
  /** An event of a deprivileged guest whose gate leads to ring 0, the monitor's: vector in the qualification. */
  DeprivilegedException: 0x100,
  /** `int 0x82` from a deprivileged kernel: a hypercall of the Xen PV ABI. */
  Hypercall: 0x101,
  TranslationMiss: 0x102,
  Callout: 0x103,
  WriteTrace: 0x104,
  /**
   * Outside input (a key, a packet) is waiting at the device model, which kicked the processor; or (qualification not 0:
   * rose << 16 | levels of the 16 ISA lines) a line rose in answer to a granted port that ring -1 did not see.
   */
  Input: 0x105,
  /** The guest asked for a mode that is not built (real mode, virtual-8086, task gate): the VM stops by name. */
  UnsupportedMode: 0x106,
} as const;
export type ExitReason = (typeof ExitReason)[keyof typeof ExitReason];

// Spelled once: this is asked at every exit.
const names = new Map<number, string>(Object.entries(ExitReason).map(([name, number]) => [number, name.replace(/(?<=[a-z])(?=[A-Z])/g, '-').toLowerCase()]));

/** `CrAccess` → `cr-access`: the spelling of metrics, JSON and tables. */
export function exitReasonName(reason: number): string {
  return names.get(reason) ?? `reason-${reason}`;
}
