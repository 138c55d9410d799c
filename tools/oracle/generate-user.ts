import { descriptor, LDT, CODE, CODE_BYTES, CODE_LINEAR, DATA, DATA_BYTES, DATA_LINEAR, DATA_WRITABLE, DATA3, CODE3, ARENA_BASE, PDPT } from '../../libs/core/x86/src/testing/arena.js';
import { seededRegisters, type ArenaPatch, type OracleCase } from '../../libs/core/x86/src/testing/case.js';
import { Random } from '../../libs/core/x86/src/testing/random.js';
import { AF, ALL_FLAGS, CF, INSTRUCTION_FORMS, OF, type Form } from './instruction-forms.js';

const ESP = 4, EBP = 5, ESI = 6, EDI = 7, ECX = 1, EAX = 0, EDX = 2, EBX = 3;
const ES = 0, CS = 1, SS = 2, DS = 3;
/** Protected mode with paging, WP, and TS (which a task switch sets); PAE; NXE: what a 32-bit Linux process lives under. */
export const USER_CR0 = 0x8001_0039, USER_CR4 = 0x20, USER_EFER = 0x800;

/**
 * The segments a case runs in. On the host they are flat; QEMU also runs the same instructions with segment bases, 16-bit code and
 * 16-bit stacks.
 */
export interface Layout {
  /** All bases are 0. */
  flat: boolean;
  codeBits: 16 | 32;
  stackBits: 16 | 32;
  selectors: readonly number[];
  /** Linear base of each segment, or null where the selector is null. */
  bases: readonly (number | null)[];
  /** IF is set in a Linux process. */
  eflags: number;
  patches: readonly ArenaPatch[];
}

export const HOST_LAYOUT: Layout = {
  flat: true, codeBits: 32, stackBits: 32, selectors: [DATA3, CODE3, DATA3, DATA3, 0, 0], bases: [0, 0, 0, 0, null, null], eflags: 0x202, patches: [],
};

/**
 * Segments from the LDT: bases, limits, read-only, expand-down and execute-only segments, 16-bit code and stacks. Every descriptor has DPL 3
 * and is accessed, as Linux makes them, so that the host can run the same case.
 */
export function randomLayout(random: Random): Layout {
  const selectors: number[] = [DATA3, CODE3, DATA3, DATA3, 0, 0];
  const bases: (number | null)[] = [0, 0, 0, 0, null, null];
  const table = new Uint8Array(7 * 8);
  let codeBits: 16 | 32 = 32, stackBits: 16 | 32 = 32;
  const place = (segment: number, base: number, limit: number, type: number, big: boolean): void => {
    const granular = limit > 0xf_ffff;
    table.set(descriptor(base, granular ? limit >>> 12 : limit, type, 3, true, (big ? 4 : 0) | (granular ? 8 : 0)), (segment + 1) * 8);
    selectors[segment] = ((segment + 1) << 3) | 7;
    bases[segment] = base;
  };
  const base = (): number => (random.oneIn(3) ? DATA_LINEAR - random.below(0x800) : DATA_LINEAR);
  const limit = (): number => random.pick([0xffff, 0x3fff, DATA_WRITABLE - 1, random.below(DATA_WRITABLE), random.below(0x4000), 0xffff_ffff, 0xf_ffff]);
  if (random.oneIn(2)) {
    codeBits = random.oneIn(2) ? 16 : 32;
    place(CS, CODE_LINEAR, random.pick([0xffff, 0x1fff, 0x1fff, 0xffff_ffff]), random.pick([0x1b, 0x1b, 0x19]), codeBits === 32);
  }
  for (const segment of [ES, SS, DS, 4, 5]) {
    if (segment !== SS && random.oneIn(4)) continue;
    const down = random.oneIn(6), big = random.oneIn(2);
    if (down) {
      // Expand-down: offsets above the limit are inside, up to 64 KiB or 4 GiB by B.
      place(segment, base(), random.pick([random.below(0x1000), 0xff, 0x7ff]), segment === SS || random.oneIn(2) ? 0x17 : 0x15, big);
    } else if (segment === SS) {
      place(segment, base(), random.pick([0xffff, 0x3fff, DATA_WRITABLE - 1, 0x2000 + random.below(0x1000), 0xffff_ffff]), 0x13, big);
    } else {
      place(segment, base(), limit(), random.pick([0x13, 0x13, 0x13, 0x11, 0x1b, 0x1b, 0x19]), big);
    }
    if (segment === SS) stackBits = big ? 32 : 16;
  }
  // An execute-only segment can only be CS (SDM Vol. 3A 5.5): reloads of DS and its like would raise #GP before the case starts.
  for (const segment of [ES, DS, 4, 5]) {
    const entry = (segment + 1) * 8 + 5;
    if (((table[entry] as number) & 0x1f) === 0x19) table[entry] = ((table[entry] as number) & ~0x1f) | 0x1b;
  }
  return { flat: false, codeBits, stackBits, selectors, bases, eflags: 0x202, patches: [{ offset: LDT, bytes: table }] };
}

