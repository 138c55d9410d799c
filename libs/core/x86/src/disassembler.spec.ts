import { disassembleBytes } from './disassembler.js';

const lines = (...bytes: number[]): string[] => disassembleBytes(Uint8Array.from(bytes), 0x1000, 100).map(({ text }) => text);

it.each<[string, number[]]>([
  ['mov eax, 0x12345678', [0xb8, 0x78, 0x56, 0x34, 0x12]],
  ['add dword ptr [ebx+ecx*4-8], 1', [0x83, 0x44, 0x8b, 0xf8, 0x01]],
  ['lock xadd byte ptr fs:[0x10], al', [0x64, 0xf0, 0x0f, 0xc0, 0x05, 0x10, 0, 0, 0]],
  ['mov ax, word ptr [bx+si]', [0x67, 0x66, 0x8b, 0x00]],
  ['jne 0x1000', [0x75, 0xfe]],
  ['call 0x2005', [0xe8, 0x00, 0x10, 0, 0]],
  ['jmp far 8:0x100000', [0xea, 0, 0, 0x10, 0, 8, 0]],
  ['rep movsd', [0xf3, 0xa5]],
  ['repne scasb', [0xf2, 0xae]],
  ['mov cr3, eax', [0x0f, 0x22, 0xd8]],
  ['out 0x80, al', [0xe6, 0x80]],
  ['enter 0x10, 1', [0xc8, 0x10, 0, 1]],
  ['cwde', [0x98]],
  ['pause', [0xf3, 0x90]],
  ['vmcall', [0x0f, 0x01, 0xc1]],
  ['push 0xffffffff', [0x6a, 0xff]],
])('%s', (text, bytes) => {
  expect(lines(...bytes)).toEqual([text]);
});

it('goes on behind bytes that are no instruction, with the addresses', () => {
  expect(disassembleBytes(Uint8Array.of(0x90, 0x0f, 0xff, 0xff, 0xc3), 0x7fff_fffe, 9).map(({ address, text }) => [address, text])).toEqual([
    [0x7fff_fffe, 'nop'], [0x7fff_ffff, expect.stringMatching(/^ud0 /)], [0x8000_0002, 'ret'],
  ]);
  expect(lines(0xf0, 0x90, 0xf4)).toEqual(['(bad)', 'nop', 'hlt']);
});

it('stops at what is cut off', () => {
  expect(lines(0x90, 0xb8, 1)).toEqual(['nop']);
});
