/**
 * The integer instruction set as the SDM's opcode maps give it (Vol. 2, Appendix A), written down apart from the processor's own opcode
 * table: an oracle that shared the table would share its errors.
 */

/** EFLAGS bits. */
export const CF = 1, PF = 4, AF = 0x10, ZF = 0x40, SF = 0x80, OF = 0x800;
export const ALL_FLAGS = CF | PF | AF | ZF | SF | OF;

/** What an instruction needs of the state around it, so that most cases do something and not only fault. */
export type Need =
  | 'none' | 'shift' | 'double-shift' | 'divide' | 'bit-offset' | 'string' | 'xlat' | 'enter' | 'leave' | 'push' | 'pop' | 'pop-flags' | 'return' | 'far-return' | 'iret'
  | 'branch' | 'branch-indirect' | 'far-direct' | 'far-indirect' | 'bound' | 'load-segment' | 'load-far-pointer' | 'port' | 'interrupt' | 'moffs';

export interface Form {
  name: string;
  opcode: readonly number[];
  /** ModRM: absent, or which operands it may name. */
  modrm: 'none' | 'any' | 'memory' | 'register';
  /** Opcode extension in ModRM.reg. */
  extension: number | null;
  /** b 8 bits, w 16, z 16 or 32 by operand size. */
  immediate: '' | 'b' | 'w' | 'z' | 'wb';
  /** Bits of the memory operand; 'v' 16 or 32 by operand size. */
  width: 8 | 16 | 64 | 'v' | 'far';
  need: Need;
  /** Flags the SDM leaves undefined; for shifts the generator works it out from the count. */
  undefinedFlags: number;
  lockable: boolean;
  /** Raises #GP(0) above ring 0 (or above IOPL). */
  privileged: boolean;
  /** May change what a sequence relies on (control flow, segments): only run alone. */
  alone: boolean;
}

const forms: Form[] = [];

function add(name: string, opcode: readonly number[], options: Partial<Omit<Form, 'name' | 'opcode'>> = {}): void {
  forms.push({
    name, opcode, modrm: 'none', extension: null, immediate: '', width: 'v', need: 'none', undefinedFlags: 0, lockable: false, privileged: false, alone: false, ...options,
  });
}

