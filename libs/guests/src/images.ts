import { readFile } from 'node:fs/promises';

/** Guests whose images are committed with the sources (libs/guests/images). */
export const GUEST_IMAGES = { ringlet: 'ringlet.elf', 'ringlet-pv': 'ringlet-pv.elf' } as const;
export type GuestImageName = keyof typeof GUEST_IMAGES;
export const DISK_IMAGES = { ringlet: 'ringlet.disk' } as const;
export type DiskImageName = keyof typeof DISK_IMAGES;

/**
 * Where the image files may lie, best first: `RINGSIDE_IMAGES`; beside this package's `src` or `dist`; beside a bundle, or one
 * or two directories up from it.
 */
export function imageDirectories(environment: string | undefined, moduleUrl: string): URL[] {
  const beside = ['../images/', './images/', '../../images/'].map((path) => new URL(path, moduleUrl));
  if (environment === undefined || environment === '') return beside;
  return [new URL(environment.endsWith('/') ? environment : `${environment}/`, `file://${process.cwd()}/`)];
}

async function readImage(file: string): Promise<Uint8Array> {
  const directories = imageDirectories(process.env['RINGSIDE_IMAGES'], import.meta.url);
  for (const directory of directories) {
    try {
      return await readFile(new URL(file, directory));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }
  throw new Error(`The guest image ${file} is in none of ${directories.map((directory) => directory.pathname).join(', ')}; set RINGSIDE_IMAGES to the directory that has it.`);
}

/** A built-in guest's ELF file. Rejects when the images are not installed. */
export function guestImage(name: GuestImageName): Promise<Uint8Array> {
  return readImage(GUEST_IMAGES[name]);
}

/** A built-in disk. Rejects when the images are not installed. */
export function diskImage(name: DiskImageName): Promise<Uint8Array> {
  return readImage(DISK_IMAGES[name]);
}
