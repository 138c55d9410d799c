import { SingleProcess, specOf } from './single-process.js';
import { flatImage } from './testing/flat-image.js';

const word = (value: number): number[] => [value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24];
const RESULTS = 0x18_0000;

/** Reads and writes far outside RAM and just behind its end, and leaves what it saw at RESULTS. */
const CODE = Uint8Array.of(
  0xa1, ...word(0xf000_0000), 0xa3, ...word(RESULTS), //                    mov eax, [f0000000]; mov [results], eax
  0xc7, 0x05, ...word(0xf000_0004), ...word(0x1234_5678), //                mov dword [f0000004], 12345678
  0xa1, ...word(0xf000_0004), 0xa3, ...word(RESULTS + 4), //                mov eax, [f0000004]; mov [results + 4], eax
  0x83, 0x05, ...word(0xf000_0008), 0x01, //                                add dword [f0000008], 1
  0x9c, 0x8f, 0x05, ...word(RESULTS + 8), //                                pushf; pop [results + 8]
  0xa0, ...word(0x0200_0000), 0xa2, ...word(RESULTS + 12), //               mov al, [2000000]; mov [results + 12], al
  0x66, 0xba, 0x04, 0x06, 0x66, 0xb8, 0x00, 0x20, 0x66, 0xef, //            power off
);
const STACK = [0xbc, ...word(RESULTS - 64)]; // mov esp, results - 64

describe('physical addresses outside RAM', () => {
  it.each([['native', 'none'], ['hardware-assisted', 'nested']] as const)('lead to an empty bus: %s', async (path, mmu) => {
    const whole = await SingleProcess.create({ spec: specOf({ path, mmu }), image: flatImage(Uint8Array.of(...STACK, ...CODE)) });
    await whole.machine.run();
    expect(whole.machine.state).toBe('shutdown');
    const results = new DataView(whole.machine.processor.readPhysical('guest', RESULTS, 16).slice().buffer);
    expect(results.getUint32(0, true)).toBe(0xffff_ffff);
    expect(results.getUint32(4, true)).toBe(0xffff_ffff);
    // 0xffffffff + 1: carry, zero, auxiliary and parity set.
    expect(results.getUint32(8, true) & 0x8d5).toBe(0x055);
    expect(results.getUint8(12)).toBe(0xff);
    expect(whole.board.unclaimed).toEqual({ reads: 4, writes: 2 });
    expect(whole.machine.statistics().messages['io.mmio']).toBe(6);
    // One violation fills in the guest's RAM; the others are the accesses themselves.
    expect(whole.machine.statistics().exits['ept-violation']?.count ?? 0).toBe(path === 'native' ? 0 : 7);
  });
});
