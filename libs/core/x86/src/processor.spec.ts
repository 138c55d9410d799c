import { NO_CONTROLS } from './execution-controls.js';
import { ExitReason } from './exit-reason.js';
import { PF } from './fault.js';
import { Processor } from './processor.js';
import { StepResult } from './step.js';
import { CODE, Guest, HLT, RAM, handler, word } from './testing/guest.js';

/** The public class: budgets, marks, accesses that leave, self-modifying code, REP, the observer. */

const RET = 0xc3, NOP = 0x90, INC_EAX = 0x40;
const BEYOND = 0x10_0000; // no RAM there

describe('a budget', () => {
  it('is met to the instruction, wherever it ends in a run of slots', () => {
    for (let budget = 1; budget < 60; budget++) {
      const guest = new Guest().code(CODE, ...new Array<number>(100).fill(INC_EAX));
      expect(guest.run(budget)).toBe(StepResult.Budget);
      expect([guest.register('eax'), guest.processor.retired, guest.processor.executed, guest.eip]).toEqual([budget, budget, budget, CODE + budget]);
    }
  });

  it('is met in loops that are linked, and time goes with it', () => {
    // mov ecx,1000; inc eax; dec ecx; jnz
    const guest = new Guest().code(CODE, 0xb9, ...word(1000), INC_EAX, 0x49, 0x75, 0xfc);
    let total = 0;
    for (const budget of [1, 7, 500, 3, 1200]) {
      expect(guest.run(budget)).toBe(StepResult.Budget);
      total += budget;
      expect(guest.processor.retired).toBe(total);
    }
    guest.processor.skipTime(1e9);
    expect(guest.processor.virtualTime).toBe(total + 1e9);
    expect(guest.run(10_000)).toBe(StepResult.Halted);
    expect([guest.processor.retired, guest.register('eax')]).toEqual([3002, 1000]);
  });

  it('gives back what a fault in the middle of a run did not execute', () => {
    const guest = new Guest().code(CODE, INC_EAX, INC_EAX, 0x0f, 0x0b, INC_EAX, INC_EAX); // inc inc ud2
    expect(guest.run(1000)).toBe(StepResult.Halted);
    expect([guest.eip, guest.processor.retired, guest.register('eax')]).toEqual([handler(6) + 1, 3, 2]);
  });

  it('does not show in a REP that writes over itself: the iterations left are those of what stands there now', () => {
    // mov edi, itself; mov ecx, 8; mov eax, NOPs; rep stosb; then NOPs of the page's own
    const at = CODE + 15;
    const code = [0xbf, ...word(at - 1), 0xb9, ...word(8), 0xb8, ...word(0x9090_9090), 0xf3, 0xaa, ...new Array<number>(12).fill(INC_EAX), HLT];
    const ends = [1000, 1, 4].map((budget) => {
      const guest = new Guest().code(CODE, ...code);
      while (guest.run(budget) === StepResult.Budget);
      return [guest.register('ecx'), guest.processor.getRegister('edi'), guest.register('eax'), guest.processor.retired];
    });
    // Two iterations (the second writes F3), then the NOP and the byte left of STOSB alone.
    expect(ends).toEqual([ends[0], ends[0], ends[0]]);
    expect(ends[0]![0]).toBe(6);
  });

  it('splits a REP between iterations, each counted', () => {
    // mov edi,0x8000; mov ecx,10; rep stosb; hlt
    const guest = new Guest().code(CODE, 0xbf, ...word(0x8000), 0xb9, ...word(10), 0xf3, 0xaa);
    expect(guest.run(5)).toBe(StepResult.Budget);
    expect([guest.register('ecx'), guest.eip, guest.processor.retired]).toEqual([7, CODE + 10, 5]);
    expect(guest.run(7)).toBe(StepResult.Budget);
    expect([guest.register('ecx'), guest.eip, guest.processor.retired]).toEqual([0, CODE + 12, 12]);
  });

  it('passes in an exception storm that retires nothing', () => {
    const guest = new Guest().code(CODE, 0x0f, 0x0b);
    guest.processor.writePhysical('guest', handler(6), Uint8Array.of(0x89, 0xcc, 0x0f, 0x0b)); // mov esp,ecx; ud2: for ever, with one instruction each
    guest.processor.setRegister('ecx', 0x9000);
    expect(guest.run(1000)).toBe(StepResult.Budget);
    guest.processor.writePhysical('guest', handler(6), Uint8Array.of(0x0f, 0x0b));
    const { retired } = guest.processor;
    const time = guest.processor.virtualTime;
    expect(guest.run(200)).toBe(StepResult.Budget); // nothing retires any more
    expect(guest.processor.retired).toBe(retired);
    expect(guest.processor.virtualTime).toBe(time + 200);
  });
});