/** A value within `span` bytes of the writable data window, now and then at or over its end. */
function dataAddress(random: Random, bytes: number, flat: boolean): number {
  switch (random.below(16)) {
    case 0: return DATA_LINEAR + 0x1000 * (1 + random.below(2)) - 1 - random.below(Math.max(1, bytes)); // over a page boundary
    case 1: return DATA_LINEAR + DATA_WRITABLE - random.below(bytes + 1); // up to and over the read-only page
    case 2: return DATA_LINEAR + DATA_WRITABLE + random.below(0xff0);
    case 3: return DATA_LINEAR + DATA_BYTES - random.below(bytes + 1); // over the end
    // Not where that is a negative offset: whether an access that wraps at 4 GiB faults is open (SDM Vol. 3A 5.3).
    case 4: return DATA_LINEAR + (flat ? -random.below(bytes + 1) : 0);
    default: return DATA_LINEAR + 0x100 + random.below(DATA_WRITABLE - 0x200);
  }
}

/** Builds one case: encodes instructions, and chooses register and memory contents that let them get somewhere. */
class Scene {
  readonly registers: Uint32Array;
  readonly code: number[] = [];
  readonly patches: ArenaPatch[];
  eflags: number;
  undefinedFlags = 0;
  /** Registers whose value a memory operand already depends on. */
  private readonly pinned = new Set<number>();
  /** In a sequence: registers that hold addresses throughout, never written. */
  reserved: readonly number[] = [];
  readonly codeOffset: number;
  constructor(readonly random: Random, seed: number, readonly layout: Layout, roomForCode: number) {
    this.registers = seededRegisters(seed);
    this.patches = [...layout.patches];
    this.eflags = layout.eflags | (random.u32() & ALL_FLAGS) | (random.oneIn(4) ? 0x400 : 0);
    this.codeOffset = random.oneIn(12) ? 0x1000 - 1 - random.below(8) : roomForCode < 64 && random.oneIn(60) ? CODE_BYTES - 1 - random.below(6) : random.below(0x1000 - roomForCode);
    // A stack that can be pushed to and popped from.
    this.set(ESP, this.offset(SS, random.oneIn(10) ? dataAddress(random, 16, layout.flat) : DATA_LINEAR + 0x800 + random.below(0x1800) * (random.oneIn(8) ? 1 : 4) % 0x1800));
    this.pinned.delete(ESP);
  }

  /** Offset in a segment of a linear address. */
  offset(segment: number, linear: number): number {
    return (linear - (this.layout.bases[segment] ?? 0)) >>> 0;
  }

  set(register: number, value: number): void {
    this.registers[register] = value;
    this.pinned.add(register);
  }

  isPinned(register: number): boolean {
    return this.pinned.has(register);
  }

  /** Puts bytes at a linear address of the writable window; outside of it the memory stays as it is. */
  poke(linear: number, bytes: readonly number[]): void {
    const offset = linear - DATA_LINEAR;
    if (offset < 0 || offset + bytes.length > DATA_WRITABLE) return;
    this.patches.push({ offset: DATA + offset, bytes: Uint8Array.from(bytes) });
  }

  get linearEip(): number {
    return CODE_LINEAR + this.codeOffset;
  }
}

const bytes32 = (value: number): number[] => [value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24];
const bytes16 = (value: number): number[] => [value & 0xff, (value >>> 8) & 0xff];

interface Operands {
  /** ModRM byte and what follows. */
  bytes: number[];
  memory: boolean;
  /** Linear address of the memory operand, where it is known. */
  linear: number;
  rm: number;
  reg: number;
}

