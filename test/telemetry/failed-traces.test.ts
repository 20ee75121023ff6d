/** The traces of refused requests, and of pulls that fail, are aborted by their client or break off. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { describe, test } from 'node:test';
import { sha256 } from '../support/collect.ts';
import { makeImage, makeLayer } from '../support/image.ts';
import { internal, server } from './expected-spans.ts';
import {
  configSpan,
  credentials,
  expectTrace,
  FILE,
  failedStep,
  failure,
  from,
  IMAGE,
  layerFacts,
  layerSpan,
  manifestSpan,
  named,
  preparedSteps,
  ROUTE,
  resolved,
  type Scene,
  startScene,
  tokenSpan,
  USER,
  writeStep,
} from './scene.ts';
import { ANY, type SpanTree } from './span-tree.ts';

const [LAYER = assert.fail()] = IMAGE.layers;

/** Layers are fetched one after the other, so that the started ones are known. */
const ONE_BY_ONE = { MAX_CONCURRENT_LAYERS: '1' };

/** An image that does not fit into the buffers between a service and its client. */
const BIG = makeImage({ layers: [{ tar: makeLayer({ zeros: Buffer.alloc(64 * 1024 * 1024) }) }] });

describe('the trace of a request without a registry', () => {
  test('has its route; a refusal leaves the status unset', async () => {
    await using scene = await startScene();
    const step = internal('parse_image_request', { 'error.type': 'INVALID_FILENAME' });
    const table: readonly [request: string, status: number, name: string, children?: SpanTree[]][] = [
      ['GET /', 200, 'GET /'],
      ['HEAD /', 200, 'HEAD /'],
      ['GET /favicon.ico', 404, 'GET'],
      ['GET /docker/%zz.tar', 400, 'GET'],
      ['PUT /docker/team_app_1.tar', 405, 'PUT /docker/{filename}'],
      ['PROPFIND /', 405, 'HTTP /'],
      ['GET /docker/nginx.tar', 400, 'GET /docker/{filename}', [step]],
      ['HEAD /docker/nginx.tar', 400, 'HEAD /docker/{filename}', [step]],
    ];
    for (const [request, status, name, children = []] of table) {
      const [method = '', path = ''] = request.split(' ');
      const reply = await scene.service.request(path, { method });
      assert.equal(reply.status, status, request);
      const facts = children.length === 0 ? {} : from(scene);
      await expectTrace(
        scene,
        { id: reply.headers['x-request-id'] },
        server(
          name,
          { port: scene.service.port, path, method },
          { ...facts, 'http.response.status_code': status },
          { children },
        ),
      );
    }
  });

  test('does not exist for a probe', async () => {
    await using scene = await startScene();
    const { service, receiver } = scene;
    for (const path of ['/health', '/ready']) {
      for (const method of ['GET', 'HEAD', 'POST']) await service.request(path, { method });
    }
    await service.request('/');
    await service.stop();
    assert.deepEqual(
      receiver.spans.map(({ name }) => name),
      ['GET /'],
    );
  });
});

/** The span of a request that failed. */
function failedRequest(
  { service }: Scene,
  type: string,
  attributes: Parameters<typeof server>[2],
  children: readonly SpanTree[],
  path = FILE,
): SpanTree {
  return server(
    `GET ${ROUTE}`,
    { port: service.port, path },
    { 'error.type': type, ...attributes },
    { status: 'error', children },
  );
}

/** The span of a request whose answer is cut within the first layer. */
function cutRequest(scene: Scene, type: string): SpanTree {
  const facts = {
    ...from(scene),
    ...resolved(scene),
    'http.response.status_code': 200,
    'http.response.body.size': ANY,
  };
  const steps = [...preparedSteps(scene), writeStep(scene, 1, ...failure('ABORTED'))];
  return failedRequest(scene, type, facts, steps);
}

/** The step of the first layer, aborted before an answer of the registry. */
function abortedLayer(scene: Scene): SpanTree {
  const attempt = layerSpan(scene, 1, { status: undefined, size: undefined, error: 'ABORTED' });
  return failedStep('download_layer_1', layerFacts(scene, 1), 'ABORTED', { children: [attempt] });
}

