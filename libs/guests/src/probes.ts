/**
 * Probes of the sensitive instructions that do not trap: each executes one instruction in the guest's kernel or in an application, and keeps what it saw. The
 * list: Robin and Irvine's 17 (USENIX Security 2000; their names make 18, with STR), and IRET, which Bugnion adds.
 * `expected` is what the SDM says a processor of its own shows: nothing of it comes from a run. QEMU 7.2 shows the same (`sensitive --write-guest`).
 */
import { moveImmediate, pushesErrorCode, type Code } from './machine-code.js';

/** Where a probe's guest keeps things, and what it has told its processor. Addresses are linear. */
export interface ProbeLayout {
  /** Three words for what was seen. */
  values: number;
  /** What the guest itself loaded; null where it has loaded none (paravirt: the monitor's tables are all there are). */
  gdt: { base: number; limit: number } | null;
  idt: { base: number; limit: number } | null;
  ldtr: number;
  tr: number | null;
  kernelCode: number;
  kernelData: number;
  userData: number;
  userCode: number;
  /** Top of an application's stack. */
  userStack: number;
  /** In ring 3: code that goes back to the kernel. */
  userReturn: number;
}

/** What a probe may put around its instruction. */
export interface ProbeAssembly {
  code: Code;
  layout: ProbeLayout;
  /** Interrupts off, one of them pending (paravirt: events masked). Registers are lost. */
  interruptsOff(): void;
  /** Interrupts on, none pending. Registers are lost. */
  interruptsOn(): void;
  /** One interrupt comes, and there is time to take it (paravirt: nothing comes). Registers are lost. */
  interrupt(): void;
  /** `values[0]` = 1 if interrupts are taken where the guest stands, else 0. */
  keepWhetherTaken(): void;
  /** PUSH of the address behind the probed instruction. */
  pushNext(): void;
}

/** What came out: it ran, or the exception that the guest met instead. `values[2]` is CR0 as MOV shows it, which is privileged and never misleads. */
export type ProbeValues = readonly [number, number, number];
export interface ProbeResult { outcome: 'ran' | { vector: number; errorCode: number }; values: ProbeValues }

/** `key` decides whether two paths saw the same; `text` is for people. */
export interface Seen { key: string; text: string }

export interface Probe {
  /** Unique, and stable: the JSON's name for it. */
  id: string;
  instruction: string;
  /** With its operands, and what stands around it. */
  text: string;
  ring: 0 | 3;
  /** What it shows or changes. */
  shows: string;
  /** `key` of what a processor of the guest's own shows, as the SDM has it. */
  expected: string;
  /** Where in SDM Vol. 2 that is written: the instruction's entry. */
  source: string;
  setup?(on: ProbeAssembly): void;
  /** The instruction alone. */
  emit(on: ProbeAssembly): void;
  /** Behind it, where it ran: keeps what it left in registers or on the stack. */
  keep?(on: ProbeAssembly): void;
  /** In the kernel, whether it ran or not. */
  settle?(on: ProbeAssembly): void;
  seen(values: ProbeValues, layout: ProbeLayout): Seen;
}

const EAX = 0, ECX = 1;
const RPL = 3;
const EFLAGS_IF = 0x200, EFLAGS_IOPL = 0x3000;
const hex = (value: number): string => `0x${(value >>> 0).toString(16)}`;