describe('an annotation NOP', () => {
  const mark = [0x0f, 0x1f, 0x80, 0x05, 0x00, 0x01, 0x52];
  it('completes, counts, and ends the step', () => {
    const guest = new Guest().code(CODE, INC_EAX, ...mark, INC_EAX);
    expect(guest.run()).toBe(StepResult.Mark);
    expect([guest.processor.exit.mark, guest.eip, guest.processor.retired]).toEqual([0x5201_0005, CODE + 8, 2]);
    expect(guest.run()).toBe(StepResult.Halted);
    expect(guest.register('eax')).toBe(2);
  });
  it('is not the NOP that pads code', () => {
    const guest = new Guest().code(CODE, 0x0f, 0x1f, 0x80, 0, 0, 0, 0);
    expect(guest.run()).toBe(StepResult.Halted);
  });
});

describe('memory where there is no RAM', () => {
  it('is read by a bus cycle, and the instruction goes on with the answer', () => {
    const guest = new Guest().code(CODE, 0xa1, ...word(BEYOND + 4)); // mov eax,[BEYOND+4]
    expect(guest.run()).toBe(StepResult.BusCycle);
    expect(guest.processor.exit.access).toEqual({ space: 'memory', address: BEYOND + 4, size: 4, write: false, count: 1, data: new Uint8Array(0) });
    expect(guest.eip).toBe(CODE);
    guest.processor.completeAccess(Uint8Array.of(1, 2, 3, 4));
    expect(guest.run()).toBe(StepResult.Halted);
    expect([guest.register('eax'), guest.processor.retired]).toEqual([0x0403_0201, 2]);
  });

  it('takes both cycles of a read-modify-write, flags as if executed once', () => {
    const guest = new Guest().code(CODE, 0xf9, 0x81, 0x15, ...word(BEYOND), ...word(5)); // stc; adc dword [BEYOND],5
    expect(guest.run()).toBe(StepResult.BusCycle);
    guest.processor.completeAccess(Uint8Array.from(word(0xffff_fffa)));
    expect(guest.run()).toBe(StepResult.BusCycle);
    expect(guest.processor.exit.access).toMatchObject({ write: true, data: Uint8Array.from(word(0)) });
    guest.processor.completeAccess(null);
    expect(guest.run()).toBe(StepResult.Halted);
    expect([guest.register('eflags') & 0x8d5, guest.processor.retired]).toEqual([0x55, 3]); // CF ZF PF AF
  });

  it('goes one iteration at a time under REP, and each counts', () => {
    // mov esi,BEYOND; mov edi,0x8000; mov ecx,2; rep movsd
    const guest = new Guest().code(CODE, 0xbe, ...word(BEYOND), 0xbf, ...word(0x8000), 0xb9, ...word(2), 0xf3, 0xa5);
    for (const value of [0x11, 0x22]) {
      expect(guest.run()).toBe(StepResult.BusCycle);
      guest.processor.completeAccess(Uint8Array.from(word(value)));
    }
    expect(guest.run()).toBe(StepResult.Halted);
    expect([...guest.words(0x8000, 2), guest.processor.retired]).toEqual([0x11, 0x22, 6]);
  });

  it('is an EPT violation with the access in it where EPT maps nothing', () => {
    const guest = new Guest({ nonRoot: true });
    identityEpt(guest.processor, RAM / 4096);
    guest.processor.setControls({ ...NO_CONTROLS, nonRoot: true, eptRoot: 0 });
    guest.code(CODE, 0xc7, 0x05, ...word(RAM + 0x10), ...word(0xabcd)); // mov dword [RAM+0x10],0xabcd
    expect(guest.run()).toBe(StepResult.Exit);
    expect(guest.processor.exit).toMatchObject({ reason: ExitReason.EptViolation, qualification: 0x182, guestPhysical: RAM + 0x10, guestLinear: RAM + 0x10 });
    expect(guest.processor.exit.access).toMatchObject({ write: true, size: 4, address: RAM + 0x10, data: Uint8Array.from(word(0xabcd)) });
    guest.processor.completeAccess(null);
    expect(guest.run()).toBe(StepResult.Halted);
  });
});

/** EPT with 4 KiB pages: `frames` guest frames to themselves. Tables at 0, 0x1000, 0x2000 and 0x3000 of monitor space. */
function identityEpt(processor: Processor, frames: number): void {
  const entry = (at: number, value: number): void => processor.writePhysical('monitor', at, Uint8Array.from([...word(value), ...word(0)]));
  entry(0, 0x1007);
  entry(0x1000, 0x2007);
  entry(0x2000, 0x3007);
  for (let frame = 0; frame < frames; frame++) entry(0x3000 + frame * 8, (frame << 12) | 7);
}

