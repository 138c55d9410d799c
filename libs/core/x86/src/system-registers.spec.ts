import { I686_FEATURES } from './cpuid.js';
import { ExitReason } from './exit-reason.js';
import { DB, GP, NP, UD } from './fault.js';
import { DescriptorTableAccess, UnsupportedMode, interceptDescriptorTable, interceptPause } from './intercepts.js';
import { readLinear32 } from './memory.js';
import {
  CR0_CD, CR0_NW, CR0_PG, CR0_TS, CR0_WP, CR4_DE, CR4_PAE, CR4_PGE, CR4_TSD, blockInterrupts, cli, clts, hlt, invd, invlpg, lgdt, lidt, lldt, lmsw, ltr, popFlags, pushedFlags, rdpmc, rdtsc,
  readControlRegister, readDebugRegister, requireLevel0, sldt, smsw, sti, str, vmcall, wbinvd, writeControlRegister, writeDebugRegister,
} from './system-registers.js';
import {
  ACTIVITY, CR0, CR2, CR3, CR4, DR6, EAX, EDX, EFLAGS_SYSTEM, GDTR_BASE, GDTR_LIMIT, GDTR_SPACE, IDTR_LIMIT, INTERRUPT_SHADOW, LDTR, PDPTE, RETIRED, SHADOW_MOV_SS, SHADOW_STI, TR,
} from './state.js';
import { ACCESS_DATA, ACCESS_LDT, ACCESS_TSS, FREE, LDT_SELECTOR, SystemMachine, TSS_SELECTOR } from './testing/system-machine.js';

const refused = { vector: GP, error: 0 };
const undefinedInstruction = { vector: UD, error: null };
const PE_ET = 0x11, PDPT = 0x4000;

describe('privileged instructions', () => {
  const all: [string, (machine: SystemMachine) => void][] = [
    ['MOV from CR0', ({ cpu }) => void readControlRegister(cpu, 0)], ['MOV to CR3', ({ cpu }) => writeControlRegister(cpu, 3, 0)], ['MOV from DR', ({ cpu }) => void readDebugRegister(cpu, 0)],
    ['MOV to DR', ({ cpu }) => writeDebugRegister(cpu, 7, 0)], ['CLTS', ({ cpu }) => clts(cpu)], ['LMSW', ({ cpu }) => lmsw(cpu, 1, null)], ['LLDT', ({ cpu }) => lldt(cpu, 0)],
    ['LTR', ({ cpu }) => ltr(cpu, TSS_SELECTOR)], ['HLT', ({ cpu }) => hlt(cpu)], ['INVLPG', ({ cpu }) => invlpg(cpu, 0)], ['WBINVD', ({ cpu }) => wbinvd(cpu)], ['INVD', ({ cpu }) => invd(cpu)],
    ['LGDT and LIDT', ({ cpu }) => requireLevel0(cpu)],
  ];
  it.each(all)('%s is #GP(0) above level 0, before any exit', (_name, act) => {
    const everything = { nonRoot: true, hltExiting: true, invlpgExiting: true, cr3LoadExiting: true, descriptorTableExiting: true, wbinvdExiting: true, cr0Mask: -1 };
    for (const level of [1, 2, 3]) {
      for (const machine of [new SystemMachine().atLevel(level), new SystemMachine(everything).atLevel(level)]) expect(machine.fault(() => act(machine))).toEqual(refused);
    }
  });
});

