import {
  ARENA_BASE, CODE_SELECTORS, CODE0, DATA, DATA_SELECTORS, DATA_TABLE, descriptor, gate, GDT, IDT, LANDING, LDT, PAE_DATA_TABLE, PAE_DIRECTORY, PAGE_DIRECTORY, STACK0, TSS,
  TSS_LIMIT, TSS_SELECTOR, TSS2, TSS2_SELECTOR,
} from '../../libs/core/x86/src/testing/arena.js';
import type { OracleCase } from '../../libs/core/x86/src/testing/case.js';
import type { Random } from '../../libs/core/x86/src/testing/random.js';
import {
  bytes16, bytes32, CR0_WP, CR4_PGE, CR4_PSE, EAX, ECX, EDI, EDX, ESI, ESP, randomBadCode, randomSelector, SystemScene, type Paging,
} from './system-scene.js';

/** Families of system-level cases: each builds one machine state around one rule of the SDM. */
const ring = (random: Random): number => random.below(4);
const mode = (random: Random): Paging => random.pick(['none', 'two-level', 'pae'] as const);
const scene = (random: Random, seed: number, cpl = ring(random), paging = mode(random)): SystemScene => new SystemScene(random, seed, cpl, paging);

/** MOV, POP and LDS-like loads of segment registers. SDM Vol. 3A 5.5–5.7. */
function loadSegment(random: Random, seed: number): OracleCase {
  const s = scene(random, seed);
  const selector = randomSelector(s, false), segment = random.below(6), wide = !random.oneIn(4), address = s.dataLinear + random.below(0x1000);
  switch (random.below(3)) {
    case 0:
      if (random.oneIn(2)) {
        s.registers[EAX] = ((random.u32() << 16) | selector) >>> 0;
        s.code.push(0x8e, 0xc0 | (segment << 3));
      } else {
        s.patch(DATA + address - s.dataLinear, bytes16(selector));
        s.code.push(0x8e, 0x05 | (segment << 3), ...bytes32(address));
      }
      break;
    case 1: {
      const pop = [[0x07], [0x17], [0x17], [0x1f], [0x0f, 0xa1], [0x0f, 0xa9]][segment] as number[];
      s.pokeLinear(s.registers[ESP] as number, bytes32((random.u32() << 16) | selector));
      s.code.push(...(wide ? [] : [0x66]), ...pop);
      break;
    }
    default: {
      const [opcode] = [[[0xc4], [0x0f, 0xb2], [0x0f, 0xb2], [0xc5], [0x0f, 0xb4], [0x0f, 0xb5]][segment]] as [number[]];
      s.patch(DATA + address - s.dataLinear, [...(wide ? bytes32(random.operand()) : bytes16(random.operand())), ...bytes16(selector)]);
      s.code.push(...(wide ? [] : [0x66]), ...opcode, 0x05 | (random.below(8) << 3), ...bytes32(address));
    }
  }
  return s.finish('segment load');
}

/** LAR, LSL, VERR, VERW, ARPL. */
function querySelector(random: Random, seed: number): OracleCase {
  const s = scene(random, seed);
  s.registers[ECX] = ((random.u32() << 16) | randomSelector(s)) >>> 0;
  const prefix = random.oneIn(3) ? [0x66] : [];
  switch (random.below(5)) {
    case 0: s.code.push(...prefix, 0x0f, 0x02, 0xc1); break;
    case 1: s.code.push(...prefix, 0x0f, 0x03, 0xc1); break;
    case 2: s.code.push(0x0f, 0x00, 0xe1); break;
    case 3: s.code.push(0x0f, 0x00, 0xe9); break;
    default:
      s.registers[EDX] = randomSelector(s);
      s.code.push(0x63, 0xd1);
  }
  return s.finish('selector query');
}

/** Stacks of the TSS: mostly good, now and then with each fault that a stack switch can meet. */
function randomStacks(s: SystemScene): void {
  const { random } = s;
  if (!random.oneIn(5)) return;
  const level = random.below(3);
  // Flat and present, so that QEMU's missing limit checks and its #TS for #SS do not matter; type, DPL and RPL are what is tested.
  const type = random.oneIn(2) ? 0x13 : random.pick([0x11, 0x13, 0x19, 0x1b, 0x1f, 0x02, 0x0b]);
  const selector = random.oneIn(10) ? random.below(4) : s.define(descriptor(0, 0xf_ffff, type, random.oneIn(3) ? ring(random) : level, true, 0xc)) | (random.oneIn(4) ? ring(random) : level);
  s.poke32(TSS + 8 + level * 8, selector);
}

