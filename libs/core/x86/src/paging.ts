import { isWatched } from './breakpoints.js';
import { codeWritten } from './code-cache.js';
import { RAM_BASE, type Cpu } from './cpu.js';
import { NESTED_WALK_READS, PAGE_WALK_READS } from './event-counters.js';
import { ExitReason } from './exit-reason.js';
import { isControlTransfer, leave, PF, raise } from './fault.js';
import { guestFrame, walkGuest } from './guest-walk.js';
import { SHADOW_TRACED } from './shadow-entry.js';
import { CR0, CR2, CR3, CR4, EFER, FAULT_HAS_ERROR, FAULT_VECTOR, PDPTE } from './state.js';
import type { StaleTranslationWatch } from './stale-translation.js';
import { EventType } from './step.js';
import { TLB_CODE, TLB_END, TLB_ENTRIES, TLB_INVALID, TLB_SUPERVISOR, TLB_USER, TLB_WATCHED } from './tlb.js';

/**
 * Paging (SDM Vol. 3A chapter 4): the two-level and the PAE walk, the EPT walk under them (Vol. 3C 29.3), and the TLB that
 * holds their combination.
 */

const { floor } = Math;

export const READ = 0;
export const WRITE = 1;
export const EXECUTE = 2;
export type Access = typeof READ | typeof WRITE | typeof EXECUTE;

const CR0_WP = 1 << 16;
const CR0_PG = 1 << 31;
const CR4_PSE = 1 << 4;
const CR4_PAE = 1 << 5;
const CR4_PGE = 1 << 7;
const EFER_NXE = 1 << 11;

// Paging-structure entries (SDM Vol. 3A 4.3, 4.4); in a PAE entry XD is bit 63.
const PRESENT = 1;
const WRITABLE = 2;
const USER = 4;
const ACCESSED = 0x20;
const DIRTY = 0x40;
const LARGE = 0x80;
const GLOBAL = 0x100;

// Page-fault error code (SDM Vol. 3A 4.7).
const ERROR_PROTECTION = 1;
const ERROR_WRITE = 2;
const ERROR_USER = 4;
const ERROR_RESERVED = 8;
const ERROR_FETCH = 16;

/**
 * Byte offset in the VM's memory of a page frame, or -1 if the frame is on the empty bus. `frame` is a guest-physical (paravirt:
 * machine-physical) address divided by 4 KiB.
 */
export function frameOffset(cpu: Cpu, frame: number): number {
  if (cpu.frames.size > 0) {
    const mapped = cpu.frames.get(frame);
    if (mapped !== undefined) return mapped;
  }
  if (frame < cpu.ramBytes >>> 12) return RAM_BASE + frame * 4096;
  return cpu.frameSource === null ? -1 : cpu.frameSource.wanted(frame);
}

/**
 * Translate a linear address for one access that stays inside a page. Returns the byte offset in the VM's memory, or -1 when the
 * frame is not RAM, with the guest-physical address in `cpu.busPhysical`. Raises #PF; leaves with an EPT violation.
 */
export function translate(cpu: Cpu, linear: number, access: Access, user: boolean): number {
  const entry = (user ? TLB_USER : TLB_SUPERVISOR) + ((linear >>> 10) & 0x3ffc);
  if ((cpu.i32[entry + access]! & ~TLB_CODE) === (linear & 0xfffff000)) return (linear + cpu.i32[entry + 3]!) | 0;
  return walk(cpu, linear, access, user, entry);
}

// What a walk found; module variables because a walk is never re-entered and this spares an object for each miss.
let foundFrame = 0;
let foundWritable = false;
let foundUser = false;
let foundDirty = false;
let foundExecutable = false;
let foundGlobal = false;
let foundLarge = false;
/** A walk that sets no bit: it found an accessed or dirty bit to be set. */
let foundUnmarked = false;
// What EPT allowed for the last translation.
let eptWritable = true;
let eptExecutable = true;
/** A person looks: nothing is counted. */
let peeking = false;