describe('nested paging', () => {
  it('leaves for a missing guest frame, and goes on when it is there', () => {
    const guest = new Guest({ nonRoot: true });
    identityEpt(guest.processor, RAM / 4096);
    guest.processor.writePhysical('monitor', 0x3000 + 8 * 8, new Uint8Array(8));
    guest.processor.setControls({ ...NO_CONTROLS, nonRoot: true, eptRoot: 0 });
    guest.code(CODE, 0xa1, ...word(0x8004));
    guest.memory(0x8004, 77);
    expect(guest.run()).toBe(StepResult.Exit);
    expect(guest.processor.exit).toMatchObject({ reason: ExitReason.EptViolation, qualification: 0x181, guestPhysical: 0x8004 });
    guest.processor.writePhysical('monitor', 0x3000 + 8 * 8, Uint8Array.from([...word(0x8007), ...word(0)]));
    guest.processor.flushTlb('all');
    expect(guest.run()).toBe(StepResult.Halted);
    expect([guest.register('eax'), guest.processor.retired]).toEqual([77, 2]);
  });

  it('refuses a write to a frame that is read-only, and a fetch from one that is not executable', () => {
    for (const [rights, bytes, qualification] of [[5, [0xa3, ...word(0x8004)], 0x182 | (5 << 3)], [3, [0xb8, ...word(0x8000), 0xff, 0xe0], 0x184 | (3 << 3)]] as const) {
      const guest = new Guest({ nonRoot: true });
      identityEpt(guest.processor, RAM / 4096);
      guest.processor.writePhysical('monitor', 0x3000 + 8 * 8, Uint8Array.from([...word(0x8000 | rights), ...word(0)]));
      guest.processor.setControls({ ...NO_CONTROLS, nonRoot: true, eptRoot: 0 });
      guest.code(CODE, ...bytes);
      expect(guest.run()).toBe(StepResult.Exit);
      expect(guest.processor.exit).toMatchObject({ reason: ExitReason.EptViolation, qualification });
    }
  });

  it('calls a writable entry that is not readable a misconfiguration', () => {
    const guest = new Guest({ nonRoot: true });
    identityEpt(guest.processor, RAM / 4096);
    guest.processor.writePhysical('monitor', 0x3000 + 8 * 8, Uint8Array.from([...word(0x8002), ...word(0)]));
    guest.processor.setControls({ ...NO_CONTROLS, nonRoot: true, eptRoot: 0 });
    guest.code(CODE, 0xa1, ...word(0x8004));
    expect(guest.run()).toBe(StepResult.Exit);
    expect(guest.processor.exit.reason).toBe(ExitReason.EptMisconfiguration);
  });
});

describe('code that changes', () => {
  it('is seen by the very next instruction', () => {
    // mov byte [next],0x40 (inc eax); next: nop
    const guest = new Guest().code(CODE, 0xc6, 0x05, ...word(CODE + 7), INC_EAX, NOP);
    expect(guest.run()).toBe(StepResult.Halted);
    expect([guest.register('eax'), guest.processor.retired]).toEqual([1, 3]);
  });

  it('is seen when it was executed before, through another mapping, and from outside', () => {
    const guest = new Guest().code(CODE, 0xe8, ...word(0x100 - 5), HLT); // call CODE+0x100
    guest.code(CODE + 0x100, INC_EAX, RET);
    expect(guest.run()).toBe(StepResult.Halted);
    guest.processor.writePhysical('guest', CODE + 0x100, Uint8Array.of(0x43)); // inc ebx
    guest.processor.cpu.i32[23] = 0; // awake
    guest.processor.setRegister('eip', CODE);
    expect(guest.run()).toBe(StepResult.Halted);
    expect([guest.register('eax'), guest.register('ebx')]).toEqual([1, 1]);
  });

  it('does not disturb data beside it', () => {
    // mov ecx,100; inc dword [CODE+0x200]; loop; hlt
    const guest = new Guest().code(CODE, 0xb9, ...word(100), 0xff, 0x05, ...word(CODE + 0x200), 0xe2, 0xf8);
    guest.memory(CODE + 0x200, 0);
    expect(guest.run()).toBe(StepResult.Halted);
    expect(guest.words(CODE + 0x200, 1)).toEqual([100]);
  });

  it('keeps the budget exact', () => {
    const bytes = [0xc6, 0x05, ...word(CODE + 9), 0x43, INC_EAX, INC_EAX, NOP, INC_EAX]; // the NOP becomes inc ebx
    for (let budget = 1; budget <= 5; budget++) {
      const guest = new Guest().code(CODE, ...bytes);
      expect(guest.run(budget)).toBe(StepResult.Budget);
      expect(guest.processor.retired).toBe(budget);
      expect(guest.register('ebx')).toBe(budget >= 4 ? 1 : 0);
    }
  });
});

