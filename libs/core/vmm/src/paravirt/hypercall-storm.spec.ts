import { EventType, ExitReason } from '@ringside/x86';
import { checkFrameTable, checkTables } from '../testing/direct-paging-rule.js';
import { ModelGuest } from '../testing/model-guest.js';
import { ENTRY, PLAYGROUND } from '../testing/xen-kernel.js';
import { EFFECT_BYTES_LIMIT } from '../transaction.js';
import { DOMID_SELF, Hypercall } from './abi.js';

/*
 * A hostile kernel: random hypercalls with random arguments over random memory, between them exceptions and timer exits.
 * Whatever it asks for, ring -1 answers with a result, an errno or a named end; it never throws, and its
 * answers stay small. Every third kernel runs in ring 3.
 *
 * The test can lie if every guest dies at once: the last expectation asks how long they lived.
 */
const SEEDS = Array.from({ length: 12 }, (_, index) => index + 1);
const EXITS = 250;
const RING1_CS = 0xe019, RING3_CS = 0xe02b;
/** The largest reply: the limit, and what the last step before it may add. */
const MAX_EFFECT_BYTES = EFFECT_BYTES_LIMIT + 128 * 1024;
const NUMBERS = Object.values(Hypercall);
/** Fatal by design: they would end every guest within a few calls. */
const RARE: ReadonlySet<number> = new Set([Hypercall.iret, Hypercall.sched_op, Hypercall.sched_op_compat, Hypercall.set_callbacks, Hypercall.set_trap_table, Hypercall.callback_op]);

function randomFrom(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 0x1_0000_0000) * below);
  };
}

describe('hypercall storms', () => {
  const lives: number[] = [];

  it.each(SEEDS)('end in an answer each, seed %i', async (seed) => {
    const random = randomFrom(seed);
    const guest = await ModelGuest.create({ grantedPorts: [{ from: 0x1f0, to: 0x1f7 }], guestKernelRing: seed % 3 === 0 ? 3 : 1 });
    const kernelCs = seed % 3 === 0 ? RING3_CS : RING1_CS;
    const frames = guest.peek32(guest.peek32(guest.startInfo + 68)[0]!, 2048);
    const frame = (): number => (random(8) === 0 ? random(0x10_0000) : frames[random(frames.length)]!);
    const word = (): number => {
      switch (random(12)) {
        case 0: return random(0x1_0000_0000);
        case 1: case 2: return PLAYGROUND + random(0x4_0000);
        case 3: return DOMID_SELF;
        case 4: return frame();
        case 5: return ((frame() << 12) | random(0x1000)) >>> 0;
        case 6: return 0xffff_ffff - random(16);
        case 7: return 0xf580_0000 + random(0x100_0000);
        default: return random(24);
      }
    };
    guest.set('esp', PLAYGROUND + 0x3_f000);
    for (const page of [0, 1, 2, 3]) guest.poke32(PLAYGROUND + page * 4096, ...Array.from({ length: 256 }, word));
    // Handlers for every exception, so that the guest lives on.
    guest.poke(PLAYGROUND, Uint8Array.from(Array.from({ length: 20 }, (_, vector) => [vector, 0, kernelCs & 0xff, kernelCs >> 8, 0, 0x10, 0, 0xc0]).flat()));
    guest.poke(PLAYGROUND + 160, new Uint8Array(8));
    expect(await guest.call(Hypercall.set_trap_table, PLAYGROUND)).toBe(0);
    await guest.call(Hypercall.set_callbacks, kernelCs, ENTRY, kernelCs, ENTRY);
    let life = 0;
    for (; life < EXITS && guest.stopped === null; life++) {
      guest.now += random(5000);
      // The guest's stack may be lost in the storm; a real kernel would be dead, here it gets another.
      guest.set('esp', PLAYGROUND + 0x3_f000 - random(64) * 4);
      switch (random(10)) {
        case 0: await guest.trap(random(20), random(2) === 0 ? null : random(0x1_0000), random(4) === 0 ? EventType.SoftwareInterrupt : EventType.HardwareException); break;
        case 1: await guest.exit(ExitReason.PreemptionTimer, { qualification: random(2), interruptible: random(2) === 0 }); break;
        case 2: await guest.exit(ExitReason.Input, { qualification: random(2) === 0 ? 0 : random(0x1_0000_0000) }); break;
        default: {
          let number: number = NUMBERS[random(NUMBERS.length)]!;
          if (RARE.has(number) && random(12) !== 0) number = random(64);
          if (RARE.has(number)) number = Hypercall.mmu_update;
          await guest.call(number, word(), word(), word(), word(), word(), word());
        }
      }
      expect(guest.last.effects.reduce((sum, effect) => sum + 16 + (effect.kind === 'memory' ? effect.bytes.length : 0), 0)).toBeLessThan(MAX_EFFECT_BYTES);
      if (life % 10 === 0) checkTables(guest);
      if (random(4) === 0) {
        const page = PLAYGROUND + random(8) * 4096;
        if (guest.walk(page)?.writable === true) guest.poke32(page, ...Array.from({ length: 64 }, word));
      }
    }
    checkTables(guest);
    checkFrameTable(guest);
    expect(guest.stopped === null || guest.why.length > 10).toBe(true);
    for (const value of guest.registers.values()) expect(Number.isInteger(value)).toBe(true);
    lives.push(life);
  });

  it('let most guests live long enough to mean something', () => {
    expect(lives.filter((life) => life > 50).length).toBeGreaterThan(SEEDS.length / 2);
  });
});
