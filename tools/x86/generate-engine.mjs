#!/usr/bin/env node
// Writes libs/core/x86/src/engine.ts (the run loop), translated-engine.ts (that of translated code) and hot-forms.ts (their operation numbers).
//
// The run loop is one switch whose cases are generic over (operation × operand form), so that it is shorter to generate than to write, and
// easier to keep alike. Words of a slot and of the state stand as literals: imported constants cost a load each.
//
//   node tools/x86/generate-engine.mjs [--check]
//
// --check writes nothing and fails when a file differs.
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const source = join(dirname(fileURLToPath(import.meta.url)), '../../libs/core/x86/src');

// State words (state.ts) and slot words (slot-layout.ts).
const EAX = 0, ECX = 1, EDX = 2, ESP = 4, EBP = 5, RESULT = 12, CARRIES = 13;
const CARRY_BITS = '0xc0000008';

const checking = process.argv.includes('--check');
function output(name, text) {
  const path = join(source, name);
  if (!checking) writeFileSync(path, text);
  else if (readFileSync(path, 'utf8') !== text) {
    console.error(`${name} is not what the generator writes`);
    process.exitCode = 1;
  }
}

const cases = []; // { names, body }
const add = (names, body) => cases.push({ names: [names].flat(), body });

// ---- Operand forms ------------------------------------------------------------------------------------------------------------------

const address = {
  m: 'a = (i32[slots[pc + 3]] + slots[pc + 5]) | 0;',
  x: 'x = slots[pc + 4]; a = (i32[slots[pc + 3]] + (i32[x & 15] << (x >> 4)) + slots[pc + 5]) | 0;',
};
const entry = 'e = tlb + ((a >>> 10) & 0x3ffc);';
const readMemory = {
  4: (to) => `${entry} ${to} = i32[e] === (a & 0xfffff003) ? i32[(a + i32[e + 3]) >> 2] : readSlow32(cpu, a, user);`,
  2: (to) => `${entry} ${to} = i32[e] === (a & 0xfffff001) ? u16[(a + i32[e + 3]) >> 1] : readLinear16(cpu, a, user);`,
  1: (to) => `${entry} ${to} = i32[e] === (a & 0xfffff000) ? u8[a + i32[e + 3]] : readLinear8(cpu, a, user);`,
};
const writeMemory = {
  4: (value) => `${entry} if (i32[e + 1] === (a & 0xfffff003)) i32[(a + i32[e + 3]) >> 2] = ${value}; else writeSlow32(cpu, a, ${value}, user);`,
  2: (value) => `${entry} if (i32[e + 1] === (a & 0xfffff001)) u16[(a + i32[e + 3]) >> 1] = ${value}; else writeLinear16(cpu, a, ${value}, user);`,
  1: (value) => `${entry} if (i32[e + 1] === (a & 0xfffff000)) u8[a + i32[e + 3]] = ${value}; else writeLinear8(cpu, a, ${value}, user);`,
};
/** Read-modify-write: `change` computes r from v; flags are set after the write, which can still leave for the bus. */
const modifyMemory = {
  4: (change, flags) => `${entry} if (i32[e + 1] === (a & 0xfffff003)) { o = (a + i32[e + 3]) >> 2; v = i32[o]; } else { o = -1; v = readForWrite32(cpu, a, user); }
          ${change} if (o >= 0) i32[o] = r; else writeSlow32(cpu, a, r, user);
          ${flags}`,
  1: (change, flags) => `${entry} if (i32[e + 1] === (a & 0xfffff000)) { o = a + i32[e + 3]; v = u8[o]; } else { o = -1; v = readForWrite8(cpu, a, user); }
          ${change} if (o >= 0) u8[o] = r; else writeLinear8(cpu, a, r, user);
          ${flags}`,
};

const next = 'pc += 8; continue;';

// ---- Arithmetic: r from v and w; flags from v, w, r (flags.ts) -----------------------------------------------------------------------

const sumCarries = '((v & w) | ((v | w) & ~r))';
const differenceCarries = '((~v & w) | ((~v | w) & r))';
const carryIn = `(i32[${CARRIES}] >>> 31)`;
const set32 = (carries) => `i32[${RESULT}] = r; i32[${CARRIES}] = ${carries === '0' ? '0' : `${carries} & ${CARRY_BITS}`};`;
const set8 = (carries) => carries === '0' ? `i32[${RESULT}] = (r << 24) >> 24; i32[${CARRIES}] = 0;`
  : `i32[${RESULT}] = (r << 24) >> 24; x = ${carries}; i32[${CARRIES}] = ((x << 24) & 0xc0000000) | (x & 8);`;