describe('CR0', () => {
  it('keeps ET set and bits that do not exist clear', () => {
    const { cpu } = new SystemMachine();
    writeControlRegister(cpu, 0, ~(CR0_NW | CR0_PG | 0x10));
    expect(cpu.i32[CR0]).toBe(0x4005_003f | 0);
  });

  it.each([['PG without PE', CR0_PG], ['NW without CD', CR0_NW | 1]])('%s is #GP(0)', (_what, value) => {
    const machine = new SystemMachine();
    expect(machine.fault(() => writeControlRegister(machine.cpu, 0, value))).toEqual(refused);
  });

  it('clearing PE stops the machine by name, on every path', () => {
    for (const controls of [{}, { nonRoot: true }]) {
      const machine = new SystemMachine(controls);
      const exit = machine.exit(() => writeControlRegister(machine.cpu, 0, 0x10));
      expect([exit.reason, exit.qualification]).toEqual([ExitReason.UnsupportedMode, UnsupportedMode.Real]);
    }
  });

  it.each([1, 5, 6, 7, 8])('MOV CR%i is #UD', (register) => {
    const machine = new SystemMachine();
    expect(machine.fault(() => readControlRegister(machine.cpu, register))).toEqual(undefinedInstruction);
    expect(machine.fault(() => writeControlRegister(machine.cpu, register, 0))).toEqual(undefinedInstruction);
  });

  it('CLTS and LMSW change the low bits; LMSW sets PE but does not clear it', () => {
    const { cpu } = new SystemMachine();
    lmsw(cpu, 0xfffe, null);
    expect(cpu.i32[CR0]).toBe(PE_ET | 0xe);
    expect(smsw(cpu)).toBe(PE_ET | 0xe);
    clts(cpu);
    expect(cpu.i32[CR0]).toBe(PE_ET | 6);
    lmsw(cpu, 0, null);
    expect(cpu.i32[CR0]).toBe(PE_ET);
  });
});

describe('CR4', () => {
  it('refuses bits of features that the processor does not have', () => {
    const machine = new SystemMachine();
    for (const bit of [0, 1, 6, 9, 10, 11, 13, 18, 20, 31]) expect(machine.fault(() => writeControlRegister(machine.cpu, 4, 1 << bit))).toEqual(refused);
    writeControlRegister(machine.cpu, 4, 0x1bc);
    expect(machine.cpu.i32[CR4]).toBe(0x1bc);
    const old = new SystemMachine({}, { ...I686_FEATURES, pae: false });
    expect(old.fault(() => writeControlRegister(old.cpu, 4, CR4_PAE))).toEqual(refused);
  });
});

describe('PAE page-directory-pointer entries', () => {
  const withPointers = (...entries: [low: number, high: number][]): SystemMachine => {
    const machine = new SystemMachine();
    entries.forEach(([low, high], n) => machine.setWord(PDPT + 8 * n, low).setWord(PDPT + 8 * n + 4, high));
    return machine;
  };
  const pointers = (machine: SystemMachine): number[] => Array.from(machine.cpu.i32.subarray(PDPTE, PDPTE + 8));
  const GOOD: [number, number][] = [[0x5001, 0], [0x6000, -1], [0x7e19, 0xf], [0x1e6, 0]];

  it('are loaded by MOV CR0 that sets PG, by MOV CR3 and MOV CR4, and only then', () => {
    const machine = withPointers(...GOOD);
    const { cpu } = machine;
    writeControlRegister(cpu, 4, CR4_PAE);
    writeControlRegister(cpu, 3, PDPT | 0x18);
    expect(pointers(machine)).toEqual([0, 0, 0, 0, 0, 0, 0, 0]);
    writeControlRegister(cpu, 0, PE_ET | CR0_PG);
    expect(pointers(machine)).toEqual(GOOD.flat());
    machine.setWord(PDPT, 0x9001);
    writeControlRegister(cpu, 0, PE_ET | CR0_PG | CR0_WP);
    expect(pointers(machine)[0]).toBe(0x5001);
    writeControlRegister(cpu, 4, CR4_PAE | CR4_PGE);
    expect(pointers(machine)[0]).toBe(0x9001);
    machine.setWord(PDPT, 0xa001);
    writeControlRegister(cpu, 0, PE_ET | CR0_PG | CR0_CD);
    expect(pointers(machine)[0]).toBe(0xa001);
    machine.setWord(PDPT, 0xb001);
    writeControlRegister(cpu, 4, CR4_PAE | CR4_PGE | CR4_TSD);
    expect(pointers(machine)[0]).toBe(0xa001);
    writeControlRegister(cpu, 3, PDPT);
    expect(pointers(machine)[0]).toBe(0xb001);
  });

  it.each<[string, number, number]>([['bit 1', 3, 0], ['bit 2', 5, 0], ['bit 5', 0x21, 0], ['bit 8', 0x101, 0], ['address bit 36', 1, 0x10], ['bit 63', 1, 1 << 31]])('%s set in a present one is #GP(0), and nothing is loaded', (_what, low, high) => {
    const machine = withPointers([0x5001, 0], [0, 0], [low, high]);
    machine.cpu.i32[CR4] = CR4_PAE;
    machine.cpu.i32[CR3] = PDPT;
    expect(machine.fault(() => writeControlRegister(machine.cpu, 0, PE_ET | CR0_PG))).toEqual(refused);
    machine.cpu.i32[CR0] = PE_ET | CR0_PG;
    expect(machine.fault(() => writeControlRegister(machine.cpu, 3, PDPT))).toEqual(refused);
    machine.cpu.i32[CR4] = 0;
    expect(machine.fault(() => writeControlRegister(machine.cpu, 4, CR4_PAE))).toEqual(refused);
  });
});

