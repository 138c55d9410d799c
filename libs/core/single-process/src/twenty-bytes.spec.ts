import { SingleProcess, specOf } from './single-process.js';
import { flatImage } from './testing/flat-image.js';

/*
 * The smallest whole run: one OUT from the opcode to the UART's transmitter, then power off. The image is a flat
 * Multiboot file, so that these are all the bytes there are.
 */
const CODE = Uint8Array.of(
  0x66, 0xba, 0xf8, 0x03, // mov dx, 0x3f8
  0xb0, 0x21, //             mov al, '!'
  0xee, //                   out dx, al
  0x66, 0xba, 0x04, 0x06, // mov dx, 0x604
  0x66, 0xb8, 0x00, 0x20, // mov ax, 0x2000
  0x66, 0xef, //             out dx, ax
  0xf4, //                   hlt
  0xeb, 0xfd, //             jmp back to it
);

describe('a guest of twenty bytes', () => {
  it.each([['native', 'none', 0], ['hardware-assisted', 'nested', 2]] as const)('reaches the UART: %s', async (path, mmu, ioExits) => {
    expect(CODE).toHaveLength(20);
    const whole = await SingleProcess.create({ spec: specOf({ path, mmu }), image: flatImage(CODE) });
    await whole.machine.run();
    expect([whole.console, whole.machine.state, whole.machine.why]).toEqual(['!', 'shutdown', expect.any(String)]);
    expect(whole.machine.processor.retired).toBe(6);
    expect(whole.busRequests).toBe(2);
    expect(whole.machine.statistics().exits['io-instruction']?.count ?? 0).toBe(ioExits);
  });
});