/** Far JMP and CALL, direct to a code segment. SDM Vol. 3A 5.8.1. */
function farTransfer(random: Random, seed: number): OracleCase {
  const s = scene(random, seed);
  const code = s.randomCode();
  const selector = random.oneIn(12) ? random.pick([random.below(4), 0x3f8, 0x84]) : code.selector | (random.oneIn(2) ? s.cpl : ring(random));
  emitFar(s, random.oneIn(2), selector, code.offset);
  return s.finish('far transfer');
}

function emitFar(s: SystemScene, call: boolean, selector: number, offset: number): void {
  const { random } = s;
  const prefix = offset < 0x1_0000 && random.oneIn(4) ? [0x66] : [];
  const pointer = [...(prefix.length > 0 ? bytes16(offset) : bytes32(offset)), ...bytes16(selector)];
  if (random.oneIn(2)) {
    s.code.push(...prefix, call ? 0x9a : 0xea, ...pointer);
  } else {
    s.patch(DATA + 0x100, pointer);
    s.code.push(...prefix, 0xff, call ? 0x1d : 0x2d, ...bytes32(s.dataLinear + 0x100));
  }
}

/** Call gates: every mix of CPL, RPL, gate DPL and target DPL, parameters, stack switches. SDM Vol. 3A 5.8.3–5.8.5. */
function callGate(random: Random, seed: number): OracleCase {
  const s = scene(random, seed);
  const call = !random.oneIn(4);
  let code = s.randomCode();
  // QEMU gives CS the DPL of conforming code as its RPL, where the CPL is meant, and a JMP to absent code a #GP.
  while ((code.conforming && code.dpl !== s.cpl) || !(call || code.present)) code = s.randomCode();
  const small = code.offset < 0x1_0000 && random.oneIn(3);
  const target = random.oneIn(16) ? randomBadCode(s) : code.selector | ring(random);
  const dpl = random.oneIn(3) ? ring(random) : 3;
  const selector = s.define(gate(target, code.offset, small ? 0x04 : 0x0c, dpl, !random.oneIn(12), random.oneIn(2) ? 0 : random.below(32)));
  randomStacks(s);
  emitFar(s, call, selector | (random.oneIn(3) ? ring(random) : s.cpl > dpl ? dpl : s.cpl), random.below(0x8000));
  return s.finish('call gate');
}

/** Frames for far RET and IRET: to the same or an outer ring, with a good or a bad stack segment. */
function pushReturnFrame(s: SystemScene, wide: boolean, flags: number | null, release: number): void {
  const { random } = s;
  const code = s.randomCode(wide ? random.oneIn(2) : true);
  const { offset } = code;
  // A target that fits: conforming code at or above its DPL, other code at its DPL.
  const fitting = code.conforming ? Math.max(s.cpl, code.dpl) : Math.max(s.cpl, code.dpl);
  const rpl = random.oneIn(5) ? ring(random) : fitting;
  const selector = random.oneIn(12) ? randomBadCode(s) : code.selector | rpl;
  const stack = random.oneIn(5) ? randomSelector(s) : (DATA_SELECTORS[rpl] as number);
  const words = [offset, ((random.u32() << 16) | selector) >>> 0];
  if (flags !== null) words.push(flags);
  for (let index = 0; index < release / (wide ? 4 : 2); index++) words.push(random.u32());
  words.push(s.dataLinear + 0x800 + random.below(0x100) * 4, ((random.u32() << 16) | stack) >>> 0);
  s.pokeLinear(s.registers[ESP] as number, words.flatMap((word) => (wide ? bytes32(word) : bytes16(word))));
  // Data segments that an outer ring may not keep.
  if (random.oneIn(2)) s.selectors[3] = s.define(descriptor(0, 0xf_ffff, random.pick([0x11, 0x13, 0x1b, 0x1f]), random.oneIn(2) ? s.cpl : 3, true, 0xc)) | s.cpl;
}

function farReturn(random: Random, seed: number): OracleCase {
  const s = scene(random, seed);
  const wide = !random.oneIn(4), release = random.oneIn(2) ? 0 : random.below(8) * 4;
  pushReturnFrame(s, wide, null, release);
  s.code.push(...(wide ? [] : [0x66]), ...(release > 0 ? [0xca, ...bytes16(release)] : [0xcb]));
  return s.finish('far return');
}

