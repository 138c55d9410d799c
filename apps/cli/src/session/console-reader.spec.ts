import { describe, expect, test } from '@jest/globals';
import type { ConsoleOutput } from '@ringside/protocol';
import { ConsoleReader } from './console-reader.js';

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);

/** A device model's side: what the guest printed, and frames that can be lost, repeated or reordered. */
class Board {
  epoch = 1;
  text = '';
  fetches = 0;
  heard: (output: ConsoleOutput) => void = () => undefined;

  readonly client = {
    watchConsole: (_vm: string, heard: (output: ConsoleOutput) => void) => {
      this.heard = heard;
      return { unsubscribe: () => { this.heard = () => undefined; } } as never;
    },
    fetchConsole: async (_vm: string, { offset, maxBytes }: { offset?: number; maxBytes?: number } = {}) => {
      this.fetches++;
      const from = offset === undefined ? Math.max(0, this.text.length - (maxBytes ?? 1_000)) : Math.min(offset, this.text.length);
      return { epoch: this.epoch, offset: from, bytes: encode(this.text.slice(from, from + 5)), end: this.text.length };
    },
  };

  print(text: string): ConsoleOutput {
    const output = { epoch: this.epoch, offset: this.text.length, bytes: encode(text) };
    this.text += text;
    return output;
  }
}

async function read(from: number | null, scene: (board: Board) => void, before = ''): Promise<{ printed: string; board: Board }> {
  const board = new Board();
  board.text = before;
  let printed = '';
  const reader = new ConsoleReader(board.client, 'vm', (bytes) => { printed += new TextDecoder().decode(bytes); });
  await reader.start(from);
  scene(board);
  await reader.catchUp();
  await reader.stop();
  return { printed, board };
}

describe('ConsoleReader', () => {
  test('hands on live frames without fetching each', async () => {
    const { printed } = await read(0, (board) => { board.heard(board.print('hello ')); board.heard(board.print('world')); });
    expect(printed).toBe('hello world');
  });

  test('fetches what was printed before, in as many pieces as it takes', async () => {
    expect((await read(0, () => undefined, 'a console of more than five bytes')).printed).toBe('a console of more than five bytes');
  });

  test('fetches a lost frame, drops a repeated one, and survives a late one', async () => {
    const { printed } = await read(0, (board) => {
      const [a, b, c, d] = [board.print('one '), board.print('two '), board.print('three '), board.print('four')];
      void b;
      board.heard(a);
      board.heard(a);
      board.heard(d);
      board.heard(c);
    });
    expect(printed).toBe('one two three four');
  });

  test('a new boot begins at offset 0 again; a frame of the old one is ignored', async () => {
    const { printed } = await read(0, (board) => {
      const old = board.print('old');
      board.heard(old);
      board.epoch = 2;
      board.text = '';
      board.heard(board.print('new'));
      board.heard(old);
    });
    expect(printed).toBe('oldnew');
  });
});
