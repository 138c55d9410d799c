import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { ReplyMemory } from './reply-memory.js';

const at = (seq: number, ordinal = 0, epoch = 1): { epoch: number; seq: number; ordinal: number } => ({ epoch, seq, ordinal });
const reply = (text: string): Uint8Array => Buffer.from(text);

describe('ReplyMemory', () => {
  it('runs a request once, lets its copies wait, then repeats the reply', () => {
    const memory = new ReplyMemory(1);
    expect(memory.admit(at(1))).toBe('run');
    expect(memory.admit(at(1))).toBe('wait');
    memory.settle(at(1), reply('a'));
    expect(memory.admit(at(1))).toBe('repeat');
    expect(memory.remembered).toEqual(new Uint8Array(reply('a')));
  });

  it('orders the requests of one exit by ordinal and ignores what came before', () => {
    const memory = new ReplyMemory(1);
    for (const [seq, ordinal] of [[5, 0], [5, 1], [7, 0]] as const) {
      expect(memory.admit(at(seq, ordinal))).toBe('run');
      memory.settle(at(seq, ordinal), reply('x'));
    }
    for (const [seq, ordinal] of [[5, 0], [5, 1], [6, 9]] as const) expect(memory.admit(at(seq, ordinal))).toBe('ignore');
  });

  it('never runs two requests at once', () => {
    const memory = new ReplyMemory(1);
    expect(memory.admit(at(1))).toBe('run');
    expect(memory.admit(at(2))).toBe('wait');
    memory.settle(at(1), reply('a'));
    expect(memory.admit(at(2))).toBe('run');
  });

  it('refuses an old epoch and begins again with a new one', () => {
    const memory = new ReplyMemory(2);
    expect(memory.admit(at(9, 0, 1))).toBe('stale');
    expect(memory.admit(at(9, 0, 2))).toBe('run');
    expect(memory.admit(at(1, 0, 3))).toBe('run');
    // The handler of the epoch that has passed finishes late: its reply is nobody's.
    memory.settle(at(9, 0, 2), reply('late'));
    expect(memory.remembered).toBeNull();
    memory.settle(at(1, 0, 3), reply('b'));
    expect(memory.admit(at(1, 0, 3))).toBe('repeat');
    expect(memory.admit(at(9, 0, 2))).toBe('stale');
  });

  it('forgets a frame that was not a request after all', () => {
    const memory = new ReplyMemory(1);
    memory.admit(at(1));
    memory.settle(at(1), reply('a'));
    expect(memory.admit(at(4_000_000_000))).toBe('run');
    memory.withdraw(at(4_000_000_000));
    expect(memory.admit(at(1))).toBe('repeat');
    expect(Buffer.from(memory.remembered!).toString()).toBe('a');
    expect(memory.admit(at(2))).toBe('run');
  });

  it('runs every request exactly once, in order, for any mix of copies and delays', () => {
    fc.assert(fc.property(fc.array(fc.record({ copies: fc.integer({ min: 1, max: 4 }), old: fc.array(fc.nat(20)) }), { minLength: 1, maxLength: 20 }), (requests) => {
      const memory = new ReplyMemory(1);
      const ran: number[] = [];
      requests.forEach(({ copies, old }, index) => {
        const seq = index + 1;
        for (let copy = 0; copy < copies; copy++) {
          const verdict = memory.admit(at(seq));
          if (verdict === 'run') {
            ran.push(seq);
            memory.settle(at(seq), reply(String(seq)));
          } else {
            expect(verdict).toBe('repeat');
            expect(Buffer.from(memory.remembered!).toString()).toBe(String(seq));
          }
          for (const late of old) if (late > 0 && late < seq) expect(memory.admit(at(late))).toBe('ignore');
        }
      });
      expect(ran).toEqual(requests.map((_, index) => index + 1));
    }));
  });
});