function walk(cpu: Cpu, linear: number, access: Access, user: boolean, entry: number): number {
  if (cpu.staleWatch !== null && (cpu.i32[entry + access]! & ~TLB_CODE) === ((linear & 0xfffff000) | TLB_WATCHED)) {
    const held = (linear + cpu.i32[entry + 3]!) | 0;
    if (cpu.staleWatch.first === null) judgeHeld(cpu, cpu.staleWatch, linear, access, user, held);
    return held;
  }
  if (cpu.controls.shadowRoot !== null) return walkShadow(cpu, cpu.controls.shadowRoot, linear, access, user, entry);
  if ((cpu.i32[CR0]! & CR0_PG) === 0) {
    foundFrame = linear >>> 12;
    foundWritable = foundUser = foundDirty = foundExecutable = foundGlobal = true;
    foundLarge = false;
  } else if ((cpu.i32[CR4]! & CR4_PAE) !== 0) {
    walkPae(cpu, linear, access, user, true);
  } else {
    walkTwoLevel(cpu, linear, access, user, true);
  }
  const writable = foundWritable || (!user && (cpu.i32[CR0]! & CR0_WP) === 0);
  const mayWrite = writable && foundDirty;
  const frame = foundFrame;
  let hostFrame = frame;
  eptWritable = eptExecutable = true;
  if (cpu.controls.eptRoot !== null) {
    const large = foundLarge;
    hostFrame = walkEpt(cpu, frame * 4096 + (linear & 0xfff), access, linear, true);
    foundLarge = large;
    if (hostFrame < 0) { // memory.ts looks for an answer to this access, or leaves
      cpu.busPhysical = frame * 4096 + (linear & 0xfff);
      cpu.eptViolated = true;
      return -1;
    }
  }
  const host = frameOffset(cpu, hostFrame);
  if (host < 0) {
    cpu.busPhysical = frame * 4096 + (linear & 0xfff);
    cpu.eptViolated = false;
    return -1;
  }
  enterTlb(cpu, entry, linear, host, mayWrite && eptWritable, foundExecutable && eptExecutable, foundGlobal);
  if (foundLarge) cpu.tlbLarge = true;
  return host + (linear & 0xfff);
}

/** Keep a translation: the page of `linear` lies at byte offset `host`. */
function enterTlb(cpu: Cpu, entry: number, linear: number, host: number, writable: boolean, executable: boolean, global: boolean): void {
  const { i32 } = cpu;
  if (cpu.debugging && isWatched(cpu, linear & 0xfffff000)) return;
  const page = cpu.staleWatch === null ? linear & 0xfffff000 : (linear & 0xfffff000) | TLB_WATCHED;
  const holdsCode = cpu.code.pageFlags[host >>> 12] !== 0;
  if (i32[entry]! === TLB_INVALID && i32[entry + 1]! === TLB_INVALID && i32[entry + 2]! === TLB_INVALID) {
    if (cpu.tlbLogged < cpu.tlbLog.length) cpu.tlbLog[cpu.tlbLogged] = entry;
    cpu.tlbLogged++;
  }
  i32[entry] = page;
  i32[entry + 1] = writable ? (holdsCode ? page | TLB_CODE : page) : TLB_INVALID;
  i32[entry + 2] = executable ? page : TLB_INVALID;
  i32[entry + 3] = (host - (linear & 0xfffff000)) | 0;
  cpu.tlbGlobal[(entry - TLB_SUPERVISOR) >>> 2] = global ? 1 : 0;
}

/**
 * The walk of shadow page tables: PAE format in monitor space, CR0.WP taken as 1, no accessed or dirty bits: ring -1 keeps the guest's.
 * Whatever they do not allow leaves the guest, and so does a write to a traced page unless it has been answered (memory.ts).
 */
/**
 * Where a fetch at `linear` would lead by the shadow tables as they are now: byte offset in memory, or -1 for none or a fault. Nothing is raised, and no TLB entry is made. The
 * monitor reads two entries for it, which count as a walk's.
 */
