import { diskImage, guestImage, RINGLET } from '@ringside/guests';
import type { VmSpec } from '@ringside/machine';
import { SingleProcess, specOf } from './single-process.js';

/**
 * A program in ring 3 that does what it must not do: every attempt ends as on hardware, on every path. (The list of what is to be
 * refused was checked with QEMU and, for the paravirtualized build, with Xen.)
 */
const PATHS = {
  native: { path: 'native', mmu: 'none' },
  'hardware-assisted': { path: 'hardware-assisted', mmu: 'nested' },
  paravirt: { path: 'paravirt', mmu: 'direct', guestKernelRing: 1, grantedPorts: [...RINGLET.grantedPorts] },
  'paravirt, kernel in ring 3': { path: 'paravirt', mmu: 'direct', guestKernelRing: 3, grantedPorts: [...RINGLET.grantedPorts] },
} satisfies Record<string, Partial<VmSpec>>;

/** The console without the kernel's lines about faults, whose frames and addresses differ. */
const answers = (console: string): string[] => console.split('\r\n').filter((line) => line.includes(': ') && !line.startsWith('trespass (pid'));

async function trespass(path: keyof typeof PATHS): Promise<string[]> {
  const whole = await SingleProcess.create({
    spec: specOf({ ...PATHS[path], memoryMiB: 12, script: ['trespass', RINGLET.haltCommand].map((line) => ({ expect: RINGLET.prompt, send: `${line}\n` })) }),
    image: await guestImage(PATHS[path].path === 'paravirt' ? 'ringlet-pv' : 'ringlet'), disk: await diskImage(RINGLET.disk),
  });
  await whole.machine.run();
  expect([path, whole.machine.state]).toEqual([path, 'shutdown']);
  return answers(whole.console);
}

test('what a program must not do is refused alike on every path', async () => {
  const native = await trespass('native');
  expect(native).toContain('trespass: 40 of 40 refused');
  expect(native.length).toBeGreaterThan(40);
  expect(await trespass('hardware-assisted')).toEqual(native);
  expect(await trespass('paravirt')).toEqual(native);
  expect(await trespass('paravirt, kernel in ring 3')).toEqual(native);
});