/** A register operand; in a sequence not one of those that hold addresses. */
function chooseRegister(scene: Scene, wide: boolean): number {
  for (;;) {
    const register = scene.random.below(8);
    // An 8-bit register is a part of one of the first four; where the width is not plain, both are kept clear.
    if (!scene.reserved.includes(register & 3) && !(wide && scene.reserved.includes(register))) return register;
  }
}

const SCALES = [1, 2, 4, 8] as const;

/** ModRM with a memory operand that lands on `linear`, by solving for a displacement or a base register. */
function encodeMemory(scene: Scene, reg: number, addressBits: 16 | 32, linear: number, segment: number): number[] {
  const { random, registers } = scene;
  const overridden = segment >= 0;
  const offsetFor = (stackBase: boolean): number => scene.offset(overridden ? segment : stackBase ? SS : DS, linear);
  const sequence = scene.reserved.length > 0;
  if (addressBits === 16) {
    const rm = random.below(8);
    const stackBase = rm === 2 || rm === 3 || rm === 6;
    if (rm === 6 && random.oneIn(3)) return [(reg << 3) | 6, ...bytes16(offsetFor(false))];
    const [base, index] = [[EBX, ESI], [EBX, EDI], [EBP, ESI], [EBP, EDI], [ESI], [EDI], [EBP], [EBX]][rm] as [number, number?];
    const sum = (registers[base] as number) + (index === undefined ? 0 : (registers[index] as number));
    return [0x80 | (reg << 3) | rm, ...bytes16(offsetFor(stackBase) - sum)];
  }
  if (sequence) {
    const base = scene.reserved[1] as number, index = scene.reserved[2] as number;
    const scale = random.below(4);
    switch (random.below(4)) {
      case 0: return [(reg << 3) | 5, ...bytes32(offsetFor(false))];
      case 1: return [0x80 | (reg << 3) | base, ...bytes32(offsetFor(base === EBP) - (registers[base] as number))];
      case 2: return [0x40 | (reg << 3) | base, random.below(256)];
      default: return [0x44 | (reg << 3), (scale << 6) | (index << 3) | base, random.below(128)];
    }
  }
  switch (random.below(6)) {
    case 0: return [(reg << 3) | 5, ...bytes32(offsetFor(false))];
    case 1: { // base + disp32
      const base = random.below(8);
      const disp = bytes32(offsetFor(base === ESP || base === EBP) - (registers[base] as number));
      return base === ESP ? [0x84 | (reg << 3), 0x24, ...disp] : [0x80 | (reg << 3) | base, ...disp];
    }
    case 2: { // base, or base + disp8: the register is made to fit
      const base = random.pick([EAX, ECX, EDX, EBX, EBP, ESI, EDI]);
      const short = base === EBP || random.oneIn(2);
      const displacement = short ? (random.u32() << 24) >> 24 : 0;
      if (scene.isPinned(base)) return [0x80 | (reg << 3) | base, ...bytes32(offsetFor(base === EBP) - (registers[base] as number))];
      scene.set(base, offsetFor(base === EBP) - displacement);
      return short ? [0x40 | (reg << 3) | base, displacement & 0xff] : [(reg << 3) | base];
    }
    case 3: { // index * scale + disp32
      const index = random.pick([EAX, ECX, EDX, EBX, EBP, ESI, EDI]), scale = random.below(4);
      return [(reg << 3) | 4, (scale << 6) | (index << 3) | 5, ...bytes32(offsetFor(false) - (registers[index] as number) * (SCALES[scale] as number))];
    }
    default: { // base + index * scale + disp32 (or disp8, as it falls); index 4 means none
      const base = random.below(8), index = random.below(8), scale = random.below(4);
      const sum = (registers[base] as number) + (index === ESP ? 0 : (registers[index] as number) * (SCALES[scale] as number));
      return [0x84 | (reg << 3), (scale << 6) | (index << 3) | base, ...bytes32(offsetFor(base === ESP || base === EBP) - sum)];
    }
  }
}

