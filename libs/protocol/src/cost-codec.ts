import { PRIMITIVE_NAMES, type ExitCost, type MonitorPrimitive, type MonitorWork } from '@ringside/machine';
import type { ByteReader } from './byte-reader.js';
import type { ByteWriter } from './byte-writer.js';
import { ProtocolError } from './protocol-error.js';

export function writeCost(w: ByteWriter, cost: ExitCost): void {
  w.f64(cost.handlerNs);
  w.u8(cost.nested.length);
  for (const { bus, count, waitNs } of cost.nested) {
    w.text(bus);
    w.u32(count);
    w.f64(waitNs);
  }
  const { work = NO_WORK } = cost;
  const primitives = Object.keys(work) as MonitorPrimitive[];
  w.u8(primitives.length);
  for (const primitive of primitives) {
    w.u8(PRIMITIVE_NAMES.indexOf(primitive));
    w.u32(work[primitive]!);
  }
}

export function readCost(r: ByteReader): ExitCost {
  const handlerNs = r.quantity();
  const nested: ExitCost['nested'] = [];
  for (let left = r.u8(); left > 0; left--) nested.push({ bus: r.text(), count: r.u32(), waitNs: r.quantity() });
  const work: MonitorWork = {};
  let kinds = r.u8();
  if (kinds === 0) return { handlerNs, nested };
  for (; kinds > 0; kinds--) work[primitiveAt(r.u8())] = r.u32();
  return { handlerNs, nested, work };
}

const NO_WORK: MonitorWork = {};

function primitiveAt(index: number): MonitorPrimitive {
  const name = PRIMITIVE_NAMES[index];
  if (name === undefined || !isMonitors(name)) throw new ProtocolError('value', `work of kind ${index}, which is none of the monitor's`);
  return name;
}

const MONITORS: Readonly<Record<MonitorPrimitive, true>> = {
  'monitor-dispatch': true, 'guest-word': true, 'page-table-entry': true, 'descriptor-check': true, 'instruction-decode': true, 'code-lookup': true, 'translation': true, 'device-access': true,
};
function isMonitors(name: string): name is MonitorPrimitive {
  return name in MONITORS;
}