const arithmetic = {
  ADD: ['v + w', sumCarries], OR: ['v | w', '0'], ADC: [`v + w + ${carryIn}`, sumCarries], SBB: [`v - w - ${carryIn}`, differenceCarries],
  AND: ['v & w', '0'], SUB: ['v - w', differenceCarries], XOR: ['v ^ w', '0'], CMP: ['v - w', differenceCarries], TEST: ['v & w', '0'],
};
const compares = (name) => name === 'CMP' || name === 'TEST';

for (const [name, [expression, carries]] of Object.entries(arithmetic)) {
  const flags = set32(carries);
  const compute = `r = (${expression}) | 0;`;
  add([`${name} Ev,Gv r`], `o = slots[pc + 2]; v = i32[o]; w = i32[slots[pc + 1]]; ${compute} ${flags} ${compares(name) ? '' : 'i32[o] = r;'} ${next}`);
  add([`${name} Ev,Iv r`], `o = slots[pc + 2]; v = i32[o]; w = slots[pc + 6]; ${compute} ${flags} ${compares(name) ? '' : 'i32[o] = r;'} ${next}`);
  // `Gv,Ev` with a register is `Ev,Gv` with A and B exchanged (operations.ts).
  for (const form of ['m', 'x']) {
    if (name !== 'TEST') add([`${name} Gv,Ev ${form}`], `${address[form]} ${readMemory[4]('w')} o = slots[pc + 1]; v = i32[o]; ${compute} ${flags} ${compares(name) ? '' : 'i32[o] = r;'} ${next}`);
    if (name === 'ADC' || name === 'SBB') continue; // rare with a memory destination
    for (const [shape, operand] of [['Ev,Gv', 'i32[slots[pc + 1]]'], ['Ev,Iv', 'slots[pc + 6]']]) {
      if (compares(name)) add([`${name} ${shape} ${form}`], `${address[form]} ${readMemory[4]('v')} w = ${operand}; ${compute} ${flags} ${next}`);
      else add([`${name} ${shape} ${form}`], `${address[form]} w = ${operand}; ${modifyMemory[4](compute, flags)} ${next}`);
    }
  }
}
for (const name of ['ADD', 'OR', 'AND', 'SUB', 'XOR', 'CMP', 'TEST']) {
  const [expression, carries] = arithmetic[name];
  const flags = set8(carries);
  const compute = `r = ${expression};`;
  const store = compares(name) ? '' : 'u8[o] = r;';
  add([`${name} Eb,Gb r`], `o = slots[pc + 2]; v = u8[o]; w = u8[slots[pc + 1]]; ${compute} ${flags} ${store} ${next}`);
  add([`${name} Eb,Ib r`], `o = slots[pc + 2]; v = u8[o]; w = slots[pc + 6]; ${compute} ${flags} ${store} ${next}`);
  for (const form of ['m', 'x']) {
    if (name === 'CMP' || name === 'OR') add([`${name} Gb,Eb ${form}`], `${address[form]} ${readMemory[1]('w')} o = slots[pc + 1]; v = u8[o]; ${compute} ${flags} ${store} ${next}`);
    if (compares(name)) {
      add([`${name} Eb,Ib ${form}`], `${address[form]} ${readMemory[1]('v')} w = slots[pc + 6]; ${compute} ${flags} ${next}`);
      add([`${name} Eb,Gb ${form}`], `${address[form]} ${readMemory[1]('v')} w = u8[slots[pc + 1]]; ${compute} ${flags} ${next}`);
    } else add([`${name} Eb,Ib ${form}`], `${address[form]} w = slots[pc + 6]; ${modifyMemory[1](compute, flags)} ${next}`);
  }
}

