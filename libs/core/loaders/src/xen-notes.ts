/**
 * What a Xen guest kernel says about itself: ELF notes with the name "Xen", or the string in the section `__xen_guest` of
 * older kernels. Reference: xen/include/public/elfnote.h; xen/common/libelf/libelf-dominfo.c for the defaults.
 */
import { cString, type ElfImage } from './elf32.js';
import { LoaderError } from './loader-error.js';
import type { XenImageNotes } from './xen-domain.js';

/** Note types (elfnote.h). */
export const XEN_ELFNOTE = {
  INFO: 0, ENTRY: 1, HYPERCALL_PAGE: 2, VIRT_BASE: 3, PADDR_OFFSET: 4, XEN_VERSION: 5, GUEST_OS: 6, GUEST_VERSION: 7, LOADER: 8,
  PAE_MODE: 9, FEATURES: 10, BSD_SYMTAB: 11, HV_START_LOW: 12, L1_MFN_VALID: 13, SUSPEND_CANCEL: 14,
} as const;
const OLD_SECTION = '__xen_guest';
const PAGE_SHIFT = 12;

/** Collected values before defaults: numbers and texts by note type. */
interface RawNotes { readonly numbers: Map<number, number>; readonly texts: Map<number, string>; readonly old: boolean }

/** Throws LoaderError `no-xen-notes` for a kernel that was not built for this path. */
export function readXenNotes(elf: ElfImage): XenImageNotes {
  const raw = fromNotes(elf) ?? fromOldSection(elf);
  if (raw === null) {
    throw new LoaderError('no-xen-notes', 'The image has no Xen ELF notes, so it is not a paravirtualized kernel: choose a kernel built for Xen PV, or another path for this one.');
  }
  const { numbers, texts, old } = raw;
  const virtBase = numbers.get(XEN_ELFNOTE.VIRT_BASE);
  if (virtBase === undefined && numbers.has(XEN_ELFNOTE.PADDR_OFFSET)) {
    throw new LoaderError('xen-bad-notes', "The image's Xen notes give a physical offset (PADDR_OFFSET) without VIRT_BASE: add VIRT_BASE.");
  }
  const hypercallPage = numbers.get(XEN_ELFNOTE.HYPERCALL_PAGE) ?? null;
  return {
    guestOs: texts.get(XEN_ELFNOTE.GUEST_OS) ?? '',
    guestVersion: texts.get(XEN_ELFNOTE.GUEST_VERSION) ?? '',
    xenVersion: texts.get(XEN_ELFNOTE.XEN_VERSION) ?? '',
    loader: texts.get(XEN_ELFNOTE.LOADER) ?? '',
    virtBase: virtBase ?? 0,
    paddrOffset: numbers.get(XEN_ELFNOTE.PADDR_OFFSET) ?? (old ? virtBase ?? 0 : 0),
    entry: numbers.get(XEN_ELFNOTE.ENTRY) ?? elf.entry,
    // The old string gives the page's number within the kernel, the note its address.
    hypercallPage: hypercallPage !== null && old ? ((virtBase ?? 0) + hypercallPage * (1 << PAGE_SHIFT)) >>> 0 : hypercallPage,
    features: (texts.get(XEN_ELFNOTE.FEATURES) ?? '').split('|').filter((feature) => feature !== ''),
    paeMode: texts.get(XEN_ELFNOTE.PAE_MODE) ?? 'no',
    suspendCancel: (numbers.get(XEN_ELFNOTE.SUSPEND_CANCEL) ?? 0) !== 0,
  };
}

/** Note: name size, descriptor size, type, name and descriptor, both padded to 4 bytes. Null if there is none of Xen's. */
function fromNotes(elf: ElfImage): RawNotes | null {
  const numbers = new Map<number, number>();
  const texts = new Map<number, string>();
  for (const bytes of noteBytes(elf)) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (let at = 0; at + 12 <= bytes.length;) {
      const nameBytes = view.getUint32(at, true);
      const valueBytes = view.getUint32(at + 4, true);
      const type = view.getUint32(at + 8, true);
      const valueAt = at + 12 + padded(nameBytes);
      if (valueAt + valueBytes > bytes.length) break;
      if (nameBytes === 4 && cString(bytes, at + 12) === 'Xen') {
        if (valueBytes === 4 || valueBytes === 8) numbers.set(type, view.getUint32(valueAt, true));
        texts.set(type, cString(bytes.subarray(0, valueAt + valueBytes), valueAt));
      }
      at = valueAt + padded(valueBytes);
    }
  }
  return texts.size === 0 ? null : { numbers, texts, old: false };
}

/** PT_NOTE segments, or for kernels linked without one, sections of type SHT_NOTE. */
function noteBytes(elf: ElfImage): readonly Uint8Array[] {
  const SHT_NOTE = 7;
  return elf.notes.length > 0 ? elf.notes : elf.sections.filter((section) => section.type === SHT_NOTE).map((section) => section.bytes);
}

function padded(length: number): number {
  return Math.ceil(length / 4) * 4;
}

/** KEY=value,KEY=value … */
function fromOldSection(elf: ElfImage): RawNotes | null {
  const section = elf.sections.find((candidate) => candidate.name === OLD_SECTION);
  if (section === undefined) return null;
  const numbers = new Map<number, number>();
  const texts = new Map<number, string>();
  const keys: Record<string, number> = {
    GUEST_OS: XEN_ELFNOTE.GUEST_OS, GUEST_VER: XEN_ELFNOTE.GUEST_VERSION, XEN_VER: XEN_ELFNOTE.XEN_VERSION, LOADER: XEN_ELFNOTE.LOADER,
    VIRT_BASE: XEN_ELFNOTE.VIRT_BASE, ELF_PADDR_OFFSET: XEN_ELFNOTE.PADDR_OFFSET, VIRT_ENTRY: XEN_ELFNOTE.ENTRY,
    HYPERCALL_PAGE: XEN_ELFNOTE.HYPERCALL_PAGE, PAE: XEN_ELFNOTE.PAE_MODE, FEATURES: XEN_ELFNOTE.FEATURES,
  };
  for (const part of cString(section.bytes, 0).split(',')) {
    const [key = '', value = ''] = part.split('=', 2).map((text) => text.trim());
    const type = keys[key];
    if (type === undefined) continue;
    texts.set(type, value);
    const number = Number(value);
    if (value !== '' && Number.isInteger(number) && number >= 0 && number <= 0xffff_ffff) numbers.set(type, number);
  }
  return { numbers, texts, old: true };
}
