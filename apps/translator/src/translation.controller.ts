import { Controller } from '@nestjs/common';
import { Frames, type FrameContext } from '@ringside/nats-transport';
import { TRANSLATE_SUBJECT, decodeTranslationRequest, encodeTranslationReply } from '@ringside/protocol';
import { ServiceRuntime } from '@ringside/nats-transport/service';
import { Translations } from './translations.js';

/** Any translator answers any VM: the queue group shares the work out. */
@Controller()
export class TranslationController {
  constructor(private readonly translations: Translations, private readonly runtime: ServiceRuntime) {}

  @Frames(TRANSLATE_SUBJECT, { queue: TRANSLATE_SUBJECT })
  translate(frame: Uint8Array, context: FrameContext): Uint8Array {
    const began = this.runtime.wallClock();
    const unit = this.translations.answer(decodeTranslationRequest(frame));
    return encodeTranslationReply({ unit, cost: { handlerNs: this.runtime.wallClock() - began, nested: [] } }, context.header);
  }
}
