import { type EnvironmentReader, invalidVariable } from './environment.ts';
import { PassthroughError } from './errors.ts';
import type { PropagationPolicy } from './registry/traced.ts';

/** What OpenTelemetry calls its signals, as the names of their variables have them. */
export const SIGNALS = ['TRACES', 'METRICS', 'LOGS'] as const;
export type Signal = (typeof SIGNALS)[number];

/** Exporters of each signal, by the names that the specification gives them. Where all are empty, no SDK is loaded. */
export type Exporters = Readonly<Record<Signal, readonly string[]>>;

const PROTOCOLS = ['grpc', 'http/protobuf', 'http/json'] as const;

/**
 * Reads which signals go out. The specification has an unset exporter mean OTLP, and an unset endpoint mean localhost: here
 * OTLP is on where an endpoint is set, for all signals or for one, and any other exporter where it is named.
 *
 * @throws PassthroughError `INVALID_CONFIGURATION` for an endpoint that is no address, or a protocol that does not exist
 * @see https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
 * @see https://opentelemetry.io/docs/specs/otel/protocol/exporter/
 */
export function readExporters(read: EnvironmentReader): Exporters {
  const isOff = read.text('OTEL_SDK_DISABLED')?.toLowerCase() === 'true';
  const general = readEndpoint(read, 'OTEL_EXPORTER_OTLP');
  const exporters = (signal: Signal): readonly string[] => {
    const endpoint = readEndpoint(read, `OTEL_EXPORTER_OTLP_${signal}`) ?? general;
    const named = (read.text(`OTEL_${signal}_EXPORTER`) ?? 'otlp').split(',').map((name) => name.trim());
    if (isOff || named.includes('none')) return [];
    return named.filter((name) => name !== '' && (name !== 'otlp' || endpoint !== undefined));
  };
  return { TRACES: exporters('TRACES'), METRICS: exporters('METRICS'), LOGS: exporters('LOGS') };
}

/**
 * Looks at the headers of exports, which often hold a key: what cannot be one would end the service as it starts, and with
 * its value in the message.
 */
function checkHeaders(read: EnvironmentReader, name: string): void {
  for (const pair of (read.text(name) ?? '').split(',').filter((part) => part.trim() !== '')) {
    const [, key = '', value = ''] = /^\s*([^=]*?)\s*=(.*)$/s.exec(pair) ?? [];
    if (/^[a-z0-9_.-]+$/i.test(key) && /^[ -~]*$/.test(decoded(value))) continue;
    throw new PassthroughError(
      'INVALID_CONFIGURATION',
      `Cannot use ${name} (its value is not shown): expected name=value, separated by commas, in printable ASCII`,
    );
  }
}

function decoded(value: string): string {
  try {
    return decodeURIComponent(value);
  } catch {
    return value;
  }
}

/** An endpoint as the exporters take them; one without a scheme is for gRPC. */
function readEndpoint(read: EnvironmentReader, prefix: string): string | undefined {
  read.choice(`${prefix}_PROTOCOL`, PROTOCOLS, 'grpc');
  checkHeaders(read, `${prefix}_HEADERS`);
  const name = `${prefix}_ENDPOINT`;
  const text = read.text(name);
  if (text === undefined || /^[\w.-]+:\d{1,5}$/.test(text)) return text;
  if (!/^(?:https?|unix):\/\/\S+$/i.test(text) || !URL.canParse(text)) {
    throw invalidVariable(name, text, 'expected the address of a collector, such as http://collector:4317');
  }
  return text;
}

/** Reads whom upstream a trace is told to: nobody unless `OTEL_PROPAGATE_UPSTREAM` is `true` or lists hosts. */
export function readPropagation(read: EnvironmentReader): PropagationPolicy {
  const name = 'OTEL_PROPAGATE_UPSTREAM';
  const text = read.text(name)?.toLowerCase();
  if (text === undefined || text === 'false') return [];
  return text === 'true' ? 'all' : read.hosts(name);
}
