/**
 * What the built service exports of requests that it refuses, and of pulls that fail, are left by their client or break off:
 * the whole tree, against what is written down here.
 */

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

/** Layers one after the other, so that it is known which were begun. */
const ONE_BY_ONE = { MAX_CONCURRENT_LAYERS: '1' };

/** An image that does not fit into the buffers between a service and its client. */
const BIG = makeImage({ layers: [{ tar: makeLayer({ zeros: Buffer.alloc(64 * 1024 * 1024) }) }] });

describe('the trace of a request that is answered without a registry', () => {
  test('says what was asked for; a refusal leaves the status unset', async () => {
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

  test('is none for a probe', async () => {
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

/** The bytes that the registry gives out, right or wrong. */
async function servedDigest({ registry }: Scene, path: string): Promise<string> {
  const answer = await fetch(`${registry.origin}${path}`, { headers: { accept: '*/*' } });
  return sha256(Buffer.from(await answer.arrayBuffer()));
}

/** A port that nobody listens on any more. */
async function closedPort(): Promise<number> {
  const listener = createServer().listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const { port } = listener.address() as AddressInfo;
  listener.close();
  await once(listener, 'close');
  return port;
}

describe('the trace of a pull that fails', () => {
  /** Asks for the image, and compares the trace with the steps that are expected below its own span. */
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

  test('for want of the image', async () => {
    const failWith = { pattern: /manifests\/2$/, status: 404, body: 'not here' };
    await using scene = await startScene({ defects: { failWith } });
    const [error, rest] = failure('IMAGE_NOT_FOUND', {
      children: [manifestSpan(scene, { status: 404, size: 8, error: '404' }, '2')],
    });
    const image = named(scene, '2');
    const steps = [credentials('optional'), internal('resolve_manifest', { ...image, ...error }, rest)];
    await expectFailure(scene, 'IMAGE_NOT_FOUND', image, steps, { path: '/docker/team_app_2.tar' });
  });

  test('for want of the platform', async () => {
    await using scene = await startScene();
    const [error, rest] = failure('PLATFORM_NOT_FOUND', { children: [manifestSpan(scene)] });
    const steps = [
      credentials('optional'),
      internal('resolve_manifest', { ...named(scene), ...error }, rest),
    ];
    await expectFailure(scene, 'PLATFORM_NOT_FOUND', named(scene), steps, {
      query: `?${new URLSearchParams({ platform: 'linux/s390x' })}`,
    });
  });

  test('at a token endpoint that refuses the password: that 401 is an error', async () => {
    const auth = { mode: 'token', users: new Map([[USER.name, 'another']]) } as const;
    await using scene = await startScene(
      { auth },
      { REGISTRY_USERNAME: USER.name, REGISTRY_PASSWORD: USER.password },
    );
    const [error, rest] = failure('REGISTRY_DENIED', {
      children: [
        manifestSpan(scene, { status: 401, size: undefined }),
        tokenSpan(scene, { auth: 'basic', status: 401, error: '401' }),
      ],
    });
    const steps = [
      credentials('optional'),
      internal('resolve_manifest', { ...named(scene), ...error }, rest),
    ];
    await expectFailure(scene, 'REGISTRY_DENIED', named(scene), steps);
  });

  test('at a registry that cannot be reached: an attempt without an answer has no status', async () => {
    const port = await closedPort();
    await using scene = await startScene({}, { REGISTRY_URL: `http://127.0.0.1:${port}` });
    const registry = { ...scene.registry, host: `127.0.0.1:${port}`, origin: `http://127.0.0.1:${port}` };
    const elsewhere: Scene = { ...scene, registry };
    const attempt = (resend: number) =>
      manifestSpan(elsewhere, { status: undefined, size: undefined, error: 'REGISTRY_UNREACHABLE', resend });
    const [error, rest] = failure('REGISTRY_UNREACHABLE', { children: [0, 1, 2, 3].map(attempt) });
    const image = named(elsewhere);
    const steps = [credentials('optional'), internal('resolve_manifest', { ...image, ...error }, rest)];
    await expectFailure(elsewhere, 'REGISTRY_UNREACHABLE', image, steps);
  });

  test('for a wrong manifest: an event names the digest that it should have and the one that it has', async () => {
    await using scene = await startScene({ defects: { wrongManifestDigest: true } });
    const { digest } = IMAGE.manifest;
    const actual = await servedDigest(scene, `/v2/team/app/manifests/${digest}`);
    assert.notEqual(actual, digest);
    const [error, rest] = failure('VERIFICATION_FAILED', {
      children: [manifestSpan(scene), manifestSpan(scene, {}, digest)],
      events: [['verification_failed', { 'oci.digest.expected': digest, 'oci.digest.actual': actual }]],
    });
    const steps = [
      credentials('optional'),
      internal('resolve_manifest', { ...named(scene), ...error }, rest),
    ];
    await expectFailure(scene, 'VERIFICATION_FAILED', named(scene), steps);
  });

  test('for a wrong config, while a layer is under way, which is not to blame', async () => {
    const wrongBlobDigest = { digest: IMAGE.config.digest };
    await using scene = await startScene({ defects: { wrongBlobDigest } }, ONE_BY_ONE);
    const actual = await servedDigest(scene, `/v2/team/app/blobs/${IMAGE.config.digest}`);
    const { registry } = scene;
    registry.defects.stallRequests = { pattern: /blobs/ };
    const released = registry.waitForStalled(2).then(() => {
      delete registry.defects.stallRequests;
      registry.releaseStalled(new RegExp(IMAGE.config.digest));
    });
    const [error, rest] = failure('VERIFICATION_FAILED', {
      children: [configSpan(scene)],
      events: [
        ['verification_failed', { 'oci.digest.expected': IMAGE.config.digest, 'oci.digest.actual': actual }],
      ],
    });
    const [aborted, stopped] = failure('ABORTED', {
      children: [layerSpan(scene, 1, { status: undefined, size: undefined, error: 'ABORTED' })],
    });
    await expectFailure(scene, 'VERIFICATION_FAILED', resolved(scene), [
      ...preparedSteps(scene, { layers: [] }).slice(1, 3),
      internal('fetch_config_blob', { ...resolved(scene), ...error }, rest),
      internal('download_layer_1', { ...layerFacts(scene, 1), ...aborted }, stopped),
    ]);
    await released;
  });

  test('for a wrong layer, of which all was read to know its digest', async () => {
    await using scene = await startScene(
      { defects: { wrongBlobDigest: { digest: LAYER.digest } } },
      ONE_BY_ONE,
    );
    const actual = await servedDigest(scene, `/v2/team/app/blobs/${LAYER.digest}`);
    const [error, rest] = failure('VERIFICATION_FAILED', {
      children: [layerSpan(scene, 1)],
      events: [['verification_failed', { 'oci.digest.expected': LAYER.digest, 'oci.digest.actual': actual }]],
    });
    await expectFailure(scene, 'VERIFICATION_FAILED', resolved(scene), [
      ...preparedSteps(scene, { layers: [] }).slice(1),
      internal('download_layer_1', { ...layerFacts(scene, 1), ...error }, rest),
    ]);
  });
});

describe('the trace of a pull that its client leaves', () => {
  test('while it is prepared ends with what was under way', async () => {
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

    const [aborted, stopped] = failure('ABORTED', {
      children: [layerSpan(scene, 1, { status: undefined, size: undefined, error: 'ABORTED' })],
    });
    await expectTrace(
      scene,
      { outcome: 'aborted' },
      failedRequest(scene, 'ABORTED', { ...from(scene), ...resolved(scene) }, [
        ...preparedSteps(scene, { layers: [] }),
        internal('download_layer_1', { ...layerFacts(scene, 1), ...aborted }, stopped),
      ]),
    );
  });

  test('while it is sent ends with the layer that was being sent', async () => {
    await using scene = await startScene({}, {}, BIG);
    const reply = await scene.service.open(FILE);
    reply.destroy();
    await expectTrace(
      scene,
      { outcome: 'aborted' },
      failedRequest(
        scene,
        'ABORTED',
        {
          ...from(scene),
          ...resolved(scene),
          'http.response.status_code': 200,
          'http.response.body.size': ANY,
        },
        [...preparedSteps(scene), writeStep(scene, 1, ...failure('ABORTED'))],
      ),
    );
  });

  test('is another than that of one which the service breaks off as it stops, and is exported all the same', async () => {
    await using scene = await startScene({}, { SHUTDOWN_TIMEOUT: '0.1' }, BIG);
    const reply = await scene.service.open(FILE);
    const stopped = await scene.service.stop();
    assert.equal(stopped.code, 0);
    reply.destroy();
    await expectTrace(
      scene,
      { outcome: 'broken' },
      failedRequest(
        scene,
        'BROKEN_STREAM',
        {
          ...from(scene),
          ...resolved(scene),
          'http.response.status_code': 200,
          'http.response.body.size': ANY,
        },
        [...preparedSteps(scene), writeStep(scene, 1, ...failure('ABORTED'))],
      ),
    );
  });
});
