import type { BusReply, BusRequest, Exit, GuestMemoryReader, RegisterState, VmSpec } from '@ringside/machine';
import type { ExitReason } from '@ringside/x86';

/** Helpers of the specs: hand-made exits, and a far end that remembers what it was asked. */

export const SPEC: VmSpec = {
  id: 'test', path: 'hardware-assisted', mmu: 'nested', guestKernelRing: 0, memoryMiB: 5, clock: 'virtual', guest: 'test', commandLine: '',
  disk: null, script: [], grantedPorts: [], hashStates: false,
};

export function registers(change: Partial<RegisterState> & { eax?: number; ecx?: number; edx?: number; ebx?: number } = {}): RegisterState {
  const general = change.general ?? Uint32Array.of(change.eax ?? 0, change.ecx ?? 0, change.edx ?? 0, change.ebx ?? 0, 0x9000, 0, 0, 0);
  return { general, eip: change.eip ?? 0x10_0000, eflags: change.eflags ?? 2, cr0: change.cr0 ?? 0x11, cr2: 0, cr3: change.cr3 ?? 0, cr4: change.cr4 ?? 0, cpl: change.cpl ?? 0 };
}

let seq = 0;
export function exitOf(reason: ExitReason, change: Partial<Exit> = {}): Exit {
  return {
    vmId: 'test', epoch: 1, seq: ++seq, reason, qualification: 0, instructionLength: 2, guestLinear: 0, guestPhysical: 0, now: 1000, retired: 1000,
    executed: 1000, interruptible: false, access: null, event: null, registers: registers(), segments: null, ...change,
  };
}

/** A device model that answers every read with `data` and keeps the requests. */
export class RecordingBus {
  readonly requests: BusRequest[] = [];
  lines = 0;
  rose = 0;
  deadline = Infinity;
  data: number = 0x5a;
  cycle(request: BusRequest): BusReply {
    this.requests.push(request);
    const data = request.write ? new Uint8Array(0) : new Uint8Array(request.size * request.count).fill(this.data);
    return { data, lines: this.lines, rose: this.rose, deadline: this.deadline, effects: [] };
  }
}

/** Guest and monitor memory as two byte arrays; what lies beyond reads as 0xFF. */
export class RecordingMemory implements GuestMemoryReader {
  reads = 0;
  constructor(readonly guest = new Uint8Array(0x1_0000), readonly monitor = new Uint8Array(0x1_0000)) {}
  read(space: 'guest' | 'monitor', address: number, length: number): Uint8Array {
    this.reads++;
    const bytes = new Uint8Array(length).fill(0xff);
    bytes.set(this[space].subarray(address, address + length));
    return bytes;
  }
  readLinear(): Uint8Array | null {
    return null;
  }
}

/** A Multiboot ELF file that holds `code` at 1 MiB. */
export function multibootImage(code: readonly number[]): Uint8Array {
  const headers = 52 + 32;
  const body = new Uint8Array(12 + code.length);
  const bodyView = new DataView(body.buffer);
  bodyView.setUint32(0, 0x1bad_b002, true);
  bodyView.setUint32(8, -0x1bad_b002, true);
  body.set(code, 12);
  const file = new Uint8Array(headers + body.length);
  const view = new DataView(file.buffer);
  file.set([0x7f, 0x45, 0x4c, 0x46, 1, 1, 1]);
  view.setUint16(16, 2, true); // ET_EXEC
  view.setUint16(18, 3, true); // EM_386
  view.setUint32(20, 1, true);
  view.setUint32(24, 0x10_000c, true);
  view.setUint32(28, 52, true);
  view.setUint16(40, 52, true);
  view.setUint16(42, 32, true);
  view.setUint16(44, 1, true);
  view.setUint32(52, 1, true); // PT_LOAD
  view.setUint32(56, headers, true);
  view.setUint32(60, 0x10_0000, true);
  view.setUint32(64, 0x10_0000, true);
  view.setUint32(68, body.length, true);
  view.setUint32(72, body.length, true);
  view.setUint32(76, 5, true);
  view.setUint32(80, 4, true);
  file.set(body, headers);
  return file;
}
