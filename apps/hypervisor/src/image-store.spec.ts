import { createHash } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import { ImageStore } from './image-store.js';

const image = Uint8Array.from({ length: 1_000 }, (_, index) => index * 7);
const sha256 = createHash('sha256').update(image).digest('hex');
const piece = (from: number, to: number, name = sha256): Parameters<ImageStore['put']>[0] =>
  ({ sha256: name, totalBytes: image.length, offset: from, data: Buffer.from(image.subarray(from, to)).toString('base64') });

describe('ImageStore', () => {
  it('puts an image together from its pieces, in order, pieces sent again included', () => {
    const store = new ImageStore();
    expect(store.put(piece(0, 400))).toEqual({ receivedBytes: 400, complete: false });
    expect(store.put(piece(0, 400))).toEqual({ receivedBytes: 400, complete: false });
    expect(() => store.put(piece(500, 1_000))).toThrow('begins at 400');
    expect(store.has(sha256)).toBe(false);
    expect(store.put(piece(400, 1_000))).toEqual({ receivedBytes: 1_000, complete: true });
    expect(store.put(piece(400, 1_000))).toEqual({ receivedBytes: 1_000, complete: true });
    expect(Buffer.from(store.fetch(sha256, 0).data, 'base64')).toEqual(Buffer.from(image));
  });

  it('refuses what is not what it says', () => {
    const store = new ImageStore();
    expect(() => store.put(piece(0, 1_000, '0'.repeat(64)))).toThrow('does not have the SHA-256');
    expect(() => store.put(piece(0, 1_000, '../etc'))).toThrow('64 hexadecimal digits');
    expect(() => store.put({ ...piece(0, 10), totalBytes: 1e12 })).toThrow('MiB');
    expect(() => store.fetch(sha256, 0)).toThrow('send it first');
  });

  it('says which guests are built in', async () => {
    await expect(new ImageStore().guest({ guest: 'windows', path: 'native' } as Parameters<ImageStore['guest']>[0])).rejects.toThrow('there is no guest "windows"; built in: ringlet');
  });
});
