import { MARK_TAG, MarkKind, OPERATIONS, parseMark } from './mark.js';
import { OperationRecorder } from './operation-recorder.js';
import { MAX_RECORDS } from './statistics.js';

const at = (retired: number, wallNs = retired * 10) => ({ retired, executed: retired + 1, virtualNs: retired, wallNs, resends: 0 });

describe('parseMark', () => {
  it('takes only displacements that carry the tag', () => {
    expect(parseMark((MARK_TAG << 24) | (MarkKind.Lap << 16) | 7)).toEqual({ kind: MarkKind.Lap, operation: 7 });
    expect(parseMark(0x00000000)).toBeNull();
    expect(parseMark(0x53010002)).toBeNull();
  });
});

describe('OperationRecorder', () => {
  it('counts what lies between Begin and End, and each lap', () => {
    const recorder = new OperationRecorder();
    recorder.mark({ kind: MarkKind.Begin, operation: OPERATIONS.in }, at(100));
    recorder.countExit('io-instruction', 0);
    recorder.countMessages('exit.io-instruction', 1);
    recorder.mark({ kind: MarkKind.Lap, operation: OPERATIONS.in }, at(110));
    recorder.countExit('io-instruction', 0);
    recorder.mark({ kind: MarkKind.Lap, operation: OPERATIONS.in }, at(125));
    const closed = recorder.mark({ kind: MarkKind.End, operation: OPERATIONS.in }, at(130));
    expect(closed).toMatchObject({ operation: 'in', complete: true, repetitions: 2, retired: 30, exits: { 'io-instruction': 2 }, messages: { 'exit.io-instruction': 1 } });
    expect(closed?.wall.lapsNs).toEqual([100, 150]);
    recorder.countExit('cpuid', 0);
    expect(closed?.exits['cpuid']).toBeUndefined();
  });

  it('says what all of it is made of, and its last repetition', () => {
    const recorder = new OperationRecorder();
    const moment = (retired: number, instruction: number, irets: number) => ({ ...at(retired), primitives: { instruction, 'iret': irets }, recurring: { instruction, 'iret': 5 } });
    recorder.mark({ kind: MarkKind.Begin, operation: OPERATIONS.in }, moment(100, 1_000, 5));
    recorder.mark({ kind: MarkKind.Lap, operation: OPERATIONS.in }, moment(110, 1_100, 7));
    recorder.mark({ kind: MarkKind.Lap, operation: OPERATIONS.in }, moment(120, 1_110, 8));
    expect(recorder.mark({ kind: MarkKind.End, operation: OPERATIONS.in }, moment(121, 1_111, 8))).toMatchObject({ primitives: { instruction: 111, 'iret': 3 }, lastRepetition: { instruction: 10 } });
    expect(recorder.records[0]!.lastRepetition).toEqual({ instruction: 10 });
  });

  it('leaves an operation incomplete when another begins, and ignores marks that do not fit', () => {
    const recorder = new OperationRecorder();
    recorder.begin(OPERATIONS.boot, at(0));
    expect(recorder.mark({ kind: MarkKind.End, operation: OPERATIONS.fork }, at(5))).toBeNull();
    recorder.mark({ kind: MarkKind.Begin, operation: OPERATIONS.fork }, at(6));
    expect(recorder.records.map((record) => [record.operation, record.complete])).toEqual([['boot', false], ['fork', false]]);
    expect(recorder.mark({ kind: MarkKind.Begin, operation: 999 }, at(7))).toBeNull();
  });

  it('keeps a bounded number of records and counts the rest', () => {
    const recorder = new OperationRecorder();
    for (let index = 0; index < MAX_RECORDS + 5; index++) {
      recorder.mark({ kind: MarkKind.Begin, operation: OPERATIONS.empty }, at(index));
      recorder.mark({ kind: MarkKind.End, operation: OPERATIONS.empty }, at(index + 1));
    }
    expect(recorder.records).toHaveLength(MAX_RECORDS);
    expect(recorder.dropped).toBe(5);
  });
});
