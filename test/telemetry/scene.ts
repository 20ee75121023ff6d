/** A registry, the built service in front of it, and a collector that its spans go to. */

import assert from 'node:assert/strict';
import { gunzipSync, zstdDecompressSync } from 'node:zlib';
import { type BuiltService, startBuiltService } from '../support/built-service.ts';
import { type FakeRegistry, type FakeRegistryOptions, startFakeRegistry } from '../support/fake-registry.ts';
import { type BuiltImage, type BuiltIndex, makeImage, makeIndex, makeLayer } from '../support/image.ts';
import { type ExportedSpan, type OtlpReceiver, startOtlpReceiver } from '../support/otlp-receiver.ts';
import { type Attempt, client, internal } from './expected-spans.ts';
import { ANY, assertNested, assertTypes, type SpanTree, sorted, treesOf } from './span-tree.ts';

/** Two layers, one of each compression. */
export const IMAGE = makeImage({
  layers: [
    { tar: makeLayer({ one: 'first' }), compression: 'gzip' },
    { tar: makeLayer({ two: 'second' }), compression: 'zstd' },
  ],
});

/** Who may pull where the registry asks. */
export const USER = { name: 'somebody', password: 'something-secret' };

export const FILE = '/docker/team_app_1.tar';
export const ROUTE = '/docker/{filename}';

/** The three, running. Disposing of the scene stops them. */
export interface Scene extends AsyncDisposable {
  readonly registry: FakeRegistry;
  readonly service: BuiltService;
  readonly receiver: OtlpReceiver;
  /** What the registry has as `team/app:1`, in the index. */
  readonly image: BuiltImage;
  readonly index: BuiltIndex;
}

/** The scene without what runs in it, for what only wants to know the image. */
export type Subject = Pick<Scene, 'registry' | 'image' | 'index'>;

/**
 * Start a scene.
 *
 * @param options of the registry
 * @param env of the service, put over its registry and the collector
 * @param image what to put into the registry
 */
export async function startScene(
  options: FakeRegistryOptions = {},
  env: Readonly<Record<string, string>> = {},
  image = IMAGE,
): Promise<Scene> {
  await using stack = new AsyncDisposableStack();
  const receiver = stack.use(await startOtlpReceiver());
  const registry = stack.use(await startFakeRegistry(options));
  const index = makeIndex([{ image }]);
  registry.push('team/app', '1', index);
  const service = stack.use(
    await startBuiltService({
      REGISTRY_URL: registry.url,
      OTEL_EXPORTER_OTLP_ENDPOINT: receiver.endpoint,
      OTEL_METRICS_EXPORTER: 'none',
      OTEL_LOGS_EXPORTER: 'none',
      OTEL_BSP_SCHEDULE_DELAY: '20',
      ...env,
    }),
  );
  const all = stack.move();
  return { registry, service, receiver, image, index, [Symbol.asyncDispose]: () => all.disposeAsync() };
}

/**
 * The spans of a request, once its own, which is the last to end, has arrived.
 *
 * @param fields of the request's line in the log
 */
export async function traceOf(
  { service, receiver }: Scene,
  fields: Readonly<Record<string, unknown>>,
): Promise<readonly ExportedSpan[]> {
  const { trace_id: traceId } = await service.waitForLog({ event: 'request', ...fields });
  assert.match(String(traceId), /^[0-9a-f]{32}$/);
  return await receiver.waitFor(`the trace ${traceId}`, ({ spans }) => {
    const trace = spans.filter((span) => span.traceId === traceId);
    return trace.some(({ kind }) => kind === 'server') ? trace : undefined;
  });
}

/** Compares the one trace of a request with the tree that is expected. */
export async function expectTrace(
  scene: Scene,
  fields: Readonly<Record<string, unknown>>,
  expected: SpanTree,
): Promise<void> {
  const spans = await traceOf(scene, fields);
  assert.deepEqual(treesOf(spans), [sorted(expected)]);
  assertNested(spans);
  assertTypes(spans);
}

/** What is known of the image by its name. */
export function named({ registry }: Subject, tag = '1') {
  const name = `${registry.host}/team/app`;
  return {
    'container.image.name': name,
    'container.image.tag': tag,
    'container.image.tags': [tag],
    'oci.image.ref': `${name}:${tag}`,
  };
}

/** What is known of the image once its manifest is here. */
export function resolved(subject: Subject) {
  const { registry, image } = subject;
  return {
    ...named(subject),
    'container.image.id': image.config.digest,
    'container.image.repo_digests': [`${registry.host}/team/app@${image.manifest.digest}`],
    'oci.manifest.digest': image.manifest.digest,
    'oci.image.config.digest': image.config.digest,
  };
}

/** What is known of the registry. */
export function from({ registry }: Subject, source: 'environment' | 'request' = 'environment') {
  return {
    'registry.name': registry.host,
    'registry.url': registry.origin,
    'registry.target.source': source,
    'registry.default_namespace': '',
  };
}

