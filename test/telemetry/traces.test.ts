/**
 * What the built service exports of a pull that succeeds: the whole tree, each span with its name, kind, parent, status and
 * attributes, against what is written down here.
 */

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

const USERS = new Map([[USER.name, USER.password]]);
const CONFIGURED = { REGISTRY_USERNAME: USER.name, REGISTRY_PASSWORD: USER.password };
const AUTHORIZATION = { authorization: basic(USER.name, USER.password) };
const BY_DIGEST = IMAGE.manifest.digest;

/** The span of a whole answer. */
function answered(scene: Scene, bytes: number, children: Parameters<typeof server>[3]) {
  return server(
    `GET ${ROUTE}`,
    { port: scene.service.port, path: FILE },
    {
      ...from(scene),
      ...resolved(scene),
      'http.response.status_code': 200,
      'http.response.body.size': bytes,
    },
    children,
  );
}

/** Pulls, and gives the bytes and the id of the request. */
async function pull({ service }: Scene, path = FILE, headers: Readonly<Record<string, string>> = {}) {
  const reply = await service.request(path, { headers });
  assert.equal(reply.status, 200, reply.body.toString());
  return { bytes: reply.body.length, id: { id: reply.headers['x-request-id'] } };
}

/** What is told of the registry where nothing is pulled from it. */
const inspected = ({ registry }: Scene) => ({
  'registry.name': registry.host,
  'registry.url': registry.origin,
});

/** What stands on attempts with a token. */
const BEARER = { auth: 'bearer', service: 'fake-registry' } as const;

/** The steps of a pull with a token, which the first manifest request learns to ask for. */
function tokenSteps(scene: Scene, extracted = credentials('optional')) {
  return healthySteps(scene, {
    credentials: extracted,
    manifests: [
      manifestSpan(scene, { status: 401, size: undefined }),
      tokenSpan(scene, { auth: 'basic' }),
      manifestSpan(scene, { resend: 1, ...BEARER }),
      manifestSpan(scene, BEARER, BY_DIGEST),
    ],
    config: [configSpan(scene, BEARER)],
    layers: [[layerSpan(scene, 1, BEARER)], [layerSpan(scene, 2, BEARER)]],
  });
}

