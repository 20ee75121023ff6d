/** Failures of the registry, and images that are too large, as a client sees them. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { sha256 } from '../../support/collect.ts';
import { makeGzipBombLayer, makeImage, makeLayer } from '../../support/image.ts';
import { makeSchema1Manifest } from '../../support/odd-images.ts';
import { type Pair, type PairOptions, startPair } from '../../support/pair.ts';
import { assertError, assertRetryAfter, firstLine } from '../../support/reading.ts';
import { AMD64, INDEX } from '../../support/two-platforms.ts';

function start(options: PairOptions = {}): Promise<Pair> {
  return startPair(options, (registry) => registry.push('team/app', '1', INDEX));
}

const FILE = '/docker/team_app_1.tar';
const LAYER = AMD64.layers[0]?.digest ?? '';

describe('a failure leaves no request and no file open', () => {
  const failures: readonly [what: string, options: PairOptions, status: number, line: RegExp][] = [
    [
      'a layer with the wrong digest',
      { defects: { wrongBlobDigest: { digest: LAYER } } },
      502,
      /^Failed to prepare image: Cannot verify layer/,
    ],
    [
      'a missing layer',
      { defects: { dropBlob: { digest: LAYER } } },
      502,
      /^Failed to prepare image: .*layer .*not found.*BLOB_UNKNOWN/,
    ],
    [
      'a manifest with the wrong digest',
      { defects: { wrongManifestDigest: true } },
      502,
      /^Failed to prepare image: Cannot verify manifest/,
    ],
    [
      'a lasting 500',
      { defects: { failWith: { status: 500 } } },
      502,
      /^Failed to prepare image: .*the answer is 500/,
    ],
    [
      '403',
      { defects: { failWith: { status: 403 } } },
      502,
      /^Failed to prepare image: .*access is denied.*DENIED/,
    ],
    [
      'connections that are reset',
      { defects: { resetConnections: {} } },
      502,
      /^Failed to prepare image: .*broke off/,
    ],
    [
      'no answer within REGISTRY_RESPONSE_TIMEOUT',
      { defects: { stallRequests: {} }, env: { REGISTRY_RESPONSE_TIMEOUT: '0.05' } },
      504,
      /^Registry timed out: .*no answer within 0\.05 s/,
    ],
    [
      'a preparation that exceeds PREPARE_TIMEOUT',
      { defects: { stallBlob: { digest: LAYER, afterBytes: 10 } }, env: { PREPARE_TIMEOUT: '0.2' } },
      504,
      /^Registry timed out: .*more than 0\.2 s/,
    ],
    [
      'an image that exceeds MAX_COMPRESSED_BYTES',
      { env: { MAX_COMPRESSED_BYTES: '100' } },
      507,
      /^Image too large: .*compressed, more than 100$/,
    ],
  ];
  for (const [what, options, status, line] of failures) {
    test(`${what} is ${status}`, async () => {
      await using pair = await start(options);
      const reply = await pair.request(FILE);
      assertError(reply, status, line);
      assert.match(reply.body.toString(), new RegExp(`^image: ${pair.registry.host}/team/app:1$`, 'm'));
      await pair.service.waitForLog({ event: 'request', status });
      await pair.assertIdle();
    });
  }
});

test('an unknown tag is 502 with the status and code of the registry', async () => {
  await using pair = await start();
  const reply = await pair.request('/docker/team_app_9.tar');
  assertError(reply, 502, /^Failed to prepare image: Cannot get manifest "9" .*not found/);
  assert.match(reply.body.toString(), /^registry status: 404\nregistry code: MANIFEST_UNKNOWN$/m);
});

test('a registry that does not listen is 502 with its address', async () => {
  await using pair = await start();
  const { host } = pair.registry;
  await pair.registry.close();
  const line = new RegExp(`Cannot reach "http://${host}": connection refused`);
  assertError(await pair.request(FILE), 502, line);
});

test('a manifest of schema 1 is 502 with its name', async () => {
  await using pair = await start();
  pair.registry.push('old', '1', makeSchema1Manifest());
  assertError(await pair.request('/docker/old_1.tar'), 502, /schema 1/);
});

test('a gzip bomb is 507', async () => {
  await using pair = await start({ env: { MAX_IMAGE_BYTES: '1MiB' } });
  pair.registry.push('bomb', '1', makeImage({ layers: [await makeGzipBombLayer(32 * 1024 ** 2)] }));
  assertError(
    await pair.request('/docker/bomb_1.tar'),
    507,
    /^Image too large: .*1048576 bytes uncompressed/,
  );
});

test('a rate limit is 503 with the Retry-After of the registry, which gets no second request', async () => {
  await using pair = await start({
    defects: { failWith: { status: 429, headers: { 'Retry-After': '777' } } },
  });
  const reply = await pair.request(FILE);
  assertError(reply, 503, /^Busy: .*too many requests/);
  assert.equal(reply.headers['retry-after'], '777');
  assert.equal(pair.registry.requests.length, 1);
});

test('a rate limit without Retry-After is 503 with one', async () => {
  await using pair = await start({ defects: { failWith: { status: 429 } } });
  const reply = await pair.request(FILE);
  assert.equal(reply.status, 503);
  assertRetryAfter(reply);
});

test('two descriptors of one layer with different sizes are refused, whichever is right, by HEAD and GET', async () => {
  const tar = makeLayer({ 'etc/hello': 'hello' });
  const blob = gzipSync(tar);
  for (const differences of [
    [0, 1],
    [1, 0],
  ]) {
    const layers = differences.map((by) => ({
      ...{ blob, diffId: sha256(tar), descriptor: { size: blob.length + by } },
    }));
    await using pair = await startPair({}, (registry) =>
      registry.push('team/app', '1', makeImage({ layers })),
    );
    for (const path of ['/docker/team_app_1.tar', '/docker-gzip/team_app_1.tgz', '/oci/team_app_1.tar']) {
      for (const method of ['HEAD', 'GET'])
        assert.equal((await pair.request(path, { method })).status, 502, `${method} ${path}`);
      assert.match(firstLine(await pair.request(path)), /one descriptor says \d+ bytes, another one \d+$/);
    }
  }
});
