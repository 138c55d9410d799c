/** Why an image cannot be loaded. */
export const LOADER_ERROR_CODES = [
  'not-elf', 'elf-64-bit', 'elf-wrong-machine', 'elf-not-executable', 'elf-truncated', 'elf-overlapping-segments', 'image-larger-than-ram',
  'no-multiboot-header', 'multiboot-unsupported-flags', 'multiboot-bad-address', 'bad-entry', 'no-xen-notes', 'xen-not-pae', 'xen-bad-notes', 'command-line-too-long',
] as const;
export type LoaderErrorCode = (typeof LOADER_ERROR_CODES)[number];

/** `message` is one sentence for the person who named the image: what is wrong and what to do. */
export class LoaderError extends Error {
  override readonly name = 'LoaderError';
  constructor(readonly code: LoaderErrorCode, message: string) {
    super(message);
  }
}
