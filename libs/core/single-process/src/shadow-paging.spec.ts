import { benchCommand, diskImage, guestImage, RINGLET } from '@ringside/guests';
import { SingleProcess, specOf } from './single-process.js';

/** Hardware assistance of the first generation, without nested paging. Its states are judged in ringlet-states.spec.ts and seeded-guests.spec.ts. */
describe('hardware-assisted with shadow paging', () => {
  it('answers a shadow fault in one round trip: no request goes out for one', async () => {
    const script = [benchCommand('fork', 2), RINGLET.haltCommand].map((line) => ({ expect: RINGLET.prompt, send: `${line}\n` }));
    const whole = await SingleProcess.create({ spec: specOf({ path: 'hardware-assisted', mmu: 'shadow', script }), image: await guestImage('ringlet'), disk: await diskImage(RINGLET.disk) });
    await whole.machine.run();
    expect(whole.machine.state).toBe('shutdown');
    const { exits, messages } = whole.machine.statistics();
    expect(Object.keys(exits)).toEqual(expect.arrayContaining(['exception-or-nmi', 'write-trace', 'cr-access']));
    expect(exits['exception-or-nmi']!.count).toBeGreaterThan(0);
    expect(messages['cpu.read'] ?? 0).toBeLessThan(10);
  });
});
