import type { ServiceDefinition } from '@ringside/nats-transport/service';
import { TranslationController } from './translation.controller.js';
import { Translations } from './translations.js';

export const TRANSLATOR: ServiceDefinition = { service: 'translator', controllers: [TranslationController], providers: [Translations], counters: Translations };
