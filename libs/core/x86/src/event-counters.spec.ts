import { eventCounts, type ProcessorEventCounts } from './event-counters.js';
import { StepResult } from './step.js';
import { CODE, CS0, CS3, DS0, DS3, Guest, STACK3, USER_CODE, handler, word } from './testing/guest.js';

const NOTHING: ProcessorEventCounts = {
  gateEntries: 0, irets: 0, pageWalkReads: 0, nestedWalkReads: 0, controlRegisterWrites: 0, segmentLoads: 0, divisions: 0, serializing: 0, timeStamps: 0, lookupJumps: 0, translationGates: 0, translationEntries: 0, farTransfers: 0, fastSystemCalls: 0,
};

/** What the code of ring 0, run to its HLT, makes the processor count. */
function counted(...bytes: number[]): ProcessorEventCounts {
  const guest = new Guest().code(CODE, ...bytes);
  expect(guest.run()).toBe(StepResult.Halted);
  return eventCounts(guest.processor.cpu);
}

describe('the processor counts', () => {
  it('nothing for plain instructions', () => {
    expect(counted(0xb8, ...word(7), 0x01, 0xc0, 0x50, 0x58, 0xe8, ...word(0), 0x58)).toEqual(NOTHING);
  });

  it('gate entries and IRETs, between levels as within one', () => {
    const guest = new Guest();
    guest.gate(0x80, CS0, handler(0x80), 0xee);
    // push DS3; push STACK3; push 0x202; push CS3; push USER_CODE; iret; there int 0x80
    guest.code(CODE, 0x6a, DS3, 0x68, ...word(STACK3), 0x68, ...word(0x202), 0x6a, CS3, 0x68, ...word(USER_CODE), 0xcf);
    guest.code(USER_CODE, 0xcd, 0x80);
    expect(guest.fault()).toBe(0x80);
    expect(eventCounts(guest.processor.cpu)).toEqual({ ...NOTHING, gateEntries: 1, irets: 1 });
    const inner = new Guest().code(CODE, 0xcd, 0x50).code(handler(0x50), 0xcf);
    inner.processor.writePhysical('guest', handler(0x50), Uint8Array.of(0xcf));
    expect(inner.run()).toBe(StepResult.Halted);
    expect([inner.eip, eventCounts(inner.processor.cpu)]).toEqual([CODE + 3, { ...NOTHING, gateEntries: 1, irets: 1 }]);
  });

  it('a division that is done, but not one that faults', () => {
    expect(counted(0x31, 0xd2, 0xb8, ...word(100), 0xb9, ...word(7), 0xf7, 0xf1, 0xf6, 0xf9)).toEqual({ ...NOTHING, divisions: 2 }); // div ecx; idiv cl
    const faulting = new Guest().code(CODE, 0x31, 0xc9, 0xf7, 0xf1);
    expect(faulting.fault()).toBe(0);
    expect(eventCounts(faulting.processor.cpu)).toEqual({ ...NOTHING, gateEntries: 1 });
  });

  it('segment loads of a descriptor', () => {
    expect(counted(0xb8, ...word(DS0), 0x8e, 0xd8, 0x1e, 0x1f, 0x8e, 0xd0)).toEqual({ ...NOTHING, segmentLoads: 3 }); // mov ds,eax; push ds; pop ds; mov ss,eax
    expect(counted(0x31, 0xc0, 0x8e, 0xe8)).toEqual(NOTHING); // gs = 0
  });

  it('far transfers and fast system calls', () => {
    // jmp CS0:next; call CS0:next; push CS0; push next; retf
    expect(counted(0xea, ...word(CODE + 7), CS0, 0, 0x9a, ...word(CODE + 14), CS0, 0, 0x6a, CS0, 0x68, ...word(CODE + 22), 0xcb)).toEqual({ ...NOTHING, farTransfers: 3 });
    const msr = (number: number, value: number): number[] => [0xb9, ...word(number), 0xb8, ...word(value), 0x31, 0xd2, 0x0f, 0x30];
    // IA32_SYSENTER_CS, _EIP (behind the SYSENTER), _ESP
    const bytes = [...msr(0x174, CS0), ...msr(0x176, CODE + 44), ...msr(0x175, 0x8000), 0x0f, 0x34];
    expect(bytes).toHaveLength(44);
    expect(counted(...bytes)).toEqual({ ...NOTHING, serializing: 3, fastSystemCalls: 1 });
  });

  it('writes of control registers, serializing instructions, RDTSC', () => {
    // mov eax,cr0; mov cr0,eax; clts; mov cr2,eax; cpuid; invlpg [eax]; rdtsc
    expect(counted(0x0f, 0x20, 0xc0, 0x0f, 0x22, 0xc0, 0x0f, 0x06, 0x0f, 0x22, 0xd0, 0x0f, 0xa2, 0x0f, 0x01, 0x38, 0x0f, 0x31)).toEqual({
      ...NOTHING, controlRegisterWrites: 3, serializing: 2, timeStamps: 1,
    });
  });

  it('the entries that page walks read: once for a page, again after a flush; a debugger\'s look counts nothing', () => {
    const directory = 0x2_0000, table = 0x2_1000, data = 0xc000;
    const guest = new Guest();
    guest.memory(directory, table | 3).memory(table, ...Array.from({ length: 64 }, (_, page) => (page << 12) | 3));
    guest.processor.setRegister('cr3', directory);
    guest.processor.setRegister('cr0', 0x8000_0011);
    // mov eax,[data]; mov eax,[data+4]; invlpg [data]; mov eax,[data]
    guest.code(CODE, 0xa1, ...word(data), 0xa1, ...word(data + 4), 0x0f, 0x01, 0x3d, ...word(data), 0xa1, ...word(data));
    expect(guest.run()).toBe(StepResult.Halted);
    // Two levels each: the code's page, the data's, the data's again.
    expect(eventCounts(guest.processor.cpu)).toEqual({ ...NOTHING, pageWalkReads: 6, serializing: 1 });
    expect(guest.processor.readLinear(data + 0x1000, 4)).not.toBeNull();
    expect(eventCounts(guest.processor.cpu).pageWalkReads).toBe(6);
  });

  it('the entries of nested walks', () => {
    const root = 0, pages = 0x3000;
    const guest = new Guest({ nonRoot: true, eptRoot: root });
    const monitor = (at: number, ...words: number[]): void => guest.processor.writePhysical('monitor', at, Uint8Array.from(words.flatMap(word)));
    monitor(0, 0x1000 | 7, 0);
    monitor(0x1000, 0x2000 | 7, 0);
    monitor(0x2000, pages | 7, 0);
    for (let page = 0; page < 64; page++) monitor(pages + page * 8, (page << 12) | 7, 0);
    guest.code(CODE, 0xa1, ...word(0xc000));
    expect(guest.run()).toBe(StepResult.Halted);
    // Four levels each: the code's page and the data's.
    expect(eventCounts(guest.processor.cpu)).toEqual({ ...NOTHING, nestedWalkReads: 8 });
    guest.processor.readLinear(0xd000, 4);
    expect(eventCounts(guest.processor.cpu).nestedWalkReads).toBe(8);
  });
});