// INC and DEC keep CF; NEG subtracts from 0.
const kept = (overflow) => `x = i32[${CARRIES}] >>> 31; i32[${RESULT}] = r; i32[${CARRIES}] = (x << 31) | ((r === ${overflow} ? x ^ 1 : x) << 30) | (((v ^ r) & 0x10) >> 1);`;
for (const [name, expression, overflow] of [['INC', 'v + 1', '-0x80000000'], ['DEC', 'v - 1', '0x7fffffff']]) {
  add([`${name} Ev r`], `o = slots[pc + 2]; v = i32[o]; r = (${expression}) | 0; ${kept(overflow)} i32[o] = r; ${next}`);
  for (const form of ['m', 'x']) add([`${name} Ev ${form}`], `${address[form]} ${modifyMemory[4](`r = (${expression}) | 0;`, kept(overflow))} ${next}`);
}
add(['NEG Ev r'], `o = slots[pc + 2]; w = i32[o]; v = 0; r = -w | 0; ${set32(differenceCarries)} i32[o] = r; ${next}`);
add(['NOT Ev r'], `o = slots[pc + 2]; i32[o] = ~i32[o]; ${next}`);

// Shifts by an immediate or CL; a count of 0 changes nothing.
for (const [shape, count] of [['Ev,Ib', 'slots[pc + 6] & 31'], ['Ev,CL', 'u8[4] & 31']]) {
  const shift = (name, result, carries) => add(shape === 'Ev,Ib' ? [`${name} Ev,Ib r`, `${name} Ev,1 r`] : [`${name} ${shape} r`], `w = ${count}; if (w !== 0) { o = slots[pc + 2]; v = i32[o]; r = ${result}; ${carries} i32[o] = r; } ${next}`);
  shift('SHL', 'v << w', `i32[${RESULT}] = r; i32[${CARRIES}] = ((v >>> (32 - w)) << 31) | ((r >>> 1) & 0x40000000);`);
  shift('SHR', '(v >>> w) | 0', `x = v >>> (w - 1); i32[${RESULT}] = r; i32[${CARRIES}] = (x << 31) | (((x ^ (v >>> 31)) & 1) << 30);`);
  shift('SAR', 'v >> w', `x = (v >> (w - 1)) & 1; i32[${RESULT}] = r; i32[${CARRIES}] = (x << 31) | (x << 30);`);
  shift('ROL', '(v << w) | (v >>> (32 - w))', `i32[${CARRIES}] = (i32[${CARRIES}] & 0x3fffffff) | (r << 31) | ((r >>> 1) & 0x40000000);`);
  shift('ROR', '(v >>> w) | (v << (32 - w))', `i32[${CARRIES}] = (i32[${CARRIES}] & 0x3fffffff) | (r & 0xc0000000);`);
}

// Multiplication: the product is exact in a double where it fits 32 bits, and differs from the truncated one where not.
const product = `r = imul(v, w); i32[${RESULT}] = r; i32[${CARRIES}] = v * w === r ? 0 : -0x80000000; i32[slots[pc + 1]] = r;`;
add(['IMUL Gv,Ev r'], `v = i32[slots[pc + 1]]; w = i32[slots[pc + 2]]; ${product} ${next}`);
add(['IMUL Gv,Ev,Iv r'], `v = i32[slots[pc + 2]]; w = slots[pc + 6]; ${product} ${next}`);
for (const form of ['m', 'x']) add([`IMUL Gv,Ev ${form}`], `${address[form]} ${readMemory[4]('w')} v = i32[slots[pc + 1]]; ${product} ${next}`);
for (const form of ['m']) add([`IMUL Gv,Ev,Iv ${form}`], `${address[form]} ${readMemory[4]('v')} w = slots[pc + 6]; ${product} ${next}`);

// ---- Moves ------------------------------------------------------------------------------------------------------------------------