/** Any EFLAGS image but VM; TF, NT and RF now and then. */
function randomFlags(random: Random): number {
  return random.u32() & (0x20_4ed7 | 0x3c_0000) & ~(random.oneIn(6) ? 0 : 0x4000) & ~(random.oneIn(6) ? 0 : 0x100) & ~0x18_0000;
}

function interruptReturn(random: Random, seed: number): OracleCase {
  const s = scene(random, seed);
  const wide = !random.oneIn(4);
  pushReturnFrame(s, wide, randomFlags(random) | (random.oneIn(3) ? ring(random) << 12 : 0), 0);
  s.code.push(...(wide ? [] : [0x66]), 0xcf);
  return s.finish('iret');
}

/** A gate of the IDT whose handler is INT3s at some ring; mostly valid. */
function randomGate(s: SystemScene, dpl: number): Uint8Array {
  const { random } = s;
  const code = s.randomCode();
  const type = random.oneIn(24) ? random.pick([0x0c, 0x04, 0x02, 0x0a, 0x00]) : code.offset < 0x1_0000 && random.oneIn(3) ? random.pick([6, 7]) : random.pick([0x0e, 0x0f]);
  return gate(random.oneIn(20) ? randomBadCode(s) : code.selector | (random.oneIn(4) ? ring(random) : 0), code.offset, type, dpl, !random.oneIn(20));
}

/** INT n, through interrupt and trap gates. SDM Vol. 3A 6.12. */
function softwareInterrupt(random: Random, seed: number): OracleCase {
  const s = scene(random, seed);
  const vector = 0x14 + random.below(12);
  s.setGate(vector, randomGate(s, random.oneIn(3) ? ring(random) : 3));
  randomStacks(s);
  if (random.oneIn(8) && s.paging !== 'none') s.protectArena(STACK0 >>> 12, random.pick([0x62, 0x61, 0x60, 0x67]));
  s.code.push(0xcd, vector);
  return s.finish('int n');
}

/** Exceptions delivered through the case's own gates: error codes, CR2, and what follows when delivery itself faults. */
function deliveredException(random: Random, seed: number): OracleCase {
  const s = scene(random, seed);
  const kinds: [vector: number, bytes: () => number[]][] = [
    [0, () => { s.registers[ECX] = 0; s.undefinedFlags = 0; return [0xf7, 0xf1]; }],
    [6, () => [0x0f, 0x0b]],
    [4, () => { s.eflags |= 0x800; return [0xce]; }],
    [5, () => { s.registers[EAX] = 5; s.patch(DATA + 0x200, [...bytes32(10), ...bytes32(20)]); return [0x62, 0x05, ...bytes32(s.dataLinear + 0x200)]; }],
    [13, () => { s.registers[EAX] = random.pick([0x3f8, 0x400, 0x203, 0x84]); return [0x8e, 0xd8]; }],
    [14, () => [random.oneIn(2) ? 0xa1 : 0xa3, ...bytes32(0x5000_0000 + random.below(0x10000))]],
    [1, () => { s.eflags |= 0x100; return [0x90]; }],
    [11, () => { s.registers[EAX] = s.define(descriptor(0, 0xffff, 0x13, 3, false, 0)) | 3; return [0x8e, 0xd8]; }],
  ];
  let kind = random.pick(kinds);
  while (kind[0] === 14 && s.paging === 'none') kind = random.pick(kinds);
  const [vector, bytes] = kind;
  s.delivered = 1 << vector;
  s.setGate(vector, randomGate(s, random.oneIn(2) ? 3 : ring(random)));
  randomStacks(s);
  s.code.push(...bytes());
  return s.finish('exception delivery');
}

/** PUSHF, POPF, CLI, STI by CPL and IOPL. */
function flagsByPrivilege(random: Random, seed: number): OracleCase {
  const s = scene(random, seed);
  s.eflags = (s.eflags & ~0x3000) | (ring(random) << 12) | (random.oneIn(4) ? 0x20_4000 : 0);
  const prefix = random.oneIn(3) ? [0x66] : [];
  switch (random.below(4)) {
    case 0: s.code.push(...prefix, 0x9c); break;
    case 1:
      s.pokeLinear(s.registers[ESP] as number, bytes32(randomFlags(random) | (ring(random) << 12)));
      s.code.push(...prefix, 0x9d);
      break;
    case 2: s.code.push(0xfa, 0x9c); break;
    default: s.code.push(0xfb, 0x9c);
  }
  return s.finish('flags by privilege');
}