['add', 'or', 'adc', 'sbb', 'and', 'sub', 'xor', 'cmp'].forEach((name, index) => {
  const undefinedFlags = name === 'or' || name === 'and' || name === 'xor' ? AF : 0;
  const lockable = name !== 'cmp';
  const base = index * 8;
  add(`${name} r/m8,r8`, [base], { modrm: 'any', width: 8, undefinedFlags, lockable });
  add(`${name} r/m,r`, [base + 1], { modrm: 'any', undefinedFlags, lockable });
  add(`${name} r8,r/m8`, [base + 2], { modrm: 'any', width: 8, undefinedFlags });
  add(`${name} r,r/m`, [base + 3], { modrm: 'any', undefinedFlags });
  add(`${name} al,imm8`, [base + 4], { immediate: 'b', undefinedFlags });
  add(`${name} eax,imm`, [base + 5], { immediate: 'z', undefinedFlags });
  add(`${name} r/m8,imm8`, [0x80], { modrm: 'any', extension: index, immediate: 'b', width: 8, undefinedFlags, lockable });
  add(`${name} r/m,imm`, [0x81], { modrm: 'any', extension: index, immediate: 'z', undefinedFlags, lockable });
  add(`${name} r/m8,imm8 (82)`, [0x82], { modrm: 'any', extension: index, immediate: 'b', width: 8, undefinedFlags, lockable });
  add(`${name} r/m,imm8`, [0x83], { modrm: 'any', extension: index, immediate: 'b', undefinedFlags, lockable });
});
add('daa', [0x27], { undefinedFlags: OF });
add('das', [0x2f], { undefinedFlags: OF });
add('aaa', [0x37], { undefinedFlags: OF | SF | ZF | PF });
add('aas', [0x3f], { undefinedFlags: OF | SF | ZF | PF });
add('aam', [0xd4], { immediate: 'b', undefinedFlags: OF | AF | CF });
add('aad', [0xd5], { immediate: 'b', undefinedFlags: OF | AF | CF });
for (let register = 0; register < 8; register++) {
  add('inc r', [0x40 + register]);
  add('dec r', [0x48 + register]);
  add('push r', [0x50 + register], { need: 'push' });
  add('pop r', [0x58 + register], { need: 'pop' });
  add('xchg eax,r', [0x90 + register]);
  add('mov r8,imm8', [0xb0 + register], { immediate: 'b' });
  add('mov r,imm', [0xb8 + register], { immediate: 'z' });
  add('bswap r', [0x0f, 0xc8 + register]);
}
add('pusha', [0x60], { need: 'push' });
add('popa', [0x61], { need: 'pop', alone: true });
add('bound r,m', [0x62], { modrm: 'memory', width: 64, need: 'bound' });
add('push imm', [0x68], { immediate: 'z', need: 'push' });
add('push imm8', [0x6a], { immediate: 'b', need: 'push' });
const multiply = SF | ZF | AF | PF;
add('imul r,r/m,imm', [0x69], { modrm: 'any', immediate: 'z', undefinedFlags: multiply });
add('imul r,r/m,imm8', [0x6b], { modrm: 'any', immediate: 'b', undefinedFlags: multiply });
add('imul r,r/m', [0x0f, 0xaf], { modrm: 'any', undefinedFlags: multiply });
for (const [index, name] of ['insb', 'ins', 'outsb', 'outs'].entries()) add(name, [0x6c + index], { need: 'string', privileged: true, alone: true, width: index % 2 === 0 ? 8 : 'v' });
for (let condition = 0; condition < 16; condition++) {
  add('jcc rel8', [0x70 + condition], { immediate: 'b', need: 'branch' });
  add('jcc rel', [0x0f, 0x80 + condition], { immediate: 'z', need: 'branch' });
  add('cmovcc r,r/m', [0x0f, 0x40 + condition], { modrm: 'any' });
  add('setcc r/m8', [0x0f, 0x90 + condition], { modrm: 'any', width: 8 });
}
add('test r/m8,r8', [0x84], { modrm: 'any', width: 8, undefinedFlags: AF });
add('test r/m,r', [0x85], { modrm: 'any', undefinedFlags: AF });
add('test al,imm8', [0xa8], { immediate: 'b', undefinedFlags: AF });
add('test eax,imm', [0xa9], { immediate: 'z', undefinedFlags: AF });
add('xchg r/m8,r8', [0x86], { modrm: 'any', width: 8, lockable: true });
add('xchg r/m,r', [0x87], { modrm: 'any', lockable: true });
add('mov r/m8,r8', [0x88], { modrm: 'any', width: 8 });
add('mov r/m,r', [0x89], { modrm: 'any' });
add('mov r8,r/m8', [0x8a], { modrm: 'any', width: 8 });
add('mov r,r/m', [0x8b], { modrm: 'any' });
add('lea r,m', [0x8d], { modrm: 'memory' });
for (let segment = 0; segment < 6; segment++) {
  add('mov r/m,sreg', [0x8c], { modrm: 'any', extension: segment, width: 16 });
  if (segment !== 1) add('mov sreg,r/m', [0x8e], { modrm: 'any', extension: segment, width: 16, need: 'load-segment', alone: true });
}
for (const segment of [0, 1, 2, 3]) {
  add('push sreg', [segment * 8 + 6], { need: 'push' });
  if (segment !== 1) add('pop sreg', [segment * 8 + 7], { need: 'pop', alone: true });
}
for (const opcode of [0xa0, 0xa8]) {
  add('push fs/gs', [0x0f, opcode], { need: 'push' });
  add('pop fs/gs', [0x0f, opcode + 1], { need: 'pop', alone: true });
}
add('pop r/m', [0x8f], { modrm: 'any', extension: 0, need: 'pop' });
add('cbw/cwde', [0x98]);
add('cwd/cdq', [0x99]);
add('call far', [0x9a], { need: 'far-direct', alone: true });
add('jmp far', [0xea], { need: 'far-direct', alone: true });
add('pushf', [0x9c], { need: 'push' });
add('popf', [0x9d], { need: 'pop-flags', alone: true });
add('sahf', [0x9e]);
add('lahf', [0x9f]);
for (let index = 0; index < 4; index++) add('mov moffs', [0xa0 + index], { need: 'moffs', width: index % 2 === 0 ? 8 : 'v' });
for (const [name, opcode] of [['movs', 0xa4], ['cmps', 0xa6], ['stos', 0xaa], ['lods', 0xac], ['scas', 0xae]] as const) {
  add(`${name}b`, [opcode], { need: 'string', width: 8 });
  add(name, [opcode + 1], { need: 'string' });
}
for (const [index, name] of ['rol', 'ror', 'rcl', 'rcr', 'shl', 'shr', 'sal', 'sar'].entries()) {
  add(`${name} r/m8,imm8`, [0xc0], { modrm: 'any', extension: index, immediate: 'b', width: 8, need: 'shift' });
  add(`${name} r/m,imm8`, [0xc1], { modrm: 'any', extension: index, immediate: 'b', need: 'shift' });
  add(`${name} r/m8,1`, [0xd0], { modrm: 'any', extension: index, width: 8, need: 'shift' });
  add(`${name} r/m,1`, [0xd1], { modrm: 'any', extension: index, need: 'shift' });
  add(`${name} r/m8,cl`, [0xd2], { modrm: 'any', extension: index, width: 8, need: 'shift' });
  add(`${name} r/m,cl`, [0xd3], { modrm: 'any', extension: index, need: 'shift' });
}
for (const [name, opcode] of [['shld', 0xa4], ['shrd', 0xac]] as const) {
  add(`${name} r/m,r,imm8`, [0x0f, opcode], { modrm: 'any', immediate: 'b', need: 'double-shift' });
  add(`${name} r/m,r,cl`, [0x0f, opcode + 1], { modrm: 'any', need: 'double-shift' });
}
add('ret imm16', [0xc2], { immediate: 'w', need: 'return', alone: true });
add('ret', [0xc3], { need: 'return', alone: true });
add('retf imm16', [0xca], { immediate: 'w', need: 'far-return', alone: true });
add('retf', [0xcb], { need: 'far-return', alone: true });
add('iret', [0xcf], { need: 'iret', alone: true });
for (const [name, opcode] of [['les', [0xc4]], ['lds', [0xc5]], ['lss', [0x0f, 0xb2]], ['lfs', [0x0f, 0xb4]], ['lgs', [0x0f, 0xb5]]] as const) {
  add(name, opcode, { modrm: 'memory', width: 'far', need: 'load-far-pointer', alone: true });
}
add('mov r/m8,imm8', [0xc6], { modrm: 'any', extension: 0, immediate: 'b', width: 8 });
add('mov r/m,imm', [0xc7], { modrm: 'any', extension: 0, immediate: 'z' });
add('enter', [0xc8], { immediate: 'wb', need: 'enter', alone: true });
add('leave', [0xc9], { need: 'leave', alone: true });
add('int3', [0xcc], { alone: true });
add('int n', [0xcd], { immediate: 'b', need: 'interrupt', alone: true });
add('into', [0xce], { alone: true });
add('int1', [0xf1], { alone: true });
add('xlat', [0xd7], { need: 'xlat' });
for (const opcode of [0xe0, 0xe1, 0xe2, 0xe3]) add('loop/jecxz', [opcode], { immediate: 'b', need: 'branch', alone: true });
for (const opcode of [0xe4, 0xe5, 0xe6, 0xe7]) add('in/out imm8', [opcode], { immediate: 'b', need: 'port', privileged: true, alone: true });
for (const opcode of [0xec, 0xed, 0xee, 0xef]) add('in/out dx', [opcode], { need: 'port', privileged: true, alone: true });
add('call rel', [0xe8], { immediate: 'z', need: 'branch' });
add('jmp rel', [0xe9], { immediate: 'z', need: 'branch' });
add('jmp rel8', [0xeb], { immediate: 'b', need: 'branch' });
add('hlt', [0xf4], { privileged: true, alone: true });
add('cmc', [0xf5]);
add('clc', [0xf8]);
add('stc', [0xf9]);
add('cli', [0xfa], { privileged: true, alone: true });
add('sti', [0xfb], { privileged: true, alone: true });
add('cld', [0xfc]);
add('std', [0xfd]);
for (const [opcode, width] of [[0xf6, 8], [0xf7, 'v']] as const) {
  add('test r/m,imm', [opcode], { modrm: 'any', extension: 0, immediate: width === 8 ? 'b' : 'z', width, undefinedFlags: AF });
  add('test r/m,imm (/1)', [opcode], { modrm: 'any', extension: 1, immediate: width === 8 ? 'b' : 'z', width, undefinedFlags: AF });
  add('not r/m', [opcode], { modrm: 'any', extension: 2, width, lockable: true });
  add('neg r/m', [opcode], { modrm: 'any', extension: 3, width, lockable: true });
  add('mul r/m', [opcode], { modrm: 'any', extension: 4, width, undefinedFlags: multiply });
  add('imul r/m', [opcode], { modrm: 'any', extension: 5, width, undefinedFlags: multiply });
  add('div r/m', [opcode], { modrm: 'any', extension: 6, width, need: 'divide', undefinedFlags: ALL_FLAGS });
  add('idiv r/m', [opcode], { modrm: 'any', extension: 7, width, need: 'divide', undefinedFlags: ALL_FLAGS });
}
for (const [opcode, width] of [[0xfe, 8], [0xff, 'v']] as const) {
  add('inc r/m', [opcode], { modrm: 'any', extension: 0, width, lockable: true });
  add('dec r/m', [opcode], { modrm: 'any', extension: 1, width, lockable: true });
}
add('call r/m', [0xff], { modrm: 'any', extension: 2, need: 'branch-indirect', alone: true });
add('call far m', [0xff], { modrm: 'memory', extension: 3, width: 'far', need: 'far-indirect', alone: true });
add('jmp r/m', [0xff], { modrm: 'any', extension: 4, need: 'branch-indirect', alone: true });
add('jmp far m', [0xff], { modrm: 'memory', extension: 5, width: 'far', need: 'far-indirect', alone: true });
add('push r/m', [0xff], { modrm: 'any', extension: 6, need: 'push' });

