/**
 * The guest that carries the probes (probes.ts): a small kernel, as a Multiboot image or in paravirtualized form, that runs one after the other, in ring 0
 * or as an application, catches what faults, and writes a line a probe to its console:
 *
 *   probe <number> <outcome> <value> <value> <value>       eight hexadecimal digits each
 *
 * with outcome 1 for an instruction that ran, or 100h | vector | error code << 16. The instruction alone stands between the marks of the operation
 * `probe`, so that what it made the processor leave for is counted for it.
 */
import { Code, elf, xenNotes } from './machine-code.js';
import { enterFrame, loadData, PROBE_VECTOR, RETURN_VECTOR, type Probe, type ProbeAssembly, type ProbeLayout, type ProbeResult } from './probes.js';

/** `multiboot` for every path that runs unmodified kernels; paravirt's kernel stands in ring 1 or 3. */
export type ProbeForm = 'multiboot' | 'paravirt-ring-1' | 'paravirt-ring-3';

export interface ProbeGuest {
  image: Uint8Array;
  layout: ProbeLayout;
  /** The machine code of each probe's instruction, in the order of the probes. */
  bytes: Uint8Array[];
}

/** Marks (libs/core/machine/src/mark.ts): tag, kinds, and the operation's number. */
const MARK_TAG = 0x52, MarkKind = { Begin: 1, End: 2 } as const, PROBE_OPERATION = 15;
const LOAD_ADDRESS = 0x10_0000;
const PV_BASE = 0xc000_0000;
const PAGE = 0x1000;
/** Offsets in the image. The first page is Multiboot's header, or the hypercall page. The tables have theirs alone: what ring -1 watches is not written. */
const USER_CODE = PAGE, USER_DATA = 2 * PAGE, USER_STACK_END = 4 * PAGE, KERNEL_STACK_END = 5 * PAGE, TABLES = 5 * PAGE, SHARED_INFO = 6 * PAGE, VARIABLES = 7 * PAGE, KERNEL_CODE = 8 * PAGE;
/** In the page of what the kernel and applications share. */
const VALUES = 0, OUTCOME = 12;
const VECTORS = 0x42;
const TIMER_VECTOR = 0x20;
/** Selectors of the Multiboot guest, and Xen's (arch-x86/xen-x86_32.h). */
const CODE0 = 0x08, DATA0 = 0x10, CODE3 = 0x1b, DATA3 = 0x23, TSS = 0x28, LDT = 0x30;
const XEN_CODE1 = 0xe019, XEN_DATA1 = 0xe021, XEN_CODE3 = 0xe02b, XEN_DATA3 = 0xe033;
const EAX = 0, ECX = 1, EDX = 2, EBX = 3, ESI = 6, EDI = 7;
const WORDS_IN_LINE = 5;
/** `probe `, five words with a space before each but the first, and the line's end. */
const LINE_LENGTH = 6 + WORDS_IN_LINE * 9 - 1 + 2;
/** Spins that outlast a PIT count of 2 (1.7 µs of virtual time, one instruction a nanosecond). */
const PIT_COUNT = 2, SPINS = 4_000;
const pushesErrorCode = (vector: number): boolean => vector === 8 || (vector >= 10 && vector <= 14) || vector === 17;

/** What the two forms of the guest do differently. */
interface Form {
  readonly code: Code;
  readonly layout: ProbeLayout;
  emitTables(handlers: ReadonlyMap<number, number>): void;
  emitStart(): void;
  interruptsOff(): void;
  interruptsOn(): void;
  interrupt(): void;
  keepWhetherTaken(): void;
  /** Interrupts off, none pending. */
  quiet(): void;
  /** `length` bytes at `address` to the console. */
  print(address: number, length: number): void;
  emitEnd(): void;
}

