import { createHash } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { GUEST_IMAGES, guestImage, type GuestImageName } from '@ringside/guests';
import type { VmSpec } from '@ringside/machine';
import { ControlFailure } from '@ringside/nats-transport';
import { IMAGE_CHUNK_BYTES, type ImageChunk } from '@ringside/protocol';

/** All images sent, together; the one used least recently goes first. */
const CAPACITY_BYTES = 256 * 1_048_576;
const LARGEST_IMAGE_BYTES = 128 * 1_048_576;
/** Uploads begun and not finished. */
const MOST_UPLOADS = 16;
const SHA256 = /^[0-9a-f]{64}$/;

interface Upload { bytes: Uint8Array; received: number }

/** Guest and disk images by their SHA-256: built-in ones come with the release, others are sent in pieces. */
@Injectable()
export class ImageStore {
  private readonly images = new Map<string, Uint8Array>();
  private readonly uploads = new Map<string, Upload>();
  private stored = 0;

  /** One piece, in order; the last one must make the hash come true. A piece sent again changes nothing. */
  put({ sha256, totalBytes, offset, data }: ImageChunk): { receivedBytes: number; complete: boolean } {
    if (!SHA256.test(sha256)) throw new ControlFailure('invalid', 'an image is named by its SHA-256, 64 hexadecimal digits');
    if (!(Number.isInteger(totalBytes) && totalBytes > 0 && totalBytes <= LARGEST_IMAGE_BYTES)) throw new ControlFailure('invalid', `an image has 1 to ${LARGEST_IMAGE_BYTES / 1_048_576} MiB`);
    if (this.images.has(sha256)) return { receivedBytes: totalBytes, complete: true };
    const bytes = Buffer.from(data, 'base64');
    const upload = this.upload(sha256, totalBytes);
    if (!Number.isInteger(offset) || offset < 0 || offset > upload.received || offset + bytes.length > totalBytes) throw new ControlFailure('invalid', `the image's next piece begins at ${upload.received}, not at ${offset}`);
    upload.bytes.set(bytes, offset);
    upload.received = Math.max(upload.received, offset + bytes.length);
    if (upload.received < totalBytes) return { receivedBytes: upload.received, complete: false };
    this.uploads.delete(sha256);
    if (createHash('sha256').update(upload.bytes).digest('hex') !== sha256) throw new ControlFailure('invalid', 'the image that arrived does not have the SHA-256 it was announced by: send it again');
    this.keep(sha256, upload.bytes);
    return { receivedBytes: totalBytes, complete: true };
  }

  has(sha256: string): boolean {
    return this.images.has(sha256);
  }

  fetch(sha256: string, offset: number): ImageChunk {
    const image = this.image(sha256);
    return { sha256, totalBytes: image.length, offset, data: Buffer.from(image.subarray(offset, offset + IMAGE_CHUNK_BYTES)).toString('base64') };
  }

  /** The image that a spec boots: on paravirt, `ringlet` is the build whose privileged operations are hypercalls. */
  async guest({ guest, path }: VmSpec): Promise<Uint8Array> {
    if (guest.startsWith('sha256:')) return this.image(guest.slice('sha256:'.length));
    const name = guest === 'ringlet' && path === 'paravirt' ? 'ringlet-pv' : guest;
    if (!(name in GUEST_IMAGES)) throw new ControlFailure('not-found', `there is no guest "${guest}"; built in: ${Object.keys(GUEST_IMAGES).join(', ')}`);
    return guestImage(name as GuestImageName);
  }

  private image(sha256: string): Uint8Array {
    const image = this.images.get(sha256);
    if (image === undefined) throw new ControlFailure('not-found', `there is no image sha256:${sha256}: send it first`);
    // Most recently used comes last.
    this.images.delete(sha256);
    this.images.set(sha256, image);
    return image;
  }

  private upload(sha256: string, totalBytes: number): Upload {
    let upload = this.uploads.get(sha256);
    if (upload === undefined || upload.bytes.length !== totalBytes) {
      if (this.uploads.size >= MOST_UPLOADS) this.uploads.delete(this.uploads.keys().next().value as string);
      this.uploads.set(sha256, upload = { bytes: new Uint8Array(totalBytes), received: 0 });
    }
    return upload;
  }

  private keep(sha256: string, bytes: Uint8Array): void {
    this.images.set(sha256, bytes);
    this.stored += bytes.length;
    while (this.stored > CAPACITY_BYTES && this.images.size > 1) {
      const [oldest, forgotten] = this.images.entries().next().value as [string, Uint8Array];
      this.images.delete(oldest);
      this.stored -= forgotten.length;
    }
  }
}