/** IN, OUT, INS, OUTS against IOPL and the I/O permission bitmap. SDM Vol. 1 19.5. */
function portPermission(random: Random, seed: number): OracleCase {
  const s = scene(random, seed);
  s.eflags = (s.eflags & ~0x3400) | (ring(random) << 12);
  // Ports that no device of the oracle's machine decodes.
  const port = random.oneIn(8) ? 0x2000 + random.below(64) : 0x220 + random.below(32);
  // QEMU reads 0 from a port that is not aligned to its access and has no device.
  const input = random.oneIn(2);
  s.registers[EDX] = ((random.u32() << 16) | (input ? port & ~3 : port)) >>> 0;
  for (let count = random.below(6); count > 0; count--) s.patch(TSS + 0x68 + (0x220 >>> 3) + random.below(5), [random.oneIn(2) ? 0 : random.u32() & 0xff]);
  if (random.oneIn(6)) s.poke32(TSS + 0x64, random.pick([0x67, 0x69, 0xe7, 0xe8, 0xe9, 0xffff, 0x400]) << 16);
  if (random.oneIn(6)) s.patch(GDT + TSS_SELECTOR, descriptor(ARENA_BASE + TSS, random.pick([0x67, 0x68, 0x68 + (port >>> 3), 0x69 + (port >>> 3), TSS_LIMIT]), 0x0b, 0, true, 0));
  const prefix = random.oneIn(3) ? [0x66] : [];
  if (random.oneIn(4)) {
    s.registers[ECX] = random.below(6);
    s.registers[ESI] = s.registers[EDI] = s.dataLinear + random.below(0x2ff0);
    s.code.push(...prefix, ...(random.oneIn(2) ? [0xf3] : []), (input ? 0x6c : 0x6e) + random.below(2));
  } else {
    s.code.push(...prefix, (input ? 0xec : 0xee) + random.below(2));
  }
  return s.finish('port permission');
}

/** MOV to and from control and debug registers, CLTS, LMSW, SMSW; also above ring 0. */
function controlRegister(random: Random, seed: number): OracleCase {
  const s = scene(random, seed, random.oneIn(4) ? ring(random) : 0);
  switch (random.below(8)) {
    case 0: // CR0: WP, AM, MP, EM, NE, CD
      s.registers[EAX] = ((s.cr0 & 0x8000_0011) | (random.u32() & 0x5_0026) | (random.oneIn(3) ? 0x4000_0000 : 0)) >>> 0;
      s.code.push(0x0f, 0x22, 0xc0, 0x0f, 0x20, 0xc1);
      break;
    case 1: // CR4: TSD, PSE, PGE; reserved bits fault
      s.registers[EAX] = ((s.cr4 & 0x20) | (random.u32() & 0x94) | (random.oneIn(4) ? 0x0080_0000 << random.below(9) : 0)) >>> 0;
      s.code.push(0x0f, 0x22, 0xe0, 0x0f, 0x20, 0xe1);
      break;
    case 2: s.code.push(0x0f, 0x22, 0xd0, 0x0f, 0x20, 0xd1); break; // CR2
    case 3: // CR3, the same value; without paging a task switch does not load it
      s.code.push(...(s.paging === 'none' ? [0x0f, 0x22, 0xd9] : [0x0f, 0x20, 0xd9, 0x0f, 0x22, 0xd9, 0x0f, 0x20, 0xda]));
      break;
    case 4: s.code.push(0x0f, 0x06, 0x0f, 0x20, 0xc1); break; // CLTS
    case 5: s.code.push(0x0f, random.oneIn(2) ? 0x20 : 0x22, 0xc0 | ((s.cpl === 0 ? random.pick([1, 5, 6, 7]) : 0) << 3)); break;
    case 6: // SMSW, LMSW: cannot clear PE
      s.registers[EAX] = random.u32();
      s.code.push(...(random.oneIn(2) ? [0x66] : []), 0x0f, 0x01, 0xe1, 0x0f, 0x01, 0xf0, 0x0f, 0x20, 0xc2);
      break;
    default: {
      const register = random.below(8);
      // DR7 stays without enabled breakpoints and general detect; QEMU keeps reserved bits of DR6 and DR7.
      s.registers[EAX] = register === 7 || register === 5 ? random.u32() & 0xffff_0000 : random.u32() & 0xffff_efff;
      if (s.cpl === 0 && random.oneIn(4)) s.cr4 |= 8; // DE: DR4 and DR5 do not exist
      s.code.push(0x0f, 0x23, 0xc0 | (register << 3), 0x0f, 0x21, 0xc1 | (register << 3));
    }
  }
  return s.finish('control register');
}

