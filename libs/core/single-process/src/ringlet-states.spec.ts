import { diskOf } from '@ringside/devices';
import { benchCommand, diskImage, guestImage, RINGLET, RINGLET_OPERATIONS } from '@ringside/guests';
import type { OperationRecord, VmSpec } from '@ringside/machine';
import { SingleProcess, specOf } from './single-process.js';
import { memoryDigest } from './testing/memory-digest.js';

/**
 * The running hash over the guest's states at each retired instruction, and memory (accessed and dirty bits with it), CR2 and disk at each mark: ringlet's
 * boot and every operation, natively once, and on each path that runs an unmodified kernel in native's states.
 */
const NATIVE: Partial<VmSpec> = { path: 'native', mmu: 'none' };
const PATHS: Record<string, Partial<VmSpec>> = {
  'hardware-assisted with nested paging': { path: 'hardware-assisted', mmu: 'nested' },
  'hardware-assisted with shadow paging': { path: 'hardware-assisted', mmu: 'shadow' },
  'binary-translation': { path: 'binary-translation', mmu: 'shadow', guestKernelRing: 1 },
};

/** `places` at each mark, `hashes` beside them. */
interface Run { whole: SingleProcess; records: OperationRecord[]; places: string[]; hashes: string[] }

async function run(path: Partial<VmSpec>, hashStates: boolean): Promise<Run> {
  const places: string[] = [], hashes: string[] = [];
  const lines = [...RINGLET_OPERATIONS.map((operation) => benchCommand(operation, 2)), RINGLET.haltCommand];
  const whole = await SingleProcess.create({
    spec: specOf({ ...path, hashStates, script: lines.map((line) => ({ expect: RINGLET.prompt, send: `${line}\n` })) }), image: await guestImage('ringlet'), disk: await diskImage(RINGLET.disk),
    hooks: {
      mark: (mark, { processor, stateHash }) => {
        places.push(`${mark.operation}/${mark.kind}: ${memoryDigest(processor)} ${processor.getRegister('cr2')} ${diskOf(whole.board)!.digest()}`);
        if (stateHash !== null) hashes.push(`${stateHash.value} ${stateHash.samples}`);
      },
    },
  });
  await whole.machine.run();
  expect([whole.machine.state, whole.machine.why, whole.console.slice(-400)]).toEqual(['shutdown', expect.any(String), expect.any(String)]);
  return { whole, records: whole.machine.recorder.records, places, hashes };
}

const countsOf = ({ whole: { machine }, records }: Run): unknown => [
  machine.processor.retired, machine.processor.executed, machine.statistics().messages, machine.translations?.counts ?? null,
  records.map(({ operation, repetitions, retired, executed, exits, messages, hypercalls }) => ({ operation, repetitions, retired, executed, exits, messages, hypercalls })),
];

describe('ringlet passes through native\'s states, boot and every operation', () => {
  let native: Run;
  beforeAll(async () => { native = await run(NATIVE, true); });

  it.each(Object.keys(PATHS))('%s, observed or not', async (name) => {
    const observed = await run(PATHS[name]!, true);
    expect(observed.places).toEqual(native.places);
    expect(observed.hashes).toEqual(native.hashes);
    expect(observed.whole.machine.stateHash!.samples).toBe(native.whole.machine.stateHash!.samples);
    expect(observed.whole.console).toBe(native.whole.console);
    expect(observed.whole.documents).toEqual(native.whole.documents);
    expect(observed.whole.machine.processor.retired).toBe(native.whole.machine.processor.retired);
    if (PATHS[name]!.mmu === 'shadow') expect(observed.whole.machine.statistics().exits['ept-violation']).toBeUndefined();
    // Counts and the end are the same with nobody watching, in the engine that runs blocks.
    const free = await run(PATHS[name]!, false);
    expect(free.places).toEqual(native.places);
    expect(countsOf(free)).toEqual(countsOf(observed));
  });
});