describe('instructions that cross a page', () => {
  const end = CODE + 0x1000;
  it('are fetched from both pages, and loop', () => {
    // at end-2: mov eax,imm32 over the boundary; then dec ecx; jnz back
    const guest = new Guest().code(end - 2, 0xb8, ...word(0x1234_5678), 0x49, 0x75, 0xf8);
    guest.processor.setRegister('eip', end - 2);
    guest.processor.setRegister('ecx', 3);
    expect(guest.run()).toBe(StepResult.Halted);
    expect([guest.register('eax'), guest.processor.retired]).toEqual([0x1234_5678, 10]);
  });

  it('see a change in the second page', () => {
    const guest = new Guest().code(end - 2, 0xb8, ...word(1), 0xc7, 0x05, ...word(end - 1), ...word(2), 0x49, 0x75, 0xee); // mov eax,1; mov dword [its imm],2; dec ecx; jnz
    guest.processor.setRegister('eip', end - 2);
    guest.processor.setRegister('ecx', 2);
    expect(guest.run()).toBe(StepResult.Halted);
    expect(guest.register('eax')).toBe(2);
  });

  it('fault at the second page with its address', () => {
    const guest = new Guest();
    guest.memory(0x1_0000, 0x1_1007);
    for (let page = 0; page < 0x40; page++) guest.memory(0x1_1000 + page * 4, page === end >>> 12 ? 0 : (page << 12) | 7);
    guest.processor.setRegister('cr3', 0x1_0000);
    guest.processor.setRegister('cr0', 0x8000_0011);
    guest.processor.writePhysical('guest', end - 2, Uint8Array.of(0xb8, 0));
    guest.processor.setRegister('eip', end - 2);
    expect(guest.fault()).toBe(PF);
    expect([guest.register('cr2'), ...guest.words(guest.register('esp'), 2)]).toEqual([end, 0, end - 2]);
  });

  it('of more than 15 bytes are #GP', () => {
    const guest = new Guest().code(CODE, ...new Array<number>(15).fill(0x66), NOP);
    expect(guest.fault()).toBe(13);
  });
});

describe('the observer', () => {
  it('is called once for each instruction, and changes no count', () => {
    // mov ecx,5; mov edi,0x8000; rep stosb; inc eax; int 3 → handler HLT
    const code = [0xb9, ...word(5), 0xbf, ...word(0x8000), 0xf3, 0xaa, INC_EAX, 0xcc];
    const plain = new Guest().code(CODE, ...code);
    plain.run();
    const observed = new Guest().code(CODE, ...code);
    const seen: number[] = [];
    observed.processor.setObserver((cpu) => seen.push(cpu.i32[9]!));
    for (let n = 0; n < 40; n++) observed.run(1);
    expect(seen).toEqual([CODE + 5, CODE + 10, CODE + 12, CODE + 13, handler(3), handler(3) + 1]);
    expect(observed.processor.retired).toBe(plain.processor.retired);
  });

  it('sees an instruction that exited when what the exit changed has been applied', () => {
    const guest = new Guest({ nonRoot: true }).code(CODE, 0x0f, 0xa2); // cpuid
    const seen: number[] = [];
    guest.processor.setObserver((cpu) => seen.push(cpu.i32[0]!));
    expect(guest.run()).toBe(StepResult.Exit);
    guest.processor.retireExit();
    guest.processor.setRegister('eax', 42);
    expect(guest.run()).toBe(StepResult.Halted);
    expect(seen).toEqual([42, 42]);
  });
});

describe('machine frames', () => {
  it('lie where they are mapped, or nowhere', () => {
    const guest = new Guest().code(CODE, 0xa1, ...word(0x8000), 0x8b, 0x1d, ...word(0x9_0000)); // mov eax,[0x8000]; mov ebx,[0x90000]
    guest.memory(0xa000, 1234);
    guest.processor.writePhysical('monitor', 0x2000, Uint8Array.from(word(99)));
    guest.processor.mapFrame(8, { space: 'guest', frame: 10 });
    guest.processor.mapFrame(0x90, { space: 'monitor', frame: 2 });
    expect(guest.run()).toBe(StepResult.Halted);
    expect([guest.register('eax'), guest.register('ebx')]).toEqual([1234, 99]);
    guest.processor.mapFrame(8, null);
    expect([...guest.processor.readPhysical('guest', 0x8000, 2)]).toEqual([0xff, 0xff]);
    expect(guest.processor.readLinear(0x8000, 1)).toBeNull();
    expect(() => guest.processor.mapFrame(1, { space: 'guest', frame: RAM / 4096 })).toThrow(RangeError);
  });
});
