import { AC, PF } from './fault.js';
import { CR0, CR3, EFLAGS_SYSTEM } from './state.js';
import { Guest, USER_CODE, word } from './testing/guest.js';

const DATA = 0x8000;
const AM = 1 << 18, EFLAGS_AC = 1 << 18, PE = 1, PG = 1 << 31;
const AT = (address: number, opcode: number[]): number[] => [...opcode, ...word(address)];
const LOAD = [0xa1], STORE = [0xa3], LOAD16 = [0x66, 0xa1], STORE16 = [0x66, 0xa3], LOAD8 = [0xa0], ADD = [0x01, 0x05];
const GP = 13; // HLT at the end of an application's code

/** The exception that ends an application's code, with the error code on top of the stack. */
function ends(bytes: number[], { am = true, ac = true, level = 3 as 0 | 3, esp = 0 } = {}): { vector: number; errorCode: number; guest: Guest } {
  const guest = new Guest().at(level).code(USER_CODE, ...bytes);
  guest.processor.setRegister('eip', USER_CODE);
  guest.processor.cpu.i32[CR0]! |= am ? AM : 0;
  guest.processor.cpu.i32[EFLAGS_SYSTEM]! |= ac ? EFLAGS_AC : 0;
  if (esp !== 0) guest.processor.setRegister('esp', esp);
  const vector = guest.fault();
  return { vector, errorCode: guest.words(guest.register('esp'), 1)[0]!, guest };
}

describe('alignment check', () => {
  it.each([
    ['dword read', AT(DATA + 1, LOAD)], ['dword write', AT(DATA + 2, STORE)], ['word read', AT(DATA + 1, LOAD16)], ['word write', AT(DATA + 3, STORE16)],
    ['read-modify-write', AT(DATA + 2, ADD)], ['read across pages', AT(DATA + 0xffe, LOAD)], ['write across pages', AT(DATA + 0xffd, STORE)], ['word across pages', AT(DATA + 0xfff, LOAD16)],
    ['REP MOVSD', [0xbe, ...word(DATA + 1), 0xbf, ...word(DATA + 0x100), 0xb9, ...word(4), 0xf3, 0xa5]],
  ])('#AC(0) for a misaligned %s, and nothing changed', (_name, bytes) => {
    const { vector, errorCode, guest } = ends(bytes);
    expect([vector, errorCode]).toEqual([AC, 0]);
    expect(guest.words(DATA, 4)).toEqual([0, 0, 0, 0]);
  });

  it('#AC(0) for a push on a misaligned stack', () => {
    expect(ends([0x50], { esp: 0xaffe })).toMatchObject({ vector: AC, errorCode: 0 });
  });

  it('nothing for aligned accesses and bytes, without AM or AC, or in ring 0', () => {
    for (const bytes of [AT(DATA, LOAD), AT(DATA + 4, STORE), AT(DATA + 2, LOAD16), AT(DATA + 3, LOAD8)]) expect(ends(bytes).vector).toBe(GP);
    expect(ends(AT(DATA + 1, LOAD), { am: false }).vector).toBe(GP);
    expect(ends(AT(DATA + 1, LOAD), { ac: false }).vector).toBe(GP);
    const kernel = new Guest().at(0).code(USER_CODE, ...AT(DATA + 1, LOAD));
    kernel.processor.setRegister('eip', USER_CODE);
    kernel.processor.cpu.i32[CR0]! |= AM;
    kernel.processor.cpu.i32[EFLAGS_SYSTEM]! |= EFLAGS_AC;
    kernel.run();
    expect(kernel.eip).toBe(USER_CODE + 6);
  });

  it('a page fault comes first, on either page', () => {
    const PAGES = 0x2_0000, TABLE = 0x2_1000, ABSENT = DATA + 0x1000;
    for (const address of [ABSENT + 1, DATA + 0xffe, DATA + 0xfff]) {
      for (const opcode of [LOAD, STORE]) {
        const guest = new Guest().at(3).code(USER_CODE, ...AT(address, opcode));
        guest.memory(PAGES, TABLE | 7);
        for (let page = 0; page < 0x40; page++) guest.memory(TABLE + 4 * page, page * 0x1000 === ABSENT ? 0 : (page * 0x1000) | 7);
        const { i32 } = guest.processor.cpu;
        i32[CR3] = PAGES;
        i32[CR0] = PE | PG | AM;
        i32[EFLAGS_SYSTEM]! |= EFLAGS_AC;
        guest.processor.setRegister('eip', USER_CODE);
        expect({ address, vector: guest.fault(), cr2: guest.register('cr2') }).toEqual({ address, vector: PF, cr2: address < ABSENT ? ABSENT : address });
      }
    }
  });
});
