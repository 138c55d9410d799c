/**
 * The guest that carries the probes (probes.ts): a small kernel, as a Multiboot image or in paravirtualized form, that runs one after the other, in ring 0
 * or as an application, catches what faults, and writes a line a probe to its console:
 *
 *   probe <number> <outcome> <value> <value> <value>       eight hexadecimal digits each
 *
 * with outcome 1 for an instruction that ran, or 100h | vector | error code << 16. The instruction alone stands between the marks of the operation
 * `probe`, so that what it made the processor leave for is counted for it.
 */
import { Code, elf, loadRegister, moveImmediate, out8, pushesErrorCode, storeImmediate, storeRegister, xenNotes } from './machine-code.js';
import { multibootKernel } from './probe-kernel-multiboot.js';
import { paravirtKernel, PV_BASE } from './probe-kernel-paravirt.js';
import { KERNEL_CODE, TABLES, TIMER_VECTOR, USER_CODE, VARIABLES, type ProbeKernel, type ProbeVariables } from './probe-kernel.js';
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
const MARK_TAG = 0x52, MarkKind = { Begin: 1, End: 2 } as const;
export const PROBE_OPERATION = 15;
const LOAD_ADDRESS = 0x10_0000;
const EAX = 0, ECX = 1, ESP = 4, EDI = 7;
const WORDS_IN_LINE = 5;
/** `probe `, five words with a space before each but the first, and the line's end. */
const LINE_LENGTH = 6 + WORDS_IN_LINE * 9 - 1 + 2;
const mark = (code: Code, kind: number): void => {
  code.emit(0x0f, 0x1f, 0x80);
  code.half(PROBE_OPERATION);
  code.emit(kind, MARK_TAG);
};
const padTo = (code: Code, address: number): void => { while (code.here < address) code.emit(0); };

export function probeGuest(probes: readonly Probe[], form: ProbeForm): ProbeGuest {
  const paravirt = form !== 'multiboot';
  const base = LOAD_ADDRESS + (paravirt ? PV_BASE : 0);
  const code = new Code(base);
  const at = base + VARIABLES;
  const variables: ProbeVariables = { resume: at, resumeStack: at + 4, ticks: at + 8, startInfo: at + 12, line: at + 16, digits: at + 96 };
  const place = { code, base, variables, gdt: base + TABLES, idt: base + TABLES + 0x400 };
  const kernel = form === 'multiboot' ? multibootKernel(place) : paravirtKernel(place, form === 'paravirt-ring-1' ? 1 : 3);
  const { layout } = kernel;
  const outcome = layout.values + 12;

  if (!paravirt) for (const word of [0x1bad_b002, 0, -0x1bad_b002]) code.word(word);
  padTo(code, base + USER_CODE);
  // Back from ring 3; a pending interrupt that is allowed comes before.
  mark(code, MarkKind.End);
  code.emit(0x90, 0x90, 0xcd, RETURN_VECTOR);
  let next = 0;
  const on: ProbeAssembly = {
    ...kernel, code,
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
  const report = emitReport(code, kernel, variables, outcome);
  const entry = code.here;
  kernel.start();
  probes.forEach((probe, index) => {
    storeImmediate(code, variables.resume, 0);
    const resume = code.here - 4;
    storeRegister(code, ESP, variables.resumeStack);
    for (const address of [layout.values, layout.values + 4, outcome, variables.ticks]) storeImmediate(code, address, 0);
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
    kernel.quiet();
    loadRegister(code, ESP, variables.resumeStack); // what a probe left on the stack
    moveImmediate(code, EAX, index);
    code.emit(0xe8); // call report
    code.word(report - (code.here + 4));
  });
  kernel.powerOff();
  kernel.fillTables(handlers);
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
function emitHandlers(code: Code, layout: ProbeLayout, variables: ProbeVariables, outcome: number): Map<number, number> {
  const handlers = new Map<number, number>();
  const recover = (): void => {
    loadRegister(code, ESP, variables.resumeStack);
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
function emitReport(code: Code, { layout, print }: ProbeKernel, variables: ProbeVariables, outcome: number): number {
  const digits = code.here;
  moveImmediate(code, ECX, 8);
  const next = code.here;
  code.emit(0xc1, 0xc0, 4, 0x89, 0xc3, 0x83, 0xe3, 15, 0x8a, 0x9b); // rol eax, 4; mov ebx, eax; and ebx, 15; mov bl, [ebx + digits]
  code.word(variables.digits);
  code.emit(0x88, 0x1f, 0x47, 0x49, 0x75); // mov [edi], bl; inc edi; dec ecx; jnz next
  code.emit(next - (code.here + 1) & 0xff, 0xc3);
  const report = code.here;
  moveImmediate(code, EDI, variables.line + 6);
  const call = (): void => { code.emit(0xe8); code.word(digits - (code.here + 4)); };
  call();
  for (const word of [outcome, layout.values, layout.values + 4, layout.values + 8]) {
    code.emit(0x47); // inc edi
    loadRegister(code, EAX, word);
    call();
  }
  print(variables.line, LINE_LENGTH);
  code.emit(0xc3);
  return report;
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
