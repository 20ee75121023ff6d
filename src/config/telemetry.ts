import type { PropagationPolicy } from '../registry/transport/traced.ts';
import { WatchedFiles } from '../util/files/watched-files.ts';
import { readSecret } from './credentials.ts';
import { type Environment, EnvironmentReader, invalidVariable } from './environment.ts';

/** The signals of OpenTelemetry, as written in its variables. */
export const SIGNALS = ['TRACES', 'METRICS', 'LOGS'] as const;
export type Signal = (typeof SIGNALS)[number];

/** Exporters of each signal, by their names in the specification. If there are none at all, no SDK is loaded. */
export type Exporters = Readonly<Record<Signal, readonly string[]>>;

const PROTOCOLS = ['grpc', 'http/protobuf', 'http/json'] as const;
type Protocol = (typeof PROTOCOLS)[number];

/** Exporters of the SDK for each signal. */
const KNOWN: Exporters = {
  TRACES: ['otlp', 'zipkin', 'console', 'none'],
  METRICS: ['otlp', 'prometheus', 'console', 'none'],
  LOGS: ['otlp', 'console', 'none'],
};

/**
 * Reads the exporters of each signal. In the specification, an unset exporter means OTLP, and an unset endpoint means
 * localhost. Here OTLP needs an endpoint, either for all signals or for one. Other exporters are on when they are named.
 *
 * @throws PassthroughError `INVALID_CONFIGURATION` for malformed endpoints and headers, unknown protocols and exporters
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

/** Reads protocol and endpoint, either of one signal or of all signals without their own. */
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

/** Whether the exporters support an endpoint. Only gRPC supports Unix sockets and addresses without a scheme. */
function isEndpoint(text: string, protocol: Protocol): boolean {
  if (/^https?:\/\/\S+$/.test(text)) return URL.canParse(text);
  if (protocol !== 'grpc') return false;
  return /^unix:\/\/\S+$/.test(text) || (/^[\w.-]+:\d+$/.test(text) && URL.canParse(`http://${text}`));
}

/**
 * Checks the headers of exports, which often hold a key. With malformed headers, the SDK would fail and show their values in
 * its error.
 */
function checkHeaders(read: EnvironmentReader, name: string): void {
  readSecret(read, name, new WatchedFiles(), (text) => {
    for (const pair of text.split(',').filter((part) => part.trim() !== '')) {
      const equals = pair.indexOf('=');
      const [key, value] = [pair.slice(0, Math.max(equals, 0)).trim(), pair.slice(equals + 1)];
      if (!/^[a-z0-9_.-]+$/i.test(key) || !/^[ -~]*$/.test(decoded(value).trim()))
        throw new Error('expected name=value, separated by commas, in printable ASCII');
    }
  });
}

/**
 * The headers of exports that lie in files (`OTEL_EXPORTER_OTLP_HEADERS_FILE` and those of single signals), under the names of the
 * variables that the SDK reads. It reads them once, so that a new file needs a new start.
 *
 * @throws PassthroughError `INVALID_CONFIGURATION` for a file that cannot be used
 */
export function headersInFiles(environment: Environment): Readonly<Record<string, string>> {
  const names = ['', ...SIGNALS.map((signal) => `_${signal}`)].map(
    (part) => `OTEL_EXPORTER_OTLP${part}_HEADERS`,
  );
  const read = new EnvironmentReader(environment);
  return Object.fromEntries(
    names
      .filter((name) => read.text(`${name}_FILE`) !== undefined)
      .map((name) => [name, readSecret(read, name, new WatchedFiles()).value ?? '']),
  );
}

function decoded(value: string): string {
  try {
    return decodeURIComponent(value);
  } catch {
    return value;
  }
}

/** Reads which registries receive the trace context: none unless `OTEL_PROPAGATE_UPSTREAM` is `true` or lists hosts. */
export function readPropagation(read: EnvironmentReader): PropagationPolicy {
  const name = 'OTEL_PROPAGATE_UPSTREAM';
  const text = read.text(name)?.toLowerCase();
  if (text === undefined || text === 'false') return [];
  // Such a word means a switch, and is a valid name of a host.
  if (text !== undefined && /^(?:yes|no|on|off|\d+)$/.test(text))
    throw invalidVariable(name, text, 'expected true, false or a list of hosts');
  return text === 'true' ? 'all' : read.hosts(name);
}