add('ud2', [0x0f, 0x0b], { alone: true });
add('ud1', [0x0f, 0xb9], { modrm: 'any', alone: true });
add('ud0', [0x0f, 0xff], { modrm: 'register', alone: true });
add('wait', [0x9b]);
add('salc', [0xd6]);
add('prefetch', [0x0f, 0x0d], { modrm: 'memory', extension: 1 });
for (let opcode = 0x18; opcode <= 0x1f; opcode++) add('nop r/m', [0x0f, opcode], { modrm: opcode >= 0x1e ? 'memory' : 'any', extension: opcode === 0x1f ? 0 : null });
const bitFlags = OF | SF | AF | PF;
for (const [index, name] of ['bt', 'bts', 'btr', 'btc'].entries()) {
  add(`${name} r/m,r`, [0x0f, 0xa3 + index * 8], { modrm: 'any', need: 'bit-offset', undefinedFlags: bitFlags, lockable: index > 0 });
  add(`${name} r/m,imm8`, [0x0f, 0xba], { modrm: 'any', extension: 4 + index, immediate: 'b', undefinedFlags: bitFlags, lockable: index > 0 });
}
add('bsf r,r/m', [0x0f, 0xbc], { modrm: 'any', undefinedFlags: ALL_FLAGS & ~ZF });
add('bsr r,r/m', [0x0f, 0xbd], { modrm: 'any', undefinedFlags: ALL_FLAGS & ~ZF });
add('cmpxchg r/m8,r8', [0x0f, 0xb0], { modrm: 'any', width: 8, lockable: true });
add('cmpxchg r/m,r', [0x0f, 0xb1], { modrm: 'any', lockable: true });
add('xadd r/m8,r8', [0x0f, 0xc0], { modrm: 'any', width: 8, lockable: true });
add('xadd r/m,r', [0x0f, 0xc1], { modrm: 'any', lockable: true });
add('cmpxchg8b m', [0x0f, 0xc7], { modrm: 'memory', extension: 1, width: 64, lockable: true });
for (const [name, opcode] of [['movzx', 0xb6], ['movsx', 0xbe]] as const) {
  add(`${name} r,r/m8`, [0x0f, opcode], { modrm: 'any', width: 8 });
  add(`${name} r,r/m16`, [0x0f, opcode + 1], { modrm: 'any', width: 16 });
}
add('clts', [0x0f, 0x06], { privileged: true, alone: true });
add('invd', [0x0f, 0x08], { privileged: true, alone: true });
add('wbinvd', [0x0f, 0x09], { privileged: true, alone: true });
add('wrmsr', [0x0f, 0x30], { privileged: true, alone: true });
add('rdmsr', [0x0f, 0x32], { privileged: true, alone: true });
for (const control of [0, 1, 2, 3, 4, 5, 6, 7]) {
  add('mov r,cr', [0x0f, 0x20], { modrm: 'register', extension: control, privileged: true, alone: true });
  add('mov cr,r', [0x0f, 0x22], { modrm: 'register', extension: control, privileged: true, alone: true });
}
for (const debug of [0, 3, 4, 5, 6, 7]) {
  add('mov r,dr', [0x0f, 0x21], { modrm: 'register', extension: debug, privileged: true, alone: true });
  add('mov dr,r', [0x0f, 0x23], { modrm: 'register', extension: debug, privileged: true, alone: true });
}
add('lldt r/m16', [0x0f, 0x00], { modrm: 'any', extension: 2, width: 16, privileged: true, alone: true });
add('ltr r/m16', [0x0f, 0x00], { modrm: 'any', extension: 3, width: 16, privileged: true, alone: true });
for (const extension of [2, 3, 7]) add('lgdt/lidt/invlpg m', [0x0f, 0x01], { modrm: 'memory', extension, width: 64, privileged: true, alone: true });
add('lmsw r/m16', [0x0f, 0x01], { modrm: 'any', extension: 6, width: 16, privileged: true, alone: true });

export const INSTRUCTION_FORMS: readonly Form[] = forms;
