import { ExitReason } from '@ringside/x86';
import { RETIRE } from '../dispositions.js';
import type { ExitHandlerEntry } from '../exit-registry.js';
import type { HardwareAssistedMachine } from './hardware-assisted-machine.js';

/** INVD exits whatever the controls say (SDM Vol. 3C 25.1.2). There are no caches in this machine: nothing to do. */
export const invd: ExitHandlerEntry<HardwareAssistedMachine> = {
  reason: ExitReason.Invd,
  groups: 0,
  summary: 'INVD always exits; there is no cache to invalidate, so the guest goes on.',
  handle: () => RETIRE,
};