/** LGDT, LIDT, SGDT, SIDT, LLDT, SLDT, LTR, STR, INVLPG, WBINVD, MSRs, HLT above ring 0. */
function systemTable(random: Random, seed: number): OracleCase {
  const s = scene(random, seed, random.oneIn(4) ? ring(random) : 0);
  const prefix = random.oneIn(4) ? [0x66] : [];
  const address = s.dataLinear + random.below(0x2ff0);
  const memory = (extension: number): number[] => [0x05 | (extension << 3), ...bytes32(address)];
  switch (random.below(9)) {
    case 0: s.code.push(...prefix, 0x0f, 0x01, ...memory(random.below(2))); break; // SGDT, SIDT
    case 1: { // LGDT: the same table, another limit
      s.patch(DATA + address - s.dataLinear, [...bytes16(0x300 + random.below(0x1000)), ...bytes32(ARENA_BASE + GDT)]);
      s.code.push(...prefix, 0x0f, 0x01, ...memory(2));
      break;
    }
    case 2: {
      s.patch(DATA + address - s.dataLinear, [...bytes16(0xff + random.below(0x1000)), ...bytes32(ARENA_BASE + IDT)]);
      s.code.push(...prefix, 0x0f, 0x01, ...memory(3));
      break;
    }
    case 3: { // LLDT
      const selector = random.oneIn(2) ? s.define(descriptor(ARENA_BASE + LDT, 0x7f, random.oneIn(4) ? random.below(16) : 2, ring(random), !random.oneIn(6), 0)) : randomSelector(s);
      s.registers[EAX] = random.oneIn(4) ? selector : selector & ~3;
      s.code.push(0x0f, 0x00, 0xd0, 0x0f, 0x00, 0xc1);
      break;
    }
    case 4: { // LTR
      // Not null, which QEMU loads, nor a 16-bit TSS, which cannot take the state that ends the case.
      const selector = random.oneIn(3) ? randomBadCode(s) | 8 : random.oneIn(2) ? TSS2_SELECTOR : s.define(descriptor(ARENA_BASE + TSS2, 0x67, random.pick([9, 9, 0x0b, 2, 0x1b]), 0, !random.oneIn(6), 0));
      s.registers[EAX] = selector & ~(random.oneIn(4) ? 0 : 3);
      s.code.push(0x0f, 0x00, 0xd8);
      break;
    }
    case 5: s.code.push(...prefix, 0x0f, 0x00, 0xc0 | random.below(2) << 3); break; // SLDT, STR
    case 6: s.code.push(...random.pick([[0x0f, 0x01, 0x3d, ...bytes32(random.u32())], [0x0f, 0x09], [0x0f, 0x01, 0xf9 & 0xfb]])); break; // INVLPG, WBINVD
    case 7: { // the SYSENTER MSRs and EFER
      const msr = random.pick([0x174, 0x175, 0x176]);
      s.registers[ECX] = msr;
      s.registers[EDX] = 0;
      s.registers[EAX] = msr === 0x174 ? random.u32() & 0xffff : random.u32();
      s.code.push(0x0f, 0x30, 0x31, 0xc0, 0x0f, 0x32);
      break;
    }
    default:
      if (s.cpl === 0) s.code.push(0x0f, 0x09);
      else s.code.push(...random.pick([[0xf4], [0x0f, 0x09], [0x0f, 0x32], [0x0f, 0x30], [0x0f, 0x06], [0x0f, 0x08]]));
  }
  return s.finish('system tables');
}

const ACCESSED = 0x20, DIRTY = 0x40, PAGE_SIZE = 0x80;

/** One page entry, rights at random. */
function randomRights(random: Random): number {
  return (random.oneIn(6) ? 0 : 1) | (random.oneIn(3) ? 0 : 2) | (random.oneIn(3) ? 0 : 4) | (random.u32() & 0x18) | (random.oneIn(2) ? ACCESSED : 0) | (random.oneIn(2) ? DIRTY : 0) | (random.u32() & 0xe00);
}

