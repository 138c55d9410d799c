import type { Effect } from '@ringside/machine';
import { LoaderError, type LoaderErrorCode } from './loader-error.js';
import { CHUNK_BYTES } from './memory-effects.js';
import { isMultiboot, loadMultiboot, type LoadedMultiboot, type MultibootOptions } from './multiboot.js';
import { buildElf, concat, wordsToBytes } from './testing/build-elf.js';

const MAGIC = 0x1badb002;
const MIB = 1_048_576;
function header(flags: number, ...addresses: number[]): Uint8Array {
  return wordsToBytes(MAGIC, flags, -(MAGIC + flags), ...addresses);
}
const CODE = Uint8Array.of(0xf4, 0xeb, 0xfd, 0x90);
const KERNEL = buildElf(0x10000c, [{ physical: 0x100000, bytes: concat(header(3), CODE), memoryBytes: 0x2000 }]);

function load(image: Uint8Array, options: Partial<MultibootOptions> = {}): LoadedMultiboot {
  return loadMultiboot({ image, memoryBytes: 16 * MIB, commandLine: 'a=1 b', ...options });
}

/** The RAM that a list of effects makes. */
function ram(effects: readonly Effect[], bytes = 16 * MIB): DataView {
  const memory = new Uint8Array(bytes);
  for (const effect of effects) if (effect.kind === 'memory') memory.set(effect.bytes, effect.address);
  return new DataView(memory.buffer);
}
function text(memory: DataView, at: number): string {
  let result = '';
  for (let index = at; memory.getUint8(index) !== 0; index++) result += String.fromCharCode(memory.getUint8(index));
  return result;
}
function register(effects: readonly Effect[], name: string): number | undefined {
  const found = effects.findLast((effect) => effect.kind === 'register' && effect.register === name);
  return found?.kind === 'register' ? found.value : undefined;
}
function codeOf(attempt: () => unknown): LoaderErrorCode | 'no error' {
  try {
    attempt();
    return 'no error';
  } catch (error) {
    if (!(error instanceof LoaderError)) throw error;
    expect(error.message).toMatch(/^[A-Z].*[.)]$/);
    return error.code;
  }
}