export function shadowFetch(cpu: Cpu, linear: number, user: boolean): number {
  const root = cpu.controls.shadowRoot;
  if (root === null) return -1;
  const pointerLow = monitorWord(cpu, root + (linear >>> 30) * 8);
  if ((pointerLow & PRESENT) === 0) return -1;
  const directoryLow = monitorWord(cpu, entryFrame(pointerLow, 0) * 4096 + ((linear >>> 18) & 0xff8));
  cpu.f64[PAGE_WALK_READS]! += 2;
  if ((directoryLow & PRESENT) === 0) return -1;
  const table = entryFrame(directoryLow, 0) * 4096 + ((linear >>> 9) & 0xff8);
  const low = monitorWord(cpu, table);
  const high = monitorWord(cpu, table + 4);
  if ((low & PRESENT) === 0 || high < 0 || (user && (directoryLow & low & USER) === 0)) return -1;
  const host = frameOffset(cpu, entryFrame(low, high));
  return host < 0 ? -1 : host + (linear & 0xfff);
}

function walkShadow(cpu: Cpu, root: number, linear: number, access: Access, user: boolean, entry: number): number {
  const pointer = root + (linear >>> 30) * 8;
  const pointerLow = monitorWord(cpu, pointer);
  if ((pointerLow & PRESENT) === 0) shadowFault(cpu, linear, access, user, 0);
  const directory = entryFrame(pointerLow, 0) * 4096 + ((linear >>> 18) & 0xff8);
  const directoryLow = monitorWord(cpu, directory);
  cpu.f64[PAGE_WALK_READS]! += 1;
  if ((directoryLow & PRESENT) === 0) shadowFault(cpu, linear, access, user, 0);
  const table = entryFrame(directoryLow, 0) * 4096 + ((linear >>> 9) & 0xff8);
  const low = monitorWord(cpu, table);
  cpu.f64[PAGE_WALK_READS]! += 1;
  if ((low & PRESENT) === 0) shadowFault(cpu, linear, access, user, 0);
  const high = monitorWord(cpu, table + 4);
  const rights = directoryLow & low;
  if (user && (rights & USER) === 0) shadowFault(cpu, linear, access, user, ERROR_PROTECTION);
  if (access === EXECUTE && high < 0) shadowFault(cpu, linear, access, user, ERROR_PROTECTION);
  const frame = entryFrame(low, high);
  const host = frameOffset(cpu, frame);
  const writable = (rights & WRITABLE) !== 0;
  cpu.tracedHost = -1;
  cpu.eptViolated = false;
  cpu.busPhysical = frame * 4096 + (linear & 0xfff);
  if (access === WRITE && !writable) {
    if ((low & SHADOW_TRACED) === 0 || host < 0) shadowFault(cpu, linear, access, user, ERROR_PROTECTION);
    cpu.tracedHost = host + (linear & 0xfff);
    cpu.exit.guestLinear = linear >>> 0;
    return -1;
  }
  if (host < 0) {
    cpu.exit.guestLinear = linear >>> 0;
    return -1;
  }
  enterTlb(cpu, entry, linear, host, writable, high >= 0, false);
  return host + (linear & 0xfff);
}

function monitorWord(cpu: Cpu, at: number): number {
  return at + 4 > cpu.monitorBytes ? 0 : cpu.i32[(cpu.monitorBase + at) >> 2]!;
}

/** A #PF of the shadow tables: ring -1 decides whether the guest's own tables allow the access (a hidden fault) or not (a true one). CR2 is not touched. */
function shadowFault(cpu: Cpu, linear: number, access: Access, user: boolean, cause: number): never {
  const errorCode = cause | (access === WRITE ? ERROR_WRITE : 0) | (user ? ERROR_USER : 0) | (access === EXECUTE ? ERROR_FETCH : 0);
  cpu.exit.access = null;
  cpu.exit.guestPhysical = 0;
  leaveForShadowFault(cpu, linear, errorCode, true);
}

