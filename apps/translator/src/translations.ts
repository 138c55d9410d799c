import { Injectable } from '@nestjs/common';
import { ServiceCounters } from '@ringside/nats-transport/service';
import { isRefused, translate, type TranslationRefused, type TranslationRequest, type TranslationUnit } from '@ringside/translation';
import { UnitCache } from './unit-cache.js';

/** VMs of one kernel ask the same; a kernel's hot code is far smaller. */
const CACHE_BYTES = 16 * 1_048_576;

/** Answers, the last ones from memory: the same bytes get the same unit with or without it. */
@Injectable()
export class Translations extends ServiceCounters {
  private readonly cache = new UnitCache(CACHE_BYTES);
  private readonly counts = { translated: 0, fromCache: 0, refused: 0 };

  answer(request: TranslationRequest): TranslationUnit | TranslationRefused {
    const known = this.cache.find(request);
    if (known !== undefined) {
      this.counts.fromCache++;
      return known;
    }
    const answer = translate(request);
    if (isRefused(answer)) {
      this.counts.refused++;
      return answer;
    }
    this.counts.translated++;
    this.cache.keep(request, answer);
    return answer;
  }

  /** It knows of none. */
  vms(): string[] {
    return [];
  }

  counters(): Record<string, number> {
    const { translated, fromCache, refused } = this.counts;
    return { translations: translated + fromCache, translated, fromCache, refused, unitsKept: this.cache.size };
  }
}
