import { ExitReason } from './exit-reason.js';
import { DB, DF, GP, PF, UD } from './fault.js';
import { EventType, StepResult } from './step.js';
import { CODE, CS0, CS1, CS3, DS0, DS3, FREE, GATE, GDT, Guest, NOP, STACK0, STACK3, TSS, USER_CODE, half, handler, word } from './testing/guest.js';
import { gateWords, segmentWords } from './testing/system-machine.js';

/* The system instructions as a guest meets them: real bytes through decoder, run loop and delivery. */

describe('transfers between levels', () => {
  it('calls through a gate with parameters and returns with RETF n', () => {
    const guest = new Guest().at(3);
    guest.table(GDT + GATE, ...gateWords(CS0, CODE, 0xec, 2));
    // push 0x11; push 0x22; call far GATE; int 0x50
    guest.code(USER_CODE, 0x6a, 0x11, 0x6a, 0x22, 0x9a, ...word(0), ...half(GATE | 3), 0xcd, 0x50);
    // mov eax,[esp+8]; mov ebx,[esp+12]; mov ecx,cs; retf 8
    guest.code(CODE, 0x8b, 0x44, 0x24, 8, 0x8b, 0x5c, 0x24, 12, 0x8c, 0xc9, 0xca, ...half(8));
    guest.gate(0x50, CS0, handler(0x50), 0xee);
    expect(guest.fault()).toBe(0x50);
    expect([guest.register('eax'), guest.register('ebx'), guest.register('ecx')]).toEqual([0x22, 0x11, CS0]);
    const [eip, cs, , esp, ss] = guest.words(guest.register('esp'), 5);
    expect([eip, cs, esp, ss]).toEqual([USER_CODE + 13, CS3, STACK3, DS3]);
  });

  it('enters ring 3 by IRET, comes back by INT, and counts each once', () => {
    const guest = new Guest();
    guest.gate(0x80, CS0, handler(0x80), 0xee);
    // push DS3; push STACK3; push 0x202; push CS3; push USER_CODE; iret
    guest.code(CODE, 0x6a, DS3, 0x68, ...word(STACK3), 0x68, ...word(0x202), 0x6a, CS3, 0x68, ...word(USER_CODE), 0xcf);
    guest.code(USER_CODE, 0xb8, ...word(7), 0xcd, 0x80);
    expect(guest.run(6)).toBe(StepResult.Budget);
    expect([guest.cpl, guest.eip]).toEqual([3, USER_CODE]);
    expect(guest.fault()).toBe(0x80);
    expect([guest.cpl, guest.register('eax'), guest.processor.retired]).toEqual([0, 7, 9]);
    expect(guest.register('eflags') & 0x200).toBe(0);
  });

  it('SYSENTER and SYSEXIT, set up by WRMSR', () => {
    const guest = new Guest();
    const msr = (number: number, value: number): number[] => [0xb9, ...word(number), 0xb8, ...word(value), 0x31, 0xd2, 0x0f, 0x30];
    guest.code(CODE, ...msr(0x174, CS0), ...msr(0x175, STACK0), ...msr(0x176, CODE + 0x100), 0xba, ...word(USER_CODE), 0xb9, ...word(STACK3), 0x0f, 0x35);
    guest.code(USER_CODE, 0x89, 0xe3, 0x0f, 0x34); // mov ebx,esp; sysenter
    guest.code(CODE + 0x100, 0x8c, 0xc8, 0x8c, 0xd1); // mov eax,cs; mov ecx,ss
    expect(guest.run()).toBe(StepResult.Halted);
    expect([guest.cpl, guest.eip, guest.register('ebx'), guest.register('esp')]).toEqual([0, CODE + 0x105, STACK3, STACK0]);
    expect([guest.register('eax'), guest.register('ecx')]).toEqual([CS0, DS0]);
  });

  it('loads a stack segment of another width with POP SS, moving ESP in the old width', () => {
    const guest = new Guest();
    guest.table(GDT + FREE, ...segmentWords(0, 0xffff, 0x93, 0));
    guest.processor.setRegister('esp', 0x1_fffe);
    guest.code(CODE, 0x17); // pop ss
    guest.processor.writePhysical('guest', 0x1_fffe, Uint8Array.from([...half(FREE), 0, 0]));
    expect(guest.run()).toBe(StepResult.Halted);
    expect(guest.register('esp')).toBe(0x2_0002);
  });
});