/** Leave with a #PF under a shadow root, in the exit that the path takes exceptions with. The caller has set `exit.access` and `guestPhysical`. */
export function leaveForShadowFault(cpu: Cpu, linear: number, errorCode: number, walked: boolean): never {
  const { exit } = cpu;
  exit.instructionLength = 0;
  exit.guestLinear = linear >>> 0;
  exit.event = { vector: PF, type: EventType.HardwareException, errorCode };
  exit.walk = walked && cpu.controls.guestPaging !== null ? walkGuest(cpu, cpu.controls.guestPaging, linear) : null;
  if (cpu.controls.deprivileged) leave(cpu, ExitReason.DeprivilegedException, PF | (EventType.HardwareException << 8) | (1 << 11));
  leave(cpu, ExitReason.ExceptionOrNmi, linear);
}

function pageFault(cpu: Cpu, linear: number, access: Access, user: boolean, cause: number): never {
  cpu.i32[CR2] = linear;
  // I/D is reported only where execute-disable is in force (SDM Vol. 3A 4.7).
  const fetch = access === EXECUTE && (cpu.i32[CR4]! & CR4_PAE) !== 0 && (cpu.i32[EFER]! & EFER_NXE) !== 0 ? ERROR_FETCH : 0;
  raise(cpu, PF, cause | (access === WRITE ? ERROR_WRITE : 0) | (user ? ERROR_USER : 0) | fetch);
}

/** 32-bit paging, 4 KiB and 4 MiB pages (PSE, with PSE-36 address bits). SDM Vol. 3A 4.3. With `commit` sets accessed and dirty bits. */
function walkTwoLevel(cpu: Cpu, linear: number, access: Access, user: boolean, commit: boolean): void {
  const directoryAddress = ((cpu.i32[CR3]! & 0xfffff000) >>> 0) + ((linear >>> 22) << 2);
  const directory = readEntry(cpu, directoryAddress, linear);
  if (commit) cpu.f64[PAGE_WALK_READS]! += 1;
  if ((directory & PRESENT) === 0) pageFault(cpu, linear, access, user, 0);
  if ((directory & LARGE) !== 0 && (cpu.i32[CR4]! & CR4_PSE) !== 0) {
    // Bits 13–16 are physical address bits 32–35; those up to 21 beyond MAXPHYADDR are reserved.
    const reserved = 0x3fe000 & ~(((1 << (cpu.features.physicalAddressBits - 32)) - 1) << 13);
    if ((directory & reserved) !== 0) pageFault(cpu, linear, access, user, ERROR_PROTECTION | ERROR_RESERVED);
    foundFrame = ((directory >>> 22) << 10) + ((linear >>> 12) & 0x3ff) + ((directory >>> 13) & 0xff) * 0x100000;
    foundLarge = true;
    check(cpu, linear, access, user, directory, 0);
    foundGlobal = (directory & GLOBAL) !== 0 && (cpu.i32[CR4]! & CR4_PGE) !== 0;
    if (commit) mark(cpu, directoryAddress, directory, access, true, linear);
    else foundUnmarked = isUnmarked(directory, directory, access);
    return;
  }
  const tableAddress = ((directory & 0xfffff000) >>> 0) + ((linear >>> 10) & 0xffc);
  const table = readEntry(cpu, tableAddress, linear);
  if (commit) cpu.f64[PAGE_WALK_READS]! += 1;
  if ((table & PRESENT) === 0) pageFault(cpu, linear, access, user, 0);
  foundFrame = table >>> 12;
  foundLarge = false;
  check(cpu, linear, access, user, directory & table & (WRITABLE | USER), 0);
  foundGlobal = (table & GLOBAL) !== 0 && (cpu.i32[CR4]! & CR4_PGE) !== 0;
  if (commit) {
    mark(cpu, directoryAddress, directory, access, false, linear);
    mark(cpu, tableAddress, table, access, true, linear);
  } else foundUnmarked = isUnmarked(directory, table, access);
}