const move = (code: Code, register: number, value: number): void => { code.emit(0xb8 + register); code.word(value); };
const storeImmediate = (code: Code, address: number, value: number): void => { code.emit(0xc7, 0x05); code.word(address); code.word(value); };
const storeRegister = (code: Code, register: number, address: number): void => { code.emit(0x89, 0x05 | (register << 3)); code.word(address); };
const loadRegister = (code: Code, register: number, address: number): void => { code.emit(0x8b, 0x05 | (register << 3)); code.word(address); };
const storeByte = (code: Code, address: number, value: number): void => { code.emit(0xc6, 0x05); code.word(address); code.emit(value); };
const out8 = (code: Code, port: number, value: number): void => code.emit(0xb0, value, 0xe6, port);
const mark = (code: Code, kind: number): void => {
  code.emit(0x0f, 0x1f, 0x80);
  code.half(PROBE_OPERATION);
  code.emit(kind, MARK_TAG);
};
const padTo = (code: Code, address: number): void => { while (code.here < address) code.emit(0); };

/** Addresses in the kernel's page of variables. */
interface Variables { resume: number; resumeStack: number; ticks: number; line: number; digits: number; startInfo: number }

export function probeGuest(probes: readonly Probe[], form: ProbeForm): ProbeGuest {
  const base = form === 'multiboot' ? LOAD_ADDRESS : PV_BASE + LOAD_ADDRESS;
  const code = new Code(base);
  const userReturn = base + USER_CODE;
  const variables: Variables = { resume: base + VARIABLES, resumeStack: base + VARIABLES + 4, ticks: base + VARIABLES + 8, startInfo: base + VARIABLES + 12, line: base + VARIABLES + 16, digits: base + VARIABLES + 96 };
  const gdt = base + TABLES, tss = gdt + 64, ldt = tss + 112, pointers = ldt + 16, idt = base + TABLES + 0x400;
  const paravirt = form !== 'multiboot';
  const layout: ProbeLayout = {
    values: base + USER_DATA + VALUES, gdt: paravirt ? null : { base: gdt, limit: 0x37 }, idt: paravirt ? null : { base: idt, limit: VECTORS * 8 - 1 },
    ldtr: paravirt ? 0 : LDT, tr: paravirt ? null : TSS,
    kernelCode: paravirt ? (form === 'paravirt-ring-1' ? XEN_CODE1 : XEN_CODE3) : CODE0, kernelData: paravirt ? (form === 'paravirt-ring-1' ? XEN_DATA1 : XEN_DATA3) : DATA0,
    userCode: paravirt ? XEN_CODE3 : CODE3, userData: paravirt ? XEN_DATA3 : DATA3, userStack: base + USER_STACK_END, userReturn,
  };
  const place = { code, layout, base, variables, gdt, tss, ldt, pointers, idt };
  const shape: Form = paravirt ? paravirtForm(place) : multibootForm(place);
  const outcome = base + USER_DATA + OUTCOME;

  if (!paravirt) for (const word of [0x1bad_b002, 0, -0x1bad_b002]) code.word(word);
  padTo(code, base + USER_CODE);
  // Back from ring 3; a pending interrupt that is allowed comes before.
  mark(code, MarkKind.End);
  code.emit(0x90, 0x90, 0xcd, RETURN_VECTOR);
  let next = 0;
  const on: ProbeAssembly = {
    code, layout, interruptsOff: () => shape.interruptsOff(), interruptsOn: () => shape.interruptsOn(), interrupt: () => shape.interrupt(), keepWhetherTaken: () => shape.keepWhetherTaken(),
    pushNext: () => { code.emit(0x68); next = code.here; code.word(0); },
  };
  const bytes = new Map<Probe, readonly [number, number]>();
  const emitProbe = (probe: Probe): void => {
    next = 0;
    probe.setup?.(on);
    mark(code, MarkKind.Begin);
    const from = code.here;
    probe.emit(on);
    bytes.set(probe, [from, code.here]);
    if (next !== 0) code.patchWord(next, code.here);
    mark(code, MarkKind.End);
    probe.keep?.(on);
  };
  const applications = new Map<Probe, number>();
  for (const probe of probes.filter(({ ring }) => ring === 3)) {
    applications.set(probe, code.here);
    emitProbe(probe);
    code.emit(0xcd, RETURN_VECTOR);
  }
  padTo(code, base + KERNEL_CODE);

  const handlers = emitHandlers(code, layout, variables, outcome);
  const report = emitReport(code, shape, layout, variables, outcome);
  const entry = code.here;
  shape.emitStart();
  probes.forEach((probe, index) => {
    storeImmediate(code, variables.resume, 0);
    const resume = code.here - 4;
    code.emit(0x89, 0x25); // mov [resumeStack], esp
    code.word(variables.resumeStack);
    for (const [at, value] of [[layout.values, 0], [layout.values + 4, 0], [outcome, 0], [variables.ticks, 0]] as const) storeImmediate(code, at, value);
    code.emit(0x0f, 0x20, 0xc0); // mov eax, cr0
    storeRegister(code, EAX, layout.values + 8);
    const application = applications.get(probe);
    if (application === undefined) {
      emitProbe(probe);
      storeImmediate(code, outcome, 1);
    } else {
      enterFrame({ code, layout }, application);
      code.emit(0xcf);
    }
    code.patchWord(resume, code.here);
    mark(code, MarkKind.End);
    loadData(code, layout.kernelData);
    probe.settle?.(on);
    shape.quiet();
    loadRegister(code, 4, variables.resumeStack); // what a probe left on the stack
    move(code, EAX, index);
    code.emit(0xe8); // call report
    code.word(report - (code.here + 4));
  });
  shape.emitEnd();
  // They stand before the code whose addresses they hold.
  shape.emitTables(handlers);
  putText(code, variables.line, `probe ${' '.repeat(WORDS_IN_LINE * 9 - 1)}\r\n`);
  putText(code, variables.digits, '0123456789abcdef');
  const content = code.finish();
  const notes = paravirt ? xenNotes([[6, 'linux'], [5, 'xen-3.0'], [8, 'generic'], [9, 'yes'], [1, entry], [2, base], [3, PV_BASE], [4, 0]]) : null;
  return {
    image: elf(content, entry, base, LOAD_ADDRESS, notes), layout,
    bytes: probes.map((probe) => { const [from, to] = bytes.get(probe)!; return content.slice(from - base, to - base); }),
  };
}

