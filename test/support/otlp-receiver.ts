/**
 * An OTLP/gRPC receiver in this process. It uses the service definitions of OTLP and no code of the SDK, so it reads exports like
 * a collector.
 */

import { mkdir, mkdtempDisposable, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type handleUnaryCall, Server, ServerCredentials, status } from '@grpc/grpc-js';
import { load, type PackageDefinition, type ServiceDefinition } from '@grpc/proto-loader';
import { Conditions } from './conditions.ts';
import { within } from './within.ts';

/**
 * Value of an attribute or of the body of a log record. An integer is a number, inexact above 2^53. Bytes are lower-case hex. An
 * empty value is null.
 */
export type AttributeValue =
  | string
  | number
  | boolean
  | null
  | readonly AttributeValue[]
  | { readonly [key: string]: AttributeValue };

/** Attributes by name. */
export type Attributes = Readonly<Record<string, AttributeValue>>;

/** A received span. */
export interface ExportedSpan {
  /** Lower-case hex, like all IDs. */
  readonly traceId: string;
  readonly spanId: string;
  /** Absent for a root. */
  readonly parentSpanId: string | undefined;
  readonly name: string;
  readonly kind: 'internal' | 'server' | 'client' | 'producer' | 'consumer';
  readonly attributes: Attributes;
  /**
   * The OTLP type of each attribute: `string`, `int`, `double`, `bool`, `bytes`, `map`, `empty`, or `array<…>` with the types of
   * its elements, joined by `|`.
   */
  readonly types: Readonly<Record<string, string>>;
  readonly status: 'unset' | 'ok' | 'error';
  /** Empty without a message. */
  readonly statusMessage: string;
  readonly events: readonly { readonly name: string; readonly attributes: Attributes }[];
  /** Since 1970, like all times. */
  readonly startNs: bigint;
  readonly endNs: bigint;
  readonly resource: Attributes;
  /** The name of the tracer. */
  readonly scope: string;
}

/** Kind of a metric, which determines the fields of its points. */
export type MetricKind = 'sum' | 'gauge' | 'histogram' | 'exponentialHistogram' | 'summary';

/** The current value of one time series. */
export interface ExportedPoint {
  readonly attributes: Attributes;
  /** For sums and gauges. */
  readonly value?: number;
  /** For histograms of both kinds. */
  readonly count?: number;
  readonly sum?: number;
  /** For histograms with explicit bounds. */
  readonly bounds?: readonly number[];
  readonly bucketCounts?: readonly number[];
}

/** A metric of one export. */
export interface ExportedMetric {
  readonly name: string;
  readonly unit: string;
  readonly description: string;
  readonly kind: MetricKind;
  /** For sums. */
  readonly isMonotonic?: boolean;
  readonly points: readonly ExportedPoint[];
  readonly resource: Attributes;
  /** The name of the meter. */
  readonly scope: string;
}

/** A received log record. */
export interface ExportedLog {
  readonly body: AttributeValue;
  readonly severityText: string;
  readonly severityNumber: number;
  /** Empty without a name. */
  readonly eventName: string;
  readonly attributes: Attributes;
  /** Absent without an active span. */
  readonly traceId: string | undefined;
  readonly spanId: string | undefined;
  readonly timeNs: bigint;
  readonly resource: Attributes;
  /** The name of the logger. */
  readonly scope: string;
}

/** A running receiver. Its records include exports that it refuses or does not answer. */
export interface OtlpReceiver extends AsyncDisposable {
  /** `http://127.0.0.1:{port}`, for `OTEL_EXPORTER_OTLP_ENDPOINT`. */
  readonly endpoint: string;
  readonly port: number;
  /** In the order of arrival. */
  readonly spans: readonly ExportedSpan[];
  /** In the order of arrival. A metric is listed once for each export. */
  readonly metrics: readonly ExportedMetric[];
  readonly logs: readonly ExportedLog[];
  /** Number of exports of all signals. */
  readonly requests: number;
  /** The headers of each export, names in lower case. */
  readonly metadata: readonly Readonly<Record<string, string>>[];
  /** All messages, decompressed, for the search for secrets. */
  readonly bytes: Buffer;
  /**
   * Waits until `find` returns a value. It is called at once and after each export.
   *
   * @param what description for the error
   * @param find returns `undefined` to wait for further exports
   * @param limitMs longest wait; default: many times the duration of an export
   * @returns the value of `find`
   * @throws the error of `find`; Error after the time limit, or if the receiver is closed
   */
  waitFor<T>(what: string, find: (receiver: OtlpReceiver) => T | undefined, limitMs?: number): Promise<T>;
  /** Closes all connections and frees the port. Further calls do nothing. */
  close(): Promise<void>;
}

