import type { Code } from './machine-code.js';
import type { ProbeAssembly, ProbeLayout } from './probes.js';

/** Offsets in the probe guest's image, a page each. The first is Multiboot's header, or the hypercall page. The tables have theirs alone: what ring -1 watches is not written. */
export const PAGE = 0x1000;
export const USER_CODE = PAGE, USER_DATA = 2 * PAGE, USER_STACK_END = 4 * PAGE, KERNEL_STACK_END = 5 * PAGE, TABLES = 5 * PAGE, SHARED_INFO = 6 * PAGE, VARIABLES = 7 * PAGE, KERNEL_CODE = 8 * PAGE;
export const TIMER_VECTOR = 0x20;

/** Where things lie, in linear memory. */
export interface ProbePlace {
  code: Code;
  base: number;
  /** GDT and IDT; on paravirt the first is the table of set_trap_table. */
  gdt: number; idt: number;
  variables: ProbeVariables;
}
/** Addresses in the kernel's page of variables. `resume`: where a handler goes on, with the stack of `resumeStack`. */
export interface ProbeVariables { resume: number; resumeStack: number; ticks: number; line: number; digits: number; startInfo: number }

/** What the two forms of the guest do differently. Each method but the last emits code. */
export interface ProbeKernel extends Pick<ProbeAssembly, 'interruptsOff' | 'interruptsOn' | 'interrupt' | 'keepWhetherTaken'> {
  readonly layout: ProbeLayout;
  start(): void;
  /** Interrupts off, none pending. */
  quiet(): void;
  /** `length` bytes at `address` to the console. */
  print(address: number, length: number): void;
  powerOff(): void;
  /** Fills in the tables, which lie before the code whose addresses they hold. `handlers` by vector. */
  fillTables(handlers: ReadonlyMap<number, number>): void;
}
