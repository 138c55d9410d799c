import { ExitReason } from './exit-reason.js';
import { GP, PF } from './fault.js';
import { EventType, StepResult } from './step.js';
import { CODE, Guest, TSS, USER_CODE, handler, word } from './testing/guest.js';

/*
 * What comes first, a fault or a VM exit (SDM Vol. 3C 25.1.1), and what an exit carries: through real bytes. The conditions
 * one by one are in system-registers.spec.ts, msr.spec.ts, io.spec.ts and interrupts.spec.ts.
 */
const everything = { nonRoot: true, ioExiting: 'all', msrExiting: 'all', hltExiting: true, invlpgExiting: true, rdtscExiting: true, cr3LoadExiting: true, cr3StoreExiting: true, descriptorTableExiting: true,
  wbinvdExiting: true, pauseExiting: true, cr0Mask: -1, cr4Mask: -1 } as const;

/** Absent page at 0x3_0000; the rest of RAM mapped one to one for all levels. */
function withAbsentPage(guest: Guest): Guest {
  guest.memory(0x1_0000, 0x1_1027);
  for (let page = 0; page < 0x40; page++) guest.memory(0x1_1000 + 4 * page, page === 0x30 ? 0 : (page << 12) | 0x67);
  guest.processor.setRegister('cr3', 0x1_0000);
  guest.processor.setRegister('cr0', 0x8000_0011 | 0);
  guest.processor.flushTlb('all');
  return guest;
}

describe('before the exit', () => {
  it.each<[string, number[]]>([
    ['HLT', [0xf4]], ['MOV CR0', [0x0f, 0x22, 0xc0]], ['CLTS', [0x0f, 0x06]], ['LMSW', [0x0f, 0x01, 0xf0]], ['INVLPG', [0x0f, 0x01, 0x38]], ['RDMSR', [0x0f, 0x32]], ['WRMSR', [0x0f, 0x30]], ['WBINVD', [0x0f, 0x09]],
    ['INVD', [0x0f, 0x08]], ['LGDT', [0x0f, 0x01, 0x10]], ['LIDT', [0x0f, 0x01, 0x18]], ['LLDT', [0x0f, 0x00, 0xd0]], ['LTR', [0x0f, 0x00, 0xd8]], ['IN', [0xec]], ['OUT', [0xe6, 0x80]], ['INSB', [0x6c]], ['OUTSD', [0x6f]],
  ])('%s in ring 3 is #GP(0)', (_name, bytes) => {
    const guest = new Guest({ ...everything, hltExiting: false }).at(3);
    guest.code(USER_CODE, ...bytes);
    expect(guest.fault()).toBe(GP);
    expect(guest.words(guest.register('esp'), 2)).toEqual([0, USER_CODE]);
  });

  it('#UD of a register that does not exist, of LOCK, and of a memory form', () => {
    for (const bytes of [[0x0f, 0x22, 0xc8], [0xf0, 0x0f, 0xa2], [0xf0, 0xf4], [0x0f, 0xc7, 0xc8]]) {
      const guest = new Guest({ ...everything, hltExiting: false });
      guest.code(CODE, ...bytes);
      expect(guest.fault()).toBe(6);
    }
  });

  it('a page fault on the source of OUTS, on the destination of INS', () => {
    for (const [opcode, error] of [[0x6e, 0], [0x6c, 2]] as const) {
      const guest = withAbsentPage(new Guest({ ...everything, hltExiting: false }));
      guest.code(CODE, 0xbe, ...word(0x3_0000), 0xbf, ...word(0x3_0000), opcode);
      expect(guest.fault()).toBe(PF);
      expect([guest.words(guest.register('esp'), 1), guest.register('cr2')]).toEqual([[error], 0x3_0000]);
    }
  });
});

describe('after the exit', () => {
  it.each<[string, number[], number]>([
    ['reserved bits of CR0', [0xb8, ...word(0x8000_0000), 0x0f, 0x22, 0xc0], ExitReason.CrAccess], ['reserved bits of CR4', [0xb8, ...word(-1), 0x0f, 0x22, 0xe0], ExitReason.CrAccess],
    ['an MSR that does not exist', [0xb9, ...word(0x1234), 0x0f, 0x32], ExitReason.Rdmsr], ['a selector beyond the GDT', [0xb8, ...word(0xfff8), 0x0f, 0x00, 0xd8], ExitReason.LdtrTrAccess],
  ])('%s', (_what, bytes, reason) => {
    const guest = new Guest(everything);
    guest.code(CODE, ...bytes);
    expect(guest.run()).toBe(StepResult.Exit);
    expect(guest.processor.exit.reason).toBe(reason);
  });

  it('the operand of LGDT is not read', () => {
    const guest = withAbsentPage(new Guest(everything));
    guest.code(CODE, 0x0f, 0x01, 0x15, ...word(0x3_0000));
    expect(guest.run()).toBe(StepResult.Exit);
    expect(guest.processor.exit).toMatchObject({ reason: ExitReason.GdtrIdtrAccess, qualification: 2, guestLinear: 0x3_0000, instructionLength: 7 });
  });
});

