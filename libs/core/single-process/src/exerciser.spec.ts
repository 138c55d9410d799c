import { readFile } from 'node:fs/promises';
import type { VmSpec } from '@ringside/machine';
import { SingleProcess, specOf } from './single-process.js';

/** libs/guests/exerciser: a kernel that is not the teaching kernel, with QEMU's answers. */
const exerciser = (file: string): Promise<Buffer> => readFile(new URL(`../../../guests/exerciser/${file}`, import.meta.url));

const PATHS: Record<string, Partial<VmSpec>> = {
  'hardware-assisted with nested paging': { path: 'hardware-assisted', mmu: 'nested' },
  'hardware-assisted with shadow paging': { path: 'hardware-assisted', mmu: 'shadow' },
  'binary-translation': { path: 'binary-translation', mmu: 'shadow', guestKernelRing: 1 },
};

let image: Uint8Array;
let recorded: string;
let native: SingleProcess;
beforeAll(async () => {
  image = await exerciser('exerciser.elf');
  recorded = (await exerciser('qemu.txt')).toString();
  native = await run({});
});

it('native: every exercise ends as in QEMU', () => {
  expect(native.console).toBe(recorded);
  expect(native.machine.why).toMatch(/power off/);
});

it.each(Object.keys(PATHS))('%s: every exercise ends as in QEMU, through the states of native', async (name) => {
  const whole = await run(PATHS[name]!);
  expect(whole.console).toBe(recorded);
  expect(states(whole)).toEqual(states(native));
});

async function run(changes: Partial<VmSpec>): Promise<SingleProcess> {
  const whole = await SingleProcess.create({ spec: specOf({ hashStates: true, ...changes }), image });
  await whole.machine.step({ instructions: 20_000_000 });
  return whole;
}

const states = ({ machine: { processor, stateHash, why } }: SingleProcess): object => ({ why, retired: processor.retired, hash: stateHash!.value });
