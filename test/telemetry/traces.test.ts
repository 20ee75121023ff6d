/** The traces of successful pulls: each span with its name, kind, parent, status and attributes. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { startFakeRegistry } from '../support/fake-registry.ts';
import { basic } from '../support/pair.ts';
import { client, internal, server } from './expected-spans.ts';
import {
  configSpan,
  credentials,
  downloadStep,
  expectTrace,
  FILE,
  from,
  healthySteps,
  IMAGE,
  layerSpan,
  manifestSpan,
  named,
  preparedSteps,
  ROUTE,
  resolved,
  type Scene,
  startScene,
  tokenSpan,
  traceOf,
  USER,
  writeStep,
} from './scene.ts';
import type { SpanTree } from './span-tree.ts';

const USERS = new Map([[USER.name, USER.password]]);
const CONFIGURED = { REGISTRY_USERNAME: USER.name, REGISTRY_PASSWORD: USER.password };
const AUTHORIZATION = { authorization: basic(USER.name, USER.password) };
const BY_DIGEST = IMAGE.manifest.digest;

/** How {@link expectPull} pulls, and what its span has besides. */
interface PullOptions {
  readonly name?: string;
  readonly path?: string;
  readonly query?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly attributes?: Readonly<Record<string, string | undefined>>;
}

/** Pulls the image, and compares the trace. */
async function expectPull(
  scene: Scene,
  children: readonly SpanTree[],
  { name = `GET ${ROUTE}`, path = FILE, query = '', headers = {}, attributes = {} }: PullOptions = {},
): Promise<void> {
  const { service } = scene;
  const reply = await service.request(`${path}${query}`, { headers });
  assert.equal(reply.status, 200, reply.body.toString());
  const facts = {
    ...from(scene),
    ...resolved(scene),
    'http.response.status_code': 200,
    'http.response.body.size': reply.body.length,
    ...attributes,
  };
  const expected = server(name, { port: service.port, path }, facts, { children });
  await expectTrace(scene, { id: reply.headers['x-request-id'] }, expected);
}

/** Requests information about an image, and compares the trace. */
async function expectInspection(
  scene: Scene,
  name: string,
  path: string,
  image: Record<string, string | readonly string[]>,
  step: SpanTree,
): Promise<void> {
  const { service, registry } = scene;
  const reply = await service.request(path);
  assert.equal(reply.status, 200, reply.body.toString());
  const facts = {
    ...image,
    'registry.name': registry.host,
    'registry.url': registry.origin,
    'http.response.status_code': 200,
  };
  const children = [internal('parse_image_request', image), credentials('optional'), step];
  const expected = server(name, { port: service.port, path }, facts, { children });
  await expectTrace(scene, { id: reply.headers['x-request-id'] }, expected);
}

/** Attributes of requests with a token. */
const BEARER = { auth: 'bearer', service: 'fake-registry' } as const;

/** The manifest requests of a pull that learns from a challenge that it needs a token. */
const manifestsWithToken = (scene: Scene, source: 'client' | 'environment') => [
  manifestSpan(scene, { status: 401, size: undefined }),
  tokenSpan(scene, { auth: 'basic', source }),
  manifestSpan(scene, { resend: 1, ...BEARER, source }),
  manifestSpan(scene, { ...BEARER, source }, BY_DIGEST),
];

/** The steps of a pull with a token. */
const tokenSteps = (
  scene: Scene,
  extracted = credentials('optional'),
  source: 'client' | 'environment' = 'environment',
) => {
  const bearer = { ...BEARER, source };
  return healthySteps(scene, {
    credentials: extracted,
    manifests: manifestsWithToken(scene, source),
    config: [configSpan(scene, bearer)],
    layers: [[layerSpan(scene, 1, bearer)], [layerSpan(scene, 2, bearer)]],
  });
};

