import './engine-flags.js';
import { runService } from '@ringside/nats-transport/service';
import { GUEST_CPU } from './definition.js';

await runService(GUEST_CPU);