describe('faults', () => {
  it('restart at the instruction, with the error code on the stack', () => {
    const guest = new Guest().at(3);
    guest.code(USER_CODE, NOP, NOP, 0x0f, 0x06); // nop; nop; clts
    expect(guest.fault()).toBe(GP);
    expect(guest.words(guest.register('esp'), 3)).toEqual([0, USER_CODE + 2, CS3]);
    expect(guest.processor.retired).toBe(3); // nop nop hlt
  });

  it('an inner stack in no segment makes #UD a #TS', () => {
    const guest = new Guest().at(3);
    guest.table(TSS + 8, 0x7ff8);
    guest.gate(10, CS3, handler(10), 0xee);
    guest.code(handler(10), 0xeb, 0xfe);
    guest.code(USER_CODE, 0x0f, 0x0b);
    expect(guest.run(10)).toBe(StepResult.Budget);
    expect([guest.cpl, guest.eip, guest.words(guest.register('esp'), 2)]).toEqual([3, handler(10), [0x7ff9, USER_CODE]]);
  });

  it('#PF, then a #PF on its handler\'s stack, is #DF; without a #DF handler the machine ends', () => {
    const guest = new Guest().at(3);
    const directory = 0x1_0000, table = 0x1_1000;
    guest.memory(directory, table | 0x27);
    for (let page = 0; page < 0x40; page++) guest.memory(table + 4 * page, (page << 12) | (page === 8 ? 0 : 0x67));
    guest.processor.setRegister('cr3', directory);
    guest.processor.setRegister('cr0', 0x8000_0011 | 0);
    guest.processor.flushTlb('all');
    guest.gate(DF, CS1, handler(DF), 0x8e);
    guest.code(handler(DF), 0xeb, 0xfe);
    guest.code(USER_CODE, 0xa1, ...word(0x5_0000)); // mov eax,[0x50000]
    expect(guest.run(10)).toBe(StepResult.Budget);
    expect([guest.cpl, guest.eip, guest.register('cr2')]).toEqual([1, handler(DF), STACK0 - 4]);
    expect(guest.words(guest.register('esp'), 2)).toEqual([0, USER_CODE]);
    guest.at(3).gate(DF, 0, 0, 0);
    expect(guest.run(10)).toBe(StepResult.Stopped);
    expect(guest.processor.exit.reason).toBe(ExitReason.TripleFault);
    expect(guest.run(10)).toBe(StepResult.Stopped);
  });

  it.each<[string, number[]]>([['clearing CR0.PE', [0x31, 0xc0, 0x0f, 0x22, 0xc0]], ['IRET with NT', [0x68, ...word(0x4002), 0x9d, 0xcf]], ['IRET to virtual-8086 mode', [0x68, ...word(0x2_0002), 0x6a, CS0, 0x6a, 0, 0xcf]]])('%s stops the machine by name', (_what, bytes) => {
    for (const controls of [{}, { nonRoot: true }]) {
      const guest = new Guest(controls);
      guest.code(CODE, ...bytes);
      expect(guest.run()).toBe(StepResult.Stopped);
      expect(guest.processor.exit.reason).toBe(ExitReason.UnsupportedMode);
    }
  });
});