describe('CR exits (SDM Vol. 3C 25.1.3)', () => {
  const owned = { nonRoot: true, cr0Mask: CR0_TS | CR0_PG, cr0ReadShadow: CR0_TS | 1, cr4Mask: CR4_PGE, cr4ReadShadow: CR4_PGE };

  it('MOV to CR0 and CR4 exits when an owned bit differs from its shadow, before reserved bits are looked at', () => {
    const machine = new SystemMachine(owned);
    expect(machine.exit(() => writeControlRegister(machine.cpu, 0, 1, 6))).toMatchObject({ reason: ExitReason.CrAccess, qualification: 0x600 });
    expect(machine.exit(() => writeControlRegister(machine.cpu, 0, CR0_PG | CR0_TS, 1))).toMatchObject({ qualification: 0x100 });
    expect(machine.exit(() => writeControlRegister(machine.cpu, 4, -1 & ~CR4_PGE, 2))).toMatchObject({ reason: ExitReason.CrAccess, qualification: 0x204 });
  });

  it('a write that agrees with the shadow changes the other bits only', () => {
    const { cpu } = new SystemMachine(owned);
    writeControlRegister(cpu, 0, 0x1_0000 | CR0_TS | 1);
    expect(cpu.i32[CR0]).toBe(0x1_0011);
    writeControlRegister(cpu, 4, CR4_PGE | CR4_DE);
    expect(cpu.i32[CR4]).toBe(CR4_DE);
    expect([readControlRegister(cpu, 0), smsw(cpu), readControlRegister(cpu, 4)]).toEqual([0x1_0019, 0x1_0019, CR4_PGE | CR4_DE]);
  });

  it('CR3 by its two controls', () => {
    const load = new SystemMachine({ nonRoot: true, cr3LoadExiting: true });
    expect(load.exit(() => writeControlRegister(load.cpu, 3, 0x1000, 3))).toMatchObject({ reason: ExitReason.CrAccess, qualification: 0x303 });
    expect(readControlRegister(load.cpu, 3)).toBe(0);
    const store = new SystemMachine({ nonRoot: true, cr3StoreExiting: true });
    expect(store.exit(() => void readControlRegister(store.cpu, 3, 7))).toMatchObject({ reason: ExitReason.CrAccess, qualification: 0x713 });
    writeControlRegister(store.cpu, 2, 0x1234);
    expect(store.cpu.i32[CR2]).toBe(0x1234);
  });

  it('CLTS exits when TS is owned and shown set, does nothing when it is owned and shown clear', () => {
    const exits = new SystemMachine(owned);
    expect(exits.exit(() => clts(exits.cpu))).toMatchObject({ reason: ExitReason.CrAccess, qualification: 0x20 });
    const shown = new SystemMachine({ nonRoot: true, cr0Mask: CR0_TS });
    shown.cpu.i32[CR0]! |= CR0_TS;
    clts(shown.cpu);
    expect(shown.cpu.i32[CR0]).toBe(PE_ET | CR0_TS);
  });

  it('LMSW exits for MP, EM and TS that differ and for PE that it would set; the qualification has its source', () => {
    const machine = new SystemMachine({ nonRoot: true, cr0Mask: 0xf, cr0ReadShadow: 8 });
    expect(machine.exit(() => lmsw(machine.cpu, 0x4321, null))).toMatchObject({ qualification: 0x4321_0030, guestLinear: 0 });
    expect(machine.exit(() => lmsw(machine.cpu, 0, 0x9000))).toMatchObject({ qualification: 0x70, guestLinear: 0x9000 });
    lmsw(machine.cpu, 8, null);
    expect(machine.cpu.i32[CR0]).toBe(PE_ET);
    const set = new SystemMachine({ nonRoot: true, cr0Mask: 1, cr0ReadShadow: 1 });
    lmsw(set.cpu, 0xe, null);
    expect(set.cpu.i32[CR0]).toBe(PE_ET | 0xe);
  });
});

