import { runService } from '@ringside/nats-transport/service';
import { HYPERVISOR } from './definition.js';

await runService(HYPERVISOR);
