import { checkAlignment, checksAlignment } from './alignment.js';
import { noteAccess } from './breakpoints.js';
import { codeWritten } from './code-cache.js';
import type { Cpu } from './cpu.js';
import { ExitReason } from './exit-reason.js';
import { leave, leaveForBus } from './fault.js';
import { leaveForShadowFault, READ, translate, WRITE } from './paging.js';
import { BUS_ORDINAL } from './state.js';
import { TLB_SUPERVISOR, TLB_USER } from './tlb.js';

/**
 * Accesses by linear address. `user` false is a supervisor access: implicit accesses to descriptor tables and TSS are, whatever CPL
 * (SDM Vol. 3A 4.6.1). They may raise #PF, or leave the guest: an EPT violation, or a bus cycle where there is no RAM.
 *
 * A bus access is answered outside the processor, so its instruction is executed again from the beginning, and finds the answer in
 * `cpu.replay` under its ordinal inside the instruction. That is exact because nothing guest-visible changes before the last access
 * that can leave; writes already made are skipped by the same ordinal.
 *
 * A write to a write-traced page (shadow-entry.ts) is answered in the same way, but goes to RAM once it is. What an instruction writes to more
 * than one place after it has read one of them is written together (`writeTogether`), so that running it again reads what it read.
 */

export function readLinear32(cpu: Cpu, linear: number, user: boolean): number {
  const { i32 } = cpu;
  const entry = (user ? TLB_USER : TLB_SUPERVISOR) + ((linear >>> 10) & 0x3ffc);
  if (i32[entry]! === (linear & 0xfffff003)) return i32[(linear + i32[entry + 3]!) >> 2]!;
  return readSlow32(cpu, linear, user);
}

export function readLinear16(cpu: Cpu, linear: number, user: boolean): number {
  if ((linear & 0xfff) === 0xfff) {
    if (user) checkAcrossPages(cpu, linear, 2);
    return readLinear8(cpu, linear, user) | (readLinear8(cpu, (linear + 1) | 0, user) << 8);
  }
  const at = translate(cpu, linear, READ, user);
  if ((linear & 1) !== 0) checkAlignment(cpu, linear, 2, user);
  if (cpu.debugging) noteAccess(cpu, linear, 2, false);
  if (at < 0) return busRead(cpu, 2);
  return cpu.u8[at]! | (cpu.u8[at + 1]! << 8);
}

export function readLinear8(cpu: Cpu, linear: number, user: boolean): number {
  const at = translate(cpu, linear, READ, user);
  if (cpu.debugging) noteAccess(cpu, linear, 1, false);
  return at < 0 ? busRead(cpu, 1) : cpu.u8[at]!;
}

export function writeLinear32(cpu: Cpu, linear: number, value: number, user: boolean): void {
  const { i32 } = cpu;
  const entry = (user ? TLB_USER : TLB_SUPERVISOR) + ((linear >>> 10) & 0x3ffc);
  if (i32[entry + 1]! === (linear & 0xfffff003)) i32[(linear + i32[entry + 3]!) >> 2] = value;
  else writeSlow32(cpu, linear, value, user);
}

export function writeLinear16(cpu: Cpu, linear: number, value: number, user: boolean): void {
  if ((linear & 0xfff) === 0xfff) {
    probeWrite(cpu, linear, 2, user);
    checkAlignment(cpu, linear, 2, user);
    if (cpu.controls.shadowRoot !== null && writeTogether(cpu, linear, bytesOf(2, value, 0), user)) return;
    writeLinear8(cpu, linear, value, user);
    writeLinear8(cpu, (linear + 1) | 0, value >> 8, user);
    return;
  }
  const at = translate(cpu, linear, WRITE, user);
  if ((linear & 1) !== 0) checkAlignment(cpu, linear, 2, user);
  if (cpu.debugging) noteAccess(cpu, linear, 2, true);
  if (at < 0) {
    busWrite(cpu, 2, value);
    return;
  }
  cpu.u8[at] = value;
  cpu.u8[at + 1] = value >> 8;
  if (cpu.code.pageFlags[at >>> 12] !== 0) codeWritten(cpu, at, 2);
}

