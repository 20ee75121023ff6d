import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, test } from 'node:test';
import type { Digest } from '../../src/image/digest.ts';
import type { Descriptor } from '../../src/image/manifest.ts';
import type { Repository } from '../../src/registry/repository.ts';
import { sha256 } from '../support/collect.ts';
import type { Defects } from '../support/defects.ts';
import { parseDigest } from '../support/digest.ts';
import { bytesOf } from '../support/documents.ts';
import { startScriptedServer } from '../support/scripted-server.ts';
import { within } from '../support/within.ts';
import {
  BIG_LAYER,
  CONFIG,
  headersOf,
  IMAGE,
  LIMITS,
  MANIFEST,
  never,
  openAccess,
  pull,
  readLayer,
  SHORT_MS,
  startScene,
} from './support/scene.ts';

const ACCEPTED = [
  'application/vnd.docker.distribution.manifest.list.v2+json',
  'application/vnd.docker.distribution.manifest.v2+json',
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.oci.image.manifest.v1+json',
];

const HUGE = 100 * 1024 ** 2;

describe('a manifest', () => {
  test('is fetched by tag, digest and descriptor, and its digest is computed', async () => {
    await using scene = await startScene();
    for (const reference of ['1', MANIFEST.digest, MANIFEST]) {
      const { content, digest, contentType } = await scene.client.getManifest(reference, never());
      assert.deepEqual(await bytesOf(content), IMAGE.manifest.bytes);
      assert.deepEqual([digest, contentType], [MANIFEST.digest, MANIFEST.mediaType]);
    }
    const [{ path, headers } = assert.fail()] = scene.server.requests;
    assert.deepEqual([path, headers['accept-encoding']], ['/v2/team/app/manifests/1', 'identity']);
    assert.deepEqual(headers.accept?.split(', ').toSorted(), ACCEPTED);
  });

  test('needs no type and no digest in its header', async () => {
    await using scene = await startScene({ defects: { manifestContentType: null, wrongHeaderDigest: null } });
    const { digest, contentType } = await pull(scene.client);
    assert.deepEqual([digest, contentType], [MANIFEST.digest, '']);
  });

  test('is verified by SHA-512 if its digest is SHA-512', async () => {
    const digest = parseDigest(`sha512:${createHash('sha512').update(IMAGE.manifest.bytes).digest('hex')}`);
    const other = parseDigest(`sha512:${'0'.repeat(128)}`);
    await using server = await startScriptedServer((_, response) => void response.end(IMAGE.manifest.bytes));
    using access = openAccess();
    assert.equal((await access.open(server).getManifest(digest, never())).digest, digest);
    await assert.rejects(access.open(server).getManifest(other, never()), { code: 'VERIFICATION_FAILED' });
  });

  const larger = { ...MANIFEST, size: MANIFEST.size + 1 };
  const sizes = new RegExp(`it has ${MANIFEST.size} bytes, its descriptor says ${larger.size}`);
  const mismatches: [name: string, defects: Defects, reference: string | Descriptor, message: RegExp][] = [
    ['its digest', { wrongManifestDigest: true }, MANIFEST.digest, /its bytes are sha256:/],
    ['the digest of its descriptor', { wrongManifestDigest: true }, MANIFEST, /its bytes are sha256:/],
    ['the size of its descriptor', {}, larger, sizes],
    ['the digest in its header', { wrongHeaderDigest: true }, '1', /its bytes are sha256:/],
    ['the digest in its header, by digest', { wrongHeaderDigest: true }, MANIFEST.digest, /its bytes are /],
  ];
  for (const [name, defects, reference, message] of mismatches) {
    test(`that does not match ${name} fails verification, once`, async () => {
      await using scene = await startScene({ defects });
      const fetched = scene.client.getManifest(reference, never());
      await assert.rejects(fetched, { code: 'VERIFICATION_FAILED', message });
      assert.equal(scene.server.requests.length, 1);
    });
  }

  test('that fails verification has its expected and its actual digest in the error', async () => {
    await using scene = await startScene({ defects: { wrongManifestDigest: { bytes: Buffer.from('{}') } } });
    await assert.rejects(scene.client.getManifest(MANIFEST.digest, never()), {
      message: `Cannot verify manifest "${MANIFEST.digest}": its bytes are ${sha256('{}')}`,
      details: { expected: MANIFEST.digest, actual: sha256('{}') },
    });
  });
});

