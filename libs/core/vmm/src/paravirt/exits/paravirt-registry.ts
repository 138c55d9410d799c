import type { ExitReply } from '@ringside/machine';
import type { ExitReason } from '@ringside/x86';
import type { ParavirtExit } from '../paravirt-exit.js';

/** How ring -1 answers one exit reason of a paravirtualized guest. */
export interface ParavirtExitEntry {
  readonly reason: ExitReason;
  readonly groups: number;
  /** In one sentence, for people. */
  readonly summary: string;
  handle(exit: ParavirtExit): Promise<ExitReply>;
}