/** The event of a failed verification. */
const mismatch = (expected: string, actual: string): SpanTree['events'] => [
  ['verification_failed', { 'oci.digest.expected': expected, 'oci.digest.actual': actual }],
];

/** The digest of the bytes that the registry sends. */
async function servedDigest({ registry }: Scene, path: string): Promise<string> {
  const answer = await fetch(`${registry.origin}${path}`, { headers: { accept: '*/*' } });
  return sha256(Buffer.from(await answer.arrayBuffer()));
}

/** A port without a listener. */
async function closedPort(): Promise<number> {
  const listener = createServer().listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const { port } = listener.address() as AddressInfo;
  listener.close();
  await once(listener, 'close');
  return port;
}

describe('the trace of a pull that fails', () => {
  /** Requests the image, and compares the trace with the expected steps. */
  async function expectFailure(
    scene: Scene,
    type: string,
    facts: Parameters<typeof server>[2],
    steps: readonly SpanTree[],
    { path = FILE, query = '' } = {},
  ): Promise<void> {
    const reply = await scene.service.request(`${path}${query}`);
    assert.equal(reply.status, 502, reply.body.toString());
    await expectTrace(
      scene,
      { id: reply.headers['x-request-id'] },
      failedRequest(
        scene,
        type,
        {
          ...from(scene),
          ...facts,
          ...(query !== '' && { 'url.query': query.slice(1) }),
          'http.response.status_code': 502,
        },
        [internal('parse_image_request', named(scene, path === FILE ? '1' : '2')), ...steps],
        path,
      ),
    );
  }

  /** Expects a failure of the step that resolves the manifest. */
  async function expectUnresolved(
    scene: Scene,
    type: string,
    rest: Partial<SpanTree>,
    options: { readonly path?: string; readonly query?: string } = {},
  ): Promise<void> {
    const image = named(scene, options.path === undefined ? '1' : '2');
    const steps = [credentials('optional'), failedStep('resolve_manifest', image, type, rest)];
    await expectFailure(scene, type, image, steps, options);
  }

  test('because the image does not exist', async () => {
    const failWith = { pattern: /manifests\/2$/, status: 404, body: 'not here' };
    await using scene = await startScene({ defects: { failWith } });
    const children = [manifestSpan(scene, { status: 404, size: 8, error: '404' }, '2')];
    const path = '/docker/team_app_2.tar';
    await expectUnresolved(scene, 'IMAGE_NOT_FOUND', { children }, { path });
  });

  test('because the platform does not exist', async () => {
    await using scene = await startScene();
    const query = `?${new URLSearchParams({ platform: 'linux/s390x' })}`;
    await expectUnresolved(scene, 'PLATFORM_NOT_FOUND', { children: [manifestSpan(scene)] }, { query });
  });

  test('because the token endpoint refuses the password: this 401 is an error', async () => {
    const auth = { mode: 'token', users: new Map([[USER.name, 'another']]) } as const;
    await using scene = await startScene(
      { auth },
      { REGISTRY_USERNAME: USER.name, REGISTRY_PASSWORD: USER.password },
    );
    const children = [
      manifestSpan(scene, { status: 401, size: undefined }),
      tokenSpan(scene, { auth: 'basic', status: 401, error: '401' }),
    ];
    await expectUnresolved(scene, 'REGISTRY_DENIED', { children });
  });

  test('because the registry is unreachable: an attempt without an answer has no status', async () => {
    const port = await closedPort();
    await using scene = await startScene({}, { REGISTRY_URL: `http://127.0.0.1:${port}` });
    const registry = { ...scene.registry, host: `127.0.0.1:${port}`, origin: `http://127.0.0.1:${port}` };
    const elsewhere: Scene = { ...scene, registry };
    const attempt = (resend: number) =>
      manifestSpan(elsewhere, { status: undefined, size: undefined, error: 'REGISTRY_UNREACHABLE', resend });
    await expectUnresolved(elsewhere, 'REGISTRY_UNREACHABLE', { children: [0, 1, 2, 3].map(attempt) });
  });

  test('because of a wrong manifest has an event with both digests', async () => {
    await using scene = await startScene({ defects: { wrongManifestDigest: true } });
    const { digest } = IMAGE.manifest;
    const actual = await servedDigest(scene, `/v2/team/app/manifests/${digest}`);
    assert.notEqual(actual, digest);
    const children = [manifestSpan(scene), manifestSpan(scene, {}, digest)];
    await expectUnresolved(scene, 'VERIFICATION_FAILED', { children, events: mismatch(digest, actual) });
  });

  test('because of a wrong config, during the download of a layer, which is aborted', async () => {
    const wrongBlobDigest = { digest: IMAGE.config.digest };
    await using scene = await startScene({ defects: { wrongBlobDigest } }, ONE_BY_ONE);
    const actual = await servedDigest(scene, `/v2/team/app/blobs/${IMAGE.config.digest}`);
    const { registry } = scene;
    registry.defects.stallRequests = { pattern: /blobs/ };
    const released = registry.waitForStalled(2).then(() => {
      delete registry.defects.stallRequests;
      registry.releaseStalled(new RegExp(IMAGE.config.digest));
    });
    const events = mismatch(IMAGE.config.digest, actual);
    await expectFailure(scene, 'VERIFICATION_FAILED', resolved(scene), [
      ...preparedSteps(scene, { layers: [] }).slice(1, 3),
      failedStep('fetch_config_blob', resolved(scene), 'VERIFICATION_FAILED', {
        children: [configSpan(scene)],
        events,
      }),
      abortedLayer(scene),
    ]);
    await released;
  });

  test('because of a wrong layer, which was read completely', async () => {
    await using scene = await startScene(
      { defects: { wrongBlobDigest: { digest: LAYER.digest } } },
      ONE_BY_ONE,
    );
    const actual = await servedDigest(scene, `/v2/team/app/blobs/${LAYER.digest}`);
    const rest = { children: [layerSpan(scene, 1)], events: mismatch(LAYER.digest, actual) };
    await expectFailure(scene, 'VERIFICATION_FAILED', resolved(scene), [
      ...preparedSteps(scene, { layers: [] }).slice(1),
      failedStep('download_layer_1', layerFacts(scene, 1), 'VERIFICATION_FAILED', rest),
    ]);
  });
});

