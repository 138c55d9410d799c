import { ECX, EDX, host, HostCode } from './host-code.js';
import { MINUS_CR0, SCRATCH, TS_IN_BYTE, TS_IS_CLEAR, VIRTUAL_TS } from './monitor-data.js';
import { GATE_CALLOUT } from './unit.js';

/*
 * CR0.TS of a kernel that runs translated is a byte of monitor data. The real TS may stay set when it is cleared there: an instruction that then raises #NM
 * goes to ring -1, which clears the real one and lets it run again. The other way round nothing would trap, so setting it while the real one is clear is a callout.
 */

/** CLTS. */
export function emitClearTaskSwitched(code: HostCode, eip: number): void {
  code.commit(host.storeByte(VIRTUAL_TS, 0), eip);
}

/**
 * MOV CR0 from `source`, where it changes nothing but TS: the value less CR0 without TS is 0 or 8. Anything else is a callout. ECX is put back behind the commit; the
 * verifier takes this only as it stands here, whole. Returns the place of the callout's gate.
 */
export function emitMoveToCr0(code: HostCode, eip: number, next: number, source: number): number {
  code.save(ECX, eip);
  if (source === ECX) {
    code.save(EDX, eip);
    code.emit(host.load(EDX, MINUS_CR0), eip);
    code.emit(host.addToEcx(EDX), eip, 0, [EDX]);
    code.restore(EDX, eip, 0, [ECX, EDX]);
  } else {
    code.emit(host.load(ECX, MINUS_CR0), eip);
    code.emit(host.addToEcx(source), eip, 0, [ECX]);
  }
  code.emit(host.store(SCRATCH, ECX), eip, 0, [ECX]);
  code.emit(host.jecxz(0), eip, 0, [ECX]);
  const cleared = code.at;
  code.emit(host.addToEcxImmediate(-TS_IN_BYTE), eip, 0, [ECX]);
  code.emit(host.jecxz(0), eip, 0, [ECX]);
  const set = code.at;
  const slow = code.at;
  code.restore(ECX, eip, 0, [ECX]);
  const gate = code.at;
  code.emit(host.gate(GATE_CALLOUT), eip);
  code.patch8(set - 1, code.at - set);
  code.emit(host.load(ECX, TS_IS_CLEAR), eip, 0, [ECX]);
  code.emit(host.jecxz(2), eip, 0, [ECX]);
  code.emit(host.jump8(slow - (code.at + 2)), eip, 0, [ECX]);
  code.patch8(cleared - 1, code.at - cleared);
  code.emit(host.loadByte(SCRATCH), eip, 0, [ECX]);
  code.commit(host.storeCl(VIRTUAL_TS), eip, [ECX]);
  code.restore(ECX, next, 0, [ECX]);
  return gate;
}
