import { host, type HostCode } from './host-code.js';
import { COMMITS, GATE_CALLOUT } from './unit.js';

/** A store of MODE_ASK: a gate by which ring -1 is told, and the copy behind it. */
export function emitAsk(code: HostCode, bytes: Uint8Array, eip: number): void {
  code.emit(host.gate(GATE_CALLOUT), eip);
  code.emit(bytes, eip, COMMITS);
}