/** ModRM of [disp32] with `digit` in its reg field, then the address. */
const absolute = (code: Code, digit: number, address: number): void => { code.emit(0x05 | (digit << 3)); code.word(address); };
const storeEax = ({ code, layout }: ProbeAssembly, index: 0 | 1 = 0): void => { code.emit(0xa3); code.word(layout.values + 4 * index); };
/** `values[0]` = what is on the stack's top. */
const popValue = ({ code, layout }: ProbeAssembly): void => { code.emit(0x8f); absolute(code, 0, layout.values); };
/** `values[0]` = ZF, `values[1]` = EAX. */
const storeZeroFlag = (on: ProbeAssembly): void => {
  const { code, layout } = on;
  code.emit(0x0f, 0x94, 0xc2, 0x0f, 0xb6, 0xd2, 0x89); // setz dl; movzx edx, dl; mov [values], edx
  absolute(code, 2, layout.values);
  storeEax(on, 1);
};
/** INT n of the probe, and the way back from ring 3. */
export const PROBE_VECTOR = 0x40, RETURN_VECTOR = 0x41;
const EFLAGS_FIXED = 2;
const push = (code: Code, value: number): void => { code.emit(0x68); code.word(value); };
/** Two NOPs: an interrupt that is pending and allowed comes before the second. */
const takeIt = (code: Code): void => code.emit(0x90, 0x90);
/** CALL or JMP ptr16:32 to what stands behind it. */
const farPointer = ({ code }: ProbeAssembly, opcode: number, selector: number): void => {
  code.emit(opcode);
  code.word(code.here + 6);
  code.half(selector);
};
/** Data segments that ring 3 may keep, then the frame of an IRET to it: SS, ESP, EFLAGS with IF, CS, EIP. */
export function enterFrame({ code, layout }: Pick<ProbeAssembly, 'code' | 'layout'>, target: number = layout.userReturn): void {
  loadData(code, layout.userData);
  push(code, layout.userData);
  push(code, layout.userStack);
  push(code, EFLAGS_FIXED | EFLAGS_IF);
  push(code, layout.userCode);
  push(code, target);
}
/** DS and ES, by ECX. */
export function loadData(code: Code, selector: number): void {
  moveImmediate(code, ECX, selector);
  code.emit(0x8e, 0xd9, 0x8e, 0xc1);
}
const requestRing1 = (selector: number): number => (selector & ~RPL) | 1;

/** A descriptor table's base and limit, as SGDT and SIDT store them: limit first. */
function seenTable([low, high]: ProbeValues, own: ProbeLayout['gdt']): Seen {
  const limit = low & 0xffff, base = ((low >>> 16) | (high << 16)) >>> 0;
  const text = `${hex(base)}, limit ${hex(limit)}`;
  return own !== null && own.base === base && own.limit === limit ? { key: 'its own table', text: `its own table, ${text}` } : { key: text, text: `a table at ${text}` };
}

function seenSelector(value: number, own: number | null, what: string): Seen {
  const selector = value & 0xffff;
  return selector === own ? { key: `its own ${what}`, text: selector === 0 ? `no ${what}, as it has none` : `its own ${what}, ${hex(selector)}` } : { key: hex(selector), text: hex(selector) };
}

const seenRing = ([value]: ProbeValues): Seen => ({ key: `RPL ${value & RPL}`, text: `${hex(value & 0xffff)}: RPL ${value & RPL}` });
const seenFlags = ([value]: ProbeValues): Seen => {
  const text = `IF ${(value & EFLAGS_IF) === 0 ? 0 : 1}, IOPL ${(value & EFLAGS_IOPL) >>> 12}`;
  return { key: text, text };
};
const seenTaken = ([value]: ProbeValues): Seen => {
  const text = value === 0 ? 'interrupts are held' : 'interrupts are taken';
  return { key: text, text };
};
const seenCr0 = ([value, , truth]: ProbeValues): Seen => (value & 0xffff) === (truth & 0xffff)
  ? { key: 'its own CR0', text: `its own CR0, ${hex(value & 0xffff)}` } : { key: `CR0 ${hex(value & 0xffff)}`, text: `CR0 ${hex(value & 0xffff)}, not ${hex(truth & 0xffff)}` };
const seenLoad = (): Seen => ({ key: 'loads', text: 'loads' });
const seenTransfer = (): Seen => ({ key: 'transfers', text: 'transfers' });
const zeroFlag = (value: number): string => value === 0 ? 'ZF 0' : 'ZF 1';
const seenZero = ([zf]: ProbeValues): Seen => ({ key: zeroFlag(zf), text: zeroFlag(zf) });
const seenRights = ([zf, rights]: ProbeValues): Seen => {
  const text = zf === 0 ? 'ZF 0' : `ZF 1, DPL ${(rights >>> 13) & 3}`;
  return { key: text, text };
};
const seenLimit = ([zf, limit]: ProbeValues): Seen => {
  const text = zf === 0 ? 'ZF 0' : `ZF 1, limit ${hex(limit)}`;
  return { key: text, text };
};