/** Translation, rights, accessed and dirty bits, reserved bits, error codes. SDM Vol. 3A 4.3, 4.4, 4.6–4.8. */
function pageAccess(random: Random, seed: number): OracleCase {
  const paging: Paging = random.oneIn(2) ? 'pae' : 'two-level';
  const s = scene(random, seed, ring(random), paging);
  const { pae, large } = { pae: paging === 'pae', large: random.oneIn(3) };
  s.cr4 |= random.oneIn(2) ? CR4_PGE : 0;
  const entryBytes = pae ? 8 : 4;
  const directory = pae ? PAE_DIRECTORY + 0x180 * 8 : PAGE_DIRECTORY + 0xc0 * 4, table = pae ? PAE_DATA_TABLE : DATA_TABLE;
  let offset = random.below(0x2ff0);
  const put = (at: number, low: number, high: number): void => s.patch(at, pae ? [...bytes32(low), ...bytes32(high)] : bytes32(low));
  const high = (): number => (!pae ? 0 : random.oneIn(4) ? 0x8000_0000 : random.oneIn(12) ? 1 << (20 + random.below(11)) : 0) >>> 0;
  if (large) {
    // One big page over the whole arena: its offset in the arena is its offset in the page.
    const reserved = random.oneIn(10) ? (pae ? 1 << (13 + random.below(8)) : 1 << 21) : 0;
    const entry = ARENA_BASE | reserved | PAGE_SIZE | randomRights(random) | (random.oneIn(4) ? 0x100 : 0);
    if (!pae && !(s.cr4 & CR4_PSE)) s.cr4 |= CR4_PSE;
    put(directory, entry, high());
    offset += DATA;
  } else {
    const page = offset >>> 12;
    const straddling = random.oneIn(4);
    if (straddling) offset = (page + 1) * 0x1000 - 1 - random.below(3);
    for (const index of straddling ? [page, page + 1] : [page]) {
      put(table + index * entryBytes, (ARENA_BASE + DATA + index * 0x1000) | randomRights(random) | (random.oneIn(4) ? 0x100 : 0), high());
    }
    // The directory entry's own rights; accessed already, since processors and emulators differ when the walk ends in a fault.
    if (random.oneIn(2)) put(directory, (ARENA_BASE + table) | randomRights(random) | ACCESSED, pae && random.oneIn(6) ? 0x8000_0000 : 0);
  }
  const linear = s.dataLinear + offset;
  switch (random.below(4)) {
    case 0: s.code.push(0xa1, ...bytes32(linear)); break;
    case 1: s.code.push(0xa3, ...bytes32(linear)); break;
    case 2: s.code.push(0xff, 0x35, ...bytes32(linear)); break; // PUSH m
    default: // run there: one-byte instructions, then INT3
      s.patch(DATA + (large ? offset - DATA : offset), [0xf8, 0xf9, 0x90, 0x40, 0xcc]);
      s.registers[EAX] = linear;
      s.code.push(0xff, 0xe0);
  }
  return s.finish('page access');
}

/** Page entries changed under way: what INVLPG and CR3 loads must make visible, and what needs neither. SDM Vol. 3A 4.10.4. */
function translationCache(random: Random, seed: number): OracleCase {
  const paging: Paging = random.oneIn(2) ? 'pae' : 'two-level';
  const s = scene(random, seed, 0, paging);
  s.cr0 |= CR0_WP;
  const entryBytes = paging === 'pae' ? 8 : 4, table = paging === 'pae' ? PAE_DATA_TABLE : DATA_TABLE;
  const entry = ARENA_BASE + table + entryBytes, linear = s.dataLinear + 0x1000 + random.below(0xff0);
  const load = [0xa1, ...bytes32(linear)], store = [0xa3, ...bytes32(linear)];
  const setEntry = (value: number): number[] => [0xc7, 0x05, ...bytes32(entry), ...bytes32(value)];
  const frame = (page: number): number => ARENA_BASE + DATA + page * 0x1000;
  const flush = random.oneIn(2) ? [0x0f, 0x01, 0x3d, ...bytes32(linear)] : [0x0f, 0x20, 0xd9, 0x0f, 0x22, 0xd9];
  switch (random.below(5)) {
    case 0: // absent, then present: no flush needed
      s.patch(table + entryBytes, bytes32(frame(1)));
      s.code.push(...setEntry(frame(1) | 0x7), ...(random.oneIn(2) ? store : load));
      break;
    case 1: // another frame
      s.code.push(...load, 0x89, 0xc3, ...setEntry(frame(2) | 0x7), ...flush, ...load);
      break;
    case 2: // write rights taken away
      s.code.push(...store, ...setEntry(frame(1) | 0x5), ...flush, ...(random.oneIn(2) ? store : load));
      break;
    case 3: // dirty bit cleared: set again by the next store
      s.code.push(...store, ...setEntry(frame(1) | 0x27), ...flush, ...store);
      break;
    default: // unmapped
      s.code.push(...load, ...setEntry(frame(1)), ...flush, ...load);
  }
  return s.finish('translation cache');
}

