import type { VmSpec } from '@ringside/machine';
import { SingleProcess, specOf } from './single-process.js';
import { Assembler, randomFrom } from './testing/assembler.js';

/*
 * CR0.TS under binary translation is a byte of monitor data, and the real one may stand while it does not (translation/src/task-switched-sequence.ts). Random kernels set
 * and clear it in every way there is, read it back, and run WAIT themselves and in ring 3; the handler of #NM clears it.
 */
const LOAD = 0x10_0000, GDT = 0x11_0000, TSS = 0x11_1000, IDT = 0x11_2000, LOG = 0x11_4000, NEXT = 0x11_3000, FAULTS = 0x11_3004, STACK = 0x11_8000, USER_STACK = 0x11_9000, END = 0x12_0000;
const CALL = 0x30, NO_DEVICE = 7;
const TS = 8, MP = 2, PE_ET = 0x11, WP = 0x1_0000;
const STEPS = 120;

const MACHINES: Record<string, Partial<VmSpec>> = {
  'hardware-assisted, nested': { path: 'hardware-assisted', mmu: 'nested' }, 'hardware-assisted, shadow': { path: 'hardware-assisted', mmu: 'shadow' },
  'binary-translation': { path: 'binary-translation', mmu: 'shadow', guestKernelRing: 1 },
};

function guest(seed: number): Uint8Array {
  const random = randomFrom(seed + 77);
  const asm = new Assembler(LOAD, END);
  asm.put(GDT, 0, 0, 0xffff, 0xcf9b00, 0xffff, 0xcf9300, 0xffff, 0xcffb00, 0xffff, 0xcff300, ((TSS & 0xffff) << 16) | 0x67, 0x8900 | (TSS >>> 16));
  asm.put(TSS + 4, STACK, 0x10);
  const gate = (vector: number, handler: number, access: number): void => asm.put(IDT + vector * 8, (0x08 << 16) | (handler & 0xffff), (handler & 0xffff_0000) | access);
  asm.byte(0xe9);
  const over = asm.at;
  asm.word(0);
  const tables = asm.at;
  asm.byte(0x2f, 0);
  asm.word(GDT);
  asm.byte(0xff, 0x03);
  asm.word(IDT);
  gate(NO_DEVICE, asm.at, 0x8e00);
  asm.byte(0xff, 0x05); // inc dword [FAULTS]; clts; iret
  asm.word(FAULTS);
  asm.byte(0x0f, 0x06, 0xcf);
  gate(CALL, asm.at, 0xee00);
  asm.byte(0xbc); // mov esp, STACK; jmp [NEXT]
  asm.word(STACK);
  asm.byte(0xff, 0x25);
  asm.word(NEXT);
  const user = asm.at;
  asm.byte(0x9b, 0x90, 0x9b, 0xcd, CALL); // wait; nop; wait; int
  asm.put(over, asm.at - over - 4);
  for (const [opcode, at] of [[0x15, tables], [0x1d, tables + 6]] as const) {
    asm.byte(0x0f, 0x01, opcode);
    asm.word(at);
  }
  asm.byte(0xea);
  asm.word(asm.at + 6);
  asm.byte(0x08, 0, 0x66, 0xb8, 0x10, 0, 0x8e, 0xd0, 0x66, 0xb8, 0x23, 0, 0x8e, 0xd8, 0x8e, 0xc0, 0x66, 0xb8, 0x28, 0, 0x0f, 0x00, 0xd8, 0xbc);
  asm.word(STACK);
  for (let step = 0; step < STEPS; step++) {
    const log = LOG + 8 * step;
    switch (random(8)) {
      case 0: case 1: case 2: { // MOV CR0 from a register, TS and MP as it comes, now and then WP
        const register = [0, 1, 2, 3, 5, 6, 7][random(7)]!;
        asm.byte(0xb8 + register);
        asm.word(PE_ET | [0, TS, MP, MP | TS][random(4)]! | (random(8) === 0 ? WP : 0));
        asm.byte(0x0f, 0x22, 0xc0 | register);
        break;
      }
      case 3:
        asm.byte(0x0f, 0x06);
        break;
      case 4: // lmsw ax
        asm.eax(1 | random(8) * 2 & ~4);
        asm.byte(0x0f, 0x01, 0xf0);
        break;
      case 5:
        asm.byte(0x9b);
        break;
      default: { // ring 3 and back
        asm.byte(0xc7, 0x05);
        asm.word(NEXT);
        const next = asm.at;
        asm.word(0);
        for (const value of [0x23, USER_STACK, 0x202, 0x1b, user]) {
          asm.byte(0x68);
          asm.word(value);
        }
        asm.byte(0xcf);
        asm.put(next, asm.at);
      }
    }
    asm.byte(0x0f, 0x20, 0xc0, 0xa3); // mov eax, cr0; mov [log], eax; smsw word [log + 4]
    asm.word(log);
    asm.byte(0x0f, 0x01, 0x25);
    asm.word(log + 4);
  }
  asm.byte(0x66, 0xba, 0x04, 0x06, 0x66, 0xb8, 0x00, 0x20, 0x66, 0xef);
  return asm.bytes;
}

const result = async (spec: Partial<VmSpec>, image: Uint8Array): Promise<{ machine: SingleProcess['machine']; seen: unknown }> => {
  const { machine } = await SingleProcess.create({ spec: specOf({ memoryMiB: 4, hashStates: true, ...spec }), image });
  await machine.step({ instructions: 100_000 });
  const word = new DataView(machine.processor.readPhysical('guest', FAULTS, 4).buffer);
  return { machine, seen: [machine.state, machine.processor.retired, machine.stateHash!.value, word.getUint32(0, true), Buffer.from(machine.processor.readPhysical('guest', LOG, 8 * STEPS)).toString('hex')] };
};

test.each(Object.entries(MACHINES))('%s: TS and #NM as native, whoever sets, clears and asks', async (_, spec) => {
  let faults = 0;
  for (let seed = 0; seed < 6; seed++) {
    const image = guest(seed);
    const native = await result({}, image);
    const other = await result(spec, image);
    expect([seed, other.seen]).toEqual([seed, native.seen]);
    expect(native.machine.state).toBe('shutdown');
    faults += (native.seen as number[])[3]!;
  }
  expect(faults).toBeGreaterThan(30);
});