export function writeLinear8(cpu: Cpu, linear: number, value: number, user: boolean): void {
  const at = translate(cpu, linear, WRITE, user);
  if (cpu.debugging) noteAccess(cpu, linear, 1, true);
  if (at < 0) {
    busWrite(cpu, 1, value);
    return;
  }
  cpu.u8[at] = value;
  if (cpu.code.pageFlags[at >>> 12] !== 0) codeWritten(cpu, at, 1);
}

/** The ways of `readLinear32` that its inline form does not take: TLB miss, unaligned, across a page, not RAM. */
export function readSlow32(cpu: Cpu, linear: number, user: boolean): number {
  if ((linear & 0xfff) > 0xffc) {
    if (user) checkAcrossPages(cpu, linear, 4);
    return readLinear8(cpu, linear, user) | (readLinear8(cpu, (linear + 1) | 0, user) << 8)
      | (readLinear8(cpu, (linear + 2) | 0, user) << 16) | (readLinear8(cpu, (linear + 3) | 0, user) << 24);
  }
  const at = translate(cpu, linear, READ, user);
  checkAlignment(cpu, linear, 4, user);
  if (cpu.debugging) noteAccess(cpu, linear, 4, false);
  if (at < 0) return busRead(cpu, 4);
  if ((at & 3) === 0) return cpu.i32[at >> 2]!;
  const { u8 } = cpu;
  return u8[at]! | (u8[at + 1]! << 8) | (u8[at + 2]! << 16) | (u8[at + 3]! << 24);
}

export function writeSlow32(cpu: Cpu, linear: number, value: number, user: boolean): void {
  if ((linear & 0xfff) > 0xffc) {
    probeWrite(cpu, linear, 4, user);
    checkAlignment(cpu, linear, 4, user);
    if (cpu.controls.shadowRoot !== null && writeTogether(cpu, linear, bytesOf(4, value, 0), user)) return;
    for (let n = 0; n < 4; n++) writeLinear8(cpu, (linear + n) | 0, value >> (8 * n), user);
    return;
  }
  const at = translate(cpu, linear, WRITE, user);
  checkAlignment(cpu, linear, 4, user);
  if (cpu.debugging) noteAccess(cpu, linear, 4, true);
  if (at < 0) {
    busWrite(cpu, 4, value);
    return;
  }
  if ((at & 3) === 0) cpu.i32[at >> 2] = value;
  else {
    const { u8 } = cpu;
    u8[at] = value;
    u8[at + 1] = value >> 8;
    u8[at + 2] = value >> 16;
    u8[at + 3] = value >> 24;
  }
  if (cpu.code.pageFlags[at >>> 12] !== 0) codeWritten(cpu, at, 4);
}

/** An access of an application that lies in two pages is misaligned: when that matters, both pages are walked before it faults. */
function checkAcrossPages(cpu: Cpu, linear: number, bytes: 2 | 4): void {
  if (!checksAlignment(cpu)) return;
  translate(cpu, linear, READ, true);
  translate(cpu, (linear + bytes - 1) & 0xfffff000, READ, true);
  checkAlignment(cpu, linear, bytes, true);
}

/** Two words behind each other, of one instruction that has read them (CMPXCHG8B) and probed both. */
export function writePair32(cpu: Cpu, linear: number, low: number, high: number, user: boolean): void {
  if (cpu.controls.shadowRoot !== null && writeTogether(cpu, linear, bytesOf(8, low, high), user)) return;
  writeLinear32(cpu, linear, low, user);
  writeLinear32(cpu, (linear + 4) | 0, high, user);
}

function bytesOf(size: number, low: number, high: number): Uint8Array {
  const bytes = new Uint8Array(size);
  for (let n = 0; n < size; n++) bytes[n] = (n < 4 ? low : high) >> (8 * (n & 3));
  return bytes;
}

/**
 * Write at most a page of bytes when a part of them is write-traced: every traced part is answered before any byte is stored. False, and nothing
 * is written, when no part is.
 */
