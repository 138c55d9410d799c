import { ECX, EDX, host, HostCode } from './host-code.js';
import { JUMP, LOOKUP, saved, TARGET } from './monitor-data.js';
import { DYNAMIC_EIP, GATE_EXIT } from './unit.js';

/**
 * The one piece of translated code that is nobody's unit: every indirect transfer jumps here with its target in ECX and TARGET, and the guest's ECX
 * saved. The table is indexed by the low half of the target and compared without touching a flag. Where it has no
 * entry the code leaves by the gate at `missAt`, with ECX and EDX saved.
 */
export interface LookupStub { readonly code: Uint8Array; readonly sideTable: Int32Array; readonly missAt: number }

export function lookupStub(): LookupStub {
  const code = new HostCode();
  const emit = (bytes: readonly number[], ...spilled: number[]): void => code.emit(bytes, 0, DYNAMIC_EIP, [ECX, ...spilled]);
  emit(host.store(saved(EDX), EDX)); //                       mov gs:[saved.edx], edx
  emit([0x0f, 0xb7, 0xd1]); //                                movzx edx, cx
  emit([0x65, 0x8b, 0x14, 0xd5, ...host.word(LOOKUP)], EDX); //   mov edx, gs:[lookup+edx*8]
  emit([0xf7, 0xd1], EDX); //                                 not ecx
  emit([0x8d, 0x4c, 0x11, 0x01], EDX); //                     lea ecx, [ecx+edx+1]     key - target
  const branch = code.at;
  emit(host.jecxz(0), EDX);
  const behind = code.at;
  const missAt = code.at;
  emit(host.gate(GATE_EXIT), EDX);
  code.patch8(branch + 1, code.at - behind);
  emit([0x65, 0x0f, 0xb7, 0x15, ...host.word(TARGET)], EDX); //            movzx edx, word gs:[target]
  emit([0x65, 0x8b, 0x14, 0xd5, ...host.word(LOOKUP + 4)], EDX); // mov edx, gs:[lookup+4+edx*8]
  emit(host.store(JUMP, EDX), EDX);
  emit(host.load(EDX, saved(EDX)), EDX);
  emit(host.load(ECX, saved(ECX)));
  code.emit(host.jumpTo(JUMP), 0, DYNAMIC_EIP);
  return { code: Uint8Array.from(code.bytes), sideTable: code.sideTable(), missAt };
}