/** PAE paging, 4 KiB and 2 MiB pages; the four page-directory-pointer entries are in registers. SDM Vol. 3A 4.4. */
function walkPae(cpu: Cpu, linear: number, access: Access, user: boolean, commit: boolean): void {
  const pointer = PDPTE + (linear >>> 30) * 2;
  if ((cpu.i32[pointer]! & PRESENT) === 0) pageFault(cpu, linear, access, user, 0);
  const directoryAddress = entryFrame(cpu.i32[pointer]!, cpu.i32[pointer + 1]!) * 4096 + ((linear >>> 18) & 0xff8);
  const directory = readEntry(cpu, directoryAddress, linear);
  if (commit) cpu.f64[PAGE_WALK_READS]! += 1;
  if ((directory & PRESENT) === 0) pageFault(cpu, linear, access, user, 0);
  const directoryHigh = readEntry(cpu, directoryAddress + 4, linear);
  const execute = (cpu.i32[EFER]! & EFER_NXE) !== 0;
  const reservedHigh = (execute ? 0x7fffffff : 0xffffffff | 0) & -(1 << (cpu.features.physicalAddressBits - 32));
  if ((directoryHigh & reservedHigh) !== 0) pageFault(cpu, linear, access, user, ERROR_PROTECTION | ERROR_RESERVED);
  if ((directory & LARGE) !== 0) {
    if ((directory & 0x1fe000) !== 0) pageFault(cpu, linear, access, user, ERROR_PROTECTION | ERROR_RESERVED);
    foundFrame = entryFrame(directory, directoryHigh) + ((linear >>> 12) & 0x1ff);
    foundLarge = true;
    check(cpu, linear, access, user, directory, directoryHigh);
    foundGlobal = (directory & GLOBAL) !== 0 && (cpu.i32[CR4]! & CR4_PGE) !== 0;
    if (commit) mark(cpu, directoryAddress, directory, access, true, linear);
    else foundUnmarked = isUnmarked(directory, directory, access);
    return;
  }
  const tableAddress = entryFrame(directory, directoryHigh) * 4096 + ((linear >>> 9) & 0xff8);
  const table = readEntry(cpu, tableAddress, linear);
  if (commit) cpu.f64[PAGE_WALK_READS]! += 1;
  if ((table & PRESENT) === 0) pageFault(cpu, linear, access, user, 0);
  const tableHigh = readEntry(cpu, tableAddress + 4, linear);
  if ((tableHigh & reservedHigh) !== 0) pageFault(cpu, linear, access, user, ERROR_PROTECTION | ERROR_RESERVED);
  foundFrame = entryFrame(table, tableHigh);
  foundLarge = false;
  check(cpu, linear, access, user, directory & table & (WRITABLE | USER), directoryHigh | tableHigh);
  foundGlobal = (table & GLOBAL) !== 0 && (cpu.i32[CR4]! & CR4_PGE) !== 0;
  if (commit) {
    mark(cpu, directoryAddress, directory, access, false, linear);
    mark(cpu, tableAddress, table, access, true, linear);
  } else foundUnmarked = isUnmarked(directory, table, access);
}

/** Frame number of a PAE entry: bits 12–35. */
function entryFrame(low: number, high: number): number {
  return (low >>> 12) + (high & 0xf) * 0x100000;
}

/** Access rights (SDM Vol. 3A 4.6); `highRights` holds XD in bit 31. */
function check(cpu: Cpu, linear: number, access: Access, user: boolean, rights: number, highRights: number): void {
  foundWritable = (rights & WRITABLE) !== 0;
  foundUser = (rights & USER) !== 0;
  foundExecutable = highRights >= 0;
  if (user && !foundUser) pageFault(cpu, linear, access, user, ERROR_PROTECTION);
  if (access === WRITE && !foundWritable && (user || (cpu.i32[CR0]! & CR0_WP) !== 0)) pageFault(cpu, linear, access, user, ERROR_PROTECTION);
  if (access === EXECUTE && !foundExecutable) pageFault(cpu, linear, access, user, ERROR_PROTECTION);
}

const isUnmarked = (directory: number, last: number, access: Access): boolean => (directory & last & ACCESSED) === 0 || (access === WRITE && (last & DIRTY) === 0);