describe('debug registers', () => {
  it('DR4 and DR5 are DR6 and DR7 until CR4.DE', () => {
    const machine = new SystemMachine();
    writeDebugRegister(machine.cpu, 5, ~0x2000);
    expect(readDebugRegister(machine.cpu, 7)).toBe(0xffff_07ff | 0);
    machine.cpu.i32[31] = 0x400;
    writeDebugRegister(machine.cpu, 4, 0);
    expect(readDebugRegister(machine.cpu, 6)).toBe(0xffff_0ff0 | 0);
    machine.cpu.i32[CR4] = CR4_DE;
    expect(machine.fault(() => readDebugRegister(machine.cpu, 4))).toEqual(undefinedInstruction);
    expect(machine.fault(() => writeDebugRegister(machine.cpu, 5, 0))).toEqual(undefinedInstruction);
  });

  it('DR7.GD makes any access a #DB with DR6.BD', () => {
    const machine = new SystemMachine();
    writeDebugRegister(machine.cpu, 7, 0x2000);
    expect(machine.fault(() => readDebugRegister(machine.cpu, 0))).toEqual({ vector: DB, error: null });
    expect(machine.cpu.i32[DR6]! & 0x2000).toBe(0x2000);
  });

  it('their exit comes before privilege, #UD and #DB', () => {
    const machine = new SystemMachine({ nonRoot: true, movDrExiting: true }).atLevel(3);
    machine.cpu.i32[CR4] = CR4_DE;
    machine.cpu.i32[31] = 0x2400;
    expect(machine.exit(() => readDebugRegister(machine.cpu, 4, 2))).toMatchObject({ reason: ExitReason.DrAccess, qualification: 0x214 });
    expect(machine.exit(() => writeDebugRegister(machine.cpu, 7, 0, 5))).toMatchObject({ reason: ExitReason.DrAccess, qualification: 0x507 });
  });
});

