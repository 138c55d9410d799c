import { describe, expect, test } from '@jest/globals';
import { probes, type Probe, type ProbeReport } from '@ringside/guests';
import type { OperationRecord } from '@ringside/machine';
import { Ajv } from 'ajv';
import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { repositoryRoot } from '../context.js';
import { runInProcess } from '../testing/run-in-process.js';
import { renderSensitive, sensitiveSentences } from '../render/sensitive.js';
import { sensitiveReport, type Machine, type MachineReports, type SensitiveReport } from './result.js';

const schema = JSON.parse(readFileSync(join(repositoryRoot(), 'docs/schemas/sensitive-1.json'), 'utf8')) as object;
const plain = { paint: (text: string) => text, columns: 100 };
const named = (...ids: string[]): Probe[] => ids.map((id) => probes.find((probe) => probe.id === id)!);
const asked = named('pushf-0', 'mov-es-0', 'sgdt-3');

const machine = (name: Machine['path'], changes: Partial<Machine> = {}): Machine => ({ name, path: name, mmu: 'none', guestKernelRing: 0, clock: 'virtual', ...changes });
const exits = (counts: Record<string, number>): OperationRecord => ({
  operation: 'probe', complete: true, repetitions: 0, retired: 1, executed: 1, virtualNs: 1, exits: counts, hypercalls: 0, messages: {},
  wall: { guestNs: 0, busNs: 0, handlersNs: 0, totalNs: 0, resends: 0, lapsNs: [] }, traceId: null, stateHash: null,
});
/** `keys`: what each probe saw; null stops the machine. */
function run(which: Machine, keys: readonly (string | null)[], counts: Record<string, number> = {}): MachineReports {
  return {
    machine: which,
    reports: asked.slice(0, keys.length).map((probe, index): ProbeReport<OperationRecord> => {
      const key = keys[index]!;
      return { probe, bytes: Uint8Array.of(0x9c), seen: key === null ? null : { key, text: `${key}.` }, stopped: key === null ? 'it is not built' : null, counts: exits(counts) };
    }),
  };
}
const NATIVE = run(machine('native'), ['IF 0, IOPL 0', '#GP', 'its own table']);
const report = (...others: MachineReports[]): SensitiveReport => sensitiveReport(asked, [NATIVE, ...others]);
const verdicts = (of: SensitiveReport, index = 1): (string | undefined)[] => of.probes.map(({ results }) => results[index]?.verdict);

describe('what an instruction showed, judged by native', () => {
  test('same, misled, a fault of its own, a machine that stops, and a view that a machine does not have', () => {
    expect(verdicts(report(run(machine('hardware-assisted'), ['IF 0, IOPL 0', '#GP', 'its own table'])))).toEqual(['same', 'same', 'same']);
    // Native faults and it does not: misled as well.
    expect(verdicts(report(run(machine('trap-and-emulate'), ['IF 1, IOPL 0', 'loads', '#GP'])))).toEqual(['misled', 'misled', 'fault']);
    expect(verdicts(report(run(machine('paravirt'), ['IF 1, IOPL 0', null])))).toEqual(['misled', 'stopped', undefined]);
  });

  test('native is judged by the SDM', () => {
    expect(report().probes.map(({ nativeAsExpected }) => nativeAsExpected)).toEqual([true, true, true]);
    const wrong = sensitiveReport(asked, [run(machine('native'), ['IF 1, IOPL 0', '#GP', 'its own table'])]);
    expect(sensitiveSentences(wrong)).toEqual(['native: NOT as the SDM says: pushf-0.']);
  });

  test('the JSON is what its schema says', () => {
    const validate = new Ajv({ allErrors: true }).compile(schema);
    const good = report(run(machine('paravirt'), ['IF 1, IOPL 0', null], { hypercall: 1 }));
    expect(validate(good) ? null : validate.errors).toBeNull();
    expect(validate({ ...good, probes: [{ ...good.probes[0], results: [{ verdict: 'perhaps' }] }] })).toBe(false);
  });

  test('the table and its sentences', () => {
    const shown = report(
      run(machine('trap-and-emulate'), ['IF 1, IOPL 0', 'loads', 'a table at 0x0']),
      run(machine('binary-translation', { name: 'binary-translation, no UMIP', clock: 'modelled:pentium4' }), ['IF 0, IOPL 0', '#GP', null], { callout: 1 }),
    );
    const table = renderSensitive(shown, plain, true);
    expect(table[0]).toMatch(/RING +INSTRUCTION .* TRAP-AND-EMULATE +BINARY-TRANSLATION, NO UMIP/);
    expect(table[1]).toMatch(/0 +PUSHF +pushfd, IF 0 +9c +IF 0, IOPL 0\. +MISLED: IF 1, IOPL 0\. +same, by an exit$/);
    expect(table.at(-1)).toMatch(/stops the machine: it is not built$/);
    const narrow = renderSensitive(shown, plain);
    expect(narrow[0]).toMatch(/NATIVELY IT SHOWS +T&E +BT −$/);
    expect(narrow[1]).toMatch(/0 +pushfd, IF 0 +9c +IF 0, IOPL 0 +MISLED +same$/);
    expect(narrow.at(-1)).toBe('T&E: trap-and-emulate; BT −: binary-translation, no UMIP. --wide shows what each saw.');
    expect(sensitiveSentences(shown)).toEqual([
      'native: every instruction shows what the SDM says.',
      'trap-and-emulate: of 3, 2 mislead the kernel (PUSHF, MOV to seg); 1 mislead an application (SGDT).',
      'binary-translation, no UMIP (--clock modelled:pentium4): of 3, 1 stop the machine (SGDT).',
    ]);
  });
});

test('--write-guest writes a Multiboot kernel and runs nothing', async () => {
  const file = join(mkdtempSync(join(tmpdir(), 'ringside-probes-')), 'probes.elf');
  expect(await runInProcess(['sensitive', '--write-guest', file])).toMatchObject({ code: 0, out: expect.stringContaining(`qemu-system-i386 -kernel ${file} `) });
  const image = readFileSync(file);
  expect([image.toString('latin1', 1, 4), image.readUInt32LE(0x1000)]).toEqual(['ELF', 0x1bad_b002]);
});
