import { entryFrame, FIRST_XEN_L2_SLOT, type Entry } from '../paravirt/direct-paging.js';
import { FrameOwner, FrameType, isPageTable } from '../paravirt/frame-table.js';
import type { ModelGuest } from './model-guest.js';

/** Bits that the processor sets by itself. */
const AD_BITS = 0x60;

/** What the processor could do with the tables as they stand in memory. */
export function checkTables(guest: ModelGuest): void {
  const tables = new Set<number>([guest.root]);
  const mappings: { mfn: number; writable: boolean }[] = [];
  for (let directory = 0; directory < 4; directory++) {
    const [directoryLow, directoryHigh] = guest.entry(guest.root * 4096 + directory * 8);
    if ((directoryLow & 1) === 0) continue;
    const l2 = entryFrame({ low: directoryLow, high: directoryHigh });
    tables.add(l2);
    for (const [slot, entry] of entriesOf(guest, l2).entries()) {
      if ((entry.low & 1) === 0) continue;
      demand((entry.low & 0x80) === 0, 'a large page');
      const l1 = entryFrame(entry);
      const isXens = directory === 3 && slot >= FIRST_XEN_L2_SLOT;
      if (isXens) demand((entry.low & 2) === 0 && guest.frames.get(l1)!.space === 'monitor', 'a Xen slot that is not Xen\'s');
      else tables.add(l1);
      if (!isXens) for (const leaf of entriesOf(guest, l1)) if ((leaf.low & 1) !== 0) mappings.push({ mfn: entryFrame(leaf), writable: (leaf.low & 2) !== 0 });
    }
    if (directory !== 3) continue;
    demand(entriesOf(guest, l2).slice(FIRST_XEN_L2_SLOT).filter((entry) => (entry.low & 1) !== 0).length === 1, 'other Xen slots than the M2P\'s');
  }
  const descriptorTables = new Set([...guest.domain.gdtFrames, ...guest.domain.ldt.frames]);
  for (const { mfn, writable } of mappings) {
    const place = guest.frames.get(mfn);
    demand(place !== undefined && place !== null, `a mapping of frame 0x${mfn.toString(16)}, which is not the domain's`);
    // Of monitor space the guest sees shared_info and nothing else.
    demand(place!.space === 'guest' || guest.domain.paging.frames.owner[mfn] === FrameOwner.shared, 'a mapping of monitor space');
    demand(!writable || !(tables.has(mfn) || descriptorTables.has(mfn)), `a writable mapping of the table in frame 0x${mfn.toString(16)}`);
  }
}

/** Counts and mirrors against what the tables say. */
export function checkFrameTable(guest: ModelGuest): void {
  const { domain } = guest;
  const { paging } = domain;
  const { frames } = paging;
  const references = new Uint32Array(frames.frames);
  const uses = new Map<number, Map<number, number>>();
  const use = (mfn: number, type: number): void => {
    references[mfn]!++;
    const byType = uses.get(mfn) ?? uses.set(mfn, new Map()).get(mfn)!;
    byType.set(type, (byType.get(type) ?? 0) + 1);
  };
  for (let mfn = 0; mfn < frames.frames; mfn++) {
    if (frames.owner[mfn] === FrameOwner.shared) use(mfn, FrameType.writable);
    if (frames.allocated[mfn] === 1) references[mfn]!++;
    if (frames.pinned[mfn] === 1) use(mfn, frames.type[mfn]!);
    const table = paging.table(mfn);
    demand((table !== undefined) === (isPageTable(frames.type[mfn]!) && frames.typeCount[mfn]! > 0), 'a mirror without a table, or a table without one');
    if (table === undefined) continue;
    const memory = entriesOf(guest, mfn);
    const type = frames.type[mfn]!;
    const count = type === FrameType.l3 ? 4 : type === FrameType.l2Xen ? FIRST_XEN_L2_SLOT : 512;
    for (let index = 0; index < count; index++) {
      const entry = memory[index]!;
      demand(((table[index * 2]! ^ entry.low) & ~AD_BITS) === 0 && table[index * 2 + 1] === entry.high, 'a mirror that is not what memory holds');
      if ((entry.low & 1) === 0) continue;
      const child = entryFrame(entry);
      if (type === FrameType.l3) use(child, index === 3 ? FrameType.l2Xen : FrameType.l2);
      else if (type !== FrameType.l1) use(child, FrameType.l1);
      else if ((entry.low & 2) !== 0) use(child, FrameType.writable);
      else references[child]!++;
    }
  }
  use(paging.root, FrameType.l3);
  if (paging.userRoot >= 0) use(paging.userRoot, FrameType.l3);
  for (const mfn of [...domain.gdtFrames, ...domain.ldt.frames]) use(mfn, FrameType.segDesc);
  for (const mfn of guest.xenWrittenFrames) use(mfn, FrameType.writable);
  const { vcpuInfoPlace } = domain.events;
  if (vcpuInfoPlace.space === 'guest') use(Math.floor(vcpuInfoPlace.address / 4096), FrameType.writable);
  for (let mfn = 0; mfn < frames.frames; mfn++) {
    const byType = [...uses.get(mfn) ?? []];
    if (references[mfn] !== frames.refCount[mfn] || byType.length > 1 || (byType[0]?.[1] ?? 0) !== frames.typeCount[mfn] || (byType.length === 1 && byType[0]![0] !== frames.type[mfn])) {
      throw new Error(`frame 0x${mfn.toString(16)}: ${frames.refCount[mfn]} references counted, ${references[mfn]} found; type ${frames.type[mfn]} × ${frames.typeCount[mfn]}, found ${JSON.stringify(byType)}`);
    }
  }
}

/** Checked millions of times, so without `expect`. */
function demand(holds: boolean, violation: string): void {
  if (!holds) throw new Error(`the rule is broken: ${violation}`);
}

function entriesOf(guest: ModelGuest, mfn: number): Entry[] {
  const words = new Uint32Array(guest.read('guest', mfn * 4096, 4096).buffer);
  return Array.from({ length: 512 }, (_, index) => ({ low: words[index * 2]!, high: words[index * 2 + 1]! }));
}