/** A query of the descriptor of `selector`: LAR, LSL, VERR or VERW of CX. */
const query = (bytes: readonly number[], selector: (layout: ProbeLayout) => number, seen: Probe['seen']): Pick<Probe, 'setup' | 'emit' | 'keep' | 'seen'> => ({
  setup: ({ code, layout }) => { moveImmediate(code, ECX, selector(layout)); moveImmediate(code, EAX, 0); },
  emit: ({ code }) => code.emit(...bytes),
  keep: storeZeroFlag,
  seen,
});
const LAR = [0x0f, 0x02, 0xc1], LSL = [0x0f, 0x03, 0xc1], VERR = [0x0f, 0x00, 0xe1], VERW = [0x0f, 0x00, 0xe9];

/** 0F `group` /`digit` with [values] as its operand. */
const store = (group: number, digit: number) => ({ code, layout }: ProbeAssembly): void => { code.emit(0x0f, group); absolute(code, digit, layout.values); };

/** The stores that UMIP keeps from applications. */
const stores = (ring: 0 | 3): Probe[] => [
  { id: `sgdt-${ring}`, instruction: 'SGDT', text: 'sgdt [v]', ring, shows: 'base and limit of the GDT', expected: 'its own table', source: 'SGDT', emit: store(0x01, 0), seen: (values, { gdt }) => seenTable(values, gdt) },
  { id: `sidt-${ring}`, instruction: 'SIDT', text: 'sidt [v]', ring, shows: 'base and limit of the IDT', expected: 'its own table', source: 'SIDT', emit: store(0x01, 1), seen: (values, { idt }) => seenTable(values, idt) },
  { id: `sldt-${ring}`, instruction: 'SLDT', text: 'sldt [v]', ring, shows: 'the selector of the LDT', expected: 'its own LDT', source: 'SLDT', emit: store(0x00, 0), seen: ([value], { ldtr }) => seenSelector(value, ldtr, 'LDT') },
  { id: `str-${ring}`, instruction: 'STR', text: 'str [v]', ring, shows: 'the selector of the task register', expected: 'its own TSS', source: 'STR', emit: store(0x00, 1), seen: ([value], { tr }) => seenSelector(value, tr, 'TSS') },
  { id: `smsw-${ring}`, instruction: 'SMSW', text: 'smsw [v]', ring, shows: 'the low word of CR0', expected: 'its own CR0', source: 'SMSW', emit: store(0x01, 4), seen: seenCr0 },
];

/** LAR, LSL, VERR and VERW of the kernel's data segment, as somebody in `ring` may ask with RPL 0. */
const queries = (ring: 0 | 3): Probe[] => {
  const visible = ring === 0;
  const selector = ({ kernelData }: ProbeLayout): number => kernelData;
  return [
    { id: `lar-${ring}`, instruction: 'LAR', text: 'lar eax, ecx: kernel data', ring, shows: 'a descriptor\'s DPL', expected: visible ? 'ZF 1, DPL 0' : 'ZF 0', source: 'LAR', ...query(LAR, selector, seenRights) },
    { id: `lsl-${ring}`, instruction: 'LSL', text: 'lsl eax, ecx: kernel data', ring, shows: 'a segment\'s limit', expected: visible ? 'ZF 1, limit 0xffffffff' : 'ZF 0', source: 'LSL', ...query(LSL, selector, seenLimit) },
    { id: `verr-${ring}`, instruction: 'VERR', text: 'verr cx: kernel data', ring, shows: 'whether it may be read', expected: visible ? 'ZF 1' : 'ZF 0', source: 'VERR', ...query(VERR, selector, seenZero) },
    { id: `verw-${ring}`, instruction: 'VERW', text: 'verw cx: kernel data', ring, shows: 'whether it may be written', expected: visible ? 'ZF 1' : 'ZF 0', source: 'VERW', ...query(VERW, selector, seenZero) },
  ];
};
/** The same with RPL 1: for a kernel in ring 0, DPL 0 is out of reach for whoever asks with a lesser right. */
const withRpl1 = ({ kernelData }: ProbeLayout): number => requestRing1(kernelData);