/** Settings of {@link startOtlpReceiver}. */
export interface OtlpReceiverOptions {
  /** Default: any free port. The port of a closed receiver simulates a collector that restarts. */
  readonly port?: number;
  /**
   * Default: `ok`. `never` does not answer exports, like a collector that hangs. `unavailable` refuses exports, like an
   * overloaded collector. `traces-only` accepts traces and does not implement the other signals, like Jaeger.
   */
  readonly respond?: 'ok' | 'never' | 'unavailable' | 'traces-only';
}

/**
 * Starts a receiver of traces, metrics and logs on 127.0.0.1, without TLS.
 *
 * @throws Error if the port is in use
 */
export async function startOtlpReceiver(options: OtlpReceiverOptions = {}): Promise<OtlpReceiver> {
  const { port: wantedPort = 0, respond = 'ok' } = options;
  loading ??= loadServices();
  const services = await loading;
  const events = new Conditions();
  const spans: ExportedSpan[] = [];
  const metrics: ExportedMetric[] = [];
  const logs: ExportedLog[] = [];
  const metadata: Record<string, string>[] = [];
  const messages: Buffer[] = [];
  const server = new Server();

  const serve = <Request>(name: string, take: (request: Request) => void): void => {
    const method = (services[name] as ServiceDefinition | undefined)?.['Export'];
    if (method === undefined) {
      throw new Error(`Cannot serve ${name}: the definitions of OTLP do not contain it`);
    }
    const requestDeserialize = (bytes: Buffer): object => {
      messages.push(bytes); // before parsing: malformed messages count too
      return method.requestDeserialize(bytes);
    };
    const handle: handleUnaryCall<Request, object> = (call, callback) => {
      const headers = Object.entries(call.metadata.getMap());
      metadata.push(Object.fromEntries(headers.map(([header, value]) => [header, value.toString()])));
      take(call.request);
      if (respond === 'unavailable') {
        callback({ code: status.UNAVAILABLE, details: 'this receiver accepts nothing' });
      } else if (respond === 'traces-only' && !name.includes('.trace.')) {
        callback({ code: status.UNIMPLEMENTED, details: `unknown service ${name}` });
      } else if (respond !== 'never') {
        callback(null, {});
      }
      events.changed();
    };
    server.addService({ Export: { ...method, requestDeserialize } }, { Export: handle });
  };
  serve('opentelemetry.proto.collector.trace.v1.TraceService', (request: TraceRequest) => {
    spans.push(...request.resourceSpans.flatMap(spansOf));
  });
  serve('opentelemetry.proto.collector.metrics.v1.MetricsService', (request: MetricsRequest) => {
    metrics.push(...request.resourceMetrics.flatMap(metricsOf));
  });
  serve('opentelemetry.proto.collector.logs.v1.LogsService', (request: LogsRequest) => {
    logs.push(...request.resourceLogs.flatMap(logsOf));
  });

  const bound = Promise.withResolvers<number>();
  server.bindAsync(`127.0.0.1:${wantedPort}`, ServerCredentials.createInsecure(), (error, port) =>
    error ? bound.reject(error) : bound.resolve(port),
  );
  const port = await bound.promise;
  const endpoint = `http://127.0.0.1:${port}`;

  const close = async (): Promise<void> => {
    // Frees the port before it returns. `tryShutdown` would wait for clients.
    server.forceShutdown();
    events.close(new Error(`Cannot wait for ${endpoint}: the receiver is closed`));
  };
  const receiver: OtlpReceiver = {
    endpoint,
    port,
    spans,
    metrics,
    logs,
    metadata,
    get requests() {
      return metadata.length;
    },
    get bytes() {
      return Buffer.concat(messages);
    },
    waitFor: async (what, find, limitMs) => {
      const probe = () => {
        try {
          const found = find(receiver);
          return found === undefined ? undefined : () => found;
        } catch (error) {
          // Thrown to the waiting caller, not to the client whose export has arrived.
          return () => {
            throw error;
          };
        }
      };
      const outcome = await within(events.when(probe), what, limitMs);
      return outcome();
    },
    close,
    [Symbol.asyncDispose]: close,
  };
  return receiver;
}