add(['MOV Ev,Gv r'], `i32[slots[pc + 2]] = i32[slots[pc + 1]]; ${next}`);
add(['MOV Ev,Iv r'], `i32[slots[pc + 2]] = slots[pc + 6]; ${next}`);
add(['MOV Eb,Gb r'], `u8[slots[pc + 2]] = u8[slots[pc + 1]]; ${next}`);
add(['MOV Eb,Ib r'], `u8[slots[pc + 2]] = slots[pc + 6]; ${next}`);
for (const form of ['m', 'x']) {
  add([`MOV Gv,Ev ${form}`], `${address[form]} ${readMemory[4]('v')} i32[slots[pc + 1]] = v; ${next}`);
  add([`MOV Ev,Gv ${form}`], `${address[form]} v = i32[slots[pc + 1]]; ${writeMemory[4]('v')} ${next}`);
  add([`MOV Ev,Iv ${form}`], `${address[form]} v = slots[pc + 6]; ${writeMemory[4]('v')} ${next}`);
  add([`MOV Gb,Eb ${form}`], `${address[form]} ${readMemory[1]('v')} u8[slots[pc + 1]] = v; ${next}`);
  add([`MOV Eb,Gb ${form}`], `${address[form]} v = u8[slots[pc + 1]]; ${writeMemory[1]('v')} ${next}`);
  add([`MOV Eb,Ib ${form}`], `${address[form]} v = slots[pc + 6]; ${writeMemory[1]('v')} ${next}`);
  add([`LEA Gv,M ${form}`], `${address[form]} i32[slots[pc + 1]] = a; ${next}`);
  add([`MOVZX Gv,Eb ${form}`], `${address[form]} ${readMemory[1]('v')} i32[slots[pc + 1]] = v; ${next}`);
  add([`MOVSX Gv,Eb ${form}`], `${address[form]} ${readMemory[1]('v')} i32[slots[pc + 1]] = (v << 24) >> 24; ${next}`);
  add([`MOVZX Gv,Ew ${form}`], `${address[form]} ${readMemory[2]('v')} i32[slots[pc + 1]] = v; ${next}`);
  add([`MOVSX Gv,Ew ${form}`], `${address[form]} ${readMemory[2]('v')} i32[slots[pc + 1]] = (v << 16) >> 16; ${next}`);
}
add(['MOVZX Gv,Eb r'], `i32[slots[pc + 1]] = u8[slots[pc + 2]]; ${next}`);
add(['MOVSX Gv,Eb r'], `i32[slots[pc + 1]] = (u8[slots[pc + 2]] << 24) >> 24; ${next}`);
add(['MOVZX Gv,Ew r'], `i32[slots[pc + 1]] = i32[slots[pc + 2]] & 0xffff; ${next}`);
add(['MOVSX Gv,Ew r'], `i32[slots[pc + 1]] = (i32[slots[pc + 2]] << 16) >> 16; ${next}`);
add(['XCHG Ev,Gv r'], `v = i32[slots[pc + 2]]; i32[slots[pc + 2]] = i32[slots[pc + 1]]; i32[slots[pc + 1]] = v; ${next}`);
add(['CWD v r'], `i32[${EDX}] = i32[${EAX}] >> 31; ${next}`);
add(['CBW v r'], `i32[${EAX}] = (i32[${EAX}] << 16) >> 16; ${next}`);
add(['NOP r', 'NOP Ev r', 'NOP Ev m', 'NOP Ev x'], next);

// ---- Stack --------------------------------------------------------------------------------------------------------------------------

const push = (value) => `v = ${value}; a = (i32[${ESP}] - 4) | 0; ${writeMemory[4]('v')} i32[${ESP}] = a;`;
add(['PUSH Ev r'], `${push('i32[slots[pc + 2]]')} ${next}`);
add(['PUSH Iv r'], `${push('slots[pc + 6]')} ${next}`);
for (const form of ['m', 'x']) add([`PUSH Ev ${form}`], `${address[form]} ${readMemory[4]('w')} ${push('w')} ${next}`);
add(['POP Ev r'], `a = i32[${ESP}]; ${readMemory[4]('v')} i32[${ESP}] = a + 4; i32[slots[pc + 2]] = v; ${next}`);
add(['LEAVE v r'], `a = i32[${EBP}]; ${readMemory[4]('v')} i32[${ESP}] = a + 4; i32[${EBP}] = v; ${next}`);

// ---- Transfers ------------------------------------------------------------------------------------------------------------------------

