import { describe, expect, it } from '@jest/globals';
import { RequestMux, type ResendPolicy } from './request-mux.js';
import { MemoryWire } from './testing/memory-wire.js';
import type { WireMessage } from './wire.js';

const POLICY: ResendPolicy = { firstWaitMs: 1, maxWaitMs: 8, timeoutMs: 20, minResends: 8 };
const bytes = (text: string): Uint8Array => Buffer.from(text);

describe('RequestMux', () => {
  it('gives each request its own reply, whatever the order of the answers', async () => {
    const wire = new MemoryWire();
    const mux = new RequestMux(wire, '_INBOX.a');
    const waiting: WireMessage[] = [];
    wire.subscribe('echo.*', (message) => {
      waiting.push(message);
      if (waiting.length === 3) for (const each of waiting.reverse()) wire.publish(each.reply!, each.data);
    });
    const replies = await Promise.all(['a', 'b', 'c'].map((text) => mux.call(`echo.${text}`, bytes(text))));
    expect(replies.map((reply) => Buffer.from(reply).toString())).toEqual(['a', 'b', 'c']);
    expect(mux.inFlight).toBe(0);
    mux.close();
  });

  it('sends the same bytes again until it is answered, and takes one answer', async () => {
    const wire = new MemoryWire();
    const mux = new RequestMux(wire, '_INBOX.a', POLICY);
    const seen: string[] = [];
    wire.subscribe('lossy', ({ data, reply }) => {
      seen.push(`${reply} ${Buffer.from(data).toString()}`);
      if (seen.length < 4) return;
      wire.publish(reply!, bytes('first'));
      wire.publish(reply!, bytes('second'));
    });
    expect(Buffer.from(await mux.call('lossy', bytes('request'))).toString()).toBe('first');
    expect(new Set(seen).size).toBe(1);
    expect(mux.counts).toMatchObject({ requests: 1, unreachable: 0 });
    expect(mux.counts.resends).toBeGreaterThanOrEqual(3);
    mux.close();
  });

  it('goes on when nobody listens at first', async () => {
    const wire = new MemoryWire();
    const mux = new RequestMux(wire, '_INBOX.a', POLICY);
    const reply = mux.call('late', bytes('?'));
    setImmediate(() => setImmediate(() => wire.subscribe('late', (message) => wire.publish(message.reply!, bytes('here')))));
    expect(Buffer.from(await reply).toString()).toBe('here');
    mux.close();
  });

  it('gives up by name after at least the promised number of resends', async () => {
    const wire = new MemoryWire();
    const mux = new RequestMux(wire, '_INBOX.a', POLICY);
    await expect(mux.call('nobody', bytes('?'))).rejects.toMatchObject({ name: 'UnreachableError', message: expect.stringContaining('nobody: nobody listens there') });
    let received = 0;
    wire.subscribe('silent', () => { received++; });
    await expect(mux.call('silent', bytes('?'))).rejects.toMatchObject({ name: 'UnreachableError', message: expect.stringContaining('silent: no answer') });
    expect(received).toBeGreaterThanOrEqual(9);
    expect(mux.counts.unreachable).toBe(2);
    mux.close();
  });

  it('takes a request back: nothing is sent again, a late answer meets nobody', async () => {
    const wire = new MemoryWire();
    const mux = new RequestMux(wire, '_INBOX.a', POLICY);
    const seen: WireMessage[] = [];
    wire.subscribe('slow', (message) => { seen.push(message); });
    const asked = new AbortController();
    const reply = mux.call('slow', bytes('?'), { ...POLICY, timeoutMs: 60_000 }, asked.signal);
    while (seen.length < 2) await new Promise((resolve) => setImmediate(resolve));
    asked.abort(new RangeError('not any longer'));
    await expect(reply).rejects.toThrow('not any longer');
    expect(mux.inFlight).toBe(0);
    wire.publish(seen[0]!.reply!, bytes('late'));
    expect(Buffer.from(await (async () => {
      wire.subscribe('quick', (message) => wire.publish(message.reply!, bytes('here')));
      return mux.call('quick', bytes('?'));
    })()).toString()).toBe('here');
    mux.close();
  });

  it('rejects what is in flight when it is closed, and what comes after', async () => {
    const wire = new MemoryWire();
    const mux = new RequestMux(wire, '_INBOX.a');
    const reply = mux.call('nobody', bytes('?'));
    mux.close();
    await expect(reply).rejects.toMatchObject({ name: 'UnreachableError' });
    await expect(mux.call('nobody', bytes('?'))).rejects.toMatchObject({ name: 'UnreachableError' });
  });
});
