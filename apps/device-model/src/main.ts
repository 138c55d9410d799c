import { runService } from '@ringside/nats-transport/service';
import { DEVICE_MODEL } from './definition.js';

await runService(DEVICE_MODEL);
