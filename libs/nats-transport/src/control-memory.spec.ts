import { describe, expect, it } from '@jest/globals';
import { ControlMemory } from './control-memory.js';

describe('ControlMemory', () => {
  it('runs an id once: copies join it while it runs and get its reply afterwards', async () => {
    const memory = new ControlMemory();
    let runs = 0;
    let answer: (bytes: Uint8Array) => void = () => undefined;
    const run = (): Promise<Uint8Array> => {
      runs++;
      return new Promise((resolve) => { answer = resolve; });
    };
    const first = memory.once('a', run);
    const joined = memory.once('a', run);
    answer(Uint8Array.of(7));
    expect(await first.reply).toEqual(await joined.reply);
    expect(await memory.once('a', run).reply).toEqual(Uint8Array.of(7));
    expect([first.repeated, joined.repeated, runs]).toEqual([false, true, 1]);
  });

  it('does not grow, in number or in size of replies', async () => {
    const memory = new ControlMemory();
    for (let i = 0; i < 10_000; i++) memory.once(String(i), () => Promise.resolve(new Uint8Array(1)));
    expect(memory.size).toBeLessThanOrEqual(2_048);
    const before = memory.size;
    await memory.once('big', () => Promise.resolve(new Uint8Array(100_000))).reply;
    await Promise.resolve();
    expect(memory.size).toBeLessThan(before + 1);
  });
});
