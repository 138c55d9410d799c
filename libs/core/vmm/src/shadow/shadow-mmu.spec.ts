import { ExitReason, type GuestWalk, type WalkedEntry } from '@ringside/x86';
import fc from 'fast-check';
import { MonitorSpace, PAGE_BYTES } from '../monitor-space.js';
import { exitOf, RecordingBus, RecordingMemory } from '../testing/fixtures.js';
import { Transaction } from '../transaction.js';
import { ShadowMmu } from './shadow-mmu.js';

/** Two-level tables of 64 frames: three directories that share four page tables, data in the rest. */
const FRAMES = 64, DIRECTORIES = [1, 2, 3], TABLES = [4, 5, 6, 7];
const PRESENT = 1, WRITABLE = 2, USER = 4, ACCESSED = 0x20, DIRTY = 0x40;
const MODE = { paging: true, writeProtect: true, pae: false, pse: false, executeDisable: false };

/** Shadow tables over a guest's memory, as guest-cpu would keep both: effects are applied after each exit. */
class Bench {
  readonly memory = new RecordingMemory(new Uint8Array(FRAMES * PAGE_BYTES), new Uint8Array(1 << 20));
  private readonly guest = new DataView(this.memory.guest.buffer);
  private readonly monitor = new DataView(this.memory.monitor.buffer);
  private cr3 = 0;

  constructor(private readonly mmu: ShadowMmu) {}

  entry(frame: number, index: number): number {
    return this.guest.getInt32(frame * PAGE_BYTES + index * 4, true);
  }

  /** A store of the guest's, announced if its frame is traced. */
  store(frame: number, index: number, value: number): void {
    const at = frame * PAGE_BYTES + index * 4;
    this.exit((transaction) => this.mmu.written(transaction, at, 4));
    this.guest.setInt32(at, value, true);
  }

  load(directory: number): void {
    this.cr3 = directory * PAGE_BYTES;
    this.exit((transaction) => this.mmu.load(transaction, { mode: MODE, cr3: this.cr3, pointers: [] }));
  }

  /** What the guest's own tables allow: frame, or -1. */
  guestFrame(linear: number, write: boolean, user: boolean): number {
    const directory = this.entry(this.cr3 / PAGE_BYTES, linear >>> 22);
    if ((directory & PRESENT) === 0) return -1;
    const page = this.entry(directory >>> 12, (linear >>> 12) & 0x3ff);
    const rights = directory & page;
    return (page & PRESENT) === 0 || (user && (rights & USER) === 0) || (write && (rights & WRITABLE) === 0) ? -1 : page >>> 12;
  }

  /** What the shadow allows, traced pages counting as writable for the one who is let through; and whether it is traced. */
  shadow(linear: number, write: boolean, user: boolean): { frame: number; traced: boolean } {
    const pointer = this.monitor.getInt32(this.mmu.controls.shadowRoot! + (linear >>> 30) * 8, true);
    const directory = (pointer & PRESENT) === 0 ? 0 : this.monitor.getInt32((pointer & ~0xfff) + ((linear >>> 21) & 0x1ff) * 8, true);
    const leaf = (directory & PRESENT) === 0 ? 0 : this.monitor.getInt32((directory & ~0xfff) + ((linear >>> 12) & 0x1ff) * 8, true);
    const traced = (leaf & 0x200) !== 0;
    const allowed = (leaf & PRESENT) !== 0 && (!user || (leaf & USER) !== 0) && (!write || (leaf & WRITABLE) !== 0 || traced);
    return { frame: allowed ? leaf >>> 12 : -1, traced };
  }

  /** One access, with the shadow fault that it may need. */
  access(linear: number, write: boolean, user: boolean): void {
    const wanted = this.guestFrame(linear, write, user);
    if (this.shadow(linear, write, user).frame === -1) {
      const outcome = this.exit((transaction) => this.mmu.fault(transaction, transaction.exit), {
        guestLinear: linear, walk: this.walk(linear), event: { vector: 14, type: 3, errorCode: (write ? 2 : 0) | (user ? 4 : 0) },
      });
      expect(outcome === 'filled').toBe(wanted !== -1);
    }
    expect(this.shadow(linear, write, user).frame).toBe(wanted);
    if (wanted === -1) return;
    const page = this.entry(this.entry(this.cr3 / PAGE_BYTES, linear >>> 22) >>> 12, (linear >>> 12) & 0x3ff);
    expect(page & (write ? ACCESSED | DIRTY : ACCESSED)).toBe(write ? ACCESSED | DIRTY : ACCESSED);
  }