function putText(code: Code, address: number, text: string): void {
  const words = new Uint32Array(Math.ceil(text.length / 4));
  new Uint8Array(words.buffer).set(new TextEncoder().encode(text));
  words.forEach((word, index) => code.patchWord(address + 4 * index, word));
}

/** Where each vector leads: every one ends what is being probed, but for the timer's. Nothing returns by IRET: a probe may be about that. */
function emitHandlers(code: Code, layout: ProbeLayout, variables: Variables, outcome: number): Map<number, number> {
  const handlers = new Map<number, number>();
  const recover = (): void => {
    code.emit(0x8b, 0x25); // mov esp, [resumeStack]
    code.word(variables.resumeStack);
    code.emit(0xff, 0x25); // jmp [resume]
    code.word(variables.resume);
  };
  // EAX = vector, EDX = error code.
  const fault = code.here;
  loadData(code, layout.kernelData);
  code.emit(0x58, 0x5a, 0xc1, 0xe2, 16, 0x09, 0xd0, 0x0d); // pop eax; pop edx; shl edx, 16; or eax, edx; or eax, 100h
  code.word(0x100);
  storeRegister(code, EAX, outcome);
  recover();
  for (let vector = 0; vector < 32; vector++) {
    handlers.set(vector, code.here);
    if (!pushesErrorCode(vector)) code.emit(0x6a, 0);
    code.emit(0x6a, vector, 0xe9);
    code.word(fault - (code.here + 4));
  }
  handlers.set(PROBE_VECTOR, code.here);
  code.emit(0x8b, 0x44, 0x24, 0x04, 0x0f, 0xb7, 0xc0); // mov eax, [esp + 4]; movzx eax, ax: Xen keeps the event mask in the upper half
  storeRegister(code, EAX, layout.values);
  storeImmediate(code, outcome, 1);
  recover();
  handlers.set(RETURN_VECTOR, code.here);
  loadData(code, layout.kernelData);
  storeImmediate(code, outcome, 1);
  recover();
  handlers.set(TIMER_VECTOR, code.here);
  code.emit(0x50, 0xff, 0x05); // push eax; inc [ticks]
  code.word(variables.ticks);
  out8(code, 0x20, 0x20); // end of interrupt
  code.emit(0x58, 0xcf);
  return handlers;
}