describe('a config', () => {
  test('is fetched and verified by size and digest', async () => {
    await using scene = await startScene();
    assert.deepEqual(await bytesOf(await scene.client.getConfig(CONFIG, never())), IMAGE.config.bytes);
    const mismatches: [descriptor: Descriptor, defects: Defects][] = [
      [{ ...CONFIG, size: CONFIG.size - 1 }, {}],
      [CONFIG, { wrongBlobDigest: true }],
      [CONFIG, { wrongBlobSize: { by: 1 } }],
      [CONFIG, { wrongBlobSize: { by: -1, contentLength: 'none' } }],
    ];
    for (const [descriptor, defects] of mismatches) {
      await using wrong = await startScene({ defects });
      await assert.rejects(wrong.client.getConfig(descriptor, never()), { code: 'VERIFICATION_FAILED' });
      assert.equal(wrong.server.requests.length, 1);
    }
  });

  test('that stalls fails after one request', async () => {
    const defects = { stallBlob: { afterBytes: 10 } };
    await using scene = await startScene({ defects }, { timeouts: { stallMs: SHORT_MS } });
    await assert.rejects(scene.client.getConfig(CONFIG, never()), { code: 'REGISTRY_TIMEOUT' });
    assert.equal(scene.server.requests.length, 1);
    await within(scene.server.waitForNoActiveRequests(), 'the end of the response');
  });
});

test('a manifest or config beyond its limit is not read to its end', async () => {
  const getConfig = (client: Repository) => client.getConfig(CONFIG, never());
  const cases: [defects: Defects, get: (client: Repository) => Promise<unknown>, message: string][] = [
    ...[true, false].map((contentLength): (typeof cases)[number] => [
      { hugeManifest: { bytes: HUGE, contentLength } },
      pull,
      `Cannot read manifest "1": it is larger than ${LIMITS.manifestBytes} bytes`,
    ]),
    [
      { hugeConfig: { bytes: HUGE } },
      getConfig,
      `Cannot read config "${CONFIG.digest}": it is larger than ${LIMITS.configBytes} bytes`,
    ],
  ];
  for (const [defects, get, message] of cases) {
    await using scene = await startScene({ defects });
    await assert.rejects(get(scene.client), { code: 'IMAGE_TOO_LARGE', message });
    await within(scene.server.waitForNoActiveRequests(), 'the end of the response');
  }
});

test('a manifest or config that breaks off is fetched again from its start, three times in total', async () => {
  await using scene = await startScene();
  const { server, client } = scene;
  server.defects.truncateManifest = { afterBytes: 10, times: 2 };
  assert.equal((await pull(client)).digest, MANIFEST.digest);
  assert.equal(server.countRequests(/manifests/), 3);

  server.defects.truncateManifest = { afterBytes: 10 };
  await assert.rejects(pull(client), { code: 'REGISTRY_UNREACHABLE' });
  assert.equal(server.countRequests(/manifests/), 6);

  server.defects.truncateBlob = { afterBytes: 10, times: 2 };
  assert.equal((await client.getConfig(CONFIG, never())).size, CONFIG.size);
  assert.deepEqual(headersOf(server, 'range', /blobs/), [undefined, undefined, undefined]);
});

describe('an abort', () => {
  const foreign = { ...BIG_LAYER, urls: ['http://127.0.0.1:1/'] };
  const stallBlobs = { stallRequests: { pattern: /blobs/ } };
  const rows: [
    name: string,
    defects: Defects,
    start: (client: Repository, signal: AbortSignal) => Promise<unknown>,
  ][] = [
    ['a manifest', { stallManifest: true }, (client, signal) => client.getManifest('1', signal)],
    ['a config', { stallBlob: { afterBytes: 9 } }, (client, signal) => client.getConfig(CONFIG, signal)],
    [
      'a tag list',
      { stallRequests: { pattern: /tags/ } },
      (client, signal) => client.listTags(signal).next(),
    ],
    ['a HEAD', { stallManifest: true }, (client, signal) => client.headManifest('1', signal)],
    ['a layer before its response', stallBlobs, (client, signal) => client.openLayer(BIG_LAYER, signal)],
    ['a foreign layer', stallBlobs, (client, signal) => client.openForeignLayer(foreign, signal)],
    [
      'a layer in its middle',
      { stallBlob: { afterBytes: 1000 } },
      (client, signal) => readLayer(client, BIG_LAYER, signal),
    ],
  ];
  for (const [name, defects, start] of rows) {
    test(`ends ${name} and its connection, and sends no other request`, async () => {
      await using scene = await startScene({ defects });
      const controller = new AbortController();
      const started = start(scene.client, controller.signal);
      await scene.server.waitForStalled();
      controller.abort();
      await assert.rejects(started, { code: 'ABORTED' });
      await within(scene.server.waitForNoActiveRequests(), 'the end of the request');
      assert.equal(scene.server.requests.length, 1);
    });
  }

  test('ends the wait before a layer is resumed', async () => {
    const defects = { truncateBlob: { afterBytes: 1000 } };
    const retry = { attempts: 1, baseMs: 600_000, maxMs: 600_000 };
    await using scene = await startScene({ defects }, { retry });
    const controller = new AbortController();
    const read = readLayer(scene.client, BIG_LAYER, controller.signal);
    await scene.server.waitForRequest(/blobs/);
    await scene.server.waitForNoActiveRequests();
    controller.abort();
    await assert.rejects(read, { code: 'ABORTED' });
  });
});

