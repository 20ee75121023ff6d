/** The built service with telemetry on: a registry before it, and a receiver of what it exports. */

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

/** An image of two small layers, and its file name: each registry here has it. */
export const IMAGE = makeImage({
  layers: [{ tar: makeLayer({ a: 'a' }) }, { tar: makeLayer({ b: 'b' }) }],
});
export const FILE = '/docker/team_app_1.tar';

/** Uncompressed bytes of the large image: many times what the two ends of a connection hold on the way. */
export const LARGE_BYTES = 64 * 1024 ** 2;

/** Make an image that a client which does not read cannot have got. */
export async function makeLargeImage(): Promise<BuiltImage> {
  return makeImage({ layers: [await makeGzipBombLayer(LARGE_BYTES)] });
}

/** All three; disposing of them stops them. */
export interface Exporting extends AsyncDisposable {
  readonly service: BuiltService;
  readonly registry: FakeRegistry;
  readonly receiver: OtlpReceiver;
  /** One request, over for the service too: the line of it is in the log. */
  request(path: string, options?: RequestOptions): Promise<Reply>;
  /** Stops the service in good order: all that it had to export has been exported. */
  stop(): Promise<void>;
  /**
   * Pulls the image, and stops the service.
   *
   * @param headers of the request
   */
  pullAndStop(headers?: Readonly<Record<string, string>>): Promise<void>;
}

/** How to start them. */
export interface ExportingOptions extends FakeRegistryOptions, BuiltServiceOptions {
  /** Puts variables over those that name the registry and, for all signals, the receiver. */
  readonly env?: (receiver: OtlpReceiver, registry: FakeRegistry) => Readonly<Record<string, string>>;
}

/** Start a receiver, a registry with the image, and a service that knows both. */
export async function startExporting(options: ExportingOptions = {}): Promise<Exporting> {
  const { env = () => ({}), nodeArgs, main, ...registryOptions } = options;
  await using stack = new AsyncDisposableStack();
  const receiver = stack.use(await startOtlpReceiver());
  const registry = stack.use(await startFakeRegistry(registryOptions));
  registry.push('team/app', '1', IMAGE);
  const variables = {
    REGISTRY_URL: registry.url,
    // Each request does all of its work.
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

/** The one of a list that is there once. */
export function only<T>(found: readonly T[]): T {
  const [one, another] = found;
  assert.ok(one !== undefined && another === undefined, `${found.length} were found`);
  return one;
}

/** What has arrived of any signal, by the receiver's own words for them. */
export function signalsOf(receiver: OtlpReceiver): readonly ('spans' | 'metrics' | 'logs')[] {
  return (['spans', 'metrics', 'logs'] as const).filter((signal) => receiver[signal].length > 0);
}

/** The span of the one request that was answered. */
export function serverSpan({ spans }: OtlpReceiver): ExportedSpan {
  return only(spans.filter(({ kind }) => kind === 'server'));
}

/** A metric as it was exported last; each export tells the whole time since the start. */
export function lastMetric({ metrics }: OtlpReceiver, name: string): ExportedMetric {
  const metric = metrics.findLast((candidate) => candidate.name === name);
  assert.ok(
    metric,
    `there is no ${name} among ${[...new Set(metrics.map((other) => other.name))].join(', ')}`,
  );
  return metric;
}

/**
 * A metric as a table: what its points are worth, by the attributes that tell them apart.
 *
 * @param attributes whose values make the key, with a space between them and `-` for one that is not there
 * @param worth of a point: the value or, of a histogram, the count unless said
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
