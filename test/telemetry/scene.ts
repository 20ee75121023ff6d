/** A registry, the built service in front of it, and a collector that its spans go to. */

import assert from 'node:assert/strict';
import { type BuiltService, startBuiltService } from '../support/built-service.ts';
import { type FakeRegistry, type FakeRegistryOptions, startFakeRegistry } from '../support/fake-registry.ts';
import { type BuiltImage, makeImage, makeIndex, makeLayer } from '../support/image.ts';
import { type ExportedSpan, type OtlpReceiver, startOtlpReceiver } from '../support/otlp-receiver.ts';
import { type Attempt, client, internal } from './expected-spans.ts';
import { ANY, assertNested, assertTypes, type SpanTree, sorted, treesOf } from './span-tree.ts';

/** What the registry has as `team/app:1`, in an index: two layers, one of each compression. */
export const IMAGE = makeImage({
  layers: [
    { tar: makeLayer({ one: 'first' }), compression: 'gzip' },
    { tar: makeLayer({ two: 'second' }), compression: 'zstd' },
  ],
});
export const INDEX = makeIndex([{ image: IMAGE }]);

/** Who may pull where the registry asks. */
export const USER = { name: 'somebody', password: 'something-secret' };

export const FILE = '/docker/team_app_1.tar';
export const ROUTE = '/docker/{filename}';

/** The three, running. Disposing of the scene stops them. */
export interface Scene extends AsyncDisposable {
  readonly registry: FakeRegistry;
  readonly service: BuiltService;
  readonly receiver: OtlpReceiver;
}

/**
 * Start a scene.
 *
 * @param options of the registry
 * @param env of the service, put over its registry and the collector
 */
export async function startScene(
  options: FakeRegistryOptions = {},
  env: Readonly<Record<string, string>> = {},
): Promise<Scene> {
  await using stack = new AsyncDisposableStack();
  const receiver = stack.use(await startOtlpReceiver());
  const registry = stack.use(await startFakeRegistry(options));
  registry.push('team/app', '1', INDEX);
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
  return { registry, service, receiver, [Symbol.asyncDispose]: () => all.disposeAsync() };
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
export function named(registry: FakeRegistry, tag = '1') {
  const name = `${registry.host}/team/app`;
  return {
    'container.image.name': name,
    'container.image.tag': tag,
    'container.image.tags': [tag],
    'oci.image.ref': `${name}:${tag}`,
  };
}

/** What is known of the image once its manifest is here. */
export function resolved(registry: FakeRegistry, image: BuiltImage = IMAGE) {
  return {
    ...named(registry),
    'container.image.id': image.config.digest,
    'container.image.repo_digests': [`${registry.host}/team/app@${image.manifest.digest}`],
    'oci.manifest.digest': image.manifest.digest,
    'oci.image.config.digest': image.config.digest,
  };
}

/** What is known of the registry. */
export function from(registry: FakeRegistry, source: 'environment' | 'request' = 'environment') {
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
export function manifestSpan({ origin }: FakeRegistry, fields: Fields = {}, reference = '1'): SpanTree {
  const bytes = reference === '1' ? INDEX.manifest.bytes : IMAGE.manifest.bytes;
  return client({
    origin,
    path: `/v2/team/app/manifests/${reference}`,
    template: '/v2/{repository}/manifests/{reference}',
    operation: 'manifest',
    status: 200,
    size: bytes.length,
    ...fields,
  });
}

/** An attempt for the config. */
export function configSpan({ origin }: FakeRegistry, fields: Fields = {}): SpanTree {
  const path = `/v2/team/app/blobs/${IMAGE.config.digest}`;
  const size = IMAGE.config.bytes.length;
  return client({ origin, path, ...BLOB, operation: 'config', status: 200, size, ...fields });
}

/** An attempt for a layer, counted from 1. */
export function layerSpan({ origin }: FakeRegistry, index: number, fields: Fields = {}): SpanTree {
  const { digest, blob } = layer(index);
  const path = `/v2/team/app/blobs/${digest}`;
  return client({ origin, path, ...BLOB, operation: 'layer', status: 200, size: blob.length, ...fields });
}

/** An attempt to get a token. */
export function tokenSpan({ origin }: FakeRegistry, fields: Fields = {}): SpanTree {
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

/** Facts of a layer, counted from 1. */
export function layerFacts(index: number) {
  const { digest, blob } = layer(index);
  return {
    'oci.layer.index': index,
    'oci.layer.digest': digest,
    'oci.layer.compressed_size': blob.length,
  };
}

/** Bytes of a layer when it is unpacked. */
export const layerSize = (index: number) => ({ 'oci.layer.decompressed_size': LAYER_BYTES[index - 1] });

const LAYER_BYTES = [makeLayer({ one: 'first' }).length, makeLayer({ two: 'second' }).length] as const;

function layer(index: number) {
  return IMAGE.layers[index - 1] ?? assert.fail(`no layer ${index}`);
}

/** The steps of a pull in which nothing goes wrong, below the span of the request. */
export function healthySteps(
  registry: FakeRegistry,
  {
    credentials: extracted = credentials('optional'),
    manifests = [manifestSpan(registry), manifestSpan(registry, {}, IMAGE.manifest.digest)],
    config = [configSpan(registry)],
    layers = [[layerSpan(registry, 1)], [layerSpan(registry, 2)]],
  }: {
    credentials?: SpanTree;
    manifests?: readonly SpanTree[];
    config?: readonly SpanTree[];
    layers?: readonly (readonly SpanTree[])[];
  } = {},
): SpanTree[] {
  return [
    internal('parse_image_request', named(registry)),
    extracted,
    internal('resolve_manifest', resolved(registry), { children: manifests }),
    internal('fetch_config_blob', resolved(registry), { children: config }),
    ...layers.flatMap((children, at) => [
      internal(`download_layer_${at + 1}`, { ...layerFacts(at + 1), ...layerSize(at + 1) }, { children }),
      internal(`write_layer_tar_${at + 1}`, { ...layerFacts(at + 1), ...layerSize(at + 1) }),
    ]),
  ];
}
