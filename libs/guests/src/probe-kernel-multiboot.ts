import { loadRegister, moveImmediate, out8, storeRegister } from './machine-code.js';
import { KERNEL_STACK_END, TIMER_VECTOR, USER_CODE, USER_DATA, USER_STACK_END, type ProbeKernel, type ProbePlace } from './probe-kernel.js';
import { loadData, RETURN_VECTOR, type ProbeLayout } from './probes.js';

const CODE0 = 0x08, DATA0 = 0x10, CODE3 = 0x1b, DATA3 = 0x23, TSS = 0x28, LDT = 0x30;
const VECTORS = 0x42;
const EAX = 0, ECX = 1, EDX = 2, ESI = 6;
/** Spins that outlast a PIT count of 2 (1.7 µs of virtual time, one instruction a nanosecond). */
const PIT_COUNT = 2, SPINS = 4_000;

/** A kernel that believes in ring 0: its own tables, the 8259 and the 8254, the serial port. */
export function multibootKernel({ code, base, variables, gdt, idt }: ProbePlace): ProbeKernel {
  const tss = gdt + 64, ldt = tss + 112, pointers = ldt + 16;
  const layout: ProbeLayout = {
    values: base + USER_DATA, gdt: { base: gdt, limit: 0x37 }, idt: { base: idt, limit: VECTORS * 8 - 1 }, ldtr: LDT, tr: TSS,
    kernelCode: CODE0, kernelData: DATA0, userCode: CODE3, userData: DATA3, userStack: base + USER_STACK_END, userReturn: base + USER_CODE,
  };
  const segment = (index: number, low: number, high: number): void => { code.patchWord(gdt + 8 * index, low); code.patchWord(gdt + 8 * index + 4, high); };
  const system = (index: number, at: number, limit: number, type: number): void =>
    segment(index, ((at & 0xffff) << 16) | limit, (at & 0xff00_0000) | (type << 8) | ((at >>> 16) & 0xff));
  const takeTick = (): void => {
    out8(code, 0x43, 0x30); // channel 0, low then high byte, mode 0: once
    out8(code, 0x40, PIT_COUNT);
    out8(code, 0x40, 0);
    moveImmediate(code, ECX, SPINS);
    code.emit(0xe2, 0xfe); // loop to itself
  };
  return {
    layout,
    fillTables: (handlers) => {
      segment(1, 0xffff, 0x00cf_9b00);
      segment(2, 0xffff, 0x00cf_9300);
      segment(3, 0xffff, 0x00cf_fb00);
      segment(4, 0xffff, 0x00cf_f300);
      system(5, tss, 103, 0x89);
      system(6, ldt, 7, 0x82);
      code.patchWord(tss + 4, base + KERNEL_STACK_END);
      code.patchWord(tss + 8, DATA0);
      code.patchWord(tss + 100, 104 << 16);
      for (const [vector, handler] of handlers) {
        code.patchWord(idt + 8 * vector, (CODE0 << 16) | (handler & 0xffff));
        code.patchWord(idt + 8 * vector + 4, (handler & 0xffff_0000) | (vector === RETURN_VECTOR ? 0xee00 : 0x8e00));
      }
      for (const [at, { base: table, limit }] of [[pointers, layout.gdt!], [pointers + 8, layout.idt!]] as const) {
        code.patchWord(at, (limit & 0xffff) | (table << 16));
        code.patchWord(at + 4, table >>> 16);
      }
    },
    start: () => {
      code.emit(0xbc); // mov esp
      code.word(base + KERNEL_STACK_END - 0x400);
      code.emit(0x0f, 0x01, 0x15); // lgdt
      code.word(pointers);
      code.emit(0x0f, 0x01, 0x1d); // lidt
      code.word(pointers + 8);
      code.emit(0xea); // jmp far CODE0
      code.word(code.here + 6);
      code.half(CODE0);
      loadData(code, DATA0);
      code.emit(0x8e, 0xd1); // mov ss, cx
      moveImmediate(code, EAX, LDT);
      code.emit(0x0f, 0x00, 0xd0); // lldt ax
      moveImmediate(code, EAX, TSS);
      code.emit(0x0f, 0x00, 0xd8, 0xfc); // ltr ax; cld
      for (const [port, value] of [[0x20, 0x11], [0x21, TIMER_VECTOR], [0x21, 4], [0x21, 1], [0x21, 0xfe], [0xa1, 0xff]] as const) out8(code, port, value);
    },
    interruptsOff: () => { code.emit(0xfa); takeTick(); },
    interruptsOn: () => code.emit(0xfb),
    interrupt: takeTick,
    keepWhetherTaken: () => {
      loadRegister(code, EAX, variables.ticks);
      storeRegister(code, EAX, layout.values);
    },
    quiet: () => code.emit(0xfb, 0x90, 0x90, 0xfa),
    print: (address, length) => {
      moveImmediate(code, ESI, address);
      moveImmediate(code, ECX, length);
      moveImmediate(code, EDX, 0x3f8);
      code.emit(0xf3, 0x6e); // rep outsb
    },
    powerOff: () => {
      moveImmediate(code, EDX, 0x604);
      moveImmediate(code, EAX, 0x2000);
      code.emit(0x66, 0xef, 0xfa, 0xf4); // power off; cli; hlt
    },
  };
}
