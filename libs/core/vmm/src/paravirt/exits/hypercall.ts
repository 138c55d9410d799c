import { StateGroup, type ExitReply } from '@ringside/machine';
import { ExitReason } from '@ringside/x86';
import { EAX, EBP, EBX, ECX, EDI, EDX, ESI } from '../../deprivileged/guest-frame.js';
import { RETIRE } from '../../dispositions.js';
import { HYPERCALL_VECTOR } from '../abi.js';
import { hypercalls } from '../hypercalls/index.js';
import { bounceGeneralProtection } from './deprivileged-exception.js';
import type { ParavirtExitEntry } from './paravirt-registry.js';

/** Error code of #GP for INT n through a gate that is not for this ring: the vector, and the IDT bit (SDM Vol. 3A 6.13). */
const GATE_REFUSED = (HYPERCALL_VECTOR << 3) | 2;

/** int 0x82 from the guest's kernel: EAX is the number, EBX ECX EDX ESI EDI EBP the arguments, EAX the result. */
export const hypercall: ParavirtExitEntry = {
  reason: ExitReason.Hypercall,
  groups: StateGroup.Registers | StateGroup.Segments,
  summary: 'A hypercall through the hypercall page; ring -1 checks what the guest asks for and does it.',
  async handle(exit): Promise<ExitReply> {
    const { domain, frame } = exit;
    // With the kernel in ring 3 the gate's DPL lets applications through as well.
    if (domain.paging.userMode) return bounceGeneralProtection(exit, GATE_REFUSED);
    const { general } = frame;
    const number = general[EAX]!;
    const args = Uint32Array.of(general[EBX]!, general[ECX]!, general[EDX]!, general[ESI]!, general[EDI]!, general[EBP]!);
    frame.skipInstruction();
    general[EAX] = await hypercalls.call(exit, number, args);
    return exit.finish(RETIRE, true);
  },
};