describe('an error of the registry', () => {
  const unknown = { registryStatus: 404, registryCode: 'MANIFEST_UNKNOWN' };

  test('is quoted, with the name of the image', async () => {
    await using scene = await startScene();
    await assert.rejects(scene.client.getManifest('none', never()), {
      code: 'IMAGE_NOT_FOUND',
      message: `Cannot get manifest "none" of ${scene.server.host}/team/app: not found: manifest unknown to registry: none (MANIFEST_UNKNOWN)`,
      details: unknown,
    });
  });

  test('is read up to the limit and quoted if it is complete there', async () => {
    for (const contentLength of [true, false]) {
      await using scene = await startScene({ defects: { hugeErrorBody: { bytes: HUGE, contentLength } } });
      const fetched = scene.client.getManifest('none', never());
      await assert.rejects(fetched, { code: 'IMAGE_NOT_FOUND', details: unknown });
      await within(scene.server.waitForNoActiveRequests(), 'the end of the response');
    }
    const message = 'x'.repeat(LIMITS.errorBytes);
    const body = JSON.stringify({ errors: [{ code: 'DENIED', message }] });
    await using scene = await startScene({ defects: { failWith: { status: 403, body } } });
    await assert.rejects(pull(scene.client), {
      code: 'REGISTRY_DENIED',
      details: { registryStatus: 403, credentials: 'none' },
    });
  });

  test('is not hidden by a body that stalls', async () => {
    await using server = await startScriptedServer((_, response) => {
      response.writeHead(404, { 'Content-Length': 100 }).write('{"errors":[');
    });
    using access = openAccess({ timeouts: { stallMs: SHORT_MS } });
    await assert.rejects(pull(access.open(server)), { code: 'IMAGE_NOT_FOUND' });
  });
});

describe('HEAD', () => {
  const digest: Digest = MANIFEST.digest;

  test('returns digest, type and size of a tag or digest', async () => {
    await using scene = await startScene();
    const head = { digest, contentType: MANIFEST.mediaType, size: MANIFEST.size };
    for (const reference of ['1', digest]) {
      assert.deepEqual(await scene.client.headManifest(reference, never()), head);
    }
    const [{ method, headers } = assert.fail()] = scene.server.requests;
    assert.deepEqual([method, headers.accept?.split(', ').toSorted()], ['HEAD', ACCEPTED]);
    Object.assign(scene.server.defects, { manifestContentType: null, noContentLength: {} });
    assert.deepEqual(await scene.client.headManifest('1', never()), {
      digest,
      contentType: '',
      size: undefined,
    });
  });

  test('keeps its connection, even if its Content-Length is large', async () => {
    const ports = new Set<number | undefined>();
    await using server = await startScriptedServer(({ socket }, response) => {
      ports.add(socket.remotePort);
      response.setHeader('Docker-Content-Digest', digest).setHeader('Content-Length', 1e6).end();
    });
    using access = openAccess();
    const client = access.open(server);
    for (const _ of [1, 2, 3]) assert.equal((await client.headManifest('1', never()))?.size, 1e6);
    assert.equal(ports.size, 1);
  });

  const head = /^HEAD/;
  const inconclusive: [name: string, defects: Defects, reference?: string][] = [
    ['names no digest', { wrongHeaderDigest: null }],
    ['names a digest of an unknown algorithm', { wrongHeaderDigest: 'md5:0' }],
    ['does not allow it', { failWith: { pattern: head, status: 405 } }],
    ['does not implement it', { failWith: { pattern: head, status: 501 } }],
    ['has signed the URL for GET alone', { failWith: { pattern: head, status: 403 } }],
    ['has no route for it', { failWith: { pattern: head, status: 404 } }],
    ['has no such manifest', {}, 'none'],
  ];
  for (const [name, defects, reference = '1'] of inconclusive) {
    test(`returns nothing if the registry ${name}`, async () => {
      await using scene = await startScene({ defects });
      assert.equal(await scene.client.headManifest(reference, never()), undefined);
      assert.equal(scene.server.requests.length, 1);
    });
  }

  test('fails where GET would fail too', async () => {
    for (const [failWith, code] of [
      [{ status: 401 }, 'REGISTRY_DENIED'],
      [{ status: 429, headers: { 'Retry-After': '99' } }, 'REGISTRY_RATE_LIMITED'],
      [{ status: 500 }, 'REGISTRY_FAILED'],
    ] as const) {
      await using scene = await startScene({ defects: { failWith } });
      await assert.rejects(scene.client.headManifest('1', never()), { code });
    }
  });

  test('is authorized as GET is', async () => {
    await using scene = await startScene({ auth: { mode: 'token' } });
    assert.equal((await scene.client.headManifest('1', never()))?.digest, digest);
    assert.equal(scene.server.tokenRequests.length, 1);
  });
});
