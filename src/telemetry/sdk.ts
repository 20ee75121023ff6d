/**
 * Starts OpenTelemetry's SDK. This module is loaded only if there is an exporter: with the SDK, it takes longer to load than
 * the rest of the service.
 */

import { setTimeout as delay } from 'node:timers/promises';
import { diag, logs, metrics, ProxyTracerProvider, trace } from '@opentelemetry/api';
import { PrometheusExporter } from '@opentelemetry/exporter-prometheus';
import { RuntimeNodeInstrumentation } from '@opentelemetry/instrumentation-runtime-node';
import { defaultResource, resourceFromAttributes } from '@opentelemetry/resources';
import { NodeSDK } from '@opentelemetry/sdk-node';
import { VERSION } from '../version.ts';
import { diagLogger, diagLogLevel } from './diagnostics.ts';
import type { Logger } from './log.ts';
import { withUnit } from './prometheus-names.ts';

/**
 * Longest last export when the service stops, in milliseconds. Together with the default of `SHUTDOWN_TIMEOUT` (25 s) it fits
 * into the 30 s that orchestrators wait.
 */
const FLUSH_MS = 3_000;

/** Resource detectors that contact a metadata service of a cloud, or whose packages are not part of the SDK. */
const FURTHER_DETECTORS = ['alibaba', 'aws', 'azure', 'container', 'gcp'];

/** Prefixes of the OTLP variables: for all signals, and for each signal. */
const OTLP_PREFIXES = ['', '_TRACES', '_METRICS', '_LOGS'].map((signal) => `OTEL_EXPORTER_OTLP${signal}`);

/** Settings of {@link startTelemetry}. */
export interface TelemetryOptions {
  /** Exporters of each signal, as in `OTEL_TRACES_EXPORTER`; empty for a signal that is not exported. */
  readonly exporters: { readonly [signal in 'TRACES' | 'METRICS' | 'LOGS']: readonly string[] };
  /** `process.env` itself, where the SDK reads its variables. This product's defaults are added to it. */
  readonly environment: NodeJS.ProcessEnv;
  /** Receives the SDK's own messages. It must not export them again. */
  readonly logger: Logger;
}

/** A started SDK. */
export interface Telemetry {
  /** Exports the rest, for {@link FLUSH_MS} at most, and stops. Never rejects. */
  stop(): Promise<void>;
}

/**
 * Starts the SDK with the standard variables. Three defaults differ from the SDK's: OTLP uses gRPC, the service has a name, and
 * resource detectors that open connections are off unless `OTEL_NODE_RESOURCE_DETECTORS` names them. The only instrumentation
 * is that of Node's runtime: the code of the service starts its spans itself.
 *
 * @see https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
 */
export async function startTelemetry(options: TelemetryOptions): Promise<Telemetry> {
  const { exporters, environment, logger } = options;
  diag.setLogger(diagLogger(logger), { logLevel: diagLogLevel(environment['OTEL_LOG_LEVEL']) });
  setDefaults(environment, exporters);
  const resourceDetectors = await furtherDetectors(environment);
  if (exporters.METRICS.includes('prometheus')) addUnitsToNames();
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

/**
 * Makes every exporter for Prometheus add units. The SDK makes the exporter from environment variables, beside others, so there
 * is no place to pass another one in.
 */
function addUnitsToNames(): void {
  const { collect } = PrometheusExporter.prototype;
  PrometheusExporter.prototype.collect = async function (...args) {
    const { resourceMetrics, errors } = await collect.apply(this, args);
    const scopeMetrics = resourceMetrics.scopeMetrics.map(({ scope, metrics }) => ({
      scope,
      metrics: metrics.map((metric) => {
        const { name, unit } = metric.descriptor;
        return { ...metric, descriptor: { ...metric.descriptor, ...withUnit(name, unit) } };
      }),
    }));
    return { resourceMetrics: { ...resourceMetrics, scopeMetrics }, errors };
  };
}

function setDefaults(environment: NodeJS.ProcessEnv, exporters: TelemetryOptions['exporters']): void {
  environment['OTEL_EXPORTER_OTLP_PROTOCOL'] ||= 'grpc';
  for (const prefix of OTLP_PREFIXES) {
    // The SDK knows protocols in lower case only.
    const protocol = environment[`${prefix}_PROTOCOL`];
    if (protocol !== undefined) environment[`${prefix}_PROTOCOL`] = protocol.trim().toLowerCase();
  }
  for (const [signal, names] of Object.entries(exporters)) {
    environment[`OTEL_${signal}_EXPORTER`] = names.join(',');
  }
  // The proxy for registries does not apply to the collector, unless gRPC has its own proxy variable.
  if (!environment['grpc_proxy']) environment['no_grpc_proxy'] ||= collectorHosts(environment).join(',');
  // gRPC would write to the console.
  environment['GRPC_VERBOSITY'] ||= 'NONE';
  // With this variable, the SDK would set its own logger, which writes to the console.
  environment['OTEL_LOG_LEVEL'] = '';
}

function collectorHosts(environment: NodeJS.ProcessEnv): readonly string[] {
  const endpoints = OTLP_PREFIXES.map((prefix) => environment[`${prefix}_ENDPOINT`]?.trim() ?? '');
  return endpoints.flatMap((endpoint) => {
    const url = URL.parse(endpoint.includes('://') ? endpoint : `http://${endpoint}`);
    return url === null ? [] : [url.hostname.replace(/^\[|\]$/g, '')];
  });
}

/** The detectors of `OTEL_NODE_RESOURCE_DETECTORS`, if one of them is not part of the SDK. */
async function furtherDetectors(environment: NodeJS.ProcessEnv) {
  const named = (environment['OTEL_NODE_RESOURCE_DETECTORS'] ?? '').split(',').map((name) => name.trim());
  if (!named.some((name) => FURTHER_DETECTORS.includes(name))) return undefined;
  const { getResourceDetectors } = await import('@opentelemetry/auto-instrumentations-node');
  return getResourceDetectors();
}

/**
 * Shuts the providers down in parallel. The SDK's own `shutdown` ends at the first failure, so the other signals would lose
 * what they have not exported yet.
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