describe('port access', () => {
  it('OUT imm8 exits with its data and is finished by the answer', () => {
    const guest = new Guest(everything);
    guest.code(CODE, 0xb0, 0x5a, 0xe6, 0x80);
    expect(guest.run()).toBe(StepResult.Exit);
    expect(guest.processor.exit).toMatchObject({
      reason: ExitReason.IoInstruction, qualification: 0x0080_0040, instructionLength: 2, access: { space: 'port', address: 0x80, size: 1, write: true, count: 1, data: Uint8Array.of(0x5a) },
    });
    expect(guest.eip).toBe(CODE + 2);
    guest.processor.completeAccess(null);
    expect([guest.eip, guest.processor.retired]).toEqual([CODE + 4, 2]);
  });

  it('IN AX,DX keeps the upper half of EAX', () => {
    const guest = new Guest(everything);
    guest.code(CODE, 0xb8, ...word(0x1234_0000), 0xba, ...word(0x1f0), 0x66, 0xed);
    expect(guest.run()).toBe(StepResult.Exit);
    expect(guest.processor.exit.qualification).toBe(0x01f0_0009);
    guest.processor.completeAccess(Uint8Array.of(0x78, 0x56));
    expect(guest.register('eax')).toBe(0x1234_5678);
  });

  it('REP INSW is one exit for the words in a page, and goes on in the next page', () => {
    const guest = new Guest(everything);
    guest.code(CODE, 0xba, ...word(0x1f0), 0xbf, ...word(0xcffc), 0xb9, ...word(5), 0xf3, 0x66, 0x6d);
    expect(guest.run()).toBe(StepResult.Exit);
    expect(guest.processor.exit).toMatchObject({ qualification: 0x01f0_0039, access: { address: 0x1f0, size: 2, write: false, count: 2 }, guestLinear: 0xcffc });
    guest.processor.completeAccess(Uint8Array.of(1, 2, 3, 4));
    expect([guest.eip, guest.register('ecx')]).toEqual([CODE + 15, 3]);
    expect(guest.run()).toBe(StepResult.Exit);
    expect(guest.processor.exit.access).toMatchObject({ count: 3 });
    guest.processor.completeAccess(Uint8Array.of(5, 6, 7, 8, 9, 10));
    expect([guest.eip, guest.register('ecx'), guest.processor.retired]).toEqual([CODE + 18, 0, 8]);
    expect(guest.words(0xcffc, 2)).toEqual([0x0403_0201, 0x0807_0605]);
  });

  it('is a bus cycle where the bitmap does not ask for it, also from ring 3 through the TSS', () => {
    const ioExiting = new Uint8Array(8192).fill(0xff);
    ioExiting[0x3f8 >>> 3] = 0;
    const guest = new Guest({ nonRoot: true, ioExiting }).at(3);
    guest.table(TSS + 100, 0x68 << 16);
    guest.code(USER_CODE, 0xba, ...word(0x3f8), 0xee);
    guest.processor.setSegment('tr', { selector: 0x38, base: TSS, limit: 0x68 + 0x80, rights: 0x8b });
    expect(guest.run()).toBe(StepResult.BusCycle);
    expect(guest.processor.exit.access).toMatchObject({ space: 'port', address: 0x3f8, size: 1, write: true });
  });
});

it('an exit carries nothing of the one before it', () => {
  const guest = new Guest({ ...everything, exceptionBitmap: 1 << GP });
  guest.code(CODE, 0xe6, 0x80, 0x0f, 0xa2);
  guest.run();
  guest.processor.completeAccess(null);
  expect(guest.run()).toBe(StepResult.Exit);
  expect(guest.processor.exit).toMatchObject({ reason: ExitReason.Cpuid, qualification: 0, access: null, event: null, guestLinear: 0 });
  guest.processor.inject({ vector: GP, type: EventType.HardwareException, errorCode: 4 });
  guest.code(handler(GP), 0x0f, 0x01, 0x38);
  expect(guest.run()).toBe(StepResult.Exit);
  expect(guest.processor.exit).toMatchObject({ reason: ExitReason.Invlpg, event: null, access: null });
});
