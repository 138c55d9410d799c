import { diskImage, guestImage, RINGLET } from '@ringside/guests';
import { SingleProcess, specOf } from './single-process.js';

const GENERAL = ['eax', 'ecx', 'edx', 'ebx', 'esp', 'ebp', 'esi', 'edi'] as const;

/** EIP and general registers as a person sees them who steps the machine. */
function seen({ machine: { processor, translations } }: SingleProcess): string {
  const under = translations?.peek() ?? null;
  const general = under === null ? GENERAL.map((name) => processor.getRegister(name)) : [...under.general];
  return [under?.eip ?? processor.getRegister('eip'), ...general].map((word) => (word >>> 0).toString(16)).join(' ');
}

it('a kernel under binary translation that is stepped shows native\'s registers at each instruction, and looking changes nothing', async () => {
  const image = await guestImage('ringlet');
  const disk = await diskImage(RINGLET.disk);
  const native = await SingleProcess.create({ spec: specOf(), image, disk });
  const translated = await SingleProcess.create({ spec: specOf({ path: 'binary-translation', mmu: 'shadow', guestKernelRing: 1 }), image, disk });
  const unobserved = await SingleProcess.create({ spec: specOf({ path: 'binary-translation', mmu: 'shadow', guestKernelRing: 1 }), image, disk });
  const rings = new Set<number>();
  // At its beginning; where the kernel has interrupts; and to its end, where the first application runs and calls the kernel.
  for (const [skip, steps] of [[0, 1_000], [100_000, 1_000], [97_000, 3_600]] as const) {
    for (const whole of [native, translated, unobserved]) if (skip > 0) await whole.machine.step({ instructions: skip });
    for (let n = 0; n < steps; n++) {
      for (const whole of [native, translated, unobserved]) await whole.machine.step({ instructions: 1 });
      rings.add(native.machine.processor.getRegister('cpl'));
      if (seen(translated) !== seen(native)) expect([native.machine.processor.retired, seen(translated)]).toEqual([native.machine.processor.retired, seen(native)]);
    }
    expect(translated.machine.processor.retired).toBe(native.machine.processor.retired);
  }
  expect([...rings].sort()).toEqual([0, 3]);
  expect(translated.machine.translations!.counts).toEqual(unobserved.machine.translations!.counts);
});