describe('single step', () => {
  const TRAP = [0x9c, 0x81, 0x0c, 0x24, ...word(0x100), 0x9d]; // pushf; or dword [esp],0x100; popf

  it('traps behind the instruction after POPF, with DR6.BS', () => {
    const guest = new Guest();
    guest.code(CODE, ...TRAP, 0x43, 0x43); // inc ebx; inc ebx
    guest.code(handler(DB), 0x0f, 0x21, 0xf0); // mov eax,dr6
    expect(guest.run()).toBe(StepResult.Halted);
    expect([guest.eip, guest.register('ebx'), guest.register('eax') & 0x4000]).toEqual([handler(DB) + 4, 1, 0x4000]);
    expect(guest.words(guest.register('esp'), 1)).toEqual([CODE + TRAP.length + 1]);
  });

  it('does not trap into or behind INT n, whose handler runs with TF clear', () => {
    const guest = new Guest();
    guest.code(CODE, ...TRAP, 0xcd, 0x40);
    expect(guest.fault()).toBe(0x40);
    expect(guest.words(guest.register('esp'), 3)[2]! & 0x100).toBe(0x100);
    expect(guest.register('eflags') & 0x100).toBe(0);
  });

  it('a fault comes first, and the trap does not happen', () => {
    const guest = new Guest();
    guest.code(CODE, ...TRAP, 0x0f, 0x0b);
    expect(guest.fault()).toBe(UD);
  });

  it('MOV SS holds the trap back for one instruction', () => {
    const guest = new Guest();
    guest.code(CODE, 0xb8, ...word(DS0), ...TRAP, 0x8e, 0xd0, 0x43, 0x43); // mov ss,eax; inc ebx; inc ebx
    expect(guest.fault()).toBe(DB);
    expect([guest.register('ebx'), guest.words(guest.register('esp'), 1)[0]]).toEqual([1, CODE + 5 + TRAP.length + 3]);
  });
});

describe('interrupts', () => {
  it('are taken behind the instruction after STI', () => {
    const guest = new Guest();
    guest.code(CODE, 0xfb, 0x40, 0x40, 0x40); // sti; inc eax …
    guest.processor.setIntr(true);
    expect(guest.run()).toBe(StepResult.InterruptWindow);
    expect([guest.eip, guest.register('eax')]).toEqual([CODE + 2, 1]);
    guest.processor.deliverInterrupt(0x20);
    expect(guest.eip).toBe(handler(0x20));
  });

  it('are held back by MOV SS', () => {
    const guest = new Guest();
    guest.code(CODE, 0xb8, ...word(DS0), 0xfb, 0x8e, 0xd0, 0x43, 0x43); // mov eax,DS0; sti; mov ss,eax; inc ebx; inc ebx
    guest.processor.setIntr(true);
    expect(guest.run()).toBe(StepResult.InterruptWindow);
    expect([guest.eip, guest.register('ebx')]).toEqual([CODE + 9, 1]);
  });

  it('wake HLT', () => {
    const guest = new Guest();
    guest.code(CODE, 0xfb, NOP);
    expect(guest.run()).toBe(StepResult.Halted);
    guest.processor.deliverInterrupt(0x20);
    expect(guest.fault()).toBe(0x20);
    expect(guest.words(guest.register('esp'), 1)).toEqual([CODE + 3]);
  });
});

describe('PAE', () => {
  const PDPT = 0x2_0000, PD = 0x2_1000;
  const enable = [0xb8, ...word(0x20), 0x0f, 0x22, 0xe0, 0xb8, ...word(PDPT), 0x0f, 0x22, 0xd8, 0xb8, ...word(0x8001_0011), 0x0f, 0x22, 0xc0];

  it('is switched on by MOV CR4, CR3, CR0, and its pointers are registers', () => {
    const guest = new Guest();
    guest.memory(PDPT, PD | 1, 0, 0, 0, 0, 0, 0, 0).memory(PD, 0xe7, 0, 0xe7, 0); // 2 MiB at 0, and again at 2 MiB
    // mov dword [PDPT],0; mov eax,[0x200000 + CODE]
    guest.code(CODE, ...enable, 0xc7, 0x05, ...word(PDPT), ...word(0), 0xa1, ...word(0x20_0000 + CODE));
    expect(guest.run()).toBe(StepResult.Halted);
    expect(guest.register('eax')).toBe(0x20b8);
    expect(guest.words(PDPT, 1)).toEqual([0]);
  });

  it('a reserved bit in a pointer is #GP at MOV CR0, and CR0 stays', () => {
    const guest = new Guest();
    guest.memory(PDPT, PD | 3, 0, 0, 0, 0, 0, 0, 0);
    guest.code(CODE, ...enable);
    expect(guest.fault()).toBe(GP);
    expect(guest.register('cr0')).toBe(0x11);
  });
});