const CONDITIONS = ['O', 'NO', 'B', 'AE', 'E', 'NE', 'BE', 'A', 'S', 'NS', 'P', 'NP', 'L', 'GE', 'LE', 'G'];
const result = `i32[${RESULT}]`;
const carries = `i32[${CARRIES}]`;
const less = `(${result} ^ (v << 31) ^ v ^ (v << 1))`;
const tests = [
  `v = ${carries}; if ((v ^ (v << 1)) < 0)`, `v = ${carries}; if ((v ^ (v << 1)) >= 0)`,
  `if (${carries} < 0)`, `if (${carries} >= 0)`,
  `if (${result} === 0)`, `if (${result} !== 0)`,
  `if (${carries} < 0 || ${result} === 0)`, `if (${carries} >= 0 && ${result} !== 0)`,
  `if ((${result} ^ (${carries} << 31)) < 0)`, `if ((${result} ^ (${carries} << 31)) >= 0)`,
  'if (condition(cpu, 10))', 'if (condition(cpu, 11))',
  `v = ${carries}; if (${less} < 0)`, `v = ${carries}; if (${less} >= 0)`,
  `v = ${carries}; if (${result} === 0 || ${less} < 0)`, `v = ${carries}; if (${result} !== 0 && ${less} >= 0)`,
];
/** Go to the run at the slot in word 1 if the budget reaches to its end; else look it up and link. */
const follow = 't = slots[pc + 1]; if (t !== 0 && (w = slots[t + 7] & 0xff) <= remaining) { remaining -= w; pc = t; continue; } way = 1; break run;';
/** In translated code a run may count nothing, and must then not be gone on with when the budget is spent. Host instructions that count nothing are told apart. */
const followTranslated = 't = slots[pc + 1]; if (t !== 0 && (w = slots[t + 7] & 0xff) < remaining) { remaining -= w; i32[EXTRA_EXECUTED] += slots[t + 7] >>> 28; pc = t; continue; } way = 1; break run;';
// A conditional jump does not end its run: when it is taken, the budget for the rest is given back.
CONDITIONS.forEach((name, cc) => add([`J${name} Jb r`, `J${name} Jz r`], `${tests[cc]} { remaining += (slots[pc + 7] & 0xff) - 1; ${follow} } ${next}`));
add(['LOOP Jb r'], `v = (i32[${ECX}] - 1) | 0; i32[${ECX}] = v; if (v !== 0) { remaining += (slots[pc + 7] & 0xff) - 1; ${follow} } ${next}`);
add(['JECXZ Jb r'], `if (i32[${ECX}] === 0) { remaining += (slots[pc + 7] & 0xff) - 1; ${follow} } ${next}`);
add(['JMP Jb r', 'JMP Jz r'], follow);
const returnAddress = 'x = slots[pc + 7]; v = (eipPage + ((x >>> 12) & 0xfff) + ((x >>> 8) & 15)) | 0;';
add(['CALL Jz r'], `${returnAddress} a = (i32[${ESP}] - 4) | 0; ${writeMemory[4]('v')} i32[${ESP}] = a; ${follow}`);
add(['RET v r'], `a = i32[${ESP}]; ${readMemory[4]('eip')} i32[${ESP}] = a + 4; way = 0; break run;`);
add(['RET v,Iw r'], `a = i32[${ESP}]; ${readMemory[4]('eip')} i32[${ESP}] = a + 4 + slots[pc + 6]; way = 0; break run;`);
add(['JMP Ev r'], 'eip = i32[slots[pc + 2]]; way = 0; break run;');
for (const form of ['m', 'x']) add([`JMP Ev ${form}`], `${address[form]} ${readMemory[4]('eip')} way = 0; break run;`);
const callTo = (target) => `${target} ${returnAddress} a = (i32[${ESP}] - 4) | 0; ${writeMemory[4]('v')} i32[${ESP}] = a; eip = w; way = 0; break run;`;
add(['CALL Ev r'], callTo('w = i32[slots[pc + 2]];'));
for (const form of ['m', 'x']) add([`CALL Ev ${form}`], callTo(`${address[form]} ${readMemory[4]('w')}`));
add(CONDITIONS.map((name) => `SET${name} Eb r`), `u8[slots[pc + 2]] = condition(cpu, slots[pc + 6]) ? 1 : 0; ${next}`);
add(CONDITIONS.map((name) => `CMOV${name} Gv,Ev r`), `if (condition(cpu, slots[pc + 6])) i32[slots[pc + 1]] = i32[slots[pc + 2]]; ${next}`);

// ---- Output ---------------------------------------------------------------------------------------------------------------------------

const FIRST = 3; // 0 none, 1 stale, 2 end of a run
const header = '// Generated by tools/x86/generate-engine.mjs; change that and run it again.\n';

/**
 * Cases of translated code alone: monitor data, under a GS override without a register in its address (translated-code.ts puts them in place of the functions
 * of monitor-data-instructions.ts, which say what they do).
 */