/** Set the accessed bit, and on a write the dirty bit of the entry that maps the page (SDM Vol. 3A 4.8). */
function mark(cpu: Cpu, address: number, entry: number, access: Access, maps: boolean, linear: number): void {
  const wanted = entry | ACCESSED | (maps && access === WRITE ? DIRTY : 0);
  if (maps) foundDirty = (wanted & DIRTY) !== 0;
  if (wanted === entry) return;
  const host = entryOffset(cpu, address, linear, WRITE);
  if (host < 0) return;
  cpu.i32[host >> 2] = wanted;
  if (cpu.code.pageFlags[host >>> 12] !== 0) codeWritten(cpu, host, 4);
}

function readEntry(cpu: Cpu, physical: number, linear: number): number {
  const host = entryOffset(cpu, physical, linear, READ);
  if (host < 0) {
    cpu.strayReads++;
    return -1;
  }
  return cpu.i32[host >> 2]!;
}

/** Where a guest paging-structure entry lies; its own address goes through EPT (SDM Vol. 3C 29.3.3). */
function entryOffset(cpu: Cpu, physical: number, linear: number, access: Access): number {
  const frame = cpu.controls.eptRoot === null ? floor(physical / 4096) : walkEpt(cpu, physical, access, linear, false);
  const host = frame < 0 ? -1 : frameOffset(cpu, frame);
  return host < 0 ? -1 : host + (physical % 4096);
}

// EPT entries (SDM Vol. 3C Table 29-1 … 29-6).
const EPT_READ = 1;
const EPT_WRITE = 2;
const EPT_EXECUTE = 4;

/**
 * The 4-level EPT walk, entries in monitor space. Returns the host frame, or leaves with an EPT violation (qualification: SDM Table
 * 28-7) or misconfiguration. For the translation of a linear address (`final`), -1 if the violation has already been answered with data
 * (a bus access under replay).
 */
function walkEpt(cpu: Cpu, physical: number, access: Access, linear: number, final: boolean): number {
  const { i32, monitorBase } = cpu;
  let table = cpu.controls.eptRoot!;
  let rights = EPT_READ | EPT_WRITE | EPT_EXECUTE;
  const wanted = access === WRITE ? EPT_WRITE : access === EXECUTE ? EPT_EXECUTE : EPT_READ;
  for (let level = 3; level >= 0; level--) {
    // Guest-physical addresses have at most 36 bits: the top level has one entry, the next 64.
    const index = level === 3 ? 0 : level === 2 ? floor(physical / 0x4000_0000) & 0x1ff : level === 1 ? floor(physical / 0x20_0000) & 0x1ff : floor(physical / 4096) & 0x1ff;
    const at = table + index * 8;
    if (at + 8 > cpu.monitorBytes) return eptViolation(cpu, physical, access, linear, final, 0);
    if (!peeking) cpu.f64[NESTED_WALK_READS]! += 1;
    const low = i32[(monitorBase + at) >> 2]!;
    const high = i32[((monitorBase + at) >> 2) + 1]!;
    const own = low & 7;
    if (own === 0) return eptViolation(cpu, physical, access, linear, final, 0);
    if ((own & EPT_READ) === 0 && (own & EPT_WRITE) !== 0) leaveEpt(cpu, physical, linear, ExitReason.EptMisconfiguration, 0);
    rights &= own;
    if (level === 0 || (level === 1 && (low & LARGE) !== 0)) {
      if ((rights & wanted) === 0) return eptViolation(cpu, physical, access, linear, final, rights);
      if (final) {
        eptWritable = (rights & EPT_WRITE) !== 0;
        eptExecutable = (rights & EPT_EXECUTE) !== 0;
        if (level === 1) foundLarge = true;
      }
      return level === 0 ? entryFrame(low, high) : (entryFrame(low, high) & ~0x1ff) + (floor(physical / 4096) & 0x1ff);
    }
    if ((low & LARGE) !== 0) leaveEpt(cpu, physical, linear, ExitReason.EptMisconfiguration, 0);
    table = entryFrame(low, high) * 4096;
  }
  return -1;
}

