import type { ExitCost } from '@ringside/machine';
import type { ByteReader } from './byte-reader.js';
import type { ByteWriter } from './byte-writer.js';

export function writeCost(w: ByteWriter, cost: ExitCost): void {
  w.f64(cost.handlerNs);
  w.u8(cost.nested.length);
  for (const { bus, count, waitNs } of cost.nested) {
    w.text(bus);
    w.u32(count);
    w.f64(waitNs);
  }
}

export function readCost(r: ByteReader): ExitCost {
  const handlerNs = r.quantity();
  const nested: ExitCost['nested'] = [];
  for (let left = r.u8(); left > 0; left--) nested.push({ bus: r.text(), count: r.u32(), waitNs: r.quantity() });
  return { handlerNs, nested };
}