describe('exits', () => {
  it('CPUID leaves at any level, and goes on behind it', () => {
    const guest = new Guest({ nonRoot: true }).at(3);
    guest.code(USER_CODE, NOP, 0x0f, 0xa2, 0x40, 0xcd, 0x40);
    expect(guest.run()).toBe(StepResult.Exit);
    expect(guest.processor.exit).toMatchObject({ reason: ExitReason.Cpuid, instructionLength: 2, access: null, event: null });
    expect([guest.eip, guest.processor.retired]).toEqual([USER_CODE + 1, 1]);
    guest.processor.retireExit();
    expect([guest.eip, guest.processor.retired]).toEqual([USER_CODE + 3, 2]);
    guest.processor.setRegister('eax', 5);
    guest.gate(0x40, CS0, handler(0x40), 0xee);
    expect(guest.fault()).toBe(0x40);
    expect(guest.register('eax')).toBe(6);
  });

  it('MOV CR3 with its register in the qualification; an injected event is delivered instead', () => {
    const guest = new Guest({ nonRoot: true, cr3LoadExiting: true });
    guest.code(CODE, 0x0f, 0x22, 0xde); // mov cr3,esi
    expect(guest.run()).toBe(StepResult.Exit);
    expect(guest.processor.exit).toMatchObject({ reason: ExitReason.CrAccess, qualification: 0x603, instructionLength: 3 });
    guest.processor.inject({ vector: GP, type: EventType.HardwareException, errorCode: 0 });
    expect(guest.fault()).toBe(GP);
    expect(guest.words(guest.register('esp'), 2)).toEqual([0, CODE]);
  });

  it('the exception bitmap, with EIP at the instruction', () => {
    const guest = new Guest({ nonRoot: true, exceptionBitmap: (1 << UD) | (1 << 3) }).at(3);
    guest.code(USER_CODE, NOP, 0x0f, 0x0b);
    expect(guest.run()).toBe(StepResult.Exit);
    expect(guest.processor.exit).toMatchObject({ reason: ExitReason.ExceptionOrNmi, event: { vector: UD, type: EventType.HardwareException, errorCode: null } });
    expect(guest.eip).toBe(USER_CODE + 1);
    const breakpoint = new Guest({ nonRoot: true, exceptionBitmap: 1 << 3 }).at(3);
    breakpoint.code(USER_CODE, 0xcc);
    expect(breakpoint.run()).toBe(StepResult.Exit);
    expect(breakpoint.processor.exit).toMatchObject({ instructionLength: 1, event: { vector: 3, type: EventType.SoftwareException, errorCode: null } });
    expect(breakpoint.eip).toBe(USER_CODE);
  });

  it('VMCALL exits; outside VMX it is #UD', () => {
    const guest = new Guest({ nonRoot: true });
    guest.code(CODE, 0x0f, 0x01, 0xc1);
    expect(guest.run()).toBe(StepResult.Exit);
    expect(guest.processor.exit.reason).toBe(ExitReason.Vmcall);
    const native = new Guest();
    native.code(CODE, 0x0f, 0x01, 0xc1);
    expect(native.fault()).toBe(UD);
  });

  it('a triple fault exits in non-root operation', () => {
    const guest = new Guest({ nonRoot: true });
    guest.processor.setTable('idtr', { base: 0, limit: 0, space: 'guest' });
    guest.code(CODE, 0x0f, 0x0b);
    expect(guest.run()).toBe(StepResult.Exit);
    expect([guest.processor.exit.reason, guest.eip]).toEqual([ExitReason.TripleFault, CODE]);
  });
});

