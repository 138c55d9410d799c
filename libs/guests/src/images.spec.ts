import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { diskImage, guestImage, imageDirectories } from './images.js';
import { PROBE_OPERATION } from './probe-guest.js';

const read = (path: string): Promise<string> => readFile(new URL(path, import.meta.url), 'utf8');
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

test('the committed images are those of the list', async () => {
  const list = await read('../images/SHA256SUMS');
  const images = { 'ringlet.elf': await guestImage('ringlet'), 'ringlet-pv.elf': await guestImage('ringlet-pv'), 'ringlet.disk': await diskImage('ringlet') };
  for (const [name, bytes] of Object.entries(images)) expect(list).toContain(`${sha256(bytes)}  ${name}`);
  expect(list.trim().split('\n')).toHaveLength(3);
});

test('the disk begins with a ustar archive that has the shell, and fits its budget', async () => {
  const disk = await diskImage('ringlet');
  expect(disk.length % 512).toBe(0);
  expect(disk.length).toBeLessThanOrEqual(512 * 1024);
  expect(Buffer.from(disk.subarray(0, 3)).toString()).toBe('sh\0');
  expect(Buffer.from(disk.subarray(257, 262)).toString()).toBe('ustar');
});

test('RINGSIDE_IMAGES overrides where images are looked for', () => {
  expect(imageDirectories('/srv/images', 'file:///app/main.js').map(String)).toEqual(['file:///srv/images/']);
  expect(imageDirectories(undefined, 'file:///app/dist/main.js').map(String)).toContain('file:///app/images/');
});

test('guests mark operations by the numbers that the processor model knows', async () => {
  const header = await read('../ringlet/kernel/marks.h');
  const contract = await read('../../core/machine/src/mark.ts');
  const defined = new Map([...header.matchAll(/^#define (?:OP|MARK)_([A-Z_]+) (0x[0-9a-f]+|\d+)$/gm)].map((match) => [match[1]!, Number(match[2])]));
  const table = contract.slice(contract.indexOf('OPERATIONS = {'), contract.indexOf('} as const;\nexport type OperationName'));
  const operations = [...table.matchAll(/'?([a-z]+(?:-[a-z]+)*)'?: (\d+)/g)];
  expect(operations).toHaveLength(15);
  // Ringlet marks all of them but one.
  defined.set('PROBE', PROBE_OPERATION);
  for (const [, name, number] of operations) expect([name, defined.get(name!.replaceAll('-', '_').toUpperCase())]).toEqual([name, Number(number)]);
  expect(defined.get('TAG')).toBe(Number(/MARK_TAG = (0x[0-9a-f]+)/.exec(contract)?.[1]));
  for (const kind of ['Begin', 'End', 'Lap']) expect(defined.get(kind.toUpperCase())).toBe(Number(new RegExp(`${kind}: (\\d)`).exec(contract)?.[1]));
});
