import { ExitReason } from '@ringside/x86';
import { INVALID_OPCODE } from '../dispositions.js';
import type { ExitHandlerEntry } from '../exit-registry.js';
import type { HardwareAssistedMachine } from './hardware-assisted-machine.js';

/** No personality is shown, so there is nobody to call: VMCALL is #UD, as on a processor without VMX. Personalities answer −1000 (ENOSYS) here. */
export const vmcall: ExitHandlerEntry<HardwareAssistedMachine> = {
  reason: ExitReason.Vmcall,
  groups: 0,
  summary: 'VMCALL exits; without a personality ring -1 injects #UD, as the bare processor would raise it.',
  handle: () => INVALID_OPCODE,
};