describe('descriptor-table registers', () => {
  it('LGDT and LIDT load base and limit, in linear space', () => {
    const { cpu } = new SystemMachine();
    lgdt(cpu, 0x8000_0000 | 0, 0x1_1234);
    lidt(cpu, 0, 0xff);
    expect([cpu.i32[GDTR_BASE], cpu.i32[GDTR_LIMIT], cpu.i32[GDTR_SPACE], cpu.i32[IDTR_LIMIT]]).toEqual([0x8000_0000 | 0, 0x1234, 0, 0xff]);
  });

  it('LLDT loads an LDT or none', () => {
    const machine = new SystemMachine().segment(FREE, 0x5000, 0x1f, ACCESS_LDT, 0);
    lldt(machine.cpu, FREE);
    expect([machine.base(LDTR), machine.limit(LDTR), sldt(machine.cpu)]).toEqual([0x5000, 0x1f, FREE]);
    lldt(machine.cpu, 3);
    expect([sldt(machine.cpu), machine.rights(LDTR)]).toEqual([3, 0x1_0000]);
  });

  it.each([['a selector of the LDT', LDT_SELECTOR | 4, ACCESS_LDT, GP], ['beyond the limit', 0x100, ACCESS_LDT, GP], ['data', FREE, ACCESS_DATA, GP], ['a TSS', FREE, ACCESS_TSS, GP], ['an absent LDT', FREE, 2, NP]])('LLDT refuses %s', (_what, selector, access, vector) => {
    const machine = new SystemMachine().segment(FREE, 0, 0x67, access, 0);
    expect(machine.fault(() => lldt(machine.cpu, selector))).toEqual({ vector, error: selector & 0xfffc });
  });

  it('LTR marks the TSS busy, in its descriptor and in TR', () => {
    const machine = new SystemMachine().segment(FREE, 0x5000, 0x67, ACCESS_TSS, 0);
    ltr(machine.cpu, FREE | 3);
    expect([machine.accessByte(FREE), machine.rights(TR), str(machine.cpu), machine.base(TR)]).toEqual([0x8b, 0x8b, FREE | 3, 0x5000]);
    expect(machine.fault(() => ltr(machine.cpu, FREE))).toEqual({ vector: GP, error: FREE });
  });

  it.each([['null', 0, ACCESS_TSS, GP], ['a selector of the LDT', FREE | 4, ACCESS_TSS, GP], ['an LDT', FREE, ACCESS_LDT, GP], ['data with a TSS\'s type', FREE, 0x99, GP], ['an absent TSS', FREE, 9, NP]])('LTR refuses %s', (_what, selector, access, vector) => {
    const machine = new SystemMachine().segment(FREE, 0, 0x67, access, 0);
    expect(machine.fault(() => ltr(machine.cpu, selector))).toEqual({ vector, error: selector & 0xfffc });
  });

  it('exit with descriptor-table exiting, SLDT and STR at any level', () => {
    const machine = new SystemMachine({ nonRoot: true, descriptorTableExiting: true });
    expect(machine.exit(() => lldt(machine.cpu, 0))).toMatchObject({ reason: ExitReason.LdtrTrAccess, qualification: 2 });
    expect(machine.exit(() => ltr(machine.cpu, 0))).toMatchObject({ reason: ExitReason.LdtrTrAccess, qualification: 3 });
    expect(machine.exit(() => interceptDescriptorTable(machine.cpu, DescriptorTableAccess.Lidt, 0x1234))).toMatchObject({ reason: ExitReason.GdtrIdtrAccess, qualification: 3, guestLinear: 0x1234 });
    machine.atLevel(3);
    expect(machine.exit(() => sldt(machine.cpu))).toMatchObject({ reason: ExitReason.LdtrTrAccess, qualification: 0 });
    expect(machine.exit(() => str(machine.cpu))).toMatchObject({ qualification: 1 });
  });
});

describe('flags', () => {
  const flags = (machine: SystemMachine): number => machine.cpu.i32[EFLAGS_SYSTEM]!;

  it.each([[0, 0, true], [1, 0, false], [1, 1, true], [3, 2, false], [3, 3, true]])('CLI and STI at level %i with IOPL %i: %s', (level, iopl, allowed) => {
    const machine = new SystemMachine().atLevel(level).iopl(iopl);
    expect(machine.fault(() => sti(machine.cpu))).toEqual(allowed ? null : refused);
    expect((flags(machine) & 0x200) !== 0).toBe(allowed);
    expect(machine.fault(() => cli(machine.cpu))).toEqual(allowed ? null : refused);
  });

  it('STI casts a shadow only when interrupts were off; MOV SS always', () => {
    const { cpu } = new SystemMachine();
    sti(cpu);
    expect(cpu.i32[INTERRUPT_SHADOW]).toBe(SHADOW_STI);
    cpu.i32[INTERRUPT_SHADOW] = 0;
    sti(cpu);
    expect(cpu.i32[INTERRUPT_SHADOW]).toBe(0);
    blockInterrupts(cpu);
    expect(cpu.i32[INTERRUPT_SHADOW]).toBe(SHADOW_MOV_SS);
  });

  it.each([
    ['level 0', 0, 0, 4, 0x24_7702], ['level 1, IOPL 0: IF and IOPL stay', 1, 0, 4, 0x24_4502], ['level 1, IOPL 1: IOPL stays', 1, 1, 4, 0x24_5702], ['16-bit operands', 0, 0, 2, 0x7702],
  ])('POPF: %s', (_what, level, iopl, size, expected) => {
    const machine = new SystemMachine().atLevel(level).iopl(iopl);
    popFlags(machine.cpu, 0x3f_7728, size as 2 | 4);
    expect(flags(machine)).toBe(expected);
  });

  it('PUSHF shows neither RF nor VM', () => {
    const { cpu } = new SystemMachine();
    cpu.i32[EFLAGS_SYSTEM] = 0x1_3302;
    expect(pushedFlags(cpu) & ~0x8d5).toBe(0x3302);
  });
});

