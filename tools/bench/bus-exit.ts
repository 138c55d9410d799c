import type { Exit, ExitReply, VmSpec } from '@ringside/machine';
import { encodeExit, encodeExitReply, readHeader } from '@ringside/protocol';
import { ExitReason } from '@ringside/x86';

/** As many VMs as requests in flight: of one VM only one exit is ever outstanding. */
export const VMS = 64;
export const vmId = (index: number): string => `bench-${index}`;
export const RAW_SUBJECT = 'bench.raw';

export const SPEC: VmSpec = {
  id: vmId(0), path: 'hardware-assisted', mmu: 'nested', guestKernelRing: 0, memoryMiB: 32, clock: 'virtual', guest: 'ringlet', commandLine: '', disk: null,
  script: [], grantedPorts: [], hashStates: false,
};

/** A CPUID exit as guest-cpu sends it, registers included. */
export function benchExit(vm: string, seq: number): Exit {
  return {
    vmId: vm, epoch: 1, seq, reason: ExitReason.Cpuid, qualification: 0, instructionLength: 2, guestLinear: 0, guestPhysical: 0, now: 1_000 * seq, retired: 1_000 * seq, executed: 1_000 * seq,
    interruptible: true, access: null, event: null, segments: null,
    registers: { general: Uint32Array.of(0, 0, 0, 0, 0x9000, 0, 0, 0), eip: 0x100000, eflags: 2, cr0: 0x11, cr2: 0, cr3: 0, cr4: 0, cpl: 0 },
  };
}

/** The same number of bytes for the raw round trip. */
export const requestBytes = (): Uint8Array => encodeExit(benchExit(vmId(0), 1), null).slice();
export const replyBytes = (reply: ExitReply): Uint8Array => encodeExitReply(reply, readHeader(requestBytes())).slice();