/** EFLAGS.TF: one trap after each instruction, one for each iteration of REP; none after a load of SS. SDM Vol. 3A 17.3.1.4. */
function singleStep(random: Random, seed: number): OracleCase {
  const s = scene(random, seed);
  s.eflags |= 0x100;
  s.registers[ECX] = 1 + random.below(3);
  s.registers[ESI] = s.dataLinear + random.below(0x1000);
  s.registers[EDI] = s.dataLinear + 0x1000 + random.below(0x1000);
  const bodies: number[][] = [
    [0x90], [0x40], [0xf3, 0xa4], [0xf3, 0xab], [0xe8, 0, 0, 0, 0], [0x9c, 0x58], [0xeb, 2, 0x90, 0x90, 0x90], [0x74, 0x00], [0x50], [0xfc],
    [0x8c, 0xd0, 0x8e, 0xd0, 0x40], // MOV SS
    [0x16, 0x17, 0x40], // POP SS
    [0xf7, 0xf1], [0x0f, 0x0b], [0xe2, 0xfe],
  ];
  if (random.oneIn(4)) {
    // POPF that sets TF: the trap comes after the next instruction.
    s.eflags &= ~0x100;
    s.pokeLinear(s.registers[ESP] as number, bytes32(s.eflags | 0x100));
    s.code.push(0x9d, 0x40, 0x43);
  } else {
    const body = random.pick(bodies);
    s.pokeLinear((s.registers[ESP] as number) - 4, bytes32(0)); // PUSH SS may write 16 bits or 32
    // The first instructions run without TF, so that the interesting one is the first that traps.
    s.code.push(...body, 0x41);
  }
  if (random.oneIn(3)) {
    s.delivered = 2;
    s.setGate(1, randomGate(s, 0));
  }
  s.undefinedFlags = 0;
  return s.finish('single step');
}

/** SYSENTER and SYSEXIT. */
function fastCall(random: Random, seed: number): OracleCase {
  const s = scene(random, seed, random.oneIn(3) ? 0 : ring(random));
  s.sysenter[0] = random.oneIn(6) ? 0 : CODE0;
  s.sysenter[1] = ARENA_BASE + STACK0 + 0x800;
  s.sysenter[2] = ARENA_BASE + LANDING + random.below(0x100);
  s.registers[ECX] = s.dataLinear + 0x800;
  s.registers[EDX] = ARENA_BASE + LANDING + random.below(0x100);
  s.code.push(0x0f, random.oneIn(2) ? 0x34 : 0x35);
  return s.finish('sysenter');
}

/** String instructions that meet a page fault part of the way. */
function stringFault(random: Random, seed: number): OracleCase {
  const s = scene(random, seed, ring(random), random.oneIn(2) ? 'pae' : 'two-level');
  s.registers[ECX] = random.below(64);
  const near = (): number => s.dataLinear + 0x1000 * (1 + random.below(2)) - random.below(48);
  s.registers[ESI] = near();
  s.registers[EDI] = near();
  if (random.oneIn(3)) s.eflags |= 0x400;
  const page = 1 + random.below(2), rights = random.pick([0x60, 0x61, 0x63, 0x65]);
  const entry = (ARENA_BASE + DATA + page * 0x1000) | rights;
  s.patch(DATA_TABLE + page * 4, bytes32(entry));
  s.patch(PAE_DATA_TABLE + page * 8, bytes32(entry));
  s.code.push(...(random.oneIn(4) ? [0x66] : []), ...(random.oneIn(8) ? [] : [0xf3]), random.pick([0xa4, 0xa5, 0xaa, 0xab, 0xac, 0xad]));
  return s.finish('string fault');
}

