/**
 * Starts OpenTelemetry's SDK. This module and all that it loads are loaded only where something is to be exported: it takes
 * longer to load than the rest of the service.
 */

import { setTimeout as delay } from 'node:timers/promises';
import { diag, logs, metrics, ProxyTracerProvider, trace } from '@opentelemetry/api';
import { RuntimeNodeInstrumentation } from '@opentelemetry/instrumentation-runtime-node';
import { defaultResource, resourceFromAttributes } from '@opentelemetry/resources';
import { NodeSDK } from '@opentelemetry/sdk-node';
import { VERSION } from '../version.ts';
import { diagLogger, diagLogLevel } from './diagnostics.ts';
import type { Logger } from './log.ts';

/**
 * Longest wait for what is still to be exported when the service stops, in milliseconds. With the longest drain it stays
 * within the half minute that orchestrators give.
 */
const FLUSH_MS = 3_000;

/** Resource detectors that ask a cloud's metadata service, or whose packages the SDK does not bring. */
const FURTHER_DETECTORS = ['alibaba', 'aws', 'azure', 'container', 'gcp'];

/** Of the variables that say where signals go: all, and each of them. */
const OTLP_PREFIXES = ['', '_TRACES', '_METRICS', '_LOGS'].map((signal) => `OTEL_EXPORTER_OTLP${signal}`);

/** What {@link startTelemetry} starts from. */
export interface TelemetryOptions {
  /** Names of the exporters of each signal, as in `OTEL_TRACES_EXPORTER`; none for a signal that stays here. */
  readonly exporters: { readonly [signal in 'TRACES' | 'METRICS' | 'LOGS']: readonly string[] };
  /** `process.env` itself: the SDK reads its variables there, and finds this product's defaults there after the start. */
  readonly environment: NodeJS.ProcessEnv;
  /** Where the SDK's own troubles go; what it writes must not be exported again. */
  readonly logger: Logger;
}

/** A started SDK. */
export interface Telemetry {
  /** Exports what is left, within a bound, and stops. Never rejects: telemetry must not hurt a stop. */
  stop(): Promise<void>;
}

/**
 * Starts the SDK from the standard variables. Differs from the SDK's own defaults in three things: OTLP goes over gRPC, the
 * service has a name, and resource detectors that reach out are used only where `OTEL_NODE_RESOURCE_DETECTORS` names them.
 * No instrumentation is loaded but that of Node's runtime: all spans are made where the work is.
 *
 * @see https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
 */
export async function startTelemetry(options: TelemetryOptions): Promise<Telemetry> {
  const { exporters, environment, logger } = options;
  diag.setLogger(diagLogger(logger), { logLevel: diagLogLevel(environment['OTEL_LOG_LEVEL']) });
  setDefaults(environment, exporters);
  const resourceDetectors = await furtherDetectors(environment);
  const sdk = new NodeSDK({
    resource: defaultResource().merge(
      resourceFromAttributes({ 'service.name': 'docker-http-passthrough', 'service.version': VERSION }),
    ),
    ...(resourceDetectors !== undefined && { resourceDetectors }),
    instrumentations: exporters.METRICS.length > 0 ? [new RuntimeNodeInstrumentation()] : [],
    ...(exporters.TRACES.length === 0 && { spanProcessors: [] }),
    ...(exporters.METRICS.length === 0 && { metricReaders: [] }),
    ...(exporters.LOGS.length === 0 && { logRecordProcessors: [] }),
  });
  sdk.start();
  return { stop: flush };
}

function setDefaults(environment: NodeJS.ProcessEnv, exporters: TelemetryOptions['exporters']): void {
  environment['OTEL_EXPORTER_OTLP_PROTOCOL'] ||= 'grpc';
  for (const prefix of OTLP_PREFIXES) {
    // In any case here, as all that takes one of a few words; in lower case there.
    const protocol = environment[`${prefix}_PROTOCOL`];
    if (protocol !== undefined) environment[`${prefix}_PROTOCOL`] = protocol.trim().toLowerCase();
  }
  for (const [signal, names] of Object.entries(exporters)) {
    environment[`OTEL_${signal}_EXPORTER`] = names.join(',');
  }
  // A proxy on the way to registries is none on the way to the collector, unless gRPC is given one of its own.
  if (!environment['grpc_proxy']) environment['no_grpc_proxy'] ||= collectorHosts(environment).join(',');
  // It would write to the console by itself.
  environment['GRPC_VERBOSITY'] ||= 'NONE';
  // The SDK would set a logger of its own by it, which writes to the console.
  environment['OTEL_LOG_LEVEL'] = '';
}

function collectorHosts(environment: NodeJS.ProcessEnv): readonly string[] {
  const endpoints = OTLP_PREFIXES.map((prefix) => environment[`${prefix}_ENDPOINT`]?.trim() ?? '');
  return endpoints.flatMap((endpoint) => {
    const url = URL.parse(endpoint.includes('://') ? endpoint : `http://${endpoint}`);
    return url === null ? [] : [url.hostname.replace(/^\[|\]$/g, '')];
  });
}

/** The detectors that `OTEL_NODE_RESOURCE_DETECTORS` names, where the SDK does not know all of them by itself. */
async function furtherDetectors(environment: NodeJS.ProcessEnv) {
  const named = (environment['OTEL_NODE_RESOURCE_DETECTORS'] ?? '').split(',').map((name) => name.trim());
  if (!named.some((name) => FURTHER_DETECTORS.includes(name))) return undefined;
  const { getResourceDetectors } = await import('@opentelemetry/auto-instrumentations-node');
  return getResourceDetectors();
}

/**
 * Stops the providers side by side, each to its end: where one signal finds no taker, the others must not lose what they
 * hold, as they would by the SDK's own `shutdown`, which is over at the first failure.
 */
async function flush(): Promise<void> {
  const tracers = trace.getTracerProvider();
  const providers = [
    tracers instanceof ProxyTracerProvider ? tracers.getDelegate() : tracers,
    metrics.getMeterProvider(),
    logs.getLoggerProvider(),
  ];
  const isOver = new AbortController();
  const stopped = Promise.allSettled(providers.map(shutDown));
  const late = delay(FLUSH_MS, 'late' as const, { signal: isOver.signal }).catch(() => 'late' as const);
  const results = await Promise.race([stopped, late]);
  isOver.abort();
  const failure = results === 'late' ? undefined : results.find((result) => result.status === 'rejected');
  if (results !== 'late' && failure === undefined) return;
  const why =
    failure?.reason instanceof Error ? failure.reason.message : `no answer within ${FLUSH_MS / 1000} s`;
  diag.warn(`Cannot export what was left: ${why}`);
}

async function shutDown(provider: object): Promise<void> {
  if ('shutdown' in provider && typeof provider.shutdown === 'function') await provider.shutdown();
}
