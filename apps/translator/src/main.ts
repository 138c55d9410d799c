import { runService } from '@ringside/nats-transport/service';
import { TRANSLATOR } from './definition.js';

await runService(TRANSLATOR);