function encodeOperands(scene: Scene, form: Form, addressBits: 16 | 32, segment: number, operandBytes: number): Operands {
  const { random } = scene;
  const reg = form.extension ?? chooseRegister(scene, form.width !== 8 || form.opcode[0] === 0x0f);
  const memory = form.modrm === 'memory' || (form.modrm === 'any' && random.below(5) < 3);
  if (!memory) {
    const rm = chooseRegister(scene, form.width !== 8);
    return { bytes: [0xc0 | (reg << 3) | rm], memory, linear: 0, rm, reg };
  }
  const linear = scene.reserved.length > 0 ? DATA_LINEAR + 0x100 + random.below(0x2d00) : dataAddress(random, operandBytes, scene.layout.flat);
  return { bytes: encodeMemory(scene, reg, addressBits, linear, segment), memory, linear, rm: 0, reg };
}

/** SDM Vol. 2, SHL and ROL: what a count leaves undefined. */
function shiftUndefined(form: Form, count: number, bits: number): number {
  const masked = count & 31;
  if (masked === 0) return 0;
  const rotate = (form.extension as number) < 4;
  let mask = masked === 1 ? 0 : OF;
  if (!rotate) {
    mask |= AF;
    if (form.extension !== 7 && masked >= bits) mask |= CF;
  }
  return mask;
}

/** Memory and registers that the instruction needs to get past its first check. */
function satisfyNeeds(scene: Scene, form: Form, operands: Operands | null, operandBits: 16 | 32, prefixes: number[]): void {
  const { random, registers, layout } = scene;
  // Which comes first, a bad selector or a frame that leaves the segment, differs from processor to processor: far frames lie inside.
  if (form.need === 'far-return' || form.need === 'iret') registers[ESP] = scene.offset(SS, DATA_LINEAR + 0x1000 + random.below(0x800));
  const stackLinear = (registers[ESP] as number) + (layout.bases[SS] ?? 0);
  const size = operandBits / 8;
  const word = operandBits === 16 ? bytes16 : bytes32;
  const codeBase = layout.bases[CS] as number;
  const target = (): number => scene.offset(CS, CODE_LINEAR + random.below(CODE_BYTES + (random.oneIn(10) ? 64 : 0)));
  const selector = (): number => (random.oneIn(3) ? random.below(4) : (layout.selectors[DS] as number));
  switch (form.need) {
    case 'push':
      // A segment register may be pushed zero-extended or as 16 bits only (SDM Vol. 2, PUSH): here both give the same.
      if (form.name.startsWith('push sreg') || form.name.startsWith('push fs')) scene.poke(stackLinear - size, Array.from({ length: size }, () => 0));
      return;
    case 'pop':
      if (form.alone && form.name !== 'popa') scene.poke(stackLinear, bytes16(selector()));
      return;
    case 'pop-flags': {
      // Without TF (mostly), and AC: Linux has CR0.AM set, the other oracle does not know alignment checks.
      const flags = random.u32() & 0x24_4fff & ~(random.oneIn(6) ? 0 : 0x100);
      scene.poke(stackLinear, word(flags));
      return;
    }
    case 'return': scene.poke(stackLinear, word(target())); return;
    case 'far-return': scene.poke(stackLinear, [...word(target()), ...word(layout.selectors[CS] as number)]); return;
    case 'iret': scene.poke(stackLinear, [...word(target()), ...word(layout.selectors[CS] as number), ...word(random.u32() & 0x20_0edf)]); return;
    case 'branch-indirect':
      if (operands?.memory) scene.poke(operands.linear, word(target()));
      else if (operands && !scene.isPinned(operands.rm)) scene.set(operands.rm, target());
      return;
    case 'far-indirect': if (operands) scene.poke(operands.linear, [...word(target()), ...bytes16(layout.selectors[CS] as number)]); return;
    case 'load-far-pointer': if (operands) scene.poke(operands.linear, [...word(random.operand()), ...bytes16(selector())]); return;
    case 'load-segment':
      if (operands?.memory) scene.poke(operands.linear, bytes16(selector()));
      else if (operands && !scene.isPinned(operands.rm)) scene.set(operands.rm, ((random.u32() << 16) | selector()) >>> 0);
      return;
    case 'divide': {
      // A dividend that the divisor can take, most of the time.
      const value = random.operand() >>> random.below(32);
      if (operands?.memory) scene.poke(operands.linear, bytes32(value));
      else if (operands && operands.rm !== EAX && operands.rm !== EDX && !scene.isPinned(operands.rm)) scene.set(operands.rm, value);
      if (!random.oneIn(4) && !scene.isPinned(EDX)) scene.set(EDX, form.name === 'idiv r/m' && random.oneIn(2) ? 0xffff_ffff : random.below(4));
      if (form.width === 8 && !scene.isPinned(EAX)) scene.set(EAX, random.below(0x4000));
      return;
    }
    case 'bit-offset': // the register may reach (bits / 8) bytes away from the operand
      if (operands?.memory && !scene.isPinned(operands.reg)) scene.set(operands.reg, random.below(0x1000) - 0x400);
      return;
    case 'bound': {
      if (!operands) return;
      const low = (random.u32() << 8) >> 8, high = low + random.below(0x8000);
      scene.poke(operands.linear, [...word(low), ...word(high)]);
      if (!scene.isPinned(operands.reg)) scene.set(operands.reg, low + random.below(0xa000) - 0x1000);
      return;
    }
    case 'string': {
      const limit = random.oneIn(8) ? 0x2000 : 24;
      if (!scene.isPinned(ECX)) scene.set(ECX, random.oneIn(8) ? 0 : random.below(limit));
      const destination = random.oneIn(4) ? dataAddress(random, 32, layout.flat) : DATA_LINEAR + 0x800 + random.below(0x2000);
      const source = random.oneIn(6) ? destination + random.below(9) - 4 : dataAddress(random, 32, layout.flat); // now and then they overlap
      scene.set(ESI, scene.offset(DS, source));
      scene.set(EDI, scene.offset(ES, destination));
      if (random.oneIn(2)) { // equal runs, so that REPE goes on
        const run = Array.from({ length: 20 }, () => 0x55);
        scene.poke(source, run);
        scene.poke(destination, run);
        if (random.oneIn(2)) scene.set(EAX, 0x5555_5555);
      }
      if (random.below(3) > 0) prefixes.push(random.oneIn(2) ? 0xf3 : 0xf2);
      return;
    }
    case 'xlat': scene.set(EBX, scene.offset(DS, dataAddress(random, 256, layout.flat))); return;
    case 'leave': scene.set(EBP, scene.offset(SS, dataAddress(random, size, layout.flat))); return;
    case 'enter': scene.set(EBP, scene.offset(SS, DATA_LINEAR + 0x1000 + random.below(0x1000))); return;
    default: void codeBase;
  }
}