/** The step that looks for the client's credentials. */
export function credentials(
  mode: 'off' | 'optional' | 'required',
  facts: { present?: boolean; used?: boolean; challenge?: boolean; error?: string } = {},
): SpanTree {
  const { present = false, used = false, challenge = false, error } = facts;
  return internal('extract_registry_client_credentials', {
    'registry.client_auth.mode': mode,
    'registry.client_auth.credentials_present': present,
    'registry.client_auth.credentials_used': used,
    'registry.client_auth.challenge_sent': challenge,
    'error.type': error,
  });
}

/** What may differ between attempts for one thing. */
type Fields = Partial<Attempt>;

const BLOB = { template: '/v2/{repository}/blobs/{digest}' } as const;

/** An attempt for a manifest: the index by its tag, unless said. */
export function manifestSpan(
  { registry, image, index }: Subject,
  fields: Fields = {},
  reference = '1',
): SpanTree {
  const { bytes } = reference === '1' ? index.manifest : image.manifest;
  return client({
    origin: registry.origin,
    path: `/v2/team/app/manifests/${reference}`,
    template: '/v2/{repository}/manifests/{reference}',
    operation: 'manifest',
    status: 200,
    size: bytes.length,
    ...fields,
  });
}

/** An attempt for the config. */
export function configSpan({ registry: { origin }, image }: Subject, fields: Fields = {}): SpanTree {
  const path = `/v2/team/app/blobs/${image.config.digest}`;
  const size = image.config.bytes.length;
  return client({ origin, path, ...BLOB, operation: 'config', status: 200, size, ...fields });
}

/** An attempt for a layer, counted from 1. */
export function layerSpan(subject: Subject, index: number, fields: Fields = {}): SpanTree {
  const { digest, blob } = layer(subject, index);
  const { origin } = subject.registry;
  const path = `/v2/team/app/blobs/${digest}`;
  return client({ origin, path, ...BLOB, operation: 'layer', status: 200, size: blob.length, ...fields });
}

/** An attempt to get a token. */
export function tokenSpan({ registry: { origin } }: Subject, fields: Fields = {}): SpanTree {
  return client({
    origin,
    path: '/token',
    template: '/token',
    operation: 'token',
    service: 'fake-registry',
    status: 200,
    size: ANY,
    ...fields,
  });
}

/** The step that fetches a layer, counted from 1, and what it made: below it what is given. */
export function downloadStep(
  subject: Subject,
  index: number,
  children: readonly SpanTree[],
  from: 'registry' | 'cache' = 'registry',
): SpanTree {
  const source = { 'passthrough.layer.source': from };
  const facts = { ...layerFacts(subject, index), ...layerSize(subject, index), ...source };
  return internal(`download_layer_${index}`, facts, { children });
}

/** The step that sends a layer, counted from 1. */
export function writeStep(subject: Subject, index: number, ...[facts, rest]: Failure | []): SpanTree {
  return internal(
    `write_layer_tar_${index}`,
    { ...layerFacts(subject, index), ...layerSize(subject, index), ...facts },
    rest,
  );
}

/** Facts of a layer, counted from 1, that are known before it is fetched. */
export function layerFacts(subject: Subject, index: number) {
  const { digest, blob } = layer(subject, index);
  return {
    'oci.layer.index': index,
    'oci.layer.digest': digest,
    'oci.layer.compressed_size': blob.length,
  };
}

function layerSize(subject: Subject, index: number) {
  const { blob, mediaType } = layer(subject, index);
  const tar = mediaType.endsWith('zstd') ? zstdDecompressSync(blob) : gunzipSync(blob);
  return { 'oci.layer.decompressed_size': tar.length };
}

function layer({ image }: Subject, index: number) {
  return image.layers[index - 1] ?? assert.fail(`no layer ${index}`);
}

/** What makes an internal span one that failed: its `error.type`, and its status with whatever is given. */
export type Failure = [
  attributes: { readonly 'error.type': string },
  rest: Pick<SpanTree, 'status'> & Partial<SpanTree>,
];

/** What a failure adds to a span. */
export function failure(type: string, rest: Partial<SpanTree> = {}): Failure {
  return [{ 'error.type': type }, { status: 'error', ...rest }];
}

/** The steps of a pull in which nothing goes wrong until it is sent, below the span of the request. */
export function preparedSteps(
  subject: Subject,
  {
    credentials: extracted = credentials('optional'),
    manifests = [manifestSpan(subject), manifestSpan(subject, {}, subject.image.manifest.digest)],
    config = [configSpan(subject)],
    layers = subject.image.layers.map((_, at) => [layerSpan(subject, at + 1)]),
  }: {
    credentials?: SpanTree;
    manifests?: readonly SpanTree[];
    config?: readonly SpanTree[];
    layers?: readonly (readonly SpanTree[])[];
  } = {},
): SpanTree[] {
  return [
    internal('parse_image_request', named(subject)),
    extracted,
    internal('resolve_manifest', resolved(subject), { children: manifests }),
    internal('fetch_config_blob', resolved(subject), { children: config }),
    ...layers.map((children, at) => downloadStep(subject, at + 1, children)),
  ];
}

/** The steps of a pull in which nothing goes wrong, below the span of the request. */
export function healthySteps(
  subject: Subject,
  attempts: Parameters<typeof preparedSteps>[1] = {},
): SpanTree[] {
  const written = subject.image.layers.map((_, at) => writeStep(subject, at + 1));
  return [...preparedSteps(subject, attempts), ...written];
}