describe('the rest', () => {
  it('an EPT violation while the PDPTEs are loaded has no linear address; one of a table read has', () => {
    const PAE = 0x20, PG = 0x8000_0000;
    const machine = new SystemMachine({ nonRoot: true, eptRoot: 0 });
    machine.cpu.i32[CR4] = PAE;
    expect(machine.exit(() => writeControlRegister(machine.cpu, 0, 0x11 | PG))).toMatchObject({ reason: ExitReason.EptViolation, qualification: 1 });
    expect(machine.exit(() => readLinear32(machine.cpu, 0x1234, false))).toMatchObject({ reason: ExitReason.EptViolation, qualification: 0x181 });
  });

  it('HLT halts or exits', () => {
    const { cpu } = new SystemMachine();
    hlt(cpu);
    expect(cpu.i32[ACTIVITY]).toBe(1);
    const guest = new SystemMachine({ nonRoot: true, hltExiting: true });
    expect(guest.exit(() => hlt(guest.cpu)).reason).toBe(ExitReason.Hlt);
    expect(guest.cpu.i32[ACTIVITY]).toBe(0);
  });

  it('INVLPG, WBINVD, PAUSE exit by their controls; INVD and VMCALL in any non-root operation', () => {
    const machine = new SystemMachine({ nonRoot: true, invlpgExiting: true, wbinvdExiting: true, pauseExiting: true });
    expect(machine.exit(() => invlpg(machine.cpu, 0x8000_1234 | 0))).toMatchObject({ reason: ExitReason.Invlpg, qualification: 0x8000_1234 });
    expect(machine.exit(() => wbinvd(machine.cpu)).reason).toBe(ExitReason.Wbinvd);
    expect(machine.exit(() => interceptPause(machine.cpu)).reason).toBe(ExitReason.Pause);
    expect(machine.exit(() => invd(machine.cpu)).reason).toBe(ExitReason.Invd);
    machine.atLevel(3);
    expect(machine.exit(() => vmcall(machine.cpu)).reason).toBe(ExitReason.Vmcall);
  });

  it('VMCALL is #UD without VMX: on native, and for a deprivileged guest', () => {
    for (const machine of [new SystemMachine(), new SystemMachine({ nonRoot: true, deprivileged: true }).atLevel(1)]) {
      expect(machine.fault(() => vmcall(machine.cpu))).toEqual(undefinedInstruction);
    }
  });

  it('RDTSC gives virtual time, is privileged with CR4.TSD, and exits after that check', () => {
    const machine = new SystemMachine().atLevel(3);
    machine.cpu.f64[RETIRED] = 0x1_2345_6789;
    rdtsc(machine.cpu);
    expect([machine.cpu.i32[EDX], machine.cpu.i32[EAX]]).toEqual([1, 0x2345_6789]);
    machine.cpu.i32[CR4] = CR4_TSD;
    expect(machine.fault(() => rdtsc(machine.cpu))).toEqual(refused);
    const guest = new SystemMachine({ nonRoot: true, rdtscExiting: true }).atLevel(3);
    expect(guest.exit(() => rdtsc(guest.cpu)).reason).toBe(ExitReason.Rdtsc);
    guest.cpu.i32[CR4] = CR4_TSD;
    expect(guest.fault(() => rdtsc(guest.cpu))).toEqual(refused);
  });

  it('RDPMC has no counter to read', () => {
    const machine = new SystemMachine();
    expect(machine.fault(() => rdpmc(machine.cpu))).toEqual(refused);
  });
});