/** Appends one instruction with everything it needs; returns the flags it leaves undefined. */
function emit(scene: Scene, form: Form, alone: boolean): number {
  const { random, layout } = scene;
  // A 16-bit SHLD or SHRD by more than 16 has an undefined result, and in a sequence CL can be anything.
  const anyCount = form.need === 'double-shift' && form.immediate === '' && !alone;
  const swapOperand = form.width !== 8 && form.name !== 'bswap r' && !anyCount && random.oneIn(4);
  const operandBits = (layout.codeBits === 32) === swapOperand ? 16 : 32;
  // 16-bit addresses reach the windows only through segment bases.
  const swapAddress = alone && random.oneIn(layout.flat ? 40 : 6);
  const addressBits = (layout.codeBits === 32) === swapAddress ? 16 : 32;
  const segment = alone && random.oneIn(9) ? random.below(layout.bases[4] === null && !random.oneIn(3) ? 4 : 6) : -1;
  const prefixes: number[] = [];
  if (swapOperand) prefixes.push(0x66);
  if (swapAddress) prefixes.push(0x67);
  if (segment >= 0) prefixes.push([0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65][segment] as number);

  const operandBytes = form.width === 'v' ? operandBits / 8 : form.width === 'far' ? operandBits / 8 + 2 : form.width / 8;
  const operands = form.modrm === 'none' ? null : encodeOperands(scene, form, addressBits, segment, operandBytes);
  if (alone) satisfyNeeds(scene, form, operands, operandBits, prefixes);
  // LOCK MOV CR0 is CR8 on some processors.
  if (form.lockable ? operands?.memory && random.oneIn(5) : alone && random.oneIn(100) && !form.name.endsWith('cr') && !form.name.startsWith('mov cr')) prefixes.push(0xf0);
  for (let index = prefixes.length - 1; index > 0; index--) { // prefixes may stand in any order
    const other = random.below(index + 1);
    [prefixes[index], prefixes[other]] = [prefixes[other] as number, prefixes[index] as number];
  }

  const immediate: number[] = [];
  let count = 0;
  if (form.need === 'moffs') {
    const offset = scene.offset(segment >= 0 ? segment : DS, dataAddress(random, 4, layout.flat));
    immediate.push(...(addressBits === 16 ? bytes16(offset) : bytes32(offset)));
  } else if (form.need === 'far-direct') {
    const offset = scene.offset(CS, CODE_LINEAR + random.below(CODE_BYTES));
    immediate.push(...(operandBits === 16 ? bytes16(offset) : bytes32(offset)), ...bytes16(layout.selectors[CS] as number));
  } else if (form.need === 'enter') {
    immediate.push(...bytes16(random.below(0x200)), random.oneIn(3) ? random.below(256) : random.below(6));
  } else if (form.need === 'interrupt') {
    immediate.push(random.pick([0, 1, 2, 5, 13, 14, 0x1f, 0x21, 0x7f, 0x81, 0xff])); // not 0x80, a Linux system call; not 3 and 4, which ring 3 may call
  } else if (form.need === 'double-shift') {
    count = operandBits === 16 ? random.below(17) : random.below(32);
    if (form.immediate === 'b') immediate.push(count | (random.below(8) << 5));
    else if (!alone) count = -1;
    else if (scene.isPinned(ECX)) count = (scene.registers[ECX] as number) & 31;
    else scene.set(ECX, ((scene.registers[ECX] as number) & ~31) | count);
  } else if (form.immediate === 'b') {
    const relative = form.need === 'branch';
    immediate.push(relative && random.oneIn(2) ? random.below(16) : random.oneIn(4) ? (random.operand() & 0xff) : random.u32() & 0xff);
    count = immediate[0] as number;
  } else if (form.immediate === 'w') {
    immediate.push(...bytes16(random.below(64)));
  } else if (form.immediate === 'z') {
    const value = form.need === 'branch' ? random.below(0x800) - (random.oneIn(2) ? 0x400 : 0) : random.operand();
    immediate.push(...(operandBits === 16 ? bytes16(value) : bytes32(value)));
  }
  scene.code.push(...prefixes, ...form.opcode, ...(operands?.bytes ?? []), ...immediate);

  const bits = form.width === 8 ? 8 : operandBits;
  if (form.need === 'shift') {
    const opcode = form.opcode[0] as number;
    if (opcode >= 0xd2) return alone ? shiftUndefined(form, scene.registers[ECX] as number, bits) : OF | AF | CF;
    return shiftUndefined(form, opcode >= 0xd0 ? 1 : count, bits);
  }
  if (form.need === 'double-shift') {
    if (count < 0) return ALL_FLAGS;
    if (count > bits) return -1; // the destination too is undefined
    return count === 0 ? 0 : AF | (count === 1 ? 0 : OF);
  }
  return form.undefinedFlags;
}