function eptViolation(cpu: Cpu, physical: number, access: Access, linear: number, final: boolean, rights: number): number {
  // A data access is left to memory.ts, which knows size and value: it looks for an answer, or leaves with `cpu.exit.access` filled in.
  cpu.exit.guestLinear = linear >>> 0;
  cpu.exit.guestPhysical = physical;
  cpu.exit.qualification = (1 << access) | (rights << 3) | 0x80 | (final ? 0x100 : 0);
  if (final && access !== EXECUTE) return -1;
  return leaveEpt(cpu, physical, linear, ExitReason.EptViolation, cpu.exit.qualification);
}

function leaveEpt(cpu: Cpu, physical: number, linear: number, reason: typeof ExitReason.EptViolation | typeof ExitReason.EptMisconfiguration, qualification: number): never {
  cpu.exit.guestLinear = linear >>> 0;
  cpu.exit.guestPhysical = physical;
  cpu.exit.access = null;
  leave(cpu, reason, qualification);
}

/** Read one of a guest's page-directory-pointer entries (MOV CR3 under PAE): the two words, through EPT. */
export function readPhysicalWord(cpu: Cpu, physical: number): number {
  return readEntry(cpu, physical, 0);
}

/** The TLB holds `held` (a byte offset in memory) for an access: say so if a walk of the tables as they stand would do otherwise. Changes nothing else. */
function judgeHeld(cpu: Cpu, watch: StaleTranslationWatch, linear: number, access: Access, user: boolean, held: number): void {
  const { i32, strayReads } = cpu;
  if (cpu.controls.eptRoot !== null || cpu.controls.shadowRoot !== null) return;
  const cr2 = i32[CR2]!;
  const fault = i32.slice(FAULT_VECTOR, FAULT_HAS_ERROR + 1);
  let frame = linear >>> 12;
  foundUnmarked = false;
  try {
    if ((i32[CR0]! & CR0_PG) !== 0) {
      if ((i32[CR4]! & CR4_PAE) !== 0) walkPae(cpu, linear, access, user, false);
      else walkTwoLevel(cpu, linear, access, user, false);
      frame = foundFrame;
    }
  } catch (thrown) {
    if (!isControlTransfer(thrown)) throw thrown;
    i32[CR2] = cr2;
    i32.set(fault, FAULT_VECTOR);
    frame = -1;
  }
  cpu.strayReads = strayReads;
  const difference = frame < 0 ? 'fault' : frameOffset(cpu, frame) !== held - (linear & 0xfff) ? 'frame' : foundUnmarked ? 'marks' : null;
  if (difference !== null) watch.first = { linear: linear >>> 0, access, user, difference, retired: watch.retired };
}

/**
 * Guest-physical and host place of a linear address as a debugger sees it: supervisor, no accessed bits, no fault. Returns the byte
 * offset in the VM's memory, or -1 if it is not mapped to RAM.
 */
export function peekLinear(cpu: Cpu, linear: number): number {
  if (cpu.controls.shadowRoot !== null) {
    const frame = guestFrame(cpu, cpu.controls.guestPaging, linear);
    const at = frame < 0 ? -1 : frameOffset(cpu, frame);
    return at < 0 ? -1 : at + (linear & 0xfff);
  }
  const cr2 = cpu.i32[CR2]!;
  peeking = true;
  try {
    let frame = linear >>> 12;
    if ((cpu.i32[CR0]! & CR0_PG) !== 0) {
      if ((cpu.i32[CR4]! & CR4_PAE) !== 0) walkPae(cpu, linear, READ, false, false);
      else walkTwoLevel(cpu, linear, READ, false, false);
      frame = foundFrame;
    }
    if (cpu.controls.eptRoot !== null) frame = walkEpt(cpu, frame * 4096, READ, linear, true);
    const host = frame < 0 ? -1 : frameOffset(cpu, frame);
    return host < 0 ? -1 : host + (linear & 0xfff);
  } catch (thrown) {
    if (!isControlTransfer(thrown)) throw thrown;
    cpu.i32[CR2] = cr2;
    return -1;
  } finally {
    peeking = false;
  }
}

/** Translate a guest-physical address to a byte offset for an agent that is not the guest (DMA, a reader): identity frames, no EPT. */
export function physicalOffset(cpu: Cpu, physical: number): number {
  const host = frameOffset(cpu, floor(physical / 4096));
  return host < 0 ? -1 : host + (physical % 4096);
}