function writeTogether(cpu: Cpu, linear: number, bytes: Uint8Array, user: boolean): boolean {
  const room = 4096 - (linear & 0xfff);
  const first = room < bytes.length ? room : bytes.length;
  const parts = [{ linear, bytes: bytes.subarray(0, first) }];
  if (first < bytes.length) parts.push({ linear: (linear + first) | 0, bytes: bytes.subarray(first) });
  const places = parts.map((part) => {
    const host = translate(cpu, part.linear, WRITE, user);
    return { host, traced: host < 0 ? cpu.tracedHost : -1, physical: cpu.busPhysical, ...part };
  });
  if (places.every(({ traced }) => traced < 0)) return false;
  for (const place of places) if (place.traced >= 0) requireTrace(cpu, place.physical, place.linear, 1, place.bytes);
  for (const { host, traced, linear: at, bytes: data } of places) {
    const target = traced >= 0 ? traced : host;
    if (target >= 0) {
      cpu.u8.set(data, target);
      if (cpu.code.pageFlags[target >>> 12] !== 0) codeWritten(cpu, target, data.length);
    } else for (const [n, byte] of data.entries()) writeLinear8(cpu, (at + n) | 0, byte, user);
  }
  return true;
}

/** Announce a write of `bytes` whose values are not known yet: leaves where a page of it is traced, unless that has been answered. */
export function traceWrite(cpu: Cpu, linear: number, bytes: number, user: boolean): void {
  for (let done = 0; done < bytes;) {
    const at = (linear + done) | 0;
    const room = 4096 - (at & 0xfff);
    const count = room < bytes - done ? room : bytes - done;
    if (translate(cpu, at, WRITE, user) < 0 && cpu.tracedHost >= 0) requireTrace(cpu, cpu.busPhysical, at, 1, new Uint8Array(count));
    done += count;
  }
}

/** Ring -1 hears of a write to a traced page before it is made: leaves unless this one has been answered. */
function requireTrace(cpu: Cpu, physical: number, linear: number, size: 1 | 2 | 4, data: Uint8Array): void {
  const ordinal = cpu.i32[BUS_ORDINAL]!;
  if (cpu.replay[ordinal] !== undefined) {
    cpu.i32[BUS_ORDINAL] = ordinal + 1;
    return;
  }
  const { exit } = cpu;
  exit.access = { space: 'memory', address: physical, size, write: true, count: data.length / size, data: data.slice() };
  exit.guestPhysical = physical;
  exit.guestLinear = linear >>> 0;
  exit.instructionLength = 0;
  leave(cpu, ExitReason.WriteTrace);
}

/**
 * Raise what a write of `bytes` (at most a page) would raise, before several are committed. Where there is no RAM the write itself
 * still leaves; its instruction then runs again.
 */
export function probeWrite(cpu: Cpu, linear: number, bytes: number, user: boolean): void {
  probe(cpu, linear, user);
  const last = (linear + bytes - 1) | 0;
  if (((linear ^ last) & 0xfffff000) !== 0) probe(cpu, last & 0xfffff000, user);
}

function probe(cpu: Cpu, linear: number, user: boolean): void {
  translate(cpu, linear, WRITE, user);
}

/** The read of a read-modify-write instruction: faults as a write does. */
export function readForWrite32(cpu: Cpu, linear: number, user: boolean): number {
  probeWrite(cpu, linear, 4, user);
  return readLinear32(cpu, linear, user);
}
export function readForWrite16(cpu: Cpu, linear: number, user: boolean): number {
  probeWrite(cpu, linear, 2, user);
  return readLinear16(cpu, linear, user);
}
export function readForWrite8(cpu: Cpu, linear: number, user: boolean): number {
  probeWrite(cpu, linear, 1, user);
  return readLinear8(cpu, linear, user);
}

/** Shadow paging marks what is no RAM with a reserved bit, so that its accesses are #PFs (error code: SDM Vol. 3A 4.7). */
const ERROR_RESERVED = 1 | 8, ERROR_WRITE = 2;

/** A read where there is no RAM: the answer under replay, or the way out to get one. `cpu.busPhysical` is its address. */
function busRead(cpu: Cpu, size: 1 | 2 | 4): number {
  const data = busAnswer(cpu, size, false, 0);
  let value = 0;
  for (let n = 0; n < size; n++) value |= (data[n] ?? 0xff) << (8 * n);
  return value;
}