function finish(scene: Scene, name: string): OracleCase {
  const { layout, codeOffset, code } = scene;
  const fits = code.slice(0, CODE_BYTES - codeOffset);
  scene.patches.push({ offset: CODE + codeOffset, bytes: Uint8Array.from(fits) });
  return {
    name, registers: scene.registers, eip: scene.offset(CS, scene.linearEip), eflags: scene.eflags, selectors: Uint32Array.from(layout.selectors),
    cr0: USER_CR0, cr3: ARENA_BASE + PDPT, cr4: USER_CR4, efer: USER_EFER, sysenter: new Uint32Array(3), patches: scene.patches, undefinedFlags: scene.undefinedFlags, delivered: 0,
  };
}

/** One instruction with operands chosen for it, then INT3. Null where the choice has an undefined result. */
export function generateSingle(random: Random, seed: number, form: Form, layout: Layout): OracleCase | null {
  // UD0 and UD1 may or may not fetch their operands: not where the window ends.
  const scene = new Scene(random, seed, layout, form.name.startsWith('ud') ? 64 : 32);
  const undefinedFlags = emit(scene, form, true);
  if (undefinedFlags < 0) return null;
  scene.undefinedFlags = undefinedFlags;
  return finish(scene, form.name);
}

const sequenceForms = INSTRUCTION_FORMS.filter(({ alone, need, name, opcode }) => {
  // Sequences keep ESP and the address registers, so nothing here writes them by a fixed encoding.
  if (alone || need === 'bit-offset' || need === 'string' || need === 'xlat' || need === 'divide' || need === 'leave' || need === 'bound' || need === 'branch' || name === 'push sreg' || name === 'push fs/gs') return false;
  const single = opcode.length === 1 ? (opcode[0] as number) : -1;
  if ((single >= 0x40 && single < 0x60 && single !== 0x50) || (single >= 0x90 && single < 0x98) || (single >= 0xb8 && single < 0xc0) || name === 'bswap r') return false;
  return !(single >= 0xb0 && single < 0xb8) && !name.startsWith('nop');
});

