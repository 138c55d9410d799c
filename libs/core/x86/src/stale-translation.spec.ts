import { RAM_BASE } from './cpu.js';
import { EXECUTE, READ, WRITE } from './paging.js';
import { Processor } from './processor.js';
import { StepResult } from './step.js';

/** A guest edits its page tables and goes on without INVLPG (SDM Vol. 3A 4.10.4): the hook says where that first matters. */

const CODE = 0x5000, DIRECTORY = 0x1000, TABLE = 0x2000, PAGE = 0x9000, OTHER = 0xa000;
const P = 1, W = 2, A = 0x20, D = 0x40, ALL = P | W | A | D;
const HLT = 0xf4;
const word = (value: number): number[] => [value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24];
const load = (address: number): number[] => [0xa1, ...word(address)]; // mov eax, [address]
const store = (address: number): number[] => [0xa3, ...word(address)]; // mov [address], eax
const put = (address: number, value: number): number[] => [0xc7, 0x05, ...word(address), ...word(value)];
const entry = (page: number): number => TABLE + (page >>> 12) * 4;
const invlpg = (address: number): number[] => [0x0f, 0x01, 0x3d, ...word(address)];
const reload = [0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8]; // mov eax, cr3; mov cr3, eax

/** Runs the code with paging on, pages 0–15 one to one; PAGE begins with `flags`. */
function run(code: number[], flags = ALL, watched = true): Processor {
  const processor = new Processor({ ramBytes: 0x4_0000 });
  processor.writePhysical('guest', DIRECTORY, Uint8Array.from(word(TABLE | ALL)));
  for (let page = 0; page < 16; page++) processor.writePhysical('guest', TABLE + page * 4, Uint8Array.from(word(page * 4096 | (page === PAGE >> 12 ? flags : ALL))));
  processor.writePhysical('guest', CODE, Uint8Array.from([...code, HLT]));
  processor.setRegister('cr3', DIRECTORY);
  processor.setRegister('cr0', 0x8001_0011);
  processor.setRegister('eip', CODE);
  if (watched) processor.watchStaleTranslations();
  expect(processor.step(1000)).toBe(StepResult.Halted);
  return processor;
}

describe('the first use of a stale TLB entry', () => {
  it.each([
    // what is done: first access, edit, second access
    ['another frame', [...load(PAGE), ...put(entry(PAGE), OTHER | ALL), ...load(PAGE)], ALL, { linear: PAGE, access: READ, difference: 'frame', retired: 2 }],
    ['not present', [...load(PAGE), ...put(entry(PAGE), 0), ...store(PAGE + 8)], ALL, { linear: PAGE + 8, access: WRITE, difference: 'fault', retired: 2 }],
    ['read-only now', [...store(PAGE), ...put(entry(PAGE), PAGE | P | A | D), ...load(PAGE), ...store(PAGE)], ALL, { linear: PAGE, access: WRITE, difference: 'fault', retired: 3 }],
    ['off RAM', [...load(PAGE), ...put(entry(PAGE), 0x8000_0000 | ALL), ...load(PAGE + 4)], ALL, { linear: PAGE + 4, access: READ, difference: 'frame', retired: 2 }],
    ['accessed bit cleared', [...load(PAGE), ...put(entry(PAGE), PAGE | P | W), ...load(PAGE)], ALL, { linear: PAGE, access: READ, difference: 'marks', retired: 2 }],
    ['dirty bit cleared, then read, then written', [...store(PAGE), ...put(entry(PAGE), PAGE | P | W | A), ...load(PAGE), ...store(PAGE)], ALL, { linear: PAGE, access: WRITE, difference: 'marks', retired: 3 }],
    ['the page of the code itself', [0x90, ...put(entry(CODE), 0), 0x90], ALL, { linear: CODE + 11, access: EXECUTE, difference: 'fault', retired: 2 }],
  ] as const)('%s', (_, code, flags, expected) => {
    expect(run([...code], flags).staleTranslation).toEqual({ user: false, ...expected });
  });

  it.each([
    ['INVLPG', [...load(PAGE), ...put(entry(PAGE), OTHER | ALL), ...invlpg(PAGE), ...load(PAGE)], ALL],
    ['a reload of CR3', [...load(PAGE), ...put(entry(PAGE), OTHER | ALL), ...reload, ...load(PAGE)], ALL],
    ['an edit that the access does not meet', [...load(PAGE), ...put(entry(PAGE), PAGE | P | A | D), ...load(PAGE)], ALL],
    ['a page that was never used', [...put(entry(PAGE), OTHER | ALL), ...load(PAGE)], ALL],
    ['a write that walks for the dirty bit', [...load(PAGE), ...put(entry(PAGE), OTHER | P | W | A), ...store(PAGE)], P | W | A],
    ['the same entry written again', [...store(PAGE), ...put(entry(PAGE), PAGE | ALL), ...store(PAGE)], ALL],
  ] as const)('is not %s', (_, code, flags) => {
    expect(run([...code], flags).staleTranslation).toBeNull();
  });

  it('goes on as it would unwatched: with the stale entry', () => {
    const code = [...put(OTHER + 4, 7), ...store(PAGE), ...put(entry(PAGE), OTHER | ALL), ...put(PAGE + 4, 99), ...load(OTHER + 4)];
    const [watched, free] = [run(code), run(code, ALL, false)];
    expect(watched.staleTranslation).toMatchObject({ difference: 'frame', retired: 3 });
    expect([watched.getRegister('eax'), free.getRegister('eax')]).toEqual([7, 7]);
    expect(Buffer.compare(watched.readPhysical('guest', 0, 0x4_0000), free.readPhysical('guest', 0, 0x4_0000))).toBe(0);
    expect([watched.retired, watched.getRegister('cr2')]).toEqual([free.retired, free.getRegister('cr2')]);
    expect(watched.cpu.i32[(RAM_BASE + PAGE + 4) >> 2]).toBe(99);
  });
});
