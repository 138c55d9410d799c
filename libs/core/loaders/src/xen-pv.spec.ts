import { LoaderError, type LoaderErrorCode } from './loader-error.js';
import { buildElf, concat, wordsToBytes, type TestSegment } from './testing/build-elf.js';
import { START_INFO, type XenDomain, type XenDomainOptions } from './xen-domain.js';
import { buildXenDomain, isXenKernel } from './xen-pv.js';

const VIRT_BASE = 0xc0000000;
const PAGES = 4096; // 16 MiB
/** 7 is coprime with the size: a permutation, at an offset. */
const PFN_TO_MFN = Uint32Array.from({ length: PAGES }, (_, pfn) => 512 + ((pfn * 7 + 3) % PAGES));

function note(type: number, value: string | number): Uint8Array {
  const bytes = typeof value === 'number' ? wordsToBytes(value) : new TextEncoder().encode(`${value}\0`);
  return concat(wordsToBytes(4, bytes.length, type), new TextEncoder().encode('Xen\0'), bytes, new Uint8Array(-bytes.length & 3));
}
const NOTES = [note(6, 'ringlet'), note(7, '1'), note(5, 'xen-3.0'), note(3, VIRT_BASE), note(1, 0xc0101000), note(2, 0xc0102000), note(9, 'yes'), note(8, 'generic'), note(4, 0)];
function kernel(notes: Uint8Array[] = NOTES, text: Partial<TestSegment> = {}): Uint8Array {
  const noteSegment = { type: 4, physical: 0, bytes: concat(...notes) };
  return buildElf(0x101000, [noteSegment, { physical: 0x101000, virtual: 0xc0101000, bytes: new Uint8Array(0x1800).fill(0x90), memoryBytes: 0x5000, ...text }]);
}
function build(options: Partial<XenDomainOptions> = {}): XenDomain {
  return buildXenDomain({ image: kernel(), ramdisk: null, commandLine: 'root=here', pfnToMfn: PFN_TO_MFN, sharedInfoMachineAddress: 0x5000, storeEventChannel: 1, consoleEventChannel: 2, flags: 0, ...options });
}

/** Machine memory that the effects make, walked as the processor would. */
class Machine {
  readonly memory = new DataView(new ArrayBuffer((512 + PAGES) * 4096));
  constructor(readonly domain: XenDomain) {
    for (const effect of domain.effects) if (effect.kind === 'memory') new Uint8Array(this.memory.buffer).set(effect.bytes, effect.address);
  }
  register(name: string): number {
    const found = this.domain.effects.findLast((effect) => effect.kind === 'register' && effect.register === name);
    if (found?.kind !== 'register') throw new Error(`no ${name}`);
    return found.value;
  }
  walk(linear: number): { address: number; writable: boolean; mfn: number } | null {
    let table = this.register('cr3');
    let entry = 0;
    for (const [shift, bits] of [[30, 3], [21, 511], [12, 511]] as const) {
      entry = this.memory.getUint32(table + ((linear >>> shift) & bits) * 8, true);
      if ((entry & 1) === 0) return null;
      table = (entry & 0xfffff000) >>> 0;
    }
    return { address: table + (linear & 0xfff), writable: (entry & 2) !== 0, mfn: table / 4096 };
  }
  read(linear: number): number {
    return this.memory.getUint32(this.walk(linear)!.address, true);
  }
}
function codeOf(attempt: () => unknown): LoaderErrorCode | 'no error' {
  try {
    attempt();
    return 'no error';
  } catch (error) {
    if (!(error instanceof LoaderError)) throw error;
    return error.code;
  }
}

