import { Controller } from '@nestjs/common';
import { MessagePattern } from '@nestjs/microservices';
import type { ImageChunk } from '@ringside/protocol';
import { ImageStore } from './image-store.js';

@Controller()
export class ImageController {
  constructor(private readonly images: ImageStore) {}

  @MessagePattern('ringside.ctl.image.put')
  put(chunk: ImageChunk): { receivedBytes: number; complete: boolean } {
    return this.images.put(chunk);
  }

  @MessagePattern('ringside.ctl.image.has', { idempotent: true })
  has({ sha256 }: { sha256: string }): { present: boolean } {
    return { present: this.images.has(sha256) };
  }

  @MessagePattern('ringside.ctl.image.fetch', { idempotent: true })
  fetch({ sha256, offset }: { sha256: string; offset: number }): ImageChunk {
    return this.images.fetch(sha256, offset);
  }
}
