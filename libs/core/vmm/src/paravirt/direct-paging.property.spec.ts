import { checkFrameTable, checkTables } from '../testing/direct-paging-rule.js';
import { ModelGuest } from '../testing/model-guest.js';
import { PLAYGROUND } from '../testing/xen-kernel.js';
import { DOMID_SELF, Hypercall, MemoryOp, MmuExt } from './abi.js';
import { FrameOwner } from './frame-table.js';

/*
 * The rule of direct paging against random hypercalls: after each of them every table that the processor could walk is read
 * from memory, and no writable mapping leads to a page table or descriptor table, none leads to a frame that is not
 * the domain's, and Xen's slots hold what Xen put there. Then the frame table's counts are taken again from the tables.
 *
 * The test can lie if no hypercall succeeds: the last expectations say how many did.
 */
const ARGUMENTS = PLAYGROUND, SCRATCH = PLAYGROUND + 0x1_0000;
const SEEDS = [1, 2, 3, 4, 5, 6];
const STEPS = 150;

function randomFrom(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 0x1_0000_0000) * below);
  };
}

class Rig {
  readonly random: (below: number) => number;
  readonly successes = new Map<string, number>();
  readonly refusals = new Map<string, number>();
  /** Frames that steps play with, so that they meet each other. */
  readonly pool: number[];

  constructor(readonly guest: ModelGuest, seed: number) {
    this.random = randomFrom(seed);
    const [list] = guest.peek32(guest.startInfo + 68);
    const frames = guest.peek32(list!, 2048);
    // Some that the initial tables map, some that nothing maps, some of the tables themselves, one of Xen's, one of nobody's.
    const tables = [guest.root, guest.domain.paging.leafTable(PLAYGROUND)!.tableMfn];
    const xen = guest.domain.paging.frames.owner.indexOf(FrameOwner.xen);
    const nobody = guest.domain.paging.frames.owner.indexOf(FrameOwner.other);
    this.pool = [...Array.from({ length: 10 }, (_, index) => guest.mfnOf(SCRATCH + index * 4096)), ...frames.slice(1500, 1510), ...tables, xen, nobody];
  }

  pick<T>(items: readonly T[]): T {
    return items[this.random(items.length)]!;
  }

  note(name: string, result: number): void {
    const tally = result >= 0 ? this.successes : this.refusals;
    tally.set(name, (tally.get(name) ?? 0) + 1);
  }

  linear(): number {
    return SCRATCH + this.random(24) * 4096;
  }

  flags(): number {
    return this.pick([1, 3, 3, 7, 0, 0x83, 0x103, 0x63]);
  }

  /** The guest's own stores: a page made to look like a page table, if it may write there. */
  fillPage(): void {
    const linear = this.linear();
    const walk = this.guest.walk(linear);
    if (walk === null || !walk.writable) return;
    this.guest.poke(linear, new Uint8Array(4096));
    for (let count = this.random(4); count > 0; count--) this.guest.poke32(linear + this.random(512) * 8, ((this.pick(this.pool) << 12) | this.pick([1, 3, 0])) >>> 0, 0);
    // A copy of the root, so that another one can be loaded and the guest lives on.
    if (this.random(3) === 0) for (let index = 0; index < 4; index++) this.guest.poke32(linear + index * 8, ...this.guest.entry(this.guest.root * 4096 + index * 8));
  }

  /** The argument page must stay reachable; if the guest has lost it, it maps it again with registers alone. */
  async reachArguments(mfn: number): Promise<boolean> {
    if (this.guest.walk(ARGUMENTS)?.writable === true) return true;
    await this.guest.call(Hypercall.update_va_mapping, ARGUMENTS, ((mfn << 12) | 3) >>> 0, 0, 2);
    return this.guest.walk(ARGUMENTS)?.writable === true;
  }