/** A routine that prints the line of the probe whose number is in EAX. */
function emitReport(code: Code, form: Form, layout: ProbeLayout, variables: Variables, outcome: number): number {
  const digits = code.here;
  move(code, ECX, 8);
  const next = code.here;
  code.emit(0xc1, 0xc0, 4, 0x89, 0xc3, 0x83, 0xe3, 15, 0x8a, 0x9b); // rol eax, 4; mov ebx, eax; and ebx, 15; mov bl, [ebx + digits]
  code.word(variables.digits);
  code.emit(0x88, 0x1f, 0x47, 0x49, 0x75); // mov [edi], bl; inc edi; dec ecx; jnz next
  code.emit(next - (code.here + 1) & 0xff, 0xc3);
  const report = code.here;
  move(code, EDI, variables.line + 6);
  const call = (): void => { code.emit(0xe8); code.word(digits - (code.here + 4)); };
  call();
  for (const word of [outcome, layout.values, layout.values + 4, layout.values + 8]) {
    code.emit(0x47); // inc edi
    loadRegister(code, EAX, word);
    call();
  }
  form.print(variables.line, LINE_LENGTH);
  code.emit(0xc3);
  return report;
}

interface Place { code: Code; layout: ProbeLayout; base: number; variables: Variables; gdt: number; tss: number; ldt: number; pointers: number; idt: number }

