import { Controller, Get } from '@nestjs/common';
import { HealthCheck, HealthCheckService, HealthIndicatorService, type HealthCheckResult, type HealthIndicatorResult } from '@nestjs/terminus';
import { ServiceRuntime } from './service-runtime.js';

const PING_TIMEOUT_MS = 1_500;

/** Live: this process answers (that alone: restarting it would not bring NATS back). Ready: NATS answers as well. */
@Controller('healthz')
export class HealthController {
  constructor(private readonly health: HealthCheckService, private readonly indicators: HealthIndicatorService, private readonly runtime: ServiceRuntime) {}

  @Get('live')
  @HealthCheck()
  live(): Promise<HealthCheckResult> {
    return this.health.check([]);
  }

  @Get('ready')
  @HealthCheck()
  ready(): Promise<HealthCheckResult> {
    return this.health.check([() => this.nats()]);
  }

  private async nats(): Promise<HealthIndicatorResult> {
    const indicator = this.indicators.check('nats');
    try {
      const milliseconds = await within(PING_TIMEOUT_MS, this.runtime.connection.rtt());
      return indicator.up({ milliseconds });
    } catch (error) {
      return indicator.down(error instanceof Error ? error.message : String(error));
    }
  }
}

async function within<T>(milliseconds: number, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => { timer = setTimeout(() => reject(new Error(`no answer within ${milliseconds} ms`)), milliseconds); });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