  async step(): Promise<void> {
    const { guest } = this;
    const args = (...words: number[]): void => guest.poke32(ARGUMENTS, ...words.map((word) => word >>> 0));
    const extended = async (name: string, command: number, first: number, second = 0): Promise<void> => {
      args(command, first, second);
      this.note(name, await guest.call(Hypercall.mmuext_op, ARGUMENTS, 1, 0, DOMID_SELF));
    };
    switch (this.random(12)) {
      case 0: case 1: case 2:
        this.note('update_va_mapping', await guest.call(Hypercall.update_va_mapping, this.linear(), ((this.pick(this.pool) << 12) | this.flags()) >>> 0, 0, this.random(3)));
        return;
      case 3: case 4: {
        const table = this.random(2) === 0 ? this.pick(this.pool) : guest.walk(this.linear())?.mfn ?? this.pick(this.pool);
        args((table << 12) | (this.random(512) * 8) | this.pick([0, 0, 0, 2]), 0, (this.pick(this.pool) << 12) | this.flags(), 0);
        this.note('mmu_update', await guest.call(Hypercall.mmu_update, ARGUMENTS, 1, 0, DOMID_SELF));
        return;
      }
      case 5: return extended('pin', this.pick([MmuExt.pin_l1_table, MmuExt.pin_l1_table, MmuExt.pin_l2_table, MmuExt.pin_l3_table]), this.pick(this.pool));
      case 6: return extended('unpin', MmuExt.unpin_table, this.pick(this.pool));
      case 7:
        // In ring 3 an empty page may be a root, and loading it would be the end: there the applications' root changes.
        if (guest.domain.kernelRing === 3) return extended('new_user_baseptr', MmuExt.new_user_baseptr, this.pick(this.pool));
        return extended('new_baseptr', MmuExt.new_baseptr, this.pick(this.pool));
      case 8: return extended('clear_page', MmuExt.clear_page, this.pick(this.pool));
      case 9: {
        if (this.random(2) === 0) return extended('set_ldt', MmuExt.set_ldt, this.linear(), this.pick([0, 512]));
        args(this.pick(this.pool));
        this.note('set_gdt', await guest.call(Hypercall.set_gdt, ARGUMENTS, 512));
        return;
      }
      case 10: {
        const operation = this.pick([MemoryOp.decrease_reservation, MemoryOp.populate_physmap]);
        args(ARGUMENTS + 64, 1, 0, 0, DOMID_SELF);
        guest.poke32(ARGUMENTS + 64, this.pick(this.pool));
        const done = await guest.call(Hypercall.memory_op, operation, ARGUMENTS);
        this.note(operation === MemoryOp.decrease_reservation ? 'decrease' : 'populate', done === 1 ? 0 : -1);
        return;
      }
      default: this.fillPage();
    }
  }
}

describe('direct paging', () => {
  const successes = new Map<string, number>();
  const refusals = new Map<string, number>();

  it.each([...SEEDS.map((seed) => ({ seed, guestKernelRing: 1 } as const)), ...SEEDS.slice(0, 2).map((seed) => ({ seed, guestKernelRing: 3 } as const))])('keeps its rule through random hypercalls, seed $seed, kernel in ring $guestKernelRing', async ({ seed, guestKernelRing }) => {
    const guest = await ModelGuest.create({ guestKernelRing });
    const rig = new Rig(guest, seed);
    const argumentMfn = guest.mfnOf(ARGUMENTS);
    for (let step = 0; step < STEPS; step++) {
      if (!(await rig.reachArguments(argumentMfn))) break; // the guest has cut off its own arguments for good
      await rig.step();
      expect(guest.stopped).toBeNull();
      checkTables(guest);
      if (step % 10 === 0 || step === STEPS - 1) checkFrameTable(guest);
    }
    checkFrameTable(guest);
    for (const [total, part] of [[successes, rig.successes], [refusals, rig.refusals]] as const) for (const [name, count] of part) total.set(name, (total.get(name) ?? 0) + count);
  });

  it('was put to the test: every operation both succeeded and was refused', () => {
    const names = ['update_va_mapping', 'mmu_update', 'pin', 'unpin', 'new_baseptr', 'new_user_baseptr', 'clear_page', 'set_gdt', 'set_ldt', 'decrease', 'populate'];
    expect(names.filter((name) => !successes.has(name))).toEqual([]);
    expect(names.filter((name) => !refusals.has(name))).toEqual([]);
  });
});
