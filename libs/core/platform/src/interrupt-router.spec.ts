import type { BusRequest } from '@ringside/machine';
import { InterruptRouter } from './interrupt-router.js';
import { pitTicksToNs } from './pit-clock.js';

function port(now: number, address: number, value?: number): BusRequest {
  return { vmId: 'v', epoch: 1, seq: 1, ordinal: 0, bus: 'port', now, address, size: 1, write: value !== undefined, count: 1, data: value === undefined ? new Uint8Array(0) : Uint8Array.of(value), interruptible: false };
}
/** Controllers at vectors 20h and 28h, nothing masked. */
function ready(): InterruptRouter {
  const router = new InterruptRouter();
  for (const [address, value] of [[0x20, 0x11], [0xa0, 0x11], [0x21, 0x20], [0xa1, 0x28], [0x21, 4], [0xa1, 2], [0x21, 1], [0xa1, 1]] as const) router.access(port(0, address, value));
  return router;
}
function startTimer(router: InterruptRouter, now: number, count: number): void {
  for (const [address, value] of [[0x43, 0x34], [0x40, count & 0xff], [0x40, count >> 8]] as const) router.access(port(now, address, value));
}

describe('interrupt router', () => {
  it('acknowledges only for a processor that can take the interrupt', () => {
    const router = ready();
    router.feed(1 << 4, 1 << 4);
    expect(router.evaluate(10, false)).toEqual({ kind: 'interrupt', line: true, vector: null });
    expect(router.evaluate(20, true)).toEqual({ kind: 'interrupt', line: false, vector: 0x24 });
    expect(router.evaluate(30, true)).toEqual({ kind: 'interrupt', line: false, vector: null });
  });

  it('answers "line down" to a processor that comes for a request that has gone', () => {
    const router = ready();
    router.feed(1 << 4, 1 << 4);
    router.evaluate(10, false);
    router.feed(0, 0);
    expect(router.evaluate(20, true)).toEqual({ kind: 'interrupt', line: false, vector: null });
  });

  it('takes a line that fell and rose between two looks as a new edge', () => {
    const router = ready();
    router.feed(1 << 4, 1 << 4);
    router.evaluate(1, true);
    router.access(port(2, 0x20, 0x20));
    router.feed(1 << 4, 0);
    expect(router.evaluate(3, true).vector).toBeNull();
    router.feed(1 << 4, 1 << 4);
    expect(router.evaluate(4, true).vector).toBe(0x24);
  });

  it('has a timer deadline only while a tick would come through', () => {
    const router = ready();
    expect(router.nextDeadline()).toBe(Infinity);
    startTimer(router, 0, 1000);
    const first = pitTicksToNs(1001);
    expect(router.nextDeadline()).toBe(first);
    router.access(port(5, 0x21, 0x01)); // Masked.
    expect(router.nextDeadline()).toBe(Infinity);
    router.access(port(6, 0x21, 0x00));
    expect(router.nextDeadline()).toBe(first);
    expect(router.evaluate(first, true).vector).toBe(0x20);
    expect(router.nextDeadline()).toBe(Infinity); // In service.
    router.access(port(first + 10, 0x20, 0x20));
    expect(router.nextDeadline()).toBe(pitTicksToNs(2001));
    router.feed(1 << 1, 1 << 1); // INTR is up already.
    expect(router.nextDeadline()).toBe(Infinity);
  });

  it('finds the tick that came while it was masked', () => {
    const router = ready();
    router.access(port(0, 0x21, 0x01));
    startTimer(router, 0, 1000);
    const later = pitTicksToNs(1500);
    router.access(port(later, 0x20, 0x0a));
    expect([...router.access(port(later + 1, 0x20))]).toEqual([0x01]);
    router.access(port(later + 2, 0x21, 0x00));
    expect(router.evaluate(later + 2, true).vector).toBe(0x20);
  });

  it('ends a string of accesses at the port it began with', () => {
    const router = ready();
    const sent = port(9, 0x21, 0);
    router.access({ ...sent, count: 3, data: Uint8Array.of(1, 2, 3) });
    expect([...router.access({ ...port(10, 0x21), count: 2 })]).toEqual([3, 3]);
    expect(router.claims(port(0, 0x22))).toBe(false);
    expect(router.claims({ ...port(0, 0x21), bus: 'mmio' })).toBe(false);
  });

  it('shows the timer through port 61h', () => {
    const router = ready();
    for (const [address, value] of [[0x61, 0x01], [0x43, 0xb0], [0x42, 100], [0x42, 0]] as const) router.access(port(0, address, value));
    expect(router.access(port(pitTicksToNs(50), 0x61))[0]! & 0x21).toBe(0x01);
    expect(router.access(port(pitTicksToNs(101), 0x61))[0]! & 0x21).toBe(0x21);
    const toggles = new Set([0, 15_085].map((ns) => router.access(port(1_000_000 + ns, 0x61))[0]! & 0x10));
    expect(toggles.size).toBe(2);
  });
});
