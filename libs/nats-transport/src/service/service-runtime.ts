import type { NatsConnection } from '@nats-io/transport-node';
import type { ServiceStatus } from '@ringside/protocol';
import { DispatchSpans, Telemetry } from '@ringside/telemetry';
import { connectNats, instanceName } from '../connect.js';
import { FaultyWire } from '../faulty-wire.js';
import { NatsClient } from '../nats-client.js';
import { NatsServer } from '../nats-server.js';
import { EXIT_POLICY } from '../request-mux.js';
import { NatsWire, type Wire } from '../wire.js';
import type { ServiceEnvironment } from './environment.js';

/** What every service stands on: its connection, both halves of the transport, its telemetry. Injected by class. */
export class ServiceRuntime {
  readonly startedAt = performance.now();
  /** Set once the HTTP server listens. */
  port = 0;

  private constructor(
    readonly service: ServiceStatus['service'],
    readonly instance: string,
    readonly environment: ServiceEnvironment,
    readonly connection: NatsConnection,
    readonly wire: Wire,
    readonly server: NatsServer,
    readonly client: NatsClient,
    readonly telemetry: Telemetry,
  ) {}

  /**
   * @param patience share of the timeout that this service waits for others: one that is itself asked gives up before who asks it,
   * so that the VM learns who is missing
   * @throws Error in one sentence when NATS cannot be reached
   */
  static async start(service: ServiceStatus['service'], environment: ServiceEnvironment, patience = 1): Promise<ServiceRuntime> {
    const instance = instanceName(service);
    const connection = await connectNats(environment.natsUrl, instance);
    const natsWire = new NatsWire(connection);
    const wire = environment.faults === null ? natsWire : new FaultyWire(natsWire, environment.faults.percent, environment.faults.seed);
    const telemetry = new Telemetry({
      service, instance, endpoint: environment.otlpEndpoint, resourceAttributes: environment.resourceAttributes,
      warn: (message) => { console.error(`${service}: ${message}`); },
    });
    const server = new NatsServer({ wire, queue: service, dispatchHook: new DispatchSpans(telemetry) });
    const client = new NatsClient(wire, instance, { ...EXIT_POLICY, timeoutMs: patience * environment.timeoutMs });
    return new ServiceRuntime(service, instance, environment, connection, wire, server, client, telemetry);
  }

  /** Monotonic wall clock, ns: for the books. */
  readonly wallClock = (): number => performance.now() * 1e6;

  /** What is queued goes out; then the connection ends. */
  async close(): Promise<void> {
    this.client.close();
    await this.telemetry.shutdown();
    // Without a broker there is nothing to drain.
    await this.connection.drain().catch(() => this.connection.close());
  }
}
