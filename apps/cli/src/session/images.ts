import { IMAGE_CHUNK_BYTES } from '@ringside/protocol';
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { Failure, messageOf } from '../failure.js';
import type { ControlClient } from './control-client.js';

/** A built-in image by its name, a file of this machine by its content: read, sent unless it is there already, and named `sha256:…`. */
export async function imageReference(client: ControlClient, named: string, builtIn: readonly string[]): Promise<string> {
  if (builtIn.includes(named) || named.startsWith('sha256:')) return named;
  return sendImage(client, await readImage(named, builtIn));
}

async function readImage(path: string, builtIn: readonly string[]): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (error) {
    const reason = (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'there is no such file' : messageOf(error);
    throw new Failure(`${path} is neither a built-in image (${builtIn.join(', ')}) nor a file that can be read: ${reason}.`);
  }
}

export async function sendImage(client: ControlClient, image: Uint8Array): Promise<string> {
  if (image.length === 0) throw new Failure('The image file is empty.');
  const sha256 = createHash('sha256').update(image).digest('hex');
  const { present } = await client.request('image.has', { sha256 });
  for (let offset = 0; !present && offset < image.length; offset += IMAGE_CHUNK_BYTES) {
    const data = Buffer.from(image.subarray(offset, offset + IMAGE_CHUNK_BYTES)).toString('base64');
    await client.request('image.put', { sha256, totalBytes: image.length, offset, data });
  }
  return `sha256:${sha256}`;
}
