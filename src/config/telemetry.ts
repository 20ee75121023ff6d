import { PassthroughError } from '../errors.ts';
import type { PropagationPolicy } from '../registry/transport/traced.ts';
import { type EnvironmentReader, invalidVariable } from './environment.ts';

/** What OpenTelemetry calls its signals, as the names of their variables have them. */
export const SIGNALS = ['TRACES', 'METRICS', 'LOGS'] as const;
export type Signal = (typeof SIGNALS)[number];

/** Exporters of each signal, by the names that the specification gives them. Where all are empty, no SDK is loaded. */
export type Exporters = Readonly<Record<Signal, readonly string[]>>;

const PROTOCOLS = ['grpc', 'http/protobuf', 'http/json'] as const;
type Protocol = (typeof PROTOCOLS)[number];

/** Exporters that the SDK has for each signal. */
const KNOWN: Exporters = {
  TRACES: ['otlp', 'zipkin', 'console', 'none'],
  METRICS: ['otlp', 'prometheus', 'console', 'none'],
  LOGS: ['otlp', 'console', 'none'],
};

/**
 * Reads which signals go out. The specification has an unset exporter mean OTLP, and an unset endpoint mean localhost: here
 * OTLP is on where an endpoint is set, for all signals or for one, and any other exporter where it is named.
 *
 * @throws PassthroughError `INVALID_CONFIGURATION` for an endpoint that is no address, headers that are none, and a protocol
 *   or an exporter that does not exist
 * @see https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
 * @see https://opentelemetry.io/docs/specs/otel/protocol/exporter/
 */
export function readExporters(read: EnvironmentReader): Exporters {
  const isOff = read.text('OTEL_SDK_DISABLED')?.toLowerCase() === 'true';
  const general = readOtlp(read, 'OTEL_EXPORTER_OTLP', 'grpc');
  const exporters = (signal: Signal): readonly string[] => {
    const { endpoint = general.endpoint } = readOtlp(read, `OTEL_EXPORTER_OTLP_${signal}`, general.protocol);
    const named = readNames(read, signal);
    if (isOff || named.includes('none')) return [];
    return named.filter((name) => name !== 'otlp' || endpoint !== undefined);
  };
  return { TRACES: exporters('TRACES'), METRICS: exporters('METRICS'), LOGS: exporters('LOGS') };
}

function readNames(read: EnvironmentReader, signal: Signal): readonly string[] {
  const variable = `OTEL_${signal}_EXPORTER`;
  const text = read.text(variable) ?? 'otlp';
  const names = text.split(',').map((name) => name.trim());
  const unknown = names.find((name) => name !== '' && !KNOWN[signal].includes(name));
  if (unknown !== undefined) {
    throw invalidVariable(variable, text, `expected one or more of ${KNOWN[signal].join(', ')}`);
  }
  return names.filter((name) => name !== '');
}

/** Where a signal goes, or all that say nothing themselves, and how. */
function readOtlp(read: EnvironmentReader, prefix: string, otherwise: Protocol) {
  const protocol = read.choice(`${prefix}_PROTOCOL`, PROTOCOLS, otherwise);
  checkHeaders(read, `${prefix}_HEADERS`);
  const name = `${prefix}_ENDPOINT`;
  const endpoint = read.text(name);
  if (endpoint !== undefined && !isEndpoint(endpoint, protocol)) {
    throw invalidVariable(
      name,
      endpoint,
      'expected the address of a collector, such as http://collector:4317',
    );
  }
  return { protocol, endpoint };
}

/** Whether the exporters take an address. Only gRPC knows those without a scheme, and sockets. */
function isEndpoint(text: string, protocol: Protocol): boolean {
  if (/^https?:\/\/\S+$/.test(text)) return URL.canParse(text);
  if (protocol !== 'grpc') return false;
  return /^unix:\/\/\S+$/.test(text) || (/^[\w.-]+:\d+$/.test(text) && URL.canParse(`http://${text}`));
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

/** Reads whom upstream a trace is told to: nobody unless `OTEL_PROPAGATE_UPSTREAM` is `true` or lists hosts. */
export function readPropagation(read: EnvironmentReader): PropagationPolicy {
  const name = 'OTEL_PROPAGATE_UPSTREAM';
  const text = read.text(name)?.toLowerCase();
  if (text === undefined || text === 'false') return [];
  return text === 'true' ? 'all' : read.hosts(name);
}
