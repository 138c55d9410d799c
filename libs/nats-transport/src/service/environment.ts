import { DEFAULT_NATS_URL } from '../connect.js';

/** How a service is configured: environment variables alone. */
export interface ServiceEnvironment {
  /** NATS_URL */
  natsUrl: string;
  /** PORT of the health endpoints; 0 for any free one. */
  port: number;
  /** HOST: address they listen on. */
  host: string;
  /** OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_RESOURCE_ATTRIBUTES */
  otlpEndpoint: string | undefined;
  resourceAttributes: string | undefined;
  /** RINGSIDE_TRACING=off: no spans are made. */
  tracing: boolean;
  /** RINGSIDE_TIMEOUT_MS: how long a service waits for another before the VM is `unreachable`. */
  timeoutMs: number;
  /** RINGSIDE_TEST_FAULTS=percent:seed — a bad network, for tests: see FaultyWire. */
  faults: { percent: number; seed: number } | null;
}

/** @throws Error with one sentence when the variable is neither empty nor a whole number from 0 to `most` */
export function wholeNumber(variables: Record<string, string | undefined>, name: string, fallback: number, most: number): number {
  const text = variables[name];
  if (text === undefined || text === '') return fallback;
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0 || value > most) throw new Error(`${name} is "${text}": it has to be a whole number from 0 to ${most}`);
  return value;
}

/** @throws Error with one sentence when a variable has no meaning */
export function readEnvironment(variables: Record<string, string | undefined>): ServiceEnvironment {
  const number = (name: string, fallback: number, most: number): number => wholeNumber(variables, name, fallback, most);
  return {
    natsUrl: variables['NATS_URL'] || DEFAULT_NATS_URL,
    port: number('PORT', 0, 65_535),
    host: variables['HOST'] || '0.0.0.0',
    otlpEndpoint: variables['OTEL_EXPORTER_OTLP_ENDPOINT'],
    resourceAttributes: variables['OTEL_RESOURCE_ATTRIBUTES'],
    tracing: variables['RINGSIDE_TRACING'] !== 'off',
    timeoutMs: number('RINGSIDE_TIMEOUT_MS', 5_000, 600_000),
    faults: faultsOf(variables['RINGSIDE_TEST_FAULTS']),
  };
}

function faultsOf(text: string | undefined): ServiceEnvironment['faults'] {
  if (text === undefined || text === '') return null;
  const match = /^(\d{1,2}):(\d+)$/.exec(text);
  if (match === null) throw new Error(`RINGSIDE_TEST_FAULTS is "${text}": it has to be percent:seed, such as 5:1`);
  return { percent: Number(match[1]), seed: Number(match[2]) };
}