/** Makes the flags in `mask` zero: what the SDM leaves undefined must not reach a later instruction. */
function clearFlags(mask: number): number[] {
  return [0x9c, 0x81, 0x24, 0x24, ...bytes32(~mask), 0x9d]; // pushfd; and dword [esp], ~mask; popfd
}

/** Three to twelve instructions that feed each other, with forward branches among them, then INT3. */
export function generateSequence(random: Random, seed: number, layout: Layout): OracleCase {
  const scene = new Scene(random, seed, layout, 0x100);
  const base = random.pick([EBX, ESI, EDI, EBP]), index = random.pick([EBX, ESI, EDI, EBP].filter((register) => register !== base));
  scene.reserved = [ESP, base, index];
  scene.set(base, scene.offset(base === EBP ? SS : DS, DATA_LINEAR + 0x400 + random.below(0x2000)));
  scene.set(index, random.below(0x80));
  scene.set(ESP, scene.offset(SS, DATA_LINEAR + 0x1000 + random.below(0x400) * 4));
  scene.eflags &= ~0x400;
  const blocks: number[][] = [];
  const count = 3 + random.below(10);
  for (let instruction = 0; instruction < count; instruction++) {
    scene.code.length = 0;
    switch (random.below(12)) {
      case 0: { // a string instruction with its own pointers, restored behind it
        const bytes = [0x60, 0xbe, ...bytes32(scene.offset(DS, DATA_LINEAR + 0x200 + random.below(0x1000))), 0xbf, ...bytes32(scene.offset(ES, DATA_LINEAR + 0x2200 + random.below(0xa00))), // clear of the stack, which holds the registers meanwhile
          0xb9, ...bytes32(random.below(20))];
        const opcode = random.pick([0xa4, 0xa5, 0xaa, 0xab, 0xac, 0xad]);
        scene.code.push(...bytes, ...(random.oneIn(3) ? [] : [0xf3]), opcode, 0x61);
        break;
      }
      case 1: { // register forms with the register in the opcode
        let register = random.below(8);
        while (scene.reserved.includes(register)) register = random.below(8);
        const kind = random.below(5);
        if (kind === 0) scene.code.push(0x40 + register + 8 * random.below(2));
        else if (kind === 1) scene.code.push(0xb8 + register, ...bytes32(random.operand()));
        else if (kind === 2) scene.code.push(0x0f, 0xc8 + register);
        else if (kind === 3) scene.code.push(0x90 + register);
        else scene.code.push(0x50 + random.below(8), 0x58 + register);
        break;
      }
      case 2: // a forward branch: filled in below
        scene.code.push(0x70 + random.below(16), 0);
        break;
      case 3: { // CALL over nothing, then drop the return address
        let register = random.below(8);
        while (scene.reserved.includes(register)) register = random.below(8);
        scene.code.push(0xe8, 0, 0, 0, 0, 0x58 + register);
        break;
      }
      default: {
        const undefinedFlags = emit(scene, random.pick(sequenceForms), false);
        if (undefinedFlags !== 0) scene.code.push(...clearFlags(undefinedFlags & ALL_FLAGS));
      }
    }
    blocks.push(scene.code.slice());
  }
  blocks.forEach((block, at) => {
    if (block.length !== 2 || (block[0] as number) >>> 4 !== 7) return;
    const skipped = blocks.slice(at + 1, at + 1 + random.below(3)).reduce((sum, next) => sum + next.length, 0);
    block[1] = Math.min(skipped, 127);
    if (skipped > 127) block[1] = 0;
  });
  scene.code.length = 0;
  scene.code.push(...blocks.flat());
  return finish(scene, 'sequence');
}

export const USER_FORMS: readonly Form[] = INSTRUCTION_FORMS;