describe('nested paging under event delivery and MOV CR3', () => {
  const PT = 0x3000;
  /** EPT of four levels in monitor space that maps RAM one to one. */
  function nested(): Guest {
    const guest = new Guest({ nonRoot: true, eptRoot: 0 });
    const entry = (at: number, value: number): void => guest.processor.writePhysical('monitor', at, Uint8Array.from([...word(value), 0, 0, 0, 0]));
    entry(0, 0x1007);
    entry(0x1000, 0x2007);
    entry(0x2000, PT | 7);
    for (let page = 0; page < 0x40; page++) entry(PT + 8 * page, (page << 12) | 7);
    guest.processor.flushTlb('all');
    return guest;
  }
  const map = (guest: Guest, page: number, rights: number): void => {
    guest.processor.writePhysical('monitor', PT + 8 * page, Uint8Array.from(word((page << 12) | rights)));
    guest.processor.flushTlb('all');
  };

  it('an interrupt whose stack is not mapped is delivered once it is', () => {
    const guest = nested();
    guest.processor.setRegister('eflags', 0x202);
    guest.code(CODE, NOP, NOP);
    map(guest, (STACK0 - 4) >>> 12, 0);
    expect(guest.run(1)).toBe(StepResult.Budget);
    guest.processor.deliverInterrupt(0x20);
    expect(guest.run()).toBe(StepResult.Exit);
    expect(guest.processor.exit).toMatchObject({ reason: ExitReason.EptViolation, guestPhysical: STACK0 - 4, guestLinear: STACK0 - 4 });
    expect(guest.processor.exit.qualification & 0x1bf).toBe(0x182); // a write, nothing allowed, linear address valid, final translation
    expect([guest.eip, guest.register('esp')]).toEqual([CODE + 1, STACK0]);
    map(guest, (STACK0 - 4) >>> 12, 7);
    expect(guest.fault()).toBe(0x20);
    expect(guest.words(STACK0 - 12, 3)).toEqual([CODE + 1, CS0, 0x202]);
    expect(guest.processor.retired).toBe(2); // nop, hlt
  });

  it('a fault whose IDT is not mapped runs again as a whole', () => {
    const guest = nested().at(3);
    guest.code(USER_CODE, 0x0f, 0x0b);
    map(guest, 2, 0);
    expect(guest.run()).toBe(StepResult.Exit);
    expect(guest.processor.exit).toMatchObject({ reason: ExitReason.EptViolation, guestPhysical: 0x2000 + 8 * UD });
    expect([guest.cpl, guest.eip]).toEqual([3, USER_CODE]);
    map(guest, 2, 7);
    expect(guest.fault()).toBe(UD);
    expect(guest.words(guest.register('esp'), 2)).toEqual([USER_CODE, CS3]);
  });

  it('page-directory-pointer entries are read through EPT, and nothing is loaded before all are', () => {
    const guest = nested();
    guest.memory(0x2_0000, 0x2_1001, 0, 0, 0, 0, 0, 0, 0).memory(0x2_1000, 0xe7, 0);
    guest.code(CODE, 0xb8, ...word(0x20), 0x0f, 0x22, 0xe0, 0xb8, ...word(0x2_0000), 0x0f, 0x22, 0xd8, 0xb8, ...word(0x8000_0011), 0x0f, 0x22, 0xc0);
    map(guest, 0x20, 0);
    expect(guest.run()).toBe(StepResult.Exit);
    expect(guest.processor.exit).toMatchObject({ reason: ExitReason.EptViolation, guestPhysical: 0x2_0000 });
    expect([guest.eip, guest.register('cr0')]).toEqual([CODE + 21, 0x11]);
    map(guest, 0x20, 1);
    expect(guest.run()).toBe(StepResult.Halted);
    expect(guest.register('cr0')).toBe(0x8000_0011);
  });
});

