import { createHash } from 'node:crypto';
import { NO_COST, TranslationError, UnreachableError, type ExitCost, type TranslatorPort, type TranslatorReply } from '@ringside/machine';
import { EXIT_POLICY, type NatsClient, type ResendPolicy } from '@ringside/nats-transport';
import { decodeTranslationReply, encodeTranslationRequest, TRANSLATE_SUBJECT, type CreateMachine } from '@ringside/protocol';
import { Attribute, messaging, type MachineTracer, type OpenSpan } from '@ringside/telemetry';
import { MOST_INSTRUCTIONS, type PlacedUnit, type TranslationRequest, type UnitRejected } from '@ringside/translation';
import type { GuestPosition } from './exit-sender.js';

/**
 * How much longer than for an exit a VM waits for a translator: nothing stands half done in a miss, and any translator can answer it, so one that
 * starts again after a fault finds its VMs still waiting.
 */
const PATIENCE = 6;

/** A person who looks at the VM meanwhile is told what it waits for. */
const TELL_AFTER_MS = 500;

/** No unit is longer (SDM Vol. 2A 2.3.11: an instruction has at most 15 bytes): the rest of the page need not travel, and changes in it ask for no new translation. */
const MOST_BYTES = MOST_INSTRUCTIONS * 15;

/** Any translator at the far end of a message. */
export class TranslatorSender implements TranslatorPort {
  private readonly policy: ResendPolicy;
  private seq = 0;
  private asked: AbortController | null = null;
  private whole: OpenSpan | null = null;

  /** @param waits told when an answer takes long, and when it is there */
  constructor(private readonly order: Pick<CreateMachine, 'spec' | 'epoch'>, private readonly client: NatsClient, private readonly tracer: MachineTracer | null, private readonly position: () => GuestPosition,
    private readonly waits: (waiting: boolean) => void, timeoutMs: number) {
    this.policy = { ...EXIT_POLICY, timeoutMs: PATIENCE * timeoutMs };
  }

  async translate(request: TranslationRequest): Promise<TranslatorReply | { unit: null; cost: ExitCost }> {
    const { spec, epoch } = this.order;
    const seq = ++this.seq;
    const spans = this.tracer?.miss('translate', () => this.attributes(request), { [Attribute.Epoch]: epoch, [Attribute.Seq]: seq, ...messaging(spec.id, null, 'translate') }) ?? null;
    this.asked = new AbortController();
    let told = false;
    const telling = setTimeout(() => {
      told = true;
      this.waits(true);
    }, TELL_AFTER_MS);
    try {
      const reply = await this.client.call(TRANSLATE_SUBJECT, encodeTranslationRequest({ ...request, bytes: request.bytes.subarray(0, MOST_BYTES) }, { vmId: spec.id, epoch, seq }, spans?.message.context ?? null), this.policy, this.asked.signal);
      const answer = decodeTranslationReply(reply);
      spans?.message.end();
      this.whole = spans?.whole ?? null;
      return answer;
    } catch (error) {
      spans?.message.end(error);
      spans?.whole.end(error);
      if (error instanceof Withdrawn) return { unit: null, cost: NO_COST };
      if (error instanceof UnreachableError) throw error;
      throw new TranslationError(`no translation of the code at 0x${request.eip.toString(16)}: ${error instanceof Error ? error.message : String(error)}`);
    } finally {
      clearTimeout(telling);
      if (told) this.waits(false);
      this.asked = null;
    }
  }

  settled(result: PlacedUnit | UnitRejected): void {
    const { whole } = this;
    this.whole = null;
    if (whole === null) return;
    if ('rejected' in result) {
      whole.end(new TranslationError(result.rejected));
      return;
    }
    const { at, unit } = result;
    whole.set({
      [Attribute.UnitAt]: `0x${at.toString(16)}`, [Attribute.UnitHash]: createHash('sha256').update(unit.code).digest('hex').slice(0, 16), [Attribute.GuestBytes]: unit.guest.length, [Attribute.HostBytes]: unit.code.length,
      [Attribute.UnitInstructions]: unit.instructions.length, [Attribute.UnitExits]: unit.exits.map(({ kind }) => kind).join(' '),
    });
    whole.end();
  }

  /** Do not wait for an answer any longer: the guest stays where it is. */
  withdraw(): void {
    this.asked?.abort(new Withdrawn());
  }

  private attributes(request: TranslationRequest): Record<string, string | number> {
    const { cpl, now } = this.position();
    return { [Attribute.GuestEip]: `0x${request.eip.toString(16)}`, [Attribute.RingFrom]: cpl, [Attribute.Now]: now };
  }
}

/** The machine is to stand. */
class Withdrawn extends Error {
  override name = 'Withdrawn';
}