describe('Multiboot', () => {
  it('puts the image, the information and the entry state in place', () => {
    const { effects, entry, info, end } = load(KERNEL);
    const memory = ram(effects);
    expect(entry).toBe(0x10000c);
    expect(end).toBe(0x102000);
    expect(memory.getUint32(0x100000, true)).toBe(MAGIC);
    expect(memory.getUint8(0x10000c)).toBe(0xf4);
    expect(memory.getUint32(info, true)).toBe(0x24d);
    expect(memory.getUint32(info + 4, true)).toBe(640);
    expect(memory.getUint32(info + 8, true)).toBe(15 * 1024);
    expect(text(memory, memory.getUint32(info + 16, true))).toBe('a=1 b');
    expect(text(memory, memory.getUint32(info + 64, true))).toBe('Ringside');
    expect(register(effects, 'eax')).toBe(0x2badb002);
    expect(register(effects, 'ebx')).toBe(info);
    expect(register(effects, 'eip')).toBe(entry);
    expect(register(effects, 'cr0')).toBe(0x11);
    expect(register(effects, 'eflags')).toBe(2);
    expect(effects.find((effect) => effect.kind === 'segment' && effect.segment === 'cs')).toMatchObject({ base: 0, limit: 0xffff_ffff, rights: 0xc09b });
    expect(effects.filter((effect) => effect.kind === 'segment' && effect.rights === 0xc093)).toHaveLength(5);
  });

  it('describes RAM in the memory map', () => {
    const { effects, info } = load(KERNEL);
    const memory = ram(effects);
    const entries: number[][] = [];
    const at = memory.getUint32(info + 48, true);
    for (let offset = 0; offset < memory.getUint32(info + 44, true); offset += memory.getUint32(at + offset, true) + 4) {
      entries.push([4, 12, 20].map((field) => memory.getUint32(at + offset + field, true)));
    }
    expect(entries).toEqual([[0, 0xa0000, 1], [0xa0000, 0x60000, 2], [MIB, 15 * MIB, 1]]);
  });

  it('places modules on pages of their own behind .bss', () => {
    const { effects, info, end } = load(KERNEL, { modules: [{ bytes: Uint8Array.of(1, 2, 3), commandLine: 'one' }, { bytes: Uint8Array.of(9), commandLine: 'two x' }] });
    const memory = ram(effects);
    const table = memory.getUint32(info + 24, true);
    expect(memory.getUint32(info + 20, true)).toBe(2);
    expect([memory.getUint32(table, true), memory.getUint32(table + 4, true)]).toEqual([0x102000, 0x102003]);
    expect([memory.getUint32(table + 16, true), memory.getUint32(table + 20, true)]).toEqual([0x103000, 0x103001]);
    expect(text(memory, memory.getUint32(table + 24, true))).toBe('two x');
    expect(memory.getUint8(0x103000)).toBe(9);
    expect(end).toBe(0x103001);
  });

  it('takes the entry point of a higher-half kernel as its physical address', () => {
    const image = buildElf(0xc010000c, [{ physical: 0x100000, virtual: 0xc0100000, bytes: concat(header(0), CODE) }]);
    expect(load(image).entry).toBe(0x10000c);
  });

  it('loads a flat file by the address fields of its header', () => {
    const body = concat(new Uint8Array(64), header(0x10000, 0x200040, 0x200000, 0, 0x201000, 0x200060), CODE, new Uint8Array(12));
    const { effects, entry, end } = load(body);
    expect(entry).toBe(0x200060);
    expect(end).toBe(0x201000);
    expect(ram(effects).getUint32(0x200040, true)).toBe(MAGIC);
    expect(ram(effects).getUint8(0x200060)).toBe(0xf4);
  });

  it('keeps the information out of the way of a kernel in low memory', () => {
    const image = buildElf(0x1000c, [{ physical: 0x10000, bytes: concat(header(0), CODE), memoryBytes: 0x90000 - 16 }]);
    const { info } = load(image);
    expect(info).toBeGreaterThanOrEqual(0x100000);
  });

  it('cuts memory into chunks of at most 256 KiB', () => {
    const image = buildElf(0x10000c, [{ physical: 0x100000, bytes: concat(header(0), new Uint8Array(600_000).fill(7)) }]);
    const { effects } = load(image);
    const pieces = effects.filter((effect) => effect.kind === 'memory');
    expect(pieces.every((piece) => piece.bytes.length <= CHUNK_BYTES)).toBe(true);
    expect(ram(effects).getUint8(0x100000 + 600_000)).toBe(7);
  });

  it('finds the header only aligned, with a right checksum, in the first 8192 bytes', () => {
    expect(isMultiboot(concat(new Uint8Array(8180), header(0)))).toBe(true);
    expect(isMultiboot(concat(new Uint8Array(8184), header(0)))).toBe(false);
    expect(isMultiboot(concat(new Uint8Array(2), header(0), new Uint8Array(8)))).toBe(false);
    expect(isMultiboot(wordsToBytes(MAGIC, 0, 5))).toBe(false);
  });

  it.each<[LoaderErrorCode, Uint8Array, Partial<MultibootOptions>]>([
    ['not-elf', new TextEncoder().encode('#!/bin/sh\necho hello\n'), {}],
    ['not-elf', new Uint8Array(0), {}],
    ['no-multiboot-header', buildElf(0x100000, [{ physical: 0x100000, bytes: CODE }]), {}],
    ['image-larger-than-ram', KERNEL, { memoryBytes: MIB }],
    ['image-larger-than-ram', buildElf(0x10000c, [{ physical: 0x100000, bytes: concat(header(0), CODE), memoryBytes: 0x7000_0000 }]), {}],
    ['multiboot-unsupported-flags', buildElf(0x10000c, [{ physical: 0x100000, bytes: concat(header(4), CODE) }]), {}],
    ['multiboot-bad-address', header(0x10000, 0x100000, 0x100000, 0x300000, 0, 0x100000), {}],
    ['bad-entry', buildElf(0x900000, [{ physical: 0x100000, bytes: concat(header(0), CODE) }]), {}],
    ['command-line-too-long', KERNEL, { commandLine: 'x'.repeat(5000) }],
  ])('refuses with %s', (code, image, options) => {
    expect(codeOf(() => load(image, options))).toBe(code);
  });
});
