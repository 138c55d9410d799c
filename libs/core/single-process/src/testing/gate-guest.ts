import { flatImage, FLAT_LOAD_ADDRESS } from './flat-image.js';

/** Counters of the code behind each gate, four bytes each: see `gateGuest`. */
export const GATE_COUNTERS = 0x8000;
const STACK0 = 0xa000, STACK1 = 0xb000, STACK3 = 0x9000;
const DATA0 = 0x10, DATA1 = 0x39, DATA3 = 0x23, TSS = 0x28, CODE0 = 0x08, CODE1 = 0x30, CODE3 = 0x1b;
const little = (value: number): number[] => [value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24];

/**
 * An application that goes through gates of every kind, and the code behind them, which counts: a 32-bit call gate to ring 0; one to ring 1 with two parameters, whose sum is added; a
 * 16-bit call gate to ring 0; a 32-bit trap gate to ring 1; a 16-bit trap gate to ring 0; a far JMP and a far CALL through gates to the same ring, from ring 0. Nothing in it misleads a
 * kernel in ring 1. Code segments have base 1 MiB, so that 16 bits reach all of it.
 */
export function gateGuest(): Uint8Array {
  const code: number[] = [];
  const at = (): number => 32 + code.length;
  const emit = (...bytes: number[]): void => { code.push(...bytes); };
  const word = (value: number): void => emit(...little(value));
  const count = (counter: number): void => { emit(0xff, 0x05); word(GATE_COUNTERS + 4 * counter); };
  const patch = (offset: number, value: number): void => little(value).forEach((byte, n) => { code[offset - 32 + n] = byte; });
  const align = (): void => { while (at() % 8 !== 0) emit(0x90); };

  emit(0xe9);
  const start = at();
  word(0);
  const intoRing0 = at();
  count(0);
  emit(0xcb);
  const intoRing1 = at();
  emit(0x8b, 0x44, 0x24, 0x08, 0x03, 0x44, 0x24, 0x0c, 0x01, 0x05); // mov eax, [esp+8]; add eax, [esp+12]; add [counter 1], eax
  word(GATE_COUNTERS + 4);
  emit(0xca, 0x08, 0x00); // retf 8
  const narrowCall = at();
  count(2);
  emit(0x66, 0xcb);
  const trapRing1 = at();
  count(3);
  emit(0xcf);
  const narrowTrap = at();
  count(4);
  emit(0x66, 0xcf);
  const jumped = at();
  count(5);
  emit(0x9a); word(0); emit(0x68, 0); // call far through the gate to counter 0
  emit(0x6a, DATA3, 0x68); word(STACK3); // and out to ring 3
  emit(0x6a, 0x02, 0x6a, CODE3, 0x68);
  const application = at();
  word(0);
  emit(0x66, 0xb8, DATA3, 0, 0x8e, 0xd8, 0x8e, 0xc0, 0xcf);
  const powerOff = at();
  emit(0x66, 0xba, 0x04, 0x06, 0x66, 0xb8, 0x00, 0x20, 0x66, 0xef, 0xf4);
  const tss = at();
  for (let n = 0; n < 26; n++) word([0, STACK0, DATA0, STACK1, DATA1][n] ?? (n === 25 ? 0x68_0000 : 0));
  const base = FLAT_LOAD_ADDRESS;
  const codeSegment = (dpl: number): [number, number] => [0xffff, 0x00cf_9b00 | (dpl << 13) | (base >>> 16)];
  const gate = (selector: number, offset: number, type: number, dpl: number, parameters = 0): [number, number] => [(selector << 16) | (offset & 0xffff), 0x8000 | (dpl << 13) | (type << 8) | parameters];
  align();
  const gdt = at();
  const linearTss = base + tss;
  for (const words of [
    [0, 0], codeSegment(0), [0xffff, 0x00cf_9300], codeSegment(3), [0xffff, 0x00cf_f300], [((linearTss & 0xffff) << 16) | 103, 0x8900 | (linearTss >>> 16)], codeSegment(1), [0xffff, 0x00cf_b300],
    gate(CODE0, intoRing0, 12, 3), gate(CODE1, intoRing1, 12, 3, 2), gate(CODE0, narrowCall, 4, 3), gate(CODE0, jumped, 12, 0), [0, 0], gate(CODE0, intoRing0, 12, 0),
  ] as const) { word(words[0]); word(words[1]); }
  const gdtLimit = at() - gdt - 1;
  const idt = at();
  for (let vector = 0; vector <= 0x40; vector++) {
    const words = vector === 0x30 ? gate(CODE1, trapRing1, 15, 3) : vector === 0x31 ? gate(CODE0, narrowTrap, 7, 3) : vector === 0x40 ? gate(CODE0, powerOff, 15, 3) : [0, 0];
    word(words[0]!); word(words[1]!);
  }
  const pseudo = (limit: number, offset: number): number => {
    const here = base + at();
    emit(limit & 0xff, limit >>> 8);
    word(base + offset);
    return here;
  };
  const gdtr = pseudo(gdtLimit, gdt), idtr = pseudo(0x41 * 8 - 1, idt);

  patch(start, at() - (start + 4));
  emit(0xbc); word(STACK0);
  emit(0x0f, 0x01, 0x15); word(gdtr);
  emit(0x0f, 0x01, 0x1d); word(idtr);
  emit(0x66, 0xb8, DATA0, 0, 0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0, 0x66, 0xb8, TSS, 0, 0x0f, 0x00, 0xd8);
  emit(0xea); word(0); emit(0x58, 0); // jmp far through a gate: CS is another behind it

  patch(application, at());
  emit(0x9a); word(0); emit(0x43, 0);
  emit(0x6a, 0x05, 0x6a, 0x07, 0x9a); word(0); emit(0x4b, 0); // push 5; push 7
  emit(0x9a); word(0); emit(0x53, 0);
  emit(0xcd, 0x30, 0xcd, 0x31, 0xcd, 0x40);
  return flatImage(Uint8Array.from(code));
}
