import { describe, expect, it } from '@jest/globals';
import { probeGuest, probeResults, type ProbeForm } from './probe-guest.js';
import { runProbes } from './probe-run.js';
import { kernelProbes, probes, seenBy } from './probes.js';

const line = (index: number, outcome: number, ...values: number[]): string =>
  `probe ${[index, outcome, ...values].map((word) => word.toString(16).padStart(8, '0')).join(' ')}\r\n`;

describe('the probes', () => {
  it('are the instructions of Robin and Irvine, and IRET', () => {
    expect(new Set(probes.map(({ instruction }) => instruction))).toEqual(new Set([
      'SGDT', 'SIDT', 'SLDT', 'SMSW', 'PUSHF', 'POPF', 'LAR', 'LSL', 'VERR', 'VERW', 'PUSH seg', 'POP seg', 'far CALL', 'far JMP', 'INT n', 'RETF', 'STR', 'MOV from seg', 'MOV to seg', 'IRET',
    ]));
    expect(new Set(probes.map(({ id }) => id)).size).toBe(probes.length);
    expect(kernelProbes.every(({ ring }) => ring === 0)).toBe(true);
  });

  it.each<ProbeForm>(['multiboot', 'paravirt-ring-1', 'paravirt-ring-3'])('stand in the %s guest with the bytes that are reported', (form) => {
    const { image, bytes } = probeGuest(kernelProbes, form);
    for (const [index, { id }] of kernelProbes.entries()) {
      // Begin mark, the instruction, end mark (libs/core/machine/src/mark.ts).
      const marked = Buffer.from([0x0f, 0x1f, 0x80, 15, 0, 1, 0x52, ...bytes[index]!, 0x0f, 0x1f, 0x80, 15, 0, 2, 0x52]);
      expect([id, Buffer.from(image).includes(marked)]).toEqual([id, true]);
    }
  });
});

describe('what a probe guest wrote', () => {
  it('is read by the probe\'s number; a broken line or another is left out', () => {
    const results = probeResults(`booted\r\n${line(0, 1, 2, 3, 4)}probe 00000001 0000\r\n${line(2, 0x10_010d, 5, 0, 0x11)}and so on`);
    expect([...results]).toEqual([[0, { outcome: 'ran', values: [2, 3, 4] }], [2, { outcome: { vector: 13, errorCode: 0x10 }, values: [5, 0, 0x11] }]]);
  });

  it('says the exception where there was one, with its error code', () => {
    const { layout } = probeGuest(probes, 'multiboot');
    const seen = (vector: number, errorCode: number): string => seenBy(probes[0]!, { outcome: { vector, errorCode }, values: [0, 0, 0] }, layout).text;
    expect([seen(13, 0x10), seen(13, 0), seen(6, 0), seen(30, 0)]).toEqual(['#GP(0x10)', '#GP(0)', '#UD', 'vector 30']);
  });
});

describe('runProbes', () => {
  const four = probes.slice(0, 4);

  it('runs the rest in another machine when an instruction stops one, and says why', async () => {
    const outputs = [line(0, 1, 0, 0, 0), '', line(0, 1, 0, 0, 0)];
    const ran: number[] = [];
    const reports = await runProbes(four, 'multiboot', async ({ bytes }) => {
      ran.push(bytes.length);
      return { console: outputs.shift()!, why: `machine ${ran.length} stopped`, counts: ['first', 'second'] };
    });
    expect(ran).toEqual([4, 2, 1]);
    expect(reports.map(({ probe, seen, stopped, counts }) => [probe.id, seen === null, stopped, counts])).toEqual([
      ['sgdt-0', false, null, 'first'], ['sidt-0', true, 'machine 1 stopped', 'second'], ['sldt-0', true, 'machine 2 stopped', 'first'], ['str-0', false, null, 'first'],
    ]);
  });
});