/** The definitions, loaded once for all receivers. */
let loading: Promise<PackageDefinition> | undefined;

async function loadServices(): Promise<PackageDefinition> {
  const official = dirname(fileURLToPath(import.meta.resolve('@elastic/mockotlpserver/package.json')));
  await using newer = await mkdtempDisposable(join(tmpdir(), 'otlp-'));
  // These files may be a version in which log records have no event name.
  const path = join('opentelemetry', 'proto', 'logs', 'v1', 'logs.proto');
  const text = await readFile(join(official, path), 'utf8');
  await mkdir(dirname(join(newer.path, path)), { recursive: true });
  await writeFile(
    join(newer.path, path),
    /^\s*string event_name = 12;/m.test(text)
      ? text
      : text.replace(/^message LogRecord \{$/m, '$&\n  string event_name = 12;'),
  );
  return await load(
    ['trace', 'metrics', 'logs'].map(
      (signal) => `opentelemetry/proto/collector/${signal}/v1/${signal}_service.proto`,
    ),
    // Every field has a value, except for the unused fields of a oneof. The name of the used one is a field too.
    { includeDirs: [newer.path, official], longs: String, defaults: true, oneofs: true },
  );
}

// Parsed messages: 64-bit integers are decimal text, enums are numbers, absent messages are null.

type AnyValue =
  | { readonly value: 'stringValue'; readonly stringValue: string }
  | { readonly value: 'boolValue'; readonly boolValue: boolean }
  | { readonly value: 'intValue'; readonly intValue: string }
  | { readonly value: 'doubleValue'; readonly doubleValue: number }
  | { readonly value: 'arrayValue'; readonly arrayValue: { readonly values: readonly AnyValue[] } }
  | { readonly value: 'kvlistValue'; readonly kvlistValue: { readonly values: readonly KeyValue[] } }
  | { readonly value: 'bytesValue'; readonly bytesValue: Buffer }
  | { readonly value?: never };

interface KeyValue {
  readonly key: string;
  readonly value: AnyValue | null;
}

interface Attributed {
  readonly attributes: readonly KeyValue[];
}

interface Scope {
  readonly scope: { readonly name: string } | null;
}

interface ResourceSpans {
  readonly resource: Attributed | null;
  readonly scopeSpans: readonly (Scope & { readonly spans: readonly OtlpSpan[] })[];
}

interface OtlpSpan extends Attributed {
  readonly traceId: Buffer;
  readonly spanId: Buffer;
  readonly parentSpanId: Buffer;
  readonly name: string;
  readonly kind: number;
  readonly status: { readonly code: number; readonly message: string } | null;
  readonly events: readonly (Attributed & { readonly name: string })[];
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
}

interface ResourceMetrics {
  readonly resource: Attributed | null;
  readonly scopeMetrics: readonly (Scope & { readonly metrics: readonly OtlpMetric[] })[];
}

interface OtlpMetric extends Partial<Readonly<Record<MetricKind, OtlpData>>> {
  readonly name: string;
  readonly unit: string;
  readonly description: string;
  readonly data?: MetricKind;
}

interface OtlpData {
  readonly dataPoints: readonly OtlpPoint[];
  readonly isMonotonic?: boolean;
}

interface OtlpPoint extends Attributed {
  readonly asInt?: string;
  readonly asDouble?: number;
  readonly count?: string;
  readonly sum?: number;
  readonly explicitBounds?: readonly number[];
  readonly bucketCounts?: readonly string[];
}

interface ResourceLogs {
  readonly resource: Attributed | null;
  readonly scopeLogs: readonly (Scope & { readonly logRecords: readonly OtlpLog[] })[];
}

interface OtlpLog extends Attributed {
  readonly body: AnyValue | null;
  readonly severityText: string;
  readonly severityNumber: number;
  readonly eventName: string;
  readonly traceId: Buffer;
  readonly spanId: Buffer;
  readonly timeUnixNano: string;
}

interface TraceRequest {
  readonly resourceSpans: readonly ResourceSpans[];
}

interface MetricsRequest {
  readonly resourceMetrics: readonly ResourceMetrics[];
}

interface LogsRequest {
  readonly resourceLogs: readonly ResourceLogs[];
}

/** By their numbers in OTLP. An unspecified kind may be read as internal. */
const KINDS = ['internal', 'internal', 'server', 'client', 'producer', 'consumer'] as const;
const STATUSES = ['unset', 'ok', 'error'] as const;

function spansOf({ resource, scopeSpans }: ResourceSpans): ExportedSpan[] {
  return scopeSpans.flatMap(({ scope, spans }) =>
    spans.map((span) => ({
      traceId: span.traceId.toString('hex'),
      spanId: span.spanId.toString('hex'),
      parentSpanId: idOf(span.parentSpanId),
      name: span.name,
      kind: KINDS[span.kind] ?? 'internal',
      attributes: attributesOf(span),
      types: Object.fromEntries(span.attributes.map(({ key, value }) => [key, typed(value)[0]])),
      status: STATUSES[span.status?.code ?? 0] ?? 'unset',
      statusMessage: span.status?.message ?? '',
      events: span.events.map((event) => ({ name: event.name, attributes: attributesOf(event) })),
      startNs: BigInt(span.startTimeUnixNano),
      endNs: BigInt(span.endTimeUnixNano),
      resource: attributesOf(resource),
      scope: scope?.name ?? '',
    })),
  );
}

function metricsOf({ resource, scopeMetrics }: ResourceMetrics): ExportedMetric[] {
  return scopeMetrics.flatMap(({ scope, metrics }) =>
    metrics.flatMap((metric) => {
      const { name, unit, description, data: kind } = metric;
      if (kind === undefined) {
        return [];
      }
      const { dataPoints = [], isMonotonic } = metric[kind] ?? {};
      return {
        name,
        unit,
        description,
        kind,
        ...(isMonotonic !== undefined && { isMonotonic }),
        points: dataPoints.map(pointOf),
        resource: attributesOf(resource),
        scope: scope?.name ?? '',
      };
    }),
  );
}

function pointOf(point: OtlpPoint): ExportedPoint {
  const { asInt, asDouble, count, sum, explicitBounds: bounds, bucketCounts } = point;
  const value = asDouble ?? asInt;
  return {
    attributes: attributesOf(point),
    ...(value !== undefined && { value: Number(value) }),
    ...(count !== undefined && { count: Number(count) }),
    ...(sum !== undefined && { sum }),
    ...(bounds && { bounds }),
    ...(bucketCounts && { bucketCounts: bucketCounts.map(Number) }),
  };
}

function logsOf({ resource, scopeLogs }: ResourceLogs): ExportedLog[] {
  return scopeLogs.flatMap(({ scope, logRecords }) =>
    logRecords.map((record) => ({
      body: typed(record.body)[1],
      severityText: record.severityText,
      severityNumber: record.severityNumber,
      eventName: record.eventName,
      attributes: attributesOf(record),
      traceId: idOf(record.traceId),
      spanId: idOf(record.spanId),
      timeNs: BigInt(record.timeUnixNano),
      resource: attributesOf(resource),
      scope: scope?.name ?? '',
    })),
  );
}

function idOf(bytes: Buffer): string | undefined {
  return bytes.length > 0 ? bytes.toString('hex') : undefined;
}

function attributesOf(owner: Attributed | null): Attributes {
  return Object.fromEntries((owner?.attributes ?? []).map(({ key, value }) => [key, typed(value)[1]]));
}

/** The type and the value. */
function typed(any: AnyValue | null): [type: string, value: AttributeValue] {
  switch (any?.value) {
    case 'stringValue':
      return ['string', any.stringValue];
    case 'boolValue':
      return ['bool', any.boolValue];
    case 'intValue':
      return ['int', Number(any.intValue)];
    case 'doubleValue':
      return ['double', any.doubleValue];
    case 'bytesValue':
      return ['bytes', any.bytesValue.toString('hex')];
    case 'kvlistValue':
      return ['map', attributesOf({ attributes: any.kvlistValue.values })];
    case 'arrayValue': {
      const members = any.arrayValue.values.map(typed);
      const types = new Set(members.map(([type]) => type));
      return [`array<${[...types].join('|')}>`, members.map(([, value]) => value)];
    }
    default:
      return ['empty', null];
  }
}