function busWrite(cpu: Cpu, size: 1 | 2 | 4, value: number): void {
  const host = cpu.tracedHost;
  if (host >= 0) {
    requireTrace(cpu, cpu.busPhysical, cpu.exit.guestLinear, size, bytesOf(size, value, 0));
    for (let n = 0; n < size; n++) cpu.u8[host + n] = value >> (8 * n);
    if (cpu.code.pageFlags[host >>> 12] !== 0) codeWritten(cpu, host, size);
    return;
  }
  busAnswer(cpu, size, true, value);
}

function busAnswer(cpu: Cpu, size: 1 | 2 | 4, write: boolean, value: number): Uint8Array {
  const ordinal = cpu.i32[BUS_ORDINAL]!;
  const answer = cpu.replay[ordinal];
  if (answer !== undefined) {
    cpu.i32[BUS_ORDINAL] = ordinal + 1;
    return answer;
  }
  const data = new Uint8Array(write ? size : 0);
  for (let n = 0; n < data.length; n++) data[n] = value >> (8 * n);
  cpu.exit.access = { space: 'memory', address: cpu.busPhysical, size, write, count: 1, data };
  cpu.exit.guestPhysical = cpu.busPhysical;
  if (cpu.controls.shadowRoot !== null) leaveForShadowFault(cpu, cpu.exit.guestLinear, ERROR_RESERVED | (write ? ERROR_WRITE : 0), false);
  if (cpu.eptViolated) leave(cpu, ExitReason.EptViolation, cpu.exit.qualification);
  leaveForBus(cpu);
}

// Monitor space: memory of the VM that the guest cannot address, read past paging. Offsets outside it read all ones.

export function readMonitor8(cpu: Cpu, offset: number): number {
  return offset >>> 0 < cpu.monitorBytes ? cpu.u8[cpu.monitorBase + (offset >>> 0)]! : 0xff;
}
export function readMonitor16(cpu: Cpu, offset: number): number {
  return readMonitor8(cpu, offset) | (readMonitor8(cpu, offset + 1) << 8);
}
export function readMonitor32(cpu: Cpu, offset: number): number {
  return readMonitor16(cpu, offset) | (readMonitor16(cpu, offset + 2) << 16);
}
export function writeMonitor8(cpu: Cpu, offset: number, value: number): void {
  if (offset >>> 0 >= cpu.monitorBytes) return;
  const at = cpu.monitorBase + (offset >>> 0);
  cpu.u8[at] = value;
  if (cpu.code.pageFlags[at >>> 12] !== 0) codeWritten(cpu, at, 1);
}
export function writeMonitor16(cpu: Cpu, offset: number, value: number): void {
  writeMonitor8(cpu, offset, value);
  writeMonitor8(cpu, offset + 1, value >> 8);
}
export function writeMonitor32(cpu: Cpu, offset: number, value: number): void {
  writeMonitor16(cpu, offset, value);
  writeMonitor16(cpu, offset + 2, value >> 16);
}

// Descriptor tables and TSS: space 0 is linear memory (supervisor access), 1 is monitor space (state.ts).

export function readTable8(cpu: Cpu, space: number, base: number, offset: number): number {
  return space === 0 ? readLinear8(cpu, (base + offset) | 0, false) : readMonitor8(cpu, base + offset);
}
export function readTable16(cpu: Cpu, space: number, base: number, offset: number): number {
  return space === 0 ? readLinear16(cpu, (base + offset) | 0, false) : readMonitor16(cpu, base + offset);
}
export function readTable32(cpu: Cpu, space: number, base: number, offset: number): number {
  return space === 0 ? readLinear32(cpu, (base + offset) | 0, false) : readMonitor32(cpu, base + offset);
}
export function writeTable8(cpu: Cpu, space: number, base: number, offset: number, value: number): void {
  if (space === 0) writeLinear8(cpu, (base + offset) | 0, value, false);
  else writeMonitor8(cpu, base + offset, value);
}
export function writeTable32(cpu: Cpu, space: number, base: number, offset: number, value: number): void {
  if (space === 0) writeLinear32(cpu, (base + offset) | 0, value, false);
  else writeMonitor32(cpu, base + offset, value);
}

export { flushPage, flushTlb } from './paging.js';