describe('the trace of a pull that is aborted', () => {
  test('by its client during the preparation ends with the running steps', async () => {
    const stallRequests = { pattern: new RegExp(`blobs/${LAYER.digest}`) };
    await using scene = await startScene({ defects: { stallRequests } }, ONE_BY_ONE);
    const { service, receiver, registry } = scene;
    const client = new AbortController();
    const answer = service.open(FILE, { signal: client.signal });
    await registry.waitForStalled();
    await receiver.waitFor('the config', ({ spans }) =>
      spans.find(({ name }) => name === 'fetch_config_blob'),
    );
    client.abort();
    await assert.rejects(answer);

    await expectTrace(
      scene,
      { outcome: 'aborted' },
      failedRequest(scene, 'ABORTED', { ...from(scene), ...resolved(scene) }, [
        ...preparedSteps(scene, { layers: [] }),
        abortedLayer(scene),
      ]),
    );
  });

  test('by its client during the answer ends with the current layer', async () => {
    await using scene = await startScene({}, {}, BIG);
    const reply = await scene.service.open(FILE);
    reply.destroy();
    await expectTrace(scene, { outcome: 'aborted' }, cutRequest(scene, 'ABORTED'));
  });

  test('by the end of the service has another error, and is exported', async () => {
    await using scene = await startScene({}, { SHUTDOWN_TIMEOUT: '0.1' }, BIG);
    const reply = await scene.service.open(FILE);
    const stopped = await scene.service.stop();
    assert.equal(stopped.code, 0);
    reply.destroy();
    await expectTrace(scene, { outcome: 'broken' }, cutRequest(scene, 'BROKEN_STREAM'));
  });
});
