/** A registry, the built service and a collector for its spans. */

import assert from 'node:assert/strict';
import { gunzipSync, zstdDecompressSync } from 'node:zlib';
import type { BuiltService } from '../support/built-service.ts';
import type { FakeRegistry, FakeRegistryOptions } from '../support/fake-registry.ts';
import { type BuiltImage, type BuiltIndex, makeImage, makeIndex, makeLayer } from '../support/image.ts';
import type { ExportedSpan, OtlpReceiver } from '../support/otlp-receiver.ts';
import { type Attempt, client, internal } from './expected-spans.ts';
import { startExporting, type Variables } from './exporting.ts';
import { ANY, assertNested, assertTypes, type SpanTree, sorted, treesOf } from './span-tree.ts';

/** Two layers, one of each compression. */
export const IMAGE = makeImage({
  layers: [
    { tar: makeLayer({ one: 'first' }), compression: 'gzip' },
    { tar: makeLayer({ two: 'second' }), compression: 'zstd' },
  ],
});

/** The user of registries with authentication. */
export const USER = { name: 'puller', password: 'something-secret' };

export const FILE = '/docker/team_app_1.tar';
export const ROUTE = '/docker/{filename}';

/** Variables of a service with a cache that exports only traces, and soon. */
const TRACES_ONLY: Variables = {
  CACHE_MAX_BYTES: '',
  OTEL_METRICS_EXPORTER: 'none',
  OTEL_LOGS_EXPORTER: 'none',
  OTEL_BSP_SCHEDULE_DELAY: '20',
};

/** The running parts. Disposal stops them. */
export interface Scene extends AsyncDisposable {
  readonly registry: FakeRegistry;
  readonly service: BuiltService;
  readonly receiver: OtlpReceiver;
  /** The image of `team/app:1`, which is an index. */
  readonly image: BuiltImage;
  readonly index: BuiltIndex;
}

/** The parts of a scene that the expected spans depend on. */
export type Subject = Pick<Scene, 'registry' | 'image' | 'index'>;

/**
 * Starts a scene.
 *
 * @param options of the registry
 * @param env variables of the service; they override the defaults
 * @param image content of `team/app:1`
 */
export async function startScene(
  options: FakeRegistryOptions = {},
  env: Variables = {},
  image = IMAGE,
): Promise<Scene> {
  const exporting = await startExporting({ ...options, env: () => ({ ...TRACES_ONLY, ...env }) });
  const { registry, service, receiver } = exporting;
  const index = makeIndex([{ image }]);
  registry.push('team/app', '1', index);
  const dispose = () => exporting[Symbol.asyncDispose]();
  return { registry, service, receiver, image, index, [Symbol.asyncDispose]: dispose };
}

/**
 * The spans of a request. Waits for the server span, which ends last.
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

/** Compares the trace of a request with the expected tree. */
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

/** Attributes of the image's name. */
export function named({ registry }: Subject, tag = '1') {
  const name = `${registry.host}/team/app`;
  return {
    'container.image.name': name,
    'container.image.tag': tag,
    'container.image.tags': [tag],
    'oci.image.ref': `${name}:${tag}`,
  };
}

/** Attributes of the image with its manifest. */
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

/** Attributes of the registry. */
export function from({ registry }: Subject, source: 'environment' | 'request' = 'environment') {
  return {
    'registry.name': registry.host,
    'registry.url': registry.origin,
    'registry.target.source': source,
    'registry.default_namespace': '',
  };
}

/** The step that extracts the client's credentials. */
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

/** Attributes that differ between attempts. */
type Fields = Partial<Attempt>;

const BLOB = { template: '/v2/{repository}/blobs/{digest}' } as const;

/** A request for a manifest; by default the index, by its tag. */
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

/** A request for the config. */
export function configSpan({ registry: { origin }, image }: Subject, fields: Fields = {}): SpanTree {
  const path = `/v2/team/app/blobs/${image.config.digest}`;
  const size = image.config.bytes.length;
  return client({ origin, path, ...BLOB, operation: 'config', status: 200, size, ...fields });
}

/** A request for a layer, counted from 1. */
export function layerSpan(subject: Subject, index: number, fields: Fields = {}): SpanTree {
  const { digest, blob } = layer(subject, index);
  const { origin } = subject.registry;
  const path = `/v2/team/app/blobs/${digest}`;
  return client({ origin, path, ...BLOB, operation: 'layer', status: 200, size: blob.length, ...fields });
}

/** A request for a token. */
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

/** The step that fetches a layer, counted from 1. */
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

/** Attributes of a layer, counted from 1, before it is fetched. */
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

/** The parts of a failed span: `error.type`, and its status. */
export type Failure = [
  attributes: { readonly 'error.type': string },
  rest: Pick<SpanTree, 'status'> & Partial<SpanTree>,
];

/** The parts that a failure adds to a span. */
export function failure(type: string, rest: Partial<SpanTree> = {}): Failure {
  return [{ 'error.type': type }, { status: 'error', ...rest }];
}

/** A step that fails, with what it has besides. */
export function failedStep(
  name: string,
  facts: Parameters<typeof internal>[1],
  type: string,
  rest: Partial<SpanTree> = {},
): SpanTree {
  const [error, status] = failure(type, rest);
  return internal(name, { ...facts, ...error }, status);
}

/** The steps of a successful pull until it is sent, below the span of the request. */
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

/** The steps of a successful pull, below the span of the request. */
export function healthySteps(
  subject: Subject,
  attempts: Parameters<typeof preparedSteps>[1] = {},
): SpanTree[] {
  const written = subject.image.layers.map((_, at) => writeStep(subject, at + 1));
  return [...preparedSteps(subject, attempts), ...written];
}
