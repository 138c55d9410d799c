import { NO_CONTROLS, type ExecutionControls } from '../execution-controls.js';
import { Processor } from '../processor.js';
import { StepResult } from '../step.js';
import { gateWords, segmentWords } from './system-machine.js';

/*
 * A guest made of bytes, for specs that go through decoder, run loop and delivery: flat segments for levels 0, 1 and 3, an IDT whose
 * handlers are single HLTs at HANDLERS + 16 × vector, unless a spec puts other code there, so that EIP tells which one ran.
 */
export const GDT = 0x1000, IDT = 0x2000, TSS = 0x3000, HANDLERS = 0x4000, CODE = 0x6000, USER_CODE = 0x7000, STACK0 = 0x9000, STACK1 = 0xa000, STACK3 = 0xb000, RAM = 0x4_0000;
export const CS0 = 0x08, DS0 = 0x10, CS3 = 0x1b, DS3 = 0x23, CS1 = 0x29, DS1 = 0x31, TR = 0x38, GATE = 0x40, FREE = 0x48;
export const HLT = 0xf4, NOP = 0x90;

export const word = (value: number): number[] => [value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24];
export const half = (value: number): number[] => [value & 0xff, (value >>> 8) & 0xff];
export const handler = (vector: number): number => HANDLERS + 16 * vector;

export class Guest {
  readonly processor = new Processor({ ramBytes: RAM, monitorBytes: 0x1_0000 });
  private readonly space: 'guest' | 'monitor';

  constructor(controls: Partial<ExecutionControls> = {}) {
    this.space = controls.deprivileged === true ? 'monitor' : 'guest';
    const { processor } = this;
    processor.setControls({ ...NO_CONTROLS, ...controls });
    const { space } = this;
    processor.setTable('gdtr', { base: GDT, limit: 0x7f, space });
    processor.setTable('idtr', { base: IDT, limit: 0x7ff, space });
    this.segment(CS0, 0x9b, 0).segment(DS0, 0x93, 0).segment(CS3, 0x9b, 3).segment(DS3, 0x93, 3).segment(CS1, 0x9b, 1).segment(DS1, 0x93, 1);
    this.table(GDT + TR, ...segmentWords(TSS, 0xff, 0x8b, 0));
    this.table(TSS + 4, STACK0, DS0, STACK1, DS1).table(TSS + 100, 0xffff << 16); // no I/O bitmap
    processor.setSegment('tr', { selector: TR, base: TSS, limit: 0xff, rights: 0x8b, space });
    for (let vector = 0; vector < 0x100; vector++) {
      this.gate(vector, space === 'guest' ? CS0 : CS1, handler(vector), space === 'guest' ? 0x8e : 0);
      processor.writePhysical('guest', handler(vector), Uint8Array.of(HLT));
    }
    processor.setRegister('cr0', 0x11);
    processor.setRegister('eflags', 2);
    this.at(space === 'guest' ? 0 : 1);
  }

  segment(selector: number, access: number, level: number): this { return this.table(GDT + (selector & 0xfff8), ...segmentWords(0, 0xf_ffff, access | (level << 5), 0xc)) }
  gate(vector: number, selector: number, offset: number, access: number): this { return this.table(IDT + 8 * vector, ...gateWords(selector, offset, access)) }
  table(at: number, ...words: number[]): this {
    this.processor.writePhysical(this.space, at, Uint8Array.from(words.flatMap(word)));
    return this;
  }
  memory(at: number, ...words: number[]): this {
    this.processor.writePhysical('guest', at, Uint8Array.from(words.flatMap(word)));
    return this;
  }

  /** Stand at a level with its flat segments and its stack, at the code of that level. */
  at(level: 0 | 1 | 3): this {
    const { processor } = this;
    const [code, data, stack] = { 0: [CS0, DS0, STACK0], 1: [CS1, DS1, STACK1], 3: [CS3, DS3, STACK3] }[level] as [number, number, number];
    processor.setSegment('cs', { selector: code, base: 0, limit: 0xffff_ffff, rights: 0xc09b | (level << 5) });
    for (const name of ['ss', 'ds', 'es'] as const) processor.setSegment(name, { selector: data, base: 0, limit: 0xffff_ffff, rights: 0xc093 | (level << 5) });
    processor.setRegister('cpl', level);
    processor.setRegister('esp', stack);
    processor.setRegister('eip', level === 3 ? USER_CODE : CODE);
    return this;
  }

  /** Code, ended by HLT. */
  code(at: number, ...bytes: number[]): this {
    this.processor.writePhysical('guest', at, Uint8Array.from([...bytes, HLT]));
    return this;
  }

  run(budget = 1000): number { return this.processor.step(budget) }
  get eip(): number { return this.processor.getRegister('eip') >>> 0 }
  get cpl(): number { return this.processor.getRegister('cpl') }
  register(name: 'eax' | 'ebx' | 'ecx' | 'edx' | 'esp' | 'eflags' | 'cr0' | 'cr2'): number { return this.processor.getRegister(name) >>> 0 }
  words(at: number, count: number): number[] {
    const bytes = this.processor.readPhysical('guest', at, 4 * count);
    return Array.from({ length: count }, (_, n) => (bytes[4 * n]! | (bytes[4 * n + 1]! << 8) | (bytes[4 * n + 2]! << 16) | (bytes[4 * n + 3]! << 24)) >>> 0);
  }
  /** Run to the HLT of a handler; its vector. */
  fault(): number {
    expect(this.run()).toBe(StepResult.Halted);
    return (this.eip - 1 - HANDLERS) / 16;
  }
}