describe('a deprivileged guest', () => {
  const guestAt = (level: 1 | 3): Guest => new Guest({ nonRoot: true, deprivileged: true }).at(level);

  it('makes hypercalls by INT 0x82 and goes on behind them', () => {
    const guest = guestAt(1).gate(0x82, CS0, 0, 0xae);
    guest.code(CODE, 0xb8, ...word(24), 0xcd, 0x82, 0x43);
    expect(guest.run()).toBe(StepResult.Exit);
    expect(guest.processor.exit).toMatchObject({ reason: ExitReason.Hypercall, instructionLength: 2 });
    guest.processor.retireExit();
    expect(guest.processor.retired).toBe(2);
    expect(guest.run(1)).toBe(StepResult.Budget);
    expect(guest.register('ebx')).toBe(1);
  });

  it('leaves with #GP for a privileged instruction, and CLI with IOPL 0', () => {
    for (const bytes of [[0x0f, 0x22, 0xd8], [0xfa], [0xf4], [0x0f, 0x01, 0x15, 0, 0, 0, 0], [0xe6, 0x80]]) {
      const guest = guestAt(1);
      guest.code(CODE, ...bytes);
      expect(guest.run()).toBe(StepResult.Exit);
      expect(guest.processor.exit).toMatchObject({ reason: ExitReason.DeprivilegedException, event: { vector: GP, type: EventType.HardwareException, errorCode: 0 } });
      expect(guest.eip).toBe(CODE);
    }
  });

  it('goes from ring 3 straight to its kernel through a direct gate, and back by IRET', () => {
    const guest = guestAt(3).gate(0x80, CS1, CODE, 0xef);
    guest.code(USER_CODE, 0xcd, 0x80, 0x0f, 0x0b);
    guest.code(CODE, 0x40, 0xcf); // inc eax; iret
    expect(guest.run()).toBe(StepResult.Exit);
    expect(guest.processor.exit.event).toMatchObject({ vector: UD });
    expect([guest.cpl, guest.eip, guest.register('eax'), guest.processor.retired, guest.processor.executed]).toEqual([3, USER_CODE + 2, 1, 3, 3]);
  });

  it('leaves with #PF and CR2', () => {
    const guest = guestAt(1);
    guest.memory(0x1_0000, 0x1_1027);
    for (let page = 0; page < 0x20; page++) guest.memory(0x1_1000 + 4 * page, (page << 12) | 0x67);
    guest.processor.setRegister('cr3', 0x1_0000);
    guest.processor.setRegister('cr0', 0x8001_0011 | 0);
    guest.processor.flushTlb('all');
    guest.code(CODE, 0xa3, ...word(0x1234_5678));
    expect(guest.run()).toBe(StepResult.Exit);
    expect(guest.processor.exit.event).toEqual({ vector: PF, type: EventType.HardwareException, errorCode: 2 });
    expect(guest.register('cr2')).toBe(0x1234_5678);
  });
});

describe('time', () => {
  it('RDTSC in the middle of a run reads what has retired before it', () => {
    const guest = new Guest();
    guest.code(CODE, NOP, NOP, NOP, 0x0f, 0x31, 0x89, 0xc3, NOP, 0x0f, 0x31); // rdtsc; mov ebx,eax; nop; rdtsc
    expect(guest.run()).toBe(StepResult.Halted);
    expect([guest.register('ebx'), guest.register('eax')]).toEqual([3, 6]);
  });

  it('skipped time counts', () => {
    const guest = new Guest();
    guest.processor.skipTime(1000);
    guest.code(CODE, NOP, 0x0f, 0x31);
    expect(guest.run()).toBe(StepResult.Halted);
    expect(guest.register('eax')).toBe(1001);
  });
});