describe('Xen PV domain builder', () => {
  const ramdisk = Uint8Array.from({ length: 5000 }, (_, index) => index);
  const domain = build({ ramdisk });
  const machine = new Machine(domain);

  it('maps the image where its notes say, through machine frames', () => {
    expect(machine.register('eip')).toBe(0xc0101000);
    expect(machine.read(0xc0101000)).toBe(0x90909090);
    expect(machine.walk(0xc0101000)!.mfn).toBe(PFN_TO_MFN[0x101]);
    expect(domain.hypercallPageMfn).toBe(PFN_TO_MFN[0x102]);
    expect(machine.walk(VIRT_BASE - 4096)).toBeNull();
    expect(machine.walk(domain.virtEnd)).toBeNull();
  });

  it('fills start_info', () => {
    const at = domain.startInfo;
    const field = (name: keyof typeof START_INFO): number => machine.read(at + START_INFO[name]);
    let magic = '';
    for (let index = 0; index < 15; index++) magic += String.fromCharCode(machine.memory.getUint8(machine.walk(at + index)!.address));
    expect(magic).toBe('xen-3.0-x86_32p');
    expect(machine.register('esi')).toBe(at);
    expect(field('nr_pages')).toBe(PAGES);
    expect(field('shared_info')).toBe(0x5000);
    expect([field('store_evtchn'), field('console_evtchn')]).toEqual([1, 2]);
    expect(field('store_mfn')).toBe(domain.storeMfn);
    expect(machine.walk(at + 4096)!.mfn).toBe(domain.storeMfn);
    expect(machine.walk(at + 8192)!.mfn).toBe(field('console_mfn'));
    expect(field('pt_base')).toBe(domain.pageTableBase);
    expect(field('nr_pt_frames')).toBe(domain.pageTableFrames);
    expect(field('mfn_list')).toBe(domain.p2mList);
    expect([field('mod_start') % 4096, field('mod_len')]).toEqual([0, 5000]);
    expect(machine.read(field('mod_start') + 8)).toBe(0x0b0a0908);
    expect(machine.memory.getUint8(machine.walk(at + START_INFO.cmd_line)!.address)).toBe('r'.charCodeAt(0));
  });

  it('lists every frame in the p2m list', () => {
    for (const pfn of [0, 1, 1000, PAGES - 1]) expect(machine.read(domain.p2mList + pfn * 4)).toBe(PFN_TO_MFN[pfn]);
  });

  it('orders the parts and pads to 4 MiB with at least 512 KiB', () => {
    const order = [machine.read(domain.startInfo + START_INFO.mod_start), domain.p2mList, domain.startInfo, domain.pageTableBase, domain.stackPointer - 4096];
    expect([...order].sort((a, b) => a - b)).toEqual(order);
    expect(domain.virtEnd % (4 << 20)).toBe(0);
    expect(domain.virtEnd - domain.stackPointer).toBeGreaterThanOrEqual(512 << 10);
    expect(domain.stackPointer).toBe(domain.pageTableBase + (domain.pageTableFrames + 1) * 4096);
  });

  it('maps page tables read-only and everything else writable, and says so frame by frame', () => {
    const tables = new Set(domain.frames.filter((frame) => frame.type !== 'writable').map((frame) => frame.mfn));
    expect(tables.size).toBe(domain.pageTableFrames);
    expect(domain.frames).toHaveLength((domain.virtEnd - domain.virtStart) / 4096);
    for (const frame of domain.frames) {
      const mapping = machine.walk(frame.linear!)!;
      expect([mapping.mfn, mapping.writable]).toEqual([PFN_TO_MFN[frame.pfn], !tables.has(frame.mfn)]);
      expect([frame.mfn, frame.writable]).toEqual([mapping.mfn, mapping.writable]);
    }
    for (let index = 0; index < domain.pageTableFrames; index++) expect(machine.walk(domain.pageTableBase + index * 4096)!.writable).toBe(false);
    expect(domain.frames.filter((frame) => frame.pinned).map((frame) => frame.mfn)).toEqual([domain.rootMfn]);
    expect(domain.frames.filter((frame) => frame.type === 'l2').length).toBe(1);
  });

  it('gives a kernel with a low base an L2 table for the last gigabyte too, where Xen has its entries', () => {
    const low = build({ image: kernel([note(3, 0x400000), note(4, 0), note(1, 0x501000), note(9, 'yes')], { physical: 0x101000, virtual: 0x501000 }) });
    const other = new Machine(low);
    expect(low.virtStart).toBe(0x400000);
    expect(low.frames.filter((frame) => frame.type === 'l2').length).toBe(2);
    expect(other.memory.getUint32(other.register('cr3') + 3 * 8, true) & 1).toBe(1);
    expect(other.read(0x501000)).toBe(0x90909090);
  });

  it('enters ring 1 with paging on', () => {
    expect(machine.register('cpl')).toBe(1);
    expect(machine.register('cr0') & 0x80000001).toBe(0x80000001 | 0);
    expect(machine.register('cr4')).toBe(0x20);
    expect(machine.register('cr3')).toBe(domain.rootMfn * 4096);
    const selectors = domain.effects.filter((effect) => effect.kind === 'segment').map((effect) => effect.selector);
    expect(selectors).toEqual([0xe019, 0xe021, 0xe021, 0xe021, 0xe021, 0xe021]);
  });

  it('reads the string of older kernels', () => {
    const text = 'GUEST_OS=mini,XEN_VER=xen-3.0,VIRT_BASE=0xC0000000,ELF_PADDR_OFFSET=0xC0000000,HYPERCALL_PAGE=0x2,PAE=yes,LOADER=generic\0';
    const image = buildElf(0xc0001000, [{ physical: 0xc0000000, bytes: new Uint8Array(0x3000) }], [{ name: '__xen_guest', bytes: new TextEncoder().encode(text) }]);
    const old = build({ image });
    expect(old.entry).toBe(0xc0001000);
    expect(old.notes.guestOs).toBe('mini');
    expect(old.hypercallPageMfn).toBe(PFN_TO_MFN[2]);
    expect(isXenKernel(image)).toBe(true);
  });

  it.each<[LoaderErrorCode, Partial<XenDomainOptions>]>([
    ['no-xen-notes', { image: buildElf(0x100000, [{ physical: 0x100000, bytes: new Uint8Array(16) }]) }],
    ['xen-not-pae', { image: kernel(NOTES.map((bytes) => (bytes[8] === 9 ? note(9, 'no') : bytes))) }],
    ['xen-not-pae', { image: kernel(NOTES.filter((bytes) => bytes[8] !== 9)) }],
    ['xen-bad-notes', { image: kernel(NOTES.map((bytes) => (bytes[8] === 1 ? note(1, 0xc0000000) : bytes))) }],
    ['xen-bad-notes', { image: kernel(NOTES.filter((bytes) => bytes[8] !== 3)) }],
    ['xen-bad-notes', { image: kernel(NOTES.map((bytes) => (bytes[8] === 2 ? note(2, 0xc0102004) : bytes))) }],
    ['image-larger-than-ram', { pfnToMfn: PFN_TO_MFN.slice(0, 512) }],
    ['command-line-too-long', { commandLine: 'x'.repeat(1024) }],
    ['elf-64-bit', { image: Uint8Array.of(0x7f, 0x45, 0x4c, 0x46, 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0) }],
  ])('refuses with %s', (code, options) => {
    expect(codeOf(() => build(options))).toBe(code);
  });

  it('meets damaged images with a LoaderError or a domain, nothing else', () => {
    const image = kernel();
    let refused = 0;
    for (let round = 0; round < 600; round++) {
      const damaged = image.slice();
      // Headers and notes stand in the first bytes; a fixed walk over them, one or two words at a time.
      for (let hit = 0; hit <= round % 2; hit++) new DataView(damaged.buffer).setUint32((round * 4 + hit * 52) % 320, [0, 1, 0xffff_ffff, 0x8000_0000, 0x1000, 0xf5800000][(round + hit) % 6]!, true);
      if (codeOf(() => build({ image: damaged })) !== 'no error') refused++;
    }
    expect(refused).toBeGreaterThan(120);
  });
});