const selectors = (ring: 0 | 3): Probe[] => [
  { id: `push-cs-${ring}`, instruction: 'PUSH seg', text: 'push cs', ring, shows: 'the ring, as RPL of CS', expected: `RPL ${ring}`, source: 'PUSH', emit: ({ code }) => code.emit(0x0e), keep: popValue, seen: seenRing },
  { id: `mov-ss-${ring}`, instruction: 'MOV from seg', text: 'mov eax, ss', ring, shows: 'the ring, as RPL of SS', expected: `RPL ${ring}`, source: 'MOV', emit: ({ code }) => code.emit(0x8c, 0xd0), keep: (on) => storeEax(on), seen: seenRing },
];

const KERNEL: readonly Probe[] = [
  ...stores(0),
  {
    id: 'pushf-0', instruction: 'PUSHF', text: 'pushfd, IF 0', ring: 0, shows: 'IF and IOPL', expected: 'IF 0, IOPL 0', source: 'PUSHF',
    setup: (on) => on.interruptsOff(), emit: ({ code }) => code.emit(0x9c), keep: popValue, seen: seenFlags,
  },
  {
    id: 'popf-sets-0', instruction: 'POPF', text: 'popfd: IF 0 to 1', ring: 0, shows: 'changes IF', expected: 'interrupts are taken', source: 'POPF',
    setup: (on) => { on.interruptsOff(); push(on.code, EFLAGS_FIXED | EFLAGS_IF); }, emit: ({ code }) => code.emit(0x9d), keep: (on) => { takeIt(on.code); on.keepWhetherTaken(); }, seen: seenTaken,
  },
  {
    id: 'popf-clears-0', instruction: 'POPF', text: 'popfd: IF 1 to 0', ring: 0, shows: 'changes IF', expected: 'interrupts are held', source: 'POPF',
    setup: (on) => { on.interruptsOn(); push(on.code, EFLAGS_FIXED); }, emit: ({ code }) => code.emit(0x9d), keep: (on) => { on.interrupt(); on.keepWhetherTaken(); }, seen: seenTaken,
  },
  ...queries(0),
  { id: 'lsl-rpl-0', instruction: 'LSL', text: 'lsl eax, ecx: kernel data, RPL 1', ring: 0, shows: 'whether RPL 1 reaches it', expected: 'ZF 0', source: 'LSL', ...query(LSL, withRpl1, seenLimit) },
  { id: 'verr-rpl-0', instruction: 'VERR', text: 'verr cx: kernel data, RPL 1', ring: 0, shows: 'whether RPL 1 reaches it', expected: 'ZF 0', source: 'VERR', ...query(VERR, withRpl1, seenZero) },
  { id: 'verw-rpl-0', instruction: 'VERW', text: 'verw cx: kernel data, RPL 1', ring: 0, shows: 'whether RPL 1 reaches it', expected: 'ZF 0', source: 'VERW', ...query(VERW, withRpl1, seenZero) },
  ...selectors(0),
  {
    id: 'pop-es-0', instruction: 'POP seg', text: 'pop es: kernel data, RPL 1', ring: 0, shows: 'whether it loads', expected: '#GP', source: 'POP',
    setup: ({ code, layout }) => push(code, requestRing1(layout.kernelData)), emit: ({ code }) => code.emit(0x07), seen: seenLoad,
  },
  {
    id: 'mov-es-0', instruction: 'MOV to seg', text: 'mov es, cx: kernel data, RPL 1', ring: 0, shows: 'whether it loads', expected: '#GP', source: 'MOV',
    setup: ({ code, layout }) => moveImmediate(code, ECX, requestRing1(layout.kernelData)), emit: ({ code }) => code.emit(0x8e, 0xc1), seen: seenLoad,
  },
  {
    id: 'call-far-0', instruction: 'far CALL', text: 'call far: kernel code', ring: 0, shows: 'the ring, as RPL of the CS it pushes', expected: 'RPL 0', source: 'CALL',
    emit: (on) => farPointer(on, 0x9a, on.layout.kernelCode), keep: (on) => { on.code.emit(0x58); popValue(on); }, seen: seenRing,
  },
  {
    id: 'jmp-far-0', instruction: 'far JMP', text: 'jmp far: kernel code, RPL 1', ring: 0, shows: 'whether it is let through', expected: '#GP', source: 'JMP',
    emit: (on) => farPointer(on, 0xea, requestRing1(on.layout.kernelCode)), seen: seenTransfer,
  },
  {
    id: 'retf-0', instruction: 'RETF', text: 'retf: kernel code, RPL 1', ring: 0, shows: 'whether it is let through', expected: '#GP', source: 'RET',
    setup: (on) => { push(on.code, requestRing1(on.layout.kernelCode)); on.pushNext(); }, emit: ({ code }) => code.emit(0xcb), seen: seenTransfer,
  },
  {
    id: 'int-0', instruction: 'INT n', text: 'int 0x40', ring: 0, shows: 'the ring, as RPL of the CS it pushes', expected: 'RPL 0', source: 'INT n',
    emit: ({ code }) => code.emit(0xcd, PROBE_VECTOR), seen: seenRing,
  },
  {
    id: 'iret-0', instruction: 'IRET', text: 'iretd in the kernel: IF 0 to 1', ring: 0, shows: 'changes IF', expected: 'interrupts are taken', source: 'IRET',
    // CS as PUSH CS gives it: the kernel's own selector, which asks for ring 0, would trap in ring 1.
    setup: (on) => { on.interruptsOff(); push(on.code, EFLAGS_FIXED | EFLAGS_IF); on.code.emit(0x0e); on.pushNext(); },
    emit: ({ code }) => code.emit(0xcf), keep: (on) => { takeIt(on.code); on.keepWhetherTaken(); }, seen: seenTaken,
  },
  {
    id: 'iret-3', instruction: 'IRET', text: 'iretd to ring 3: IF 0 to 1', ring: 0, shows: 'changes IF', expected: 'interrupts are taken', source: 'IRET',
    setup: (on) => { on.interruptsOff(); enterFrame(on); }, emit: ({ code }) => code.emit(0xcf), settle: (on) => on.keepWhetherTaken(), seen: seenTaken,
  },
];

