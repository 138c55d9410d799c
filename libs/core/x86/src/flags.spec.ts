import { Cpu } from './cpu.js';
import { AF, ARITHMETIC_FLAGS, CF, condition, EFLAGS_BITS, getEflags, OF, PF, setArithmeticFlags, setCarryFlag, setEflags, setZeroFlag, SF, ZF } from './flags.js';
import { Random } from './testing/random.js';
import * as arithmetic from './arithmetic.js';

const cpu = new Cpu(0x1000, 0);
const SIX = [CF, PF, AF, ZF, SF, OF];
const combination = (n: number): number => SIX.reduce((flags, flag, bit) => flags | ((n >> bit) & 1 ? flag : 0), 0);

it('any combination of flags can be set and read back', () => {
  for (let n = 0; n < 64; n++) {
    setEflags(cpu, combination(n) | 0x200);
    expect(getEflags(cpu)).toBe(combination(n) | 0x202);
    setArithmeticFlags(cpu, combination(63 - n));
    expect(getEflags(cpu)).toBe(combination(63 - n) | 0x202);
  }
});

it('bits that do not exist stay 0, and bit 1 stays 1', () => {
  setEflags(cpu, -1);
  expect(getEflags(cpu)).toBe(EFLAGS_BITS | 2);
  setEflags(cpu, 0);
  expect(getEflags(cpu)).toBe(2);
});

it('CF and ZF can be replaced alone', () => {
  for (let n = 0; n < 64; n++) {
    for (const value of [0, 1]) {
      setArithmeticFlags(cpu, combination(n));
      setCarryFlag(cpu, value);
      expect(getEflags(cpu) & ARITHMETIC_FLAGS).toBe((combination(n) & ~CF) | value);
      setArithmeticFlags(cpu, combination(n));
      setZeroFlag(cpu, value === 1);
      expect(getEflags(cpu) & ARITHMETIC_FLAGS).toBe((combination(n) & ~ZF) | (value * ZF));
    }
  }
});

it('conditions are what SDM Vol. 1 Appendix B says, for any combination', () => {
  for (let n = 0; n < 64; n++) {
    const flags = combination(n);
    setArithmeticFlags(cpu, flags);
    const has = (flag: number): boolean => (flags & flag) !== 0;
    const expected = [has(OF), has(CF), has(ZF), has(CF) || has(ZF), has(SF), has(PF), has(SF) !== has(OF), has(ZF) || has(SF) !== has(OF)];
    for (let cc = 0; cc < 16; cc++) expect(condition(cpu, cc)).toBe(expected[cc >> 1]! !== ((cc & 1) === 1));
  }
});

/** Flags of a sum or difference by plain arithmetic on unbounded integers. */
function reference(width: number, a: number, b: number, carry: number, subtract: boolean): number {
  const modulus = 2 ** width;
  const signed = (value: number): number => (value >= modulus / 2 ? value - modulus : value);
  const exact = subtract ? a - b - carry : a + b + carry;
  const result = ((exact % modulus) + modulus) % modulus;
  const exactSigned = subtract ? signed(a) - signed(b) - carry : signed(a) + signed(b) + carry;
  const low = subtract ? (a & 15) - (b & 15) - carry : (a & 15) + (b & 15) + carry;
  let ones = 0;
  for (let bit = 0; bit < 8; bit++) ones += (result >>> bit) & 1;
  return (exact !== result ? CF : 0) | (ones % 2 === 0 ? PF : 0) | (low < 0 || low > 15 ? AF : 0) | (result === 0 ? ZF : 0) | (signed(result) < 0 ? SF : 0) | (exactSigned !== signed(result) ? OF : 0);
}

it.each([8, 16, 32] as const)('sums and differences of %i bits set all six', (width) => {
  const random = new Random(width);
  const operations = { 8: [arithmetic.add8, arithmetic.adc8, arithmetic.sub8, arithmetic.sbb8], 16: [arithmetic.add16, arithmetic.adc16, arithmetic.sub16, arithmetic.sbb16], 32: [arithmetic.add32, arithmetic.adc32, arithmetic.sub32, arithmetic.sbb32] }[width];
  const edges = [0, 1, 2 ** (width - 1) - 1, 2 ** (width - 1), 2 ** width - 1, 15, 16];
  const differences: string[] = [];
  for (let n = 0; n < 5000; n++) {
    const operand = (): number => (random.oneIn(2) ? random.pick(edges) : random.u32() % 2 ** width);
    const a = operand();
    const b = operand();
    const carry = random.below(2);
    operations.forEach((operation, kind) => {
      setArithmeticFlags(cpu, carry);
      operation(cpu, width === 32 ? a | 0 : a, width === 32 ? b | 0 : b);
      const flags = getEflags(cpu) & ARITHMETIC_FLAGS;
      if (flags !== reference(width, a, b, kind % 2 === 0 ? 0 : carry, kind >= 2)) differences.push(`${operation.name}(${a}, ${b}), CF ${carry}: ${flags}`);
    });
  }
  expect(differences).toEqual([]);
});

it('INC and DEC keep CF', () => {
  for (const carry of [0, 1]) {
    for (const [operation, before, overflow] of [[arithmetic.inc32, 0x7fff_ffff, true], [arithmetic.dec32, -0x8000_0000, true], [arithmetic.inc8, 0xff, false], [arithmetic.dec16, 0, false]] as const) {
      setArithmeticFlags(cpu, carry);
      operation(cpu, before);
      expect([getEflags(cpu) & CF, (getEflags(cpu) & OF) !== 0, (getEflags(cpu) & AF) !== 0]).toEqual([carry, overflow, true]);
    }
  }
});
