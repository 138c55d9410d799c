import { ECX, host, HostCode } from './host-code.js';
import { IF_IN_BYTE, KEEPS_IF, KEEPS_MODE, KEPT_IF, RETURNS_OUT, VIRTUAL_IF, VIRTUAL_IF_BYTE } from './monitor-data.js';
import { COMMITS, FAULT_IS_CALLOUT, GATE_CALLOUT, IF_KEPT } from './unit.js';

/** Places in the frame that IRET finds: EIP, CS, EFLAGS, ESP, SS. The low byte of CS, and bytes 1 and 2 of EFLAGS. */
const FRAME_WORDS = [0, 4, 8], CS_LOW = 4, EFLAGS_1 = 9, EFLAGS_2 = 10;

/**
 * IRET to an application: the processor's own, once the frame is known to lead to ring 3 with IF 1, IOPL 0 and VM 0. It checks selectors and descriptors
 * against the monitor's copies of the guest's tables; what it refuses is a callout. Anything else that IRET can mean is one from the beginning.
 *
 * The virtual IF becomes 1 before, for nothing of ours is executed behind; until IRET has committed, the one that the guest has is kept. This is the
 * only way out of ring 1, and the verifier takes it only as it stands here, whole.
 *
 * Returns the place of the callout's gate.
 */
export function emitReturn(code: HostCode, eip: number): number {
  code.save(ECX, eip);
  // A frame that is not there faults where IRET's own reads would: whole words, EIP first. CR2 shows it.
  for (const place of FRAME_WORDS) code.emit(host.stackWord(place), eip, 0, [ECX]);
  const toSlow: number[] = [];
  for (const [place, table] of [[CS_LOW, RETURNS_OUT], [EFLAGS_1, KEEPS_IF], [EFLAGS_2, KEEPS_MODE]] as const) {
    code.emit(host.stackByte(place), eip, 0, [ECX]);
    code.emit(host.loadByteAt(table), eip, 0, [ECX]);
    code.emit(host.jecxz(0), eip, 0, [ECX]);
    toSlow.push(code.at);
  }
  code.emit(host.load(ECX, VIRTUAL_IF), eip, 0, [ECX]);
  code.emit(host.store(KEPT_IF, ECX), eip, 0, [ECX]);
  code.emit(host.storeByte(VIRTUAL_IF_BYTE, IF_IN_BYTE), eip, 0, [ECX]);
  code.restore(ECX, eip, IF_KEPT, [ECX]);
  code.emit([0xcf], eip, COMMITS | FAULT_IS_CALLOUT | IF_KEPT);
  for (const behind of toSlow) code.patch8(behind - 1, code.at - behind);
  code.restore(ECX, eip, 0, [ECX]);
  const gate = code.at;
  code.emit(host.gate(GATE_CALLOUT), eip);
  return gate;
}
