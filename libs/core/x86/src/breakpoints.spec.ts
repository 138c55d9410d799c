import { DB, OF } from './fault.js';
import { DR0, DR6 } from './state.js';
import { StepResult } from './step.js';
import { CODE, Guest, handler, word } from './testing/guest.js';

const DATA = 0x8000;
const ENABLE = 2; // G0
const WRITES = 1 << 16, ACCESSES = 3 << 16, FOUR = 3 << 18;
const MOV_DR0 = (address: number): number[] => [0xb8, ...word(address), 0x0f, 0x23, 0xc0];
const MOV_DR7 = (value: number): number[] => [0xb8, ...word(value), 0x0f, 0x23, 0xf8];
const SETUP = 16;

/** A guest that enables a breakpoint and goes on with `bytes` at CODE + SETUP; where #DB interrupted it, or null. */
function meets(address: number, dr7: number, ...bytes: number[]): { eip: number; dr6: number; guest: Guest } | null {
  const guest = new Guest().code(CODE, ...MOV_DR0(address), ...MOV_DR7(dr7), ...bytes);
  expect(guest.run()).toBe(StepResult.Halted);
  if (guest.eip !== handler(DB) + 1) return null;
  return { eip: guest.words(guest.register('esp'), 1)[0]! - CODE - SETUP, dr6: guest.processor.cpu.i32[DR6]! & 0xf, guest };
}
const STORE = [0xc7, 0x05, ...word(DATA), ...word(7)]; // mov dword [DATA],7
const LOAD = [0xa1, ...word(DATA)]; // mov eax,[DATA]

it('a data breakpoint traps behind the instruction, which has happened', () => {
  const met = meets(DATA, ENABLE | WRITES | FOUR, ...STORE, 0x90)!;
  expect([met.eip, met.dr6, met.guest.words(DATA, 1)]).toEqual([10, 1, [7]]);
});

it('tells reads from writes, and what lies beside', () => {
  expect(meets(DATA, ENABLE | WRITES | FOUR, ...LOAD)).toBeNull();
  expect(meets(DATA, ENABLE | ACCESSES | FOUR, 0x90, ...LOAD)?.eip).toBe(6);
  expect(meets(DATA + 4, ENABLE | ACCESSES | FOUR, ...STORE)).toBeNull();
  expect(meets(DATA + 3, ENABLE | WRITES, ...STORE)?.eip).toBe(10); // one byte of the four
  expect(meets(DATA, WRITES | FOUR, ...STORE)).toBeNull(); // not enabled
});

it('is met by the stack and by each iteration of a REP', () => {
  expect(meets(0x8ffc, ENABLE | WRITES | FOUR, 0x50)?.eip).toBe(1); // push eax
  const met = meets(DATA + 2, ENABLE | WRITES, 0xbf, ...word(DATA), 0xb9, ...word(9), 0xf3, 0xaa)!; // rep stosb
  expect([met.eip, met.guest.register('ecx')]).toEqual([10, 6]);
});

it('is met by port accesses with CR4.DE, once the answer is in', () => {
  const DE = 8, PORTS = 2 << 16, IN_E4 = [0xe4, 0xe4]; // in al,0xe4
  const answered = (cr4: number, ...bytes: number[]): { eip: number; dr6: number } | null => {
    const guest = new Guest().code(CODE, ...MOV_DR0(0xe4), ...MOV_DR7(ENABLE | PORTS), ...bytes);
    guest.processor.setRegister('cr4', cr4);
    let result = guest.run();
    for (; result === StepResult.BusCycle; result = guest.run()) guest.processor.completeAccess(Uint8Array.of(0x55));
    expect(result).toBe(StepResult.Halted);
    if (guest.eip !== handler(DB) + 1) return null;
    return { eip: guest.words(guest.register('esp'), 1)[0]! - CODE - SETUP, dr6: guest.processor.cpu.i32[DR6]! & 0xf };
  };
  expect(answered(DE, ...IN_E4, 0x90)).toEqual({ eip: 2, dr6: 1 });
  expect(answered(DE, 0xe4, 0xe5, 0x90)).toBeNull();
  expect(answered(0, ...IN_E4, 0x90)).toBeNull();
  // A REP INSB to memory traps behind its first iteration.
  expect(answered(DE, 0xbf, ...word(DATA), 0xb9, ...word(3), 0xba, ...word(0xe4), 0xf3, 0x6c)).toEqual({ eip: 15, dr6: 1 });
});

it('an instruction breakpoint faults before it, once if the handler sets RF', () => {
  const met = meets(CODE + SETUP + 1, ENABLE, 0x90, 0x43, 0x43)!;
  expect([met.eip, met.dr6, met.guest.register('ebx')]).toEqual([1, 1, 0]);
  const { guest } = met;
  const frame = guest.register('esp');
  guest.memory(frame + 8, guest.words(frame + 8, 1)[0]! | 0x1_0000); // RF in the image
  guest.processor.writePhysical('guest', handler(DB) + 1, Uint8Array.of(0xcf)); // iret
  guest.processor.cpu.i32[23] = 0;
  expect(guest.run()).toBe(StepResult.Halted);
  expect([guest.register('ebx'), guest.register('eflags') & 0x1_0000]).toEqual([2, 0]);
});

it('counts stay exact, and all is fast again when it is disabled', () => {
  const guest = new Guest().code(CODE, ...MOV_DR0(DATA), ...MOV_DR7(ENABLE | WRITES | FOUR), ...LOAD, ...MOV_DR7(0), ...STORE);
  expect(guest.run()).toBe(StepResult.Halted);
  expect([guest.eip, guest.processor.retired, guest.processor.cpu.debugging, guest.processor.cpu.i32[DR0]]).toEqual([CODE + 16 + 5 + 8 + 10 + 1, 9, false, DATA]);
});

it('the trap flag traps behind an INTO that is not taken, and not behind one that is', () => {
  const steps = (flags: number): number => {
    const guest = new Guest().code(CODE, 0x68, ...word(flags), 0x9d, 0xce, 0x90, 0xf4);
    expect(guest.run()).toBe(StepResult.Halted);
    return guest.eip - 1;
  };
  expect(steps(0x102)).toBe(handler(DB));
  expect(steps(0x902)).toBe(handler(OF));
});