const MONITOR_CASES = {
  '8B': `i32[slots[pc + 1]] = i32[(data + slots[pc + 5]) >> 2]; ${next}`,
  '89': `i32[(data + slots[pc + 5]) >> 2] = i32[slots[pc + 1]]; ${next}`,
  'FF/4': 'eip = i32[(data + slots[pc + 5]) >> 2]; f64[LOOKUP_JUMPS] += 1; way = 0; break run;',
};
const MONITOR_FIRST = FIRST + cases.length;

output('hot-forms.ts', `${header}
/**
 * Operation numbers of the run loop's cases (engine.ts) by mnemonic, operand shape and form: r without a memory operand, m memory by base and
 * displacement, x with an index. Operands are 32 bits wide, or 8 in a byte shape.
 */
export const OP_END = 2;
export const HOT_FORMS: Readonly<Record<string, number>> = {
${cases.flatMap(({ names }, n) => names.map((name) => `  '${name}': ${FIRST + n},`)).join('\n')}
};

/** Of translated code alone (translated-engine.ts): a field of monitor data, by opcode row. */
export const MONITOR_FORMS: Readonly<Record<string, number>> = {
${Object.keys(MONITOR_CASES).map((code, n) => `  '${code}': ${MONITOR_FIRST + n},`).join('\n')}
};
`);

/** The run loop, of the guest's own code or of translated code. */
function loop(translated) {
  const bodies = translated ? cases.map(({ names, body }) => ({ names, body: body.replaceAll(follow, followTranslated).replaceAll('remaining += (slots[pc + 7] & 0xff) - 1; ', '') })) : cases;
  const only = (text) => (translated ? text : '');
  const listed = bodies.map(({ names, body }, n) => `        case ${FIRST + n}: // ${names.length > 4 ? `${names[0]} …` : names.join(', ')}\n          ${body}`);
  if (translated) for (const [n, [code, body]] of Object.entries(MONITOR_CASES).entries()) listed.push(`        case ${MONITOR_FIRST + n}: // ${code} on monitor data\n          ${body}`);
  return `export function ${translated ? 'runTranslated' : 'run'}(cpu: Cpu, single: boolean): number {
  const { i32, u8, u16, ${only('f64, ')}code } = cpu;
  const jumps = code.${translated ? 'translatedJumps' : 'jumps'};
${only('  const data = cpu.monitorBase + cpu.translatedCode!.dataOffset;\n')}  const user = cpu.user !== 0;
  const jumpBase = user ? USER_JUMPS : 0;
  const tlb = user ? TLB_USER : TLB_SUPERVISOR;
  let { slots } = code;
  let remaining = i32[REMAINING];
  /** Budget set aside while one isolated instruction is executed. */
  let reserve = 0;
  let eip = i32[EIP];
  let eipPage = 0;
  let pc = 0;
  /** How the loop was left: 0 to \`eip\`, 1 to the target of a relative transfer, which is then linked, 2 to the instruction behind a run. */
  let way = 0;
  let link = 0;
  let ran = false;
  // Scratch of the cases: address, TLB entry, offset or register, operands, result, and so on.
  let a = 0, e = 0, o = 0, v = 0, w = 0, r = 0, x = 0, t = 0;
  i32[REP_DONE] = 0;
  try {
    for (;;) {
      remaining += reserve;
      reserve = 0;
      if (remaining === 0 || (single && ran)) {
        i32[EIP] = eip;
        i32[REMAINING] = remaining;
        return BOUNDARY;
      }
      e = jumpBase + ((eip ^ (eip >>> 10)) & JUMP_MASK) * 2;
      pc = jumps[e + 1];
      if (pc === 0 || jumps[e] !== eip || slots[pc] === 1) {
        pc = 0;
        eipPage = eip;
        const { generation } = code;
        t = findSlot(cpu, eip);
        slots = code.slots;
        if (generation !== code.generation) link = 0;
        pc = t;
      }
      x = slots[pc + 7];
      eipPage = (eip - ((x >>> 12) & 0xfff)) | 0;
      if (link !== 0) {
        if (pc >= 64) slots[link] = pc; // never to scratch
        link = 0;
      }
      if (single || (x & 0xff) > remaining) {
        pc = isolate(slots, pc, ${translated});
        x = slots[pc + 7];
        i32[CURRENT_SLOT] = pc;
        reserve = remaining - (x & 0xff);
        remaining = 0;
      } else remaining -= x & 0xff;
${only('      i32[EXTRA_EXECUTED] += x >>> 28;\n')}      ran = true;
      run: for (;;) {
        switch (slots[pc]) {
        case 1: // stale
          remaining += slots[pc + 7] & 0xff;
${only('          i32[EXTRA_EXECUTED] -= slots[pc + 7] >>> 28;\n')}          eip = (eipPage + ((slots[pc + 7] >>> 12) & 0xfff)) | 0;
          way = 0;
          break run;
        case 2: // end of a run
          ${translated ? followTranslated : follow}
${listed.join('\n')}
        default:
          i32[CURRENT_SLOT] = pc;
          t = slots[pc];
          if (t < SYSTEM_BASE) {
            FUNCTIONS_BY_NUMBER[t](cpu, pc);
            pc += 8;
            continue;
          }
          x = slots[pc + 7];
          i32[EIP] = eipPage + ((x >>> 12) & 0xfff) + ((x >>> 8) & 15);
          i32[REMAINING] = remaining + reserve + (x & 0xff);
          cpu.stepResult = BOUNDARY;
          FUNCTIONS_BY_NUMBER[t](cpu, pc);
          x = i32[REP_DONE];
          if (x !== NOT_COMPLETED) i32[REMAINING] -= x !== 0 ? x : ${translated ? '(slots[pc + 7] - slots[pc + 15]) & 0xff' : '1'};
          else i32[REP_DONE] = 0;
          return cpu.stepResult;
        }
      }
      if (way !== 0) {
        // Targets in the same page keep their run's slot: same frame, same mode.
        t = slots[pc + 6];
        eip = (eipPage + t) | 0;
        link = t >>> 0 < 4096 ? pc + 1 : 0;
      }
    }
  } catch (thrown) {
    if (thrown !== FAULT && thrown !== EXIT) throw thrown;
    x = slots[pc + 7];
    i32[EIP] = eipPage + ((x >>> 12) & 0xfff);
    i32[REMAINING] = remaining + reserve + (x & 0xff) - i32[REP_DONE];
${only('    i32[EXTRA_EXECUTED] -= x >>> 28;\n')}    return thrown === FAULT ? FAULTED : cpu.stepResult;
  }
}
`;
}