/** A kernel that believes in ring 0: its own tables, the 8259 and the 8254, the serial port. */
function multibootForm({ code, layout, base, variables, gdt, tss, ldt, pointers, idt }: Place): Form {
  const segment = (index: number, low: number, high: number): void => { code.patchWord(gdt + 8 * index, low); code.patchWord(gdt + 8 * index + 4, high); };
  const system = (index: number, at: number, limit: number, type: number): void =>
    segment(index, ((at & 0xffff) << 16) | limit, (at & 0xff00_0000) | (type << 8) | ((at >>> 16) & 0xff));
  const takeTick = (): void => {
    out8(code, 0x43, 0x30); // channel 0, low then high byte, mode 0: once
    out8(code, 0x40, PIT_COUNT);
    out8(code, 0x40, 0);
    move(code, ECX, SPINS);
    code.emit(0xe2, 0xfe); // loop to itself
  };
  return {
    code, layout,
    emitTables: (handlers) => {
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
    emitStart: () => {
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
      move(code, EAX, LDT);
      code.emit(0x0f, 0x00, 0xd0); // lldt ax
      move(code, EAX, TSS);
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
      move(code, ESI, address);
      move(code, ECX, length);
      move(code, EDX, 0x3f8);
      code.emit(0xf3, 0x6e); // rep outsb
    },
    emitEnd: () => {
      move(code, EDX, 0x604);
      move(code, EAX, 0x2000);
      code.emit(0x66, 0xef, 0xfa, 0xf4); // power off; cli; hlt
    },
  };
}

/** A kernel that knows where it stands (Xen's 32-bit PAE ABI): hypercalls where the other is privileged, and the raw instruction under the probe. */
function paravirtForm({ code, layout, base, variables, gdt }: Place): Form {
  const mask = base + SHARED_INFO + 1; // shared_info.vcpu_info[0].evtchn_upcall_mask
  // set_trap_table's table stands where the other form has its GDT and IDT.
  const traps = gdt;
  const hypercall = (number: number): void => { move(code, EAX, base + 32 * number); code.emit(0xff, 0xd0); };
  const startInfo = (register: number, offset: number): void => {
    loadRegister(code, register, variables.startInfo);
    code.emit(0x8b, 0x40 | (register << 3) | register, offset); // mov register, [register + offset]
  };
  /** update_va_mapping(address, ECX, EDX, INVLPG). */
  const map = (address: number): void => { move(code, EBX, address); move(code, ESI, 2); hypercall(14); };
  const applications = (address: number): void => {
    startInfo(EAX, 68); // mfn_list
    code.emit(0x8b, 0x80); // mov eax, [eax + 4 × frame]
    code.word(((address - PV_BASE) >>> 12) * 4);
    code.emit(0x89, 0xc1, 0xc1, 0xe1, 12, 0x83, 0xc9, 7, 0x89, 0xc2, 0xc1, 0xea, 20); // ecx = eax << 12 | present, writable, user; edx = eax >> 20
    map(address);
  };
  return {
    code, layout,
    emitTables: (handlers) => {
      // Null ends the table, which is zero behind.
      [...handlers].filter(([vector]) => vector !== TIMER_VECTOR).forEach(([vector, handler], index) => {
        const lowestRing = vector === RETURN_VECTOR ? 3 : vector === PROBE_VECTOR ? layout.kernelCode & 3 : 0;
        code.patchWord(traps + 8 * index, vector | (lowestRing << 8) | (layout.kernelCode << 16));
        code.patchWord(traps + 8 * index + 4, handler);
      });
    },
    emitStart: () => {
      code.emit(0xfc); // cld
      storeRegister(code, ESI, variables.startInfo);
      code.emit(0xbc); // mov esp
      code.word(base + KERNEL_STACK_END - 0x400);
      move(code, EBX, layout.kernelData);
      move(code, ECX, base + KERNEL_STACK_END);
      hypercall(3); // stack_switch
      move(code, EBX, traps);
      hypercall(0); // set_trap_table
      for (let page = USER_CODE; page < USER_STACK_END; page += PAGE) applications(base + page);
      startInfo(ECX, 36); // shared_info
      code.emit(0x83, 0xc9, 3, 0x31, 0xd2); // or ecx, present and writable; xor edx, edx
      map(base + SHARED_INFO);
      storeByte(code, mask, 1);
    },
    interruptsOff: () => storeByte(code, mask, 1),
    interruptsOn: () => storeByte(code, mask, 0),
    interrupt: () => { /* The mask alone says whether an event would come. */ },
    keepWhetherTaken: () => {
      code.emit(0x0f, 0xb6, 0x05); // movzx eax, byte [mask]
      code.word(mask);
      code.emit(0x83, 0xf0, 1); // xor eax, 1
      storeRegister(code, EAX, layout.values);
    },
    quiet: () => storeByte(code, mask, 1),
    print: (address, length) => {
      move(code, EBX, 0); // CONSOLEIO_write
      move(code, ECX, length);
      move(code, EDX, address);
      hypercall(18);
    },
    emitEnd: () => {
      storeImmediate(code, layout.values, 0); // SHUTDOWN_poweroff
      move(code, EBX, 2); // SCHEDOP_shutdown
      move(code, ECX, layout.values);
      hypercall(29);
      code.emit(0xeb, 0xfe);
    },
  };
}

/** What the guest wrote, by the probe's number; lines of anything else are left out. */
export function probeResults(console: string): Map<number, ProbeResult> {
  const results = new Map<number, ProbeResult>();
  for (const [, words] of console.matchAll(/^probe ([0-9a-f]{8}(?: [0-9a-f]{8}){4})\r?$/gm)) {
    const [index, outcome, ...values] = words!.split(' ').map((word) => parseInt(word, 16)) as [number, number, number, number, number];
    results.set(index, { outcome: outcome === 1 ? 'ran' : { vector: outcome & 0xff, errorCode: outcome >>> 16 }, values: [values[0], values[1], values[2]] });
  }
  return results;
}