/** Encodings that do not exist, and instructions longer than 15 bytes. */
function badEncoding(random: Random, seed: number): OracleCase {
  const s = scene(random, seed);
  const memory = bytes32(s.dataLinear + 0x100);
  s.code.push(...random.pick<number[]>([
    [0x0f, 0x0b], [0x8e, 0xc8], [0x8e, 0xf0], [0x8e, 0xf8], [0x8c, 0xf0], [0x8c, 0xf8], [0x8d, 0xc0], [0xc4, 0xc0], [0xc5, 0xc8], [0x62, 0xc1], [0xfe, 0xd0], [0xfe, 0xf8], [0xff, 0xf8],
    [0xff, 0xd8], [0xff, 0xe8],  [0x0f, 0xc7, 0xc8], [0x0f, 0xba, 0xc0, 1], [0x0f, 0xba, 0xd8, 1], [0x0f, 0x04], [0x0f, 0x0a],
    [0x0f, 0x0c], [0x0f, 0x24, 0xc0], [0x0f, 0x26, 0xc0], [0x0f, 0x36], [0x0f, 0x3b], [0x0f, 0xa6], [0x0f, 0xb2, 0xc0], [0x0f, 0xb4, 0xc0], [0x0f, 0x00, 0xf0], [0x0f, 0x01, 0xd0], [0x0f, 0x01, 0xe8],
    [0x0f, 0x01, 0x2d, ...memory],
    [...Array.from({ length: 14 }, () => 0x66), 0x90], [...Array.from({ length: 15 }, () => 0x66), 0x90], [...Array.from({ length: 13 }, () => 0x3e), 0x66, 0x90],
    [...Array.from({ length: 10 }, () => 0x3e), 0xb8, 1, 2, 3, 4], [...Array.from({ length: 11 }, () => 0x3e), 0xb8, 1, 2, 3, 4],
  ]));
  return s.finish('bad encoding');
}

/** Call gates and interrupts into a ring, and back out by IRET or RETF, in one case: hidden parts of segments must be right to go on. */
function roundTrip(random: Random, seed: number): OracleCase {
  const s = scene(random, seed, 1 + random.below(3));
  const inner = random.below(s.cpl), handler = ARENA_BASE + LANDING + 0x900;
  const code = (CODE_SELECTORS[inner] as number) & ~3;
  s.eflags &= ~0x4000;
  if (random.oneIn(2)) {
    s.setGate(0x1f, gate(code, handler, random.pick([0x0e, 0x0f]), 3, true));
    s.patch(LANDING + 0x900, [0x50, 0x8c, 0xd0, 0x89, 0xe3, 0x0f, 0x02, 0xc8, 0x58, 0xcf]); // push eax; mov eax,ss; mov ebx,esp; lar ecx,eax; pop eax; iret
    s.code.push(0xcd, 0x1f, 0x40, 0x60);
  } else {
    const count = random.below(4);
    const selector = s.define(gate(code, handler, 0x0c, 3, true, count));
    s.patch(LANDING + 0x900, [0x8b, 0x44, 0x24, 0x08, 0x8c, 0xd1, 0xca, ...bytes16(count * 4)]); // mov eax,[esp+8]; mov ecx,ss; retf n
    s.code.push(0x9a, ...bytes32(0), ...bytes16(selector | 3), 0x43, 0x60);
  }
  return s.finish('round trip');
}

type Family = (random: Random, seed: number) => OracleCase;
/** With how often each comes, out of the sum. */
const FAMILIES: readonly [Family, number][] = [
  [loadSegment, 10], [querySelector, 8], [farTransfer, 8], [callGate, 12], [farReturn, 10], [interruptReturn, 10], [softwareInterrupt, 12], [deliveredException, 12],
  [flagsByPrivilege, 6], [portPermission, 6], [controlRegister, 6], [systemTable, 8], [pageAccess, 14], [translationCache, 4], [singleStep, 6], [fastCall, 3], [stringFault, 5],
  [badEncoding, 4], [roundTrip, 5],
];
const wheel = FAMILIES.flatMap(([family, weight]) => Array.from({ length: weight }, () => family));

export function generateSystem(random: Random, seed: number): OracleCase {
  return random.pick(wheel)(random, seed);
}