/** Drop all translations, or all but global ones (MOV CR3 with CR4.PGE). */
export function flushTlb(cpu: Cpu, keepGlobal: boolean): void {
  cpu.translatedCode?.mappingChanged(cpu, null);
  const { i32, tlbGlobal, tlbLog } = cpu;
  if (!keepGlobal && cpu.tlbLogged > tlbLog.length) {
    for (let entry = TLB_SUPERVISOR; entry < TLB_END; entry += 4) i32[entry] = i32[entry + 1] = i32[entry + 2] = TLB_INVALID;
    cpu.tlbLogged = 0;
  } else if (cpu.tlbLogged > tlbLog.length) {
    let kept = 0;
    for (let entry = TLB_SUPERVISOR; entry < TLB_END; entry += 4) {
      if (tlbGlobal[(entry - TLB_SUPERVISOR) >>> 2] === 0) i32[entry] = i32[entry + 1] = i32[entry + 2] = TLB_INVALID;
      else if (i32[entry]! !== TLB_INVALID) {
        if (kept < tlbLog.length) tlbLog[kept] = entry;
        kept++;
      }
    }
    cpu.tlbLogged = kept;
  } else {
    let kept = 0;
    for (let n = 0; n < cpu.tlbLogged; n++) {
      const entry = tlbLog[n]!;
      if (keepGlobal && tlbGlobal[(entry - TLB_SUPERVISOR) >>> 2] !== 0) tlbLog[kept++] = entry;
      else i32[entry] = i32[entry + 1] = i32[entry + 2] = TLB_INVALID;
    }
    cpu.tlbLogged = kept;
  }
  if (!keepGlobal) cpu.tlbLarge = false;
  cpu.code.forgetJumps();
}

/** INVLPG: drop the translation of the page that holds `linear`, global or not. */
export function flushPage(cpu: Cpu, linear: number): void {
  if (cpu.tlbLarge) {
    flushTlb(cpu, false);
    return;
  }
  cpu.translatedCode?.mappingChanged(cpu, linear);
  const { i32 } = cpu;
  const index = (linear >>> 10) & 0x3ffc;
  for (const table of [TLB_SUPERVISOR, TLB_USER]) {
    const entry = table + index;
    // The entry keeps its place in the log; clearing it twice does no harm.
    if ((i32[entry]! & 0xfffff000) === (linear & 0xfffff000)) i32[entry] = i32[entry + 1] = i32[entry + 2] = TLB_INVALID;
  }
  cpu.code.forgetJumps();
}

/** A page of the VM's memory now holds predecoded code: writes to it must take the slow path. */
export function revokeWrites(cpu: Cpu, hostPage: number): void {
  const { i32 } = cpu;
  for (let entry = TLB_SUPERVISOR; entry < TLB_END; entry += 4) {
    const tag = i32[entry + 1]!;
    if ((tag & 0xfff) === 0 && (tag + i32[entry + 3]!) >>> 12 === hostPage) i32[entry + 1] = tag | TLB_CODE;
  }
}

/** A page holds no code any more: writes to it may be fast again. */
export function restoreWrites(cpu: Cpu, hostPage: number): void {
  const { i32 } = cpu;
  for (let entry = TLB_SUPERVISOR; entry < TLB_END; entry += 4) {
    const tag = i32[entry + 1]!;
    if ((tag & 0xfff) === TLB_CODE && ((tag & 0xfffff000) + i32[entry + 3]!) >>> 12 === hostPage) i32[entry + 1] = tag & 0xfffff000;
  }
}

/** A new TLB has no translation (the memory of a new VM is all zeros, which would be tags of page 0). */
export function resetTlb(cpu: Cpu): void {
  for (let entry = TLB_SUPERVISOR; entry < TLB_SUPERVISOR + 8 * TLB_ENTRIES; entry += 4) cpu.i32[entry] = cpu.i32[entry + 1] = cpu.i32[entry + 2] = TLB_INVALID;
  cpu.tlbLogged = 0;
  cpu.tlbLarge = false;
  cpu.code.forgetJumps();
}