  private exit<Result>(work: (transaction: Transaction) => Result, change = {}): Result {
    const transaction = new Transaction(exitOf(ExitReason.ExceptionOrNmi, change), { bus: new RecordingBus(), memory: this.memory });
    const result = work(transaction);
    for (const effect of transaction.effects) if (effect.kind === 'memory') this.memory[effect.space].set(effect.bytes, effect.address);
    return result;
  }

  private walk(linear: number): GuestWalk {
    const address = this.cr3 + (linear >>> 22) * 4;
    const entries: WalkedEntry[] = [{ address, low: this.guest.getInt32(address, true), high: 0 }];
    if ((entries[0]!.low & PRESENT) !== 0) {
      const table = (entries[0]!.low & ~0xfff) + ((linear >>> 12) & 0x3ff) * 4;
      entries.push({ address: table, low: this.guest.getInt32(table, true), high: 0 });
    }
    const lineAddress = entries.at(-1)!.address & ~63;
    return { entries, lineAddress, line: this.memory.guest.slice(lineAddress, lineAddress + 64) };
  }
}

const small = (max: number): fc.Arbitrary<number> => fc.integer({ min: 0, max });
const flags = fc.constantFrom(0, PRESENT, PRESENT | WRITABLE, PRESENT | USER, PRESENT | WRITABLE | USER, PRESENT | WRITABLE | USER | ACCESSED | DIRTY, PRESENT | WRITABLE | ACCESSED);
const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('access' as const), region: small(5), page: small(39), write: fc.boolean(), user: fc.boolean() }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('page' as const), table: small(3), page: small(39), frame: small(FRAMES - 1), flags }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('directory' as const), directory: small(2), region: small(5), table: small(3), flags }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('load' as const), directory: small(2) }) },
);
/** Regions lie in two of the four parts of a directory, and in both halves of a page table. */
const linearOf = (region: number, page: number): number => ((region < 3 ? region : 0x200 + region) * 0x40_0000 + (page < 20 ? page : 0x200 + page) * PAGE_BYTES) >>> 0;

describe('shadow page tables', () => {
  it.each([[64, 'with room'], [8, 'recycled all the time']])('allow what the guest\'s tables allow, whatever it does to them: %i pages, %s', (pages) => {
    fc.assert(fc.property(fc.array(step, { minLength: 20, maxLength: 120 }), (steps) => {
      const bench = new Bench(new ShadowMmu(new MonitorSpace(1 << 20), pages));
      for (const directory of DIRECTORIES) for (let region = 0; region < 6; region++) bench.store(directory, linearOf(region, 0) >>> 22, TABLES[region % 4]! * PAGE_BYTES | 7);
      for (const table of TABLES) for (let page = 0; page < 40; page++) bench.store(table, (linearOf(0, page) >>> 12) & 0x3ff, ((page + table) % FRAMES) * PAGE_BYTES | 7);
      bench.load(DIRECTORIES[0]!);
      for (const one of steps) {
        switch (one.kind) {
          case 'access': bench.access(linearOf(one.region, one.page), one.write, one.user); break;
          case 'page': bench.store(TABLES[one.table]!, (linearOf(0, one.page) >>> 12) & 0x3ff, one.frame * PAGE_BYTES | one.flags); break;
          case 'directory': bench.store(DIRECTORIES[one.directory]!, linearOf(one.region, 0) >>> 22, TABLES[one.table]! * PAGE_BYTES | one.flags); break;
          case 'load': bench.load(DIRECTORIES[one.directory]!); break;
          default: throw new Error('no such step');
        }
      }
    }), { numRuns: 150 });
  });

  it('trace the frames that they are made of, and let go of those that are tables no longer', () => {
    const bench = new Bench(new ShadowMmu(new MonitorSpace(1 << 20), 64));
    const [directory, table, data] = [1, 4, 20];
    bench.store(directory, 0, table * PAGE_BYTES | 7);
    for (const [page, frame] of [[0, data], [1, table], [2, directory], [3, 5]] as const) bench.store(table, page, frame * PAGE_BYTES | 7 | ACCESSED | DIRTY);
    bench.load(directory);
    for (let page = 0; page < 4; page++) bench.access(page * PAGE_BYTES, true, true);
    expect([0, 1, 2, 3].map((page) => bench.shadow(page * PAGE_BYTES, true, true).traced)).toEqual([false, true, true, false]);
    // Frame 5 becomes a page table, then is used by nobody and written again.
    bench.store(directory, 1, 5 * PAGE_BYTES | 7);
    bench.store(5, 0, data * PAGE_BYTES | 7);
    bench.access(0x40_0000, false, true);
    expect(bench.shadow(3 * PAGE_BYTES, true, true).traced).toBe(true);
    bench.store(directory, 1, 0);
    bench.store(5, 0, 0);
    expect(bench.shadow(3 * PAGE_BYTES, true, true)).toEqual({ frame: 5, traced: false });
  });
});
