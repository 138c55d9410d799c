import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ControlClient } from './control-client.js';

export interface SavedDocument { name: string; path: string; bytes: Uint8Array }

/** What the VM's printer has put out so far, as files that a person can open. */
export async function saveDocuments(client: ControlClient, vmId: string, directory: string, prefix: string): Promise<SavedDocument[]> {
  const saved: SavedDocument[] = [];
  for (const { name } of await client.request('document.list', { vmId })) {
    const bytes = await fetchDocument(client, vmId, name);
    await mkdir(directory, { recursive: true });
    const path = join(directory, `${prefix}-${name.replace(/[^A-Za-z0-9._-]/g, '_')}`);
    await writeFile(path, bytes);
    saved.push({ name, path, bytes });
  }
  return saved;
}

async function fetchDocument(client: ControlClient, vmId: string, name: string): Promise<Uint8Array> {
  const pieces: Buffer[] = [];
  for (let offset = 0; ;) {
    const { data, totalBytes } = await client.request('document.fetch', { vmId, name, offset });
    const piece = Buffer.from(data, 'base64');
    pieces.push(piece);
    offset += piece.length;
    if (piece.length === 0 || offset >= totalBytes) return Buffer.concat(pieces);
  }
}