describe('the trace of a pull', () => {
  test('of a cached image has one HEAD, which revalidates the tag', async () => {
    await using scene = await startScene();
    await expectPull(scene, healthySteps(scene));
    const manifests = [manifestSpan(scene, { method: 'HEAD', size: 0 })];
    await expectPull(scene, [
      ...preparedSteps(scene, { manifests, config: [], layers: [] }),
      ...IMAGE.layers.flatMap((_, at) => [
        downloadStep(scene, at + 1, [], 'cache'),
        writeStep(scene, at + 1),
      ]),
    ]);
  });

  test('with configured credentials and a token has the challenge, which is no error', async () => {
    await using scene = await startScene({ auth: { mode: 'token', users: USERS } }, CONFIGURED);
    await expectPull(scene, tokenSteps(scene));
  });

  test('with configured credentials and Basic', async () => {
    await using scene = await startScene({ auth: { mode: 'basic', users: USERS } }, CONFIGURED);
    const auth = { auth: 'basic', source: 'environment' } as const;
    const children = healthySteps(scene, {
      manifests: [
        manifestSpan(scene, { status: 401, size: undefined }),
        manifestSpan(scene, { resend: 1, ...auth }),
        manifestSpan(scene, auth, BY_DIGEST),
      ],
      config: [configSpan(scene, auth)],
      layers: [[layerSpan(scene, 1, auth)], [layerSpan(scene, 2, auth)]],
    });
    await expectPull(scene, children);
  });

  test('with required client credentials, after a challenge to the client', async () => {
    const auth = { mode: 'token', users: USERS } as const;
    await using scene = await startScene({ auth }, { REGISTRY_CLIENT_AUTH: 'required' });
    const { service } = scene;
    const refused = await service.request(FILE);
    assert.equal(refused.status, 401);
    const facts = { ...from(scene), ...named(scene), 'http.response.status_code': 401 };
    const children = [
      internal('parse_image_request', named(scene)),
      credentials('required', { challenge: true, error: 'CREDENTIALS_REQUIRED' }),
    ];
    await expectTrace(
      scene,
      { id: refused.headers['x-request-id'] },
      server(`GET ${ROUTE}`, { port: service.port, path: FILE }, facts, { children }),
    );
    const extracted = credentials('required', { present: true, used: true });
    await expectPull(scene, tokenSteps(scene, extracted, 'client'), { headers: AUTHORIZATION });
  });

  test('from a registry in the path has its route, user agent and platform', async () => {
    await using scene = await startScene();
    await expectPull(scene, healthySteps(scene), {
      name: 'GET /platform/{os}/{arch}/registry/{scheme}/{host}/docker/{filename}',
      path: `/platform/linux/amd64/registry/http/${encodeURIComponent(scene.registry.host)}${FILE}`,
      query: '?platform=linux/amd64&utm_source=x',
      headers: { 'user-agent': 'curl/8' },
      attributes: {
        'url.query': 'platform=linux/amd64&utm_source=REDACTED',
        'user_agent.original': 'curl/8',
        'registry.target.source': 'request',
      },
    });
  });

  test('by reference, with a compressed archive', async () => {
    await using scene = await startScene();
    await expectPull(scene, healthySteps(scene), { name: 'GET /{reference}', path: '/team/app:1' });
  });

  test('of a manifest alone', async () => {
    await using scene = await startScene();
    const step = internal('resolve_manifest', named(scene), { children: [manifestSpan(scene)] });
    await expectInspection(scene, 'GET /manifest/{reference}', '/manifest/team/app:1', named(scene), step);
  });

  test('of tags alone', async () => {
    await using scene = await startScene();
    const repository = `${scene.registry.host}/team/app`;
    const image = { 'container.image.name': repository, 'oci.image.ref': repository };
    const step = client({
      origin: scene.registry.origin,
      path: '/v2/team/app/tags/list',
      template: '/v2/{repository}/tags/list',
      operation: 'tags',
      status: 200,
      size: JSON.stringify({ name: 'team/app', tags: ['1'] }).length,
    });
    await expectInspection(scene, 'GET /tags/{repository}', '/tags/team/app', image, step);
  });

  test('continues the trace of a traceparent', async () => {
    await using scene = await startScene();
    const traceId = '0af7651916cd43dd8448eb211c80319c';
    const traceparent = `00-${traceId}-b7ad6b7169203331-01`;
    await expectPull(scene, healthySteps(scene), { headers: { traceparent } });
    const spans = await traceOf(scene, { trace_id: traceId });
    assert.equal(spans.find(({ kind }) => kind === 'server')?.parentSpanId, 'b7ad6b7169203331');
    assert.deepEqual(new Set(scene.receiver.spans.map((span) => span.traceId)), new Set([traceId]));
  });

  test('with a 503 of the registry has a span for each attempt, with its number', async () => {
    const failWith = { pattern: /manifests\/1$/, status: 503, times: 1 };
    await using scene = await startScene({ defects: { failWith } });
    const manifests = [
      manifestSpan(scene, { status: 503, size: undefined, error: '503' }),
      manifestSpan(scene, { resend: 1 }),
      manifestSpan(scene, {}, BY_DIGEST),
    ];
    await expectPull(scene, healthySteps(scene, { manifests }));
  });

  test('with a stalled layer has a span for the request of the rest', async () => {
    const [layer = assert.fail()] = IMAGE.layers;
    const stallBlob = { digest: layer.digest, afterBytes: 10, times: 1 };
    await using scene = await startScene({ defects: { stallBlob } }, { REGISTRY_STALL_TIMEOUT: '1' });
    const attempts = [
      layerSpan(scene, 1, { size: 10, error: 'REGISTRY_TIMEOUT' }),
      layerSpan(scene, 1, { resend: 1, status: 206, size: layer.blob.length - 10 }),
    ];
    await expectPull(scene, healthySteps(scene, { layers: [attempts, [layerSpan(scene, 2)]] }));
  });

  test('with redirects to signed URLs shows neither credentials nor signatures', async () => {
    await using storage = await startFakeRegistry();
    storage.push('team/app', '1', IMAGE);
    const defects = { redirectBlobsTo: storage.origin };
    await using scene = await startScene({ auth: { mode: 'token', users: USERS }, defects }, CONFIGURED);
    const redirected = (operation: 'config' | 'layer', digest: string, size: number) => {
      const blob = { template: '/v2/{repository}/blobs/{digest}', operation };
      const path = `/v2/team/app/blobs/${digest}`;
      return [
        client({ ...blob, ...BEARER, origin: scene.registry.origin, path, status: 307 }),
        client({ ...blob, origin: storage.origin, path: `/signed/${digest}`, status: 200, size, resend: 1 }),
      ];
    };
    const children = healthySteps(scene, {
      manifests: manifestsWithToken(scene, 'environment'),
      config: redirected('config', IMAGE.config.digest, IMAGE.config.bytes.length),
      layers: IMAGE.layers.map(({ digest, blob }) => redirected('layer', digest, blob.length)),
    });
    await expectPull(scene, children);
  });
});