const APPLICATION: readonly Probe[] = [
  ...stores(3),
  { id: 'pushf-3', instruction: 'PUSHF', text: 'pushfd', ring: 3, shows: 'IF and IOPL', expected: 'IF 1, IOPL 0', source: 'PUSHF', emit: ({ code }) => code.emit(0x9c), keep: popValue, seen: seenFlags },
  {
    id: 'popf-3', instruction: 'POPF', text: 'popfd: IF 1 to 0, IOPL 0 to 3', ring: 3, shows: 'what it changes: nothing', expected: 'IF 1, IOPL 0', source: 'POPF',
    setup: ({ code }) => push(code, EFLAGS_FIXED | EFLAGS_IOPL), emit: ({ code }) => code.emit(0x9d), keep: (on) => { on.code.emit(0x9c); popValue(on); }, seen: seenFlags,
  },
  ...queries(3),
  ...selectors(3),
];

/** Every probe, kernel first. Where the kernel runs in its applications' ring (paravirt, ring 3) there is no second view: `kernelProbes`. */
export const kernelProbes: readonly Probe[] = KERNEL;
export const probes: readonly Probe[] = [...KERNEL, ...APPLICATION];

/** A result in words; an exception instead of the instruction says so. */
export function seenBy(probe: Probe, { outcome, values }: ProbeResult, layout: ProbeLayout): Seen {
  if (outcome === 'ran') return probe.seen(values, layout);
  const name = EXCEPTIONS[outcome.vector] ?? `vector ${outcome.vector}`;
  return { key: name, text: pushesErrorCode(outcome.vector) ? `${name}(${outcome.errorCode === 0 ? 0 : hex(outcome.errorCode)})` : name };
}

const EXCEPTIONS = ['#DE', '#DB', 'NMI', '#BP', '#OF', '#BR', '#UD', '#NM', '#DF', 'vector 9', '#TS', '#NP', '#SS', '#GP', '#PF'];