describe('the trace of a pull', () => {
  test('that is prepared already: the registry is asked for no more than whether the tag is the same', async () => {
    await using scene = await startScene();
    await pull(scene);
    const { bytes, id } = await pull(scene);
    const [parsed, extracted] = preparedSteps(scene);
    await expectTrace(
      scene,
      id,
      answered(scene, bytes, {
        children: [
          ...[parsed, extracted].flatMap((step) => step ?? []),
          internal('resolve_manifest', resolved(scene), {
            children: [manifestSpan(scene, { method: 'HEAD', size: 0 })],
          }),
          internal('fetch_config_blob', resolved(scene)),
          ...IMAGE.layers.flatMap((_, at) => [
            downloadStep(scene, at + 1, [], 'cache'),
            writeStep(scene, at + 1),
          ]),
        ],
      }),
    );
  });

  test('from an open registry', async () => {
    await using scene = await startScene();
    const { bytes, id } = await pull(scene);
    await expectTrace(scene, id, answered(scene, bytes, { children: healthySteps(scene) }));
  });

  test('with configured credentials, by a token: the 401 that asks for it is no error', async () => {
    await using scene = await startScene({ auth: { mode: 'token', users: USERS } }, CONFIGURED);
    const { bytes, id } = await pull(scene);
    await expectTrace(scene, id, answered(scene, bytes, { children: tokenSteps(scene) }));
  });

  test('with configured credentials, by Basic', async () => {
    await using scene = await startScene({ auth: { mode: 'basic', users: USERS } }, CONFIGURED);
    const { bytes, id } = await pull(scene);
    const auth = { auth: 'basic' } as const;
    const children = healthySteps(scene, {
      manifests: [
        manifestSpan(scene, { status: 401, size: undefined }),
        manifestSpan(scene, { resend: 1, ...auth }),
        manifestSpan(scene, auth, BY_DIGEST),
      ],
      config: [configSpan(scene, auth)],
      layers: [[layerSpan(scene, 1, auth)], [layerSpan(scene, 2, auth)]],
    });
    await expectTrace(scene, id, answered(scene, bytes, { children }));
  });

  test('with credentials that the client must send, and sends once it is asked', async () => {
    const auth = { mode: 'token', users: USERS } as const;
    await using scene = await startScene({ auth }, { REGISTRY_CLIENT_AUTH: 'required' });
    const { service } = scene;
    const refused = await service.request(FILE);
    assert.equal(refused.status, 401);
    await expectTrace(
      scene,
      { id: refused.headers['x-request-id'] },
      server(
        `GET ${ROUTE}`,
        { port: service.port, path: FILE },
        { ...from(scene), ...named(scene), 'http.response.status_code': 401 },
        {
          children: [
            internal('parse_image_request', named(scene)),
            credentials('required', { challenge: true, error: 'CREDENTIALS_REQUIRED' }),
          ],
        },
      ),
    );
    const { bytes, id } = await pull(scene, FILE, AUTHORIZATION);
    const extracted = credentials('required', { present: true, used: true });
    await expectTrace(scene, id, answered(scene, bytes, { children: tokenSteps(scene, extracted) }));
  });

  test('from a registry that the path names, with its own route, user agent and platform', async () => {
    await using scene = await startScene();
    const { registry, service } = scene;
    const path = `/platform/linux/amd64/registry/http/${encodeURIComponent(registry.host)}${FILE}`;
    const { bytes, id } = await pull(scene, `${path}?platform=linux/amd64&token=x`, {
      'user-agent': 'curl/8',
    });
    await expectTrace(
      scene,
      id,
      server(
        'GET /platform/{os}/{arch}/registry/{scheme}/{host}/docker/{filename}',
        { port: service.port, path },
        {
          ...from(scene, 'environment'),
          ...resolved(scene),
          'url.query': 'platform=linux/amd64&token=REDACTED',
          'user_agent.original': 'curl/8',
          'registry.target.source': 'request',
          'http.response.status_code': 200,
          'http.response.body.size': bytes,
        },
        { children: healthySteps(scene) },
      ),
    );
  });

  test('by reference, which is compressed before it is sent', async () => {
    await using scene = await startScene();
    const path = '/team/app:1';
    const { bytes, id } = await pull(scene, path);
    await expectTrace(
      scene,
      id,
      server(
        'GET /{reference}',
        { port: scene.service.port, path },
        {
          ...from(scene),
          ...resolved(scene),
          'http.response.status_code': 200,
          'http.response.body.size': bytes,
        },
        { children: healthySteps(scene) },
      ),
    );
  });

  test('of which only the manifest is looked at', async () => {
    await using scene = await startScene();
    const path = '/manifest/team/app:1';
    const { id } = await pull(scene, path);
    await expectTrace(
      scene,
      id,
      server(
        'GET /manifest/{reference}',
        { port: scene.service.port, path },
        { ...named(scene), ...inspected(scene), 'http.response.status_code': 200 },
        {
          children: [
            internal('parse_image_request', named(scene)),
            credentials('optional'),
            internal('resolve_manifest', named(scene), { children: [manifestSpan(scene)] }),
          ],
        },
      ),
    );
  });

  test('of which only the tags are looked at', async () => {
    await using scene = await startScene();
    const path = '/tags/team/app';
    const { id } = await pull(scene, path);
    const repository = `${scene.registry.host}/team/app`;
    const image = { 'container.image.name': repository, 'oci.image.ref': repository };
    await expectTrace(
      scene,
      id,
      server(
        'GET /tags/{repository}',
        { port: scene.service.port, path },
        { ...image, ...inspected(scene), 'http.response.status_code': 200 },
        {
          children: [
            internal('parse_image_request', image),
            credentials('optional'),
            client({
              origin: scene.registry.origin,
              path: '/v2/team/app/tags/list',
              template: '/v2/{repository}/tags/list',
              operation: 'tags',
              status: 200,
              size: JSON.stringify({ name: 'team/app', tags: ['1'] }).length,
            }),
          ],
        },
      ),
    );
  });

  test('below an incoming traceparent', async () => {
    await using scene = await startScene();
    const traceId = '0af7651916cd43dd8448eb211c80319c';
    const traceparent = `00-${traceId}-b7ad6b7169203331-01`;
    const { bytes, id } = await pull(scene, FILE, { traceparent });
    const spans = await traceOf(scene, id);
    assert.equal(spans.find(({ kind }) => kind === 'server')?.parentSpanId, 'b7ad6b7169203331');
    assert.ok(spans.every((span) => span.traceId === traceId));
    await expectTrace(scene, id, answered(scene, bytes, { children: healthySteps(scene) }));
  });

  test('over a registry that first says "not now": each attempt has a span, the next its number', async () => {
    const failWith = { pattern: /manifests\/1$/, status: 503, times: 1 };
    await using scene = await startScene({ defects: { failWith } });
    const { bytes, id } = await pull(scene);
    const children = healthySteps(scene, {
      manifests: [
        manifestSpan(scene, { status: 503, size: undefined, error: '503' }),
        manifestSpan(scene, { resend: 1 }),
        manifestSpan(scene, {}, BY_DIGEST),
      ],
    });
    await expectTrace(scene, id, answered(scene, bytes, { children }));
  });

  test('over a layer that stops in the middle, and is asked for the rest', async () => {
    const [layer = assert.fail()] = IMAGE.layers;
    const stallBlob = { digest: layer.digest, afterBytes: 10, times: 1 };
    await using scene = await startScene({ defects: { stallBlob } }, { REGISTRY_STALL_TIMEOUT: '0.2' });
    const { bytes, id } = await pull(scene);
    const children = healthySteps(scene, {
      layers: [
        [
          layerSpan(scene, 1, { size: 10, error: 'REGISTRY_TIMEOUT' }),
          layerSpan(scene, 1, { resend: 1, status: 206, size: layer.blob.length - 10 }),
        ],
        [layerSpan(scene, 2)],
      ],
    });
    await expectTrace(scene, id, answered(scene, bytes, { children }));
  });

  test('over redirects to signed addresses, without credentials and signature', async () => {
    await using storage = await startFakeRegistry();
    storage.push('team/app', '1', IMAGE);
    const defects = { redirectBlobsTo: storage.origin };
    await using scene = await startScene({ auth: { mode: 'token', users: USERS }, defects }, CONFIGURED);
    const { bytes, id } = await pull(scene);
    const redirected = (operation: 'config' | 'layer', digest: string, size: number, status = 307) => [
      client({
        origin: scene.registry.origin,
        path: `/v2/team/app/blobs/${digest}`,
        template: '/v2/{repository}/blobs/{digest}',
        operation,
        status,
        ...BEARER,
      }),
      client({
        origin: storage.origin,
        path: `/signed/${digest}`,
        template: '/v2/{repository}/blobs/{digest}',
        operation,
        status: 200,
        size,
        resend: 1,
      }),
    ];
    const children = healthySteps(scene, {
      manifests: [
        manifestSpan(scene, { status: 401, size: undefined }),
        tokenSpan(scene, { auth: 'basic' }),
        manifestSpan(scene, { resend: 1, ...BEARER }),
        manifestSpan(scene, BEARER, BY_DIGEST),
      ],
      config: redirected('config', IMAGE.config.digest, IMAGE.config.bytes.length),
      layers: IMAGE.layers.map(({ digest, blob }) => redirected('layer', digest, blob.length)),
    });
    await expectTrace(scene, id, answered(scene, bytes, { children }));
  });
});
