import { Controller } from '@nestjs/common';
import { MessagePattern } from '@nestjs/microservices';
import { SERVICES_SUBJECT, SPANS_SUBJECT, type ServiceStatus, type SpansReply, type SpansRequest } from '@ringside/protocol';
import { ServiceRuntime } from './service-runtime.js';

const SPANS_PER_REPLY = 1_000;

/** What the app adds to its status: injected under this class. */
export abstract class ServiceCounters {
  abstract vms(): string[];
  abstract counters(): Record<string, number>;
}

@Controller()
export class StatusController {
  constructor(private readonly runtime: ServiceRuntime, private readonly app: ServiceCounters) {}

  @MessagePattern(SERVICES_SUBJECT, { broadcast: true, idempotent: true })
  status(): ServiceStatus {
    const { service, instance, port, startedAt, server, client, telemetry } = this.runtime;
    return {
      service, instance, port, pid: process.pid, node: process.version, vms: this.app.vms(), uptimeSeconds: Math.round((performance.now() - startedAt) / 1_000),
      counters: {
        ...this.app.counters(),
        requests: client.mux.counts.requests, resends: client.mux.counts.resends, unreachable: client.mux.counts.unreachable,
        repeatedFrames: server.counts.repeated, ignoredFrames: server.counts.ignored, staleFrames: server.counts.stale, badFrames: server.counts.badFrames,
        spans: telemetry.counts.ended, spansUndelivered: telemetry.counts.undelivered, spansDropped: telemetry.counts.dropped,
        residentMiB: Math.round(process.memoryUsage.rss() / 1_048_576),
      },
    };
  }

  @MessagePattern(SPANS_SUBJECT, { broadcast: true, idempotent: true })
  spans({ traceId, from }: SpansRequest): SpansReply {
    const { service, instance, telemetry } = this.runtime;
    const spans = telemetry.store.trace(traceId);
    return { service, instance, spans: spans.slice(from, from + SPANS_PER_REPLY), total: spans.length };
  }
}
