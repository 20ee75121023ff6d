/** The built service with telemetry, a registry and a receiver of exports. */

import assert from 'node:assert/strict';
import { type BuiltService, type BuiltServiceOptions, startBuiltService } from '../support/built-service.ts';
import { type FakeRegistry, type FakeRegistryOptions, startFakeRegistry } from '../support/fake-registry.ts';
import type { Reply, RequestOptions } from '../support/http-request.ts';
import { type BuiltImage, makeGzipBombLayer, makeImage, makeLayer } from '../support/image.ts';
import {
  type ExportedMetric,
  type ExportedPoint,
  type ExportedSpan,
  type OtlpReceiver,
  startOtlpReceiver,
} from '../support/otlp-receiver.ts';

/** Environment variables. */
export type Variables = Readonly<Record<string, string>>;

/** Services that run concurrently in one file. Each is a process. */
export const CONCURRENCY = 4;

/** An image of two small layers in each registry, and its file name. */
export const IMAGE = makeImage({
  layers: [{ tar: makeLayer({ a: 'a' }) }, { tar: makeLayer({ b: 'b' }) }],
});
export const FILE = '/docker/team_app_1.tar';

/** Uncompressed bytes of the large image: many times the socket buffers of a connection. */
export const LARGE_BYTES = 64 * 1024 ** 2;

/** Makes an image that does not fit into the socket buffers. */
export async function makeLargeImage(): Promise<BuiltImage> {
  return makeImage({ layers: [await makeGzipBombLayer(LARGE_BYTES)] });
}

/** The running parts. Disposal stops them. */
export interface Exporting extends AsyncDisposable {
  readonly service: BuiltService;
  readonly registry: FakeRegistry;
  readonly receiver: OtlpReceiver;
  /** Sends a request and waits for its line in the log. */
  request(path: string, options?: RequestOptions): Promise<Reply>;
  /** Stops the service with exit code 0. It exports the rest before. */
  stop(): Promise<void>;
  /**
   * Pulls the image, and stops the service.
   *
   * @param headers of the request
   */
  pullAndStop(headers?: Readonly<Record<string, string>>): Promise<void>;
}

/** Settings of {@link startExporting}. */
export interface ExportingOptions extends FakeRegistryOptions, BuiltServiceOptions {
  /** Variables of the service. They override the URL of the registry and the endpoint for all signals. */
  readonly env?: (receiver: OtlpReceiver, registry: FakeRegistry) => Readonly<Record<string, string>>;
}

/** Starts a receiver, a registry with the image, and a service that uses both. */
export async function startExporting(options: ExportingOptions = {}): Promise<Exporting> {
  const { env = () => ({}), nodeArgs, main, ...registryOptions } = options;
  await using stack = new AsyncDisposableStack();
  const receiver = stack.use(await startOtlpReceiver());
  const registry = stack.use(await startFakeRegistry(registryOptions));
  registry.push('team/app', '1', IMAGE);
  const variables = {
    REGISTRY_URL: registry.url,
    // Without a cache, each request does all its work.
    CACHE_MAX_BYTES: '0',
    OTEL_EXPORTER_OTLP_ENDPOINT: receiver.endpoint,
    ...env(receiver, registry),
  };
  const service = stack.use(await startBuiltService(variables, { nodeArgs, main }));
  const request = async (path: string, requestOptions?: RequestOptions): Promise<Reply> => {
    const reply = await service.request(path, requestOptions);
    await service.waitForLog({ event: 'request', id: reply.headers['x-request-id'] });
    return reply;
  };
  const stop = async (): Promise<void> => {
    const { code, signal } = await service.stop();
    assert.deepEqual([code, signal], [0, null], service.output());
  };
  const all = stack.move();
  return {
    service,
    registry,
    receiver,
    request,
    stop,
    pullAndStop: async (headers = {}) => {
      const { status } = await request(FILE, { headers });
      assert.equal(status, 200, service.output());
      await stop();
    },
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  };
}

/** The only element of a list. */
export function only<T>(found: readonly T[]): T {
  const [one, another] = found;
  assert.ok(one !== undefined && another === undefined, `${found.length} were found`);
  return one;
}

/** The signals of which something has arrived, by the receiver's names. */
export function signalsOf(receiver: OtlpReceiver): readonly ('spans' | 'metrics' | 'logs')[] {
  return (['spans', 'metrics', 'logs'] as const).filter((signal) => receiver[signal].length > 0);
}

/** The span of the only request. */
export function serverSpan({ spans }: OtlpReceiver): ExportedSpan {
  return only(spans.filter(({ kind }) => kind === 'server'));
}

/** The last export of a metric. Exports are cumulative. */
export function lastMetric({ metrics }: OtlpReceiver, name: string): ExportedMetric {
  const metric = metrics.findLast((candidate) => candidate.name === name);
  assert.ok(
    metric,
    `there is no ${name} among ${[...new Set(metrics.map((other) => other.name))].join(', ')}`,
  );
  return metric;
}

/**
 * A metric as a table: the values of its points by their attributes.
 *
 * @param attributes their values are the key, separated by spaces; `-` for a missing attribute
 * @param worth value of a point; default: its value, or the count of a histogram
 */
export function tableOf(
  { points }: ExportedMetric,
  attributes: readonly string[],
  worth = ({ value, count }: ExportedPoint) => value ?? count,
): Record<string, number | undefined> {
  const entries = points.map(
    (point) => [attributes.map((name) => point.attributes[name] ?? '-').join(' '), worth(point)] as const,
  );
  assert.equal(new Set(entries.map(([key]) => key)).size, entries.length, 'two points have the same key');
  return Object.fromEntries(entries);
}
