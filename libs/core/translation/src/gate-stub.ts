import { ECX, EDX, ESP, host, HostCode } from './host-code.js';
import { FRAME_FITS, GATE_FRAME, gateParameters, saved, SCRATCH, selectorField, TARGET, VIRTUAL_IF_BYTE } from './monitor-data.js';
import { COMMITS, DYNAMIC_EIP, GATE_CALLOUT, UNDELIVERED } from './unit.js';

const CS = 1, SS = 2;
/** The segment registers that an event leaves alone, by number: ES DS FS GS. */
const DATA_SEGMENTS = [0, 3, 4, 5];

/** `jumpAt`: the jump to the lookup stub, relative address still 0. */
export interface GateStub { readonly code: Uint8Array; readonly sideTable: Int32Array; readonly jumpAt: number }

/**
 * What an INT n of an application enters when ring -1 has made the monitor's gate of its vector lead into the cache: the guest's own delivery of the event (SDM Vol. 3A
 * 6.12), with no message.
 *
 * The processor has pushed its frame on the monitor's stack, GATE_FRAME, and stands in ring 1 with the guest's CS and SS. The gate in the guest's IDT and SS0 in
 * its TSS are compared with what ring -1 has checked, ESP0 is read each time: the guest can change all three without anybody's hearing of it. Only then the frame is pushed on the
 * guest's stack. It lies in one page, so that its first push faults or none does. Until the last instruction has set the virtual IF and thereby committed the INT, the guest stands at its INT:
 * a fault goes back there, and what does not fit leaves for ring -1 as if no gate had been there.
 *
 * Nothing changes a flag. The guest's memory is reached through SS, which is flat: the application's DS may be anything.
 */
export function gateStubCode(gate: number): GateStub {
  const code = new HostCode();
  const field = gateParameters(gate);
  const emit = (bytes: readonly number[], ...spilled: number[]): void => code.emit(bytes, 0, UNDELIVERED, spilled);
  const both = (bytes: readonly number[]): void => emit(bytes, ECX, EDX);
  const leaveUnlessZero = (): void => {
    both(host.jecxz(2));
    both(host.gate(GATE_CALLOUT));
  };
  /** Whether what `bytes` loads into ECX and the negated word in `expected` add up to 0. */
  const compare = (bytes: readonly number[], expected: number): void => {
    both(bytes);
    both(host.load(EDX, expected));
    both([0x8d, 0x0c, 0x11]); //                          lea ecx, [ecx+edx]
    leaveUnlessZero();
  };
  emit(host.store(saved(ECX), ECX));
  emit(host.store(saved(EDX), EDX), ECX);
  both(host.load(ECX, field.idtEntry));
  compare([0x36, 0x8b, 0x09], field.minusLow); //         mov ecx, ss:[ecx]
  both(host.load(ECX, field.idtEntry));
  compare([0x36, 0x8b, 0x49, 0x04], field.minusHigh); //  mov ecx, ss:[ecx+4]
  both(host.load(ECX, field.esp0));
  both([0x36, 0x8b, 0x11]); //                            mov edx, ss:[ecx]         ESP0
  both(host.store(SCRATCH, EDX));
  compare([0x36, 0x0f, 0xb7, 0x49, 0x04], field.minusSs0); // movzx ecx, word ss:[ecx+4]
  both(host.loadByte(SCRATCH));
  both(host.loadByteAt(FRAME_FITS));
  both(host.jecxz(2));
  both([0xeb, 0x02]); //                                  jmp over the gate
  both(host.gate(GATE_CALLOUT));
  both(host.load(ESP, SCRATCH));
  for (const word of [GATE_FRAME.ss, GATE_FRAME.esp, GATE_FRAME.eflags, GATE_FRAME.cs, GATE_FRAME.eip]) both(host.push(word));
  for (const segment of DATA_SEGMENTS) {
    both([0x8c, 0xc0 | (segment << 3) | ECX]); //         mov ecx, segment
    both(host.store(selectorField(segment), ECX));
  }
  for (const [segment, selector] of [[CS, field.cs], [SS, field.ss]] as const) {
    both(host.load(ECX, selector));
    both(host.store(selectorField(segment), ECX));
  }
  both(host.load(ECX, field.handler));
  both(host.store(TARGET, ECX));
  both(host.load(ECX, field.interruptFlag));
  code.emit(host.storeCl(VIRTUAL_IF_BYTE), 0, COMMITS | UNDELIVERED, [ECX, EDX]);
  code.restore(EDX, 0, DYNAMIC_EIP, [ECX, EDX]);
  code.emit(host.load(ECX, TARGET), 0, DYNAMIC_EIP, [ECX]);
  const jumpAt = code.at;
  code.emit([0xe9, 0, 0, 0, 0], 0, DYNAMIC_EIP, [ECX]);
  return { code: Uint8Array.from(code.bytes), sideTable: code.sideTable(), jumpAt };
}