const imports = (translated) => `${header}import { JUMP_MASK, USER_JUMPS } from './code-cache.js';
import type { Cpu } from './cpu.js';
${translated ? "import { BOUNDARY, FAULTED } from './engine.js';\n" : ''}${translated ? "import { LOOKUP_JUMPS } from './event-counters.js';\n" : ''}import { EXIT, FAULT } from './fault.js';
import { findSlot, isolate } from './fetch.js';
import { condition } from './flags.js';
import { readForWrite32, readForWrite8, readLinear16, readLinear8, readSlow32, writeLinear8, writeSlow32 } from './memory.js';
import { FUNCTIONS, SYSTEM_BASE } from './operations.js';
import { CURRENT_SLOT, EIP, ${translated ? 'EXTRA_EXECUTED, ' : ''}NOT_COMPLETED, REMAINING, REP_DONE } from './state.js';
import { TLB_SUPERVISOR, TLB_USER } from './tlb.js';

const { imul } = Math;
const FUNCTIONS_BY_NUMBER = FUNCTIONS;
`;

output('engine.ts', `${imports(false)}
/** \`run\` stopped at an instruction boundary and there is something to look at, or the budget is spent. */
export const BOUNDARY = -1;
/** The instruction at EIP raised the fault in FAULT_VECTOR. */
export const FAULTED = -2;

/**
 * The run loop: executes slots until REMAINING is spent, a function from SYSTEM_BASE on has been called, or something is thrown. Returns BOUNDARY,
 * FAULTED or a StepResult, with EIP and REMAINING exact. With \`single\` exactly one instruction is executed.
 *
 * The budget of a whole run of slots is taken when it is entered, and what was not executed is given back. EIP is the slot's offset in its page plus
 * \`eipPage\`. A slot's operation can change under the loop: a write to its bytes makes it stale (code-cache.ts), and it is looked up again.
 */
${loop(false)}`);

output('translated-engine.ts', `${imports(true)}
/**
 * The run loop of translated code (translated-code.ts): as \`run\`, on a table of its own. Not every instruction counts: the meta word of a slot says how many do in the rest of
 * its run, and how many do not. A run ends at each branch, so that nothing has to be given back when that is taken.
 */
${loop(true)}`);
console.log(`${cases.length} cases`);
