/** Archives that are sent while their layers arrive. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { layerOf } from '../../support/cached.ts';
import { readAll, sha256 } from '../../support/collect.ts';
import { makeImage, makeLayer } from '../../support/image.ts';
import { type Pair, type PairOptions, startPair } from '../../support/pair.ts';
import { connectRaw } from '../../support/raw-client.ts';
import { startTestService } from '../../support/service.ts';
import { within } from '../../support/within.ts';

const IMAGE = makeImage({ layers: ['one', 'two', 'three'].map((name) => layerOf(name, 300_000)) });
const LAST = IMAGE.layers.at(-1)?.digest ?? '';
const OTHER = makeLayer({ 'etc/other': 'other '.repeat(10_000) });

/** The blob whose bytes come last in an archive. */
function lastOf(layout: string): string {
  if (layout !== 'oci') return LAST;
  return (
    IMAGE.layers
      .map(({ digest }) => digest)
      .toSorted()
      .at(-1) ?? ''
  );
}

const FILES = ['docker', 'docker-gzip', 'oci'].flatMap((layout) =>
  ['tar', 'tgz'].map((ending) => ({ layout, path: `/${layout}/team_app_1.${ending}` })),
);

const start = (options: PairOptions = {}): Promise<Pair> =>
  startPair(options, (registry) => registry.push('team/app', '1', IMAGE));

describe('an early archive', () => {
  for (const { layout, path } of FILES) {
    test(`is byte for byte that of a prepared one, with its tag: ${path}`, async () => {
      await using early = await start();
      await using prepared = await startTestService({ REGISTRY_URL: early.registry.url });
      const expected = await prepared.request(path);
      const { status, body, headers } = await early.request(`${path}?start=early`);
      assert.equal(status, 200);
      assert.ok(body.equals(expected.body));
      assert.equal(headers.etag, expected.headers.etag);
      // Uncompressed sizes, and whether blobs are plain gzip, are known only when the layers are there.
      const isLengthKnown = layout !== 'docker';
      assert.equal(headers['content-length'], isLengthKnown ? String(body.length) : undefined);
      assert.equal(headers['transfer-encoding'], isLengthKnown ? undefined : 'chunked');
      await early.service.waitForLog({ event: 'request', outcome: 'ok' });
      await early.assertIdle();
    });

    test(`sends each layer as soon as it is verified: ${path}`, async () => {
      await using pair = await start({ defects: { stallBlob: { digest: lastOf(layout), afterBytes: 100 } } });
      const expected = 2 * 300_000;
      const response = await within(pair.service.open(`${path}?start=early`), 'the header');
      assert.equal(response.statusCode, 200);
      const chunks: Buffer[] = [];
      let received = 0;
      const { promise, resolve } = Promise.withResolvers<void>();
      response.on('data', (chunk: Buffer) => {
        chunks.push(chunk);
        received += chunk.length;
        if (received >= expected) resolve();
      });
      await within(promise, 'two layers');
      await pair.untilStalled();
      const ended = new Promise((done) => response.once('end', done));
      pair.registry.defects.stallBlob = undefined;
      pair.registry.releaseStalled();
      await within(ended, 'the end');
      const again = await pair.request(path);
      assert.ok(Buffer.concat(chunks).equals(again.body));
    });

    test(`is cut before a layer that is wrong: ${path}`, async () => {
      const digest = lastOf(layout);
      await using pair = await start({ defects: { wrongBlobDigest: { digest } } });
      const reply = await pair.request(`${path}?start=early`);
      assert.deepEqual([reply.status, reply.isCut], [200, true]);
      await pair.service.waitForLog({ event: 'request', outcome: 'broken', error: 'VERIFICATION_FAILED' });
      await pair.assertIdle();
      pair.registry.defects.wrongBlobDigest = undefined;
      const whole = await pair.request(path);
      assert.ok(whole.body.subarray(0, reply.body.length).equals(reply.body), 'no wrong byte went out');
    });
  }

  const tar = makeLayer({ 'etc/hello': 'hello '.repeat(10_000) });
  const blobs = [1, 9].map((level) => ({ blob: gzipSync(tar, { level }), diffId: sha256(tar) }));
  for (const path of [
    '/docker/team_twice_1.tgz?',
    '/bundle.tgz?image={host}/team/level1:1&image={host}/team/level9:1',
    '/bundle.tgz?image={host}/team/level9:1&image={host}/team/level1:1',
  ]) {
    test(`has the bytes of a prepared one where two blobs unpack to the same layer: ${path}`, async () => {
      await using pair = await startPair({}, (registry) => {
        registry.push('team/twice', '1', makeImage({ layers: blobs }));
        for (const [at, layer] of blobs.entries())
          registry.push(`team/level${[1, 9][at]}`, '1', makeImage({ layers: [layer] }));
      });
      const early = await pair.request(`${path}&start=early`);
      const prepared = await pair.request(path);
      assert.deepEqual([early.status, early.headers.etag], [200, prepared.headers.etag]);
      assert.ok(early.body.equals(prepared.body));
    });
  }

  const prepared: readonly [what: string, path: string, options: object][] = [
    ['HEAD', '/docker/team_app_1.tar', { method: 'HEAD' }],
    ['a part', '/docker/team_app_1.tar', { headers: { range: 'bytes=0-99' } }],
    ['a checksum', '/docker/team_app_1.tar.sha256', {}],
  ];
  for (const [what, path, options] of prepared) {
    test(`is prepared for ${what}`, async () => {
      await using pair = await start();
      const reply = await pair.request(`${path}?start=early`, options);
      assert.ok([200, 206].includes(reply.status));
      assert.notEqual(reply.headers['content-length'], undefined);
    });
  }

  test('is prepared for HTTP/1.0', async () => {
    await using pair = await start();
    using client = await connectRaw(pair.service.port);
    client.send('GET /docker/team_app_1.tar?start=early HTTP/1.0\r\n\r\n');
    const received = (await client.untilClosed()).toString('latin1');
    assert.match(received, /^content-length: \d+\r$/im);
  });

  for (const path of [
    '/early/docker/team_app_1.tar',
    '/platform/linux/amd64/early/docker/team_app_1.tar',
    '/early/platform/linux/amd64/docker/team_app_1.tar?start=early',
    '/early/bundle.tar?image={host}/team/app:1',
    '/{host}/team/app:1?start=early',
  ]) {
    test(`is asked for by ${path}`, async () => {
      await using pair = await start();
      const reply = await pair.request(path);
      assert.deepEqual([reply.status, reply.headers['transfer-encoding']], [200, 'chunked']);
    });
  }

  const refused: readonly [path: string, why: RegExp][] = [
    ['/early/team/app:1', /expected docker, registry or registry-auth behind \/early\//],
    ['/early/early/docker/team_app_1.tar', /it has \/early\/ twice/],
    ['/early/docker/team_app_1.tar?start=prepared', /the request says early and "prepared"/],
    ['/docker/team_app_1.tar?start=now', /Cannot use start="now": expected one of prepared, early/],
  ];
  for (const [path, why] of refused) {
    test(`is refused for ${path}`, async () => {
      await using pair = await start();
      const reply = await pair.request(path);
      assert.equal(reply.status, 400);
      assert.match(reply.body.toString(), why);
    });
  }

  test('has its length when it is stored', async () => {
    await using pair = await start({ env: { CACHE_MAX_BYTES: '1000000000' } });
    await pair.request('/docker/team_app_1.tar?start=early');
    const again = await pair.request('/docker/team_app_1.tar?start=early');
    assert.equal(again.headers['content-length'], String(again.body.length));
  });

  test('is the default with ARCHIVE_START=early, and start=prepared overrules it', async () => {
    await using pair = await start({ env: { ARCHIVE_START: 'early' } });
    const early = await pair.request('/docker/team_app_1.tar');
    assert.equal(early.headers['content-length'], undefined);
    const whole = await pair.request('/docker/team_app_1.tar?start=prepared');
    assert.equal(whole.headers['content-length'], String(whole.body.length));
    assert.ok(whole.body.equals(early.body));
  });

  test('shares its work with a client that waits for a prepared one', async () => {
    await using pair = await start({ defects: { stallBlob: { digest: LAST, afterBytes: 100 } } });
    const early = await pair.service.open('/docker/team_app_1.tar?start=early');
    await pair.untilStalled();
    const prepared = pair.request('/docker/team_app_1.tar');
    pair.registry.releaseStalled();
    const [first, second] = await Promise.all([readAll(early), prepared]);
    assert.ok(second.body.equals(first));
    for (const { digest } of IMAGE.layers)
      assert.equal(pair.registry.countRequests(new RegExp(`GET .*${digest}`)), 1, digest);
  });

  for (const [what, other] of [
    ['another early one', '?start=early'],
    ['a prepared one', ''],
  ] as const) {
    test(`begins while ${what} waits for its last layer, and takes no place of its own`, async () => {
      await using pair = await start({
        defects: { stallBlob: { digest: LAST, afterBytes: 100 } },
        env: { MAX_CONCURRENT_PREPARATIONS: '1', MAX_QUEUED_PREPARATIONS: '0' },
      });
      const first = pair.request(`/docker/team_app_1.tar${other}`);
      await pair.untilStalled();
      const response = await within(pair.service.open('/docker/team_app_1.tar?start=early'), 'the header');
      assert.equal(response.statusCode, 200);
      const body = readAll(response);
      pair.registry.releaseStalled();
      assert.ok((await body).equals((await first).body));
      for (const { digest } of IMAGE.layers)
        assert.equal(pair.registry.countRequests(new RegExp(`GET .*${digest}`)), 1, digest);
      await pair.service.waitForLog({ event: 'request', outcome: 'ok' }, 2);
      await pair.assertIdle();
    });
  }

  test('stops its work when the client leaves', async () => {
    await using pair = await start({ defects: { stallBlob: { digest: LAST, afterBytes: 100 } } });
    const response = await pair.service.open('/docker/team_app_1.tar?start=early');
    await pair.untilStalled();
    response.destroy();
    await pair.service.waitForLog({ event: 'request', outcome: 'aborted' });
    await pair.assertIdle();
  });

  test('whose client is slow holds no place once its layers are there', async () => {
    await using pair = await start({
      env: { MAX_CONCURRENT_PREPARATIONS: '1', MAX_QUEUED_PREPARATIONS: '0' },
    });
    const large = makeImage({ layers: [{ tar: makeLayer({ zeros: '0'.repeat(30_000_000) }) }] });
    pair.registry.push('team/large', '1', large);
    const slow = await pair.service.open('/docker/team_large_1.tar?start=early');
    await within(once(slow), 'the first bytes');
    let reply = await pair.request('/docker/team_app_1.tar');
    for (let count = 0; count < 200 && reply.status === 503; count += 1)
      reply = await pair.request('/docker/team_app_1.tar');
    assert.equal(reply.status, 200);
    slow.destroy();
  });
});

/** Resolves when an answer has bytes; takes none. */
function once(response: { once(event: 'readable', listener: () => void): unknown }): Promise<void> {
  return new Promise((resolve) => response.once('readable', resolve));
}

describe('an early .tgz', () => {
  test('of layout docker-gzip without a known length begins before its layers are there', async () => {
    const image = makeImage({
      layers: [layerOf('one', 300_000), { ...layerOf('two', 300_000), compression: 'zstd' }],
    });
    const digest = image.layers[1]?.digest ?? '';
    await using pair = await startPair(
      { defects: { stallBlob: { digest, afterBytes: 100, times: 1 } } },
      (registry) => registry.push('team/app', '1', image),
    );
    const path = '/docker-gzip/team_app_1.tgz';
    const response = await within(pair.service.open(`${path}?start=early`), 'the header');
    assert.equal(response.headers['transfer-encoding'], 'chunked');
    await within(once(response), 'the first bytes');
    await pair.untilStalled();
    pair.registry.releaseStalled();
    const body = await readAll(response);
    const prepared = await pair.request(path);
    assert.ok(body.equals(prepared.body));
    assert.equal(response.headers.etag, prepared.headers.etag);
    await pair.assertIdle();
  });
});

describe('an early .tgz of layout docker', () => {
  const tar = makeLayer({ 'etc/hello': 'hello '.repeat(10_000) });

  for (const compression of ['zstd', 'none'] as const) {
    test(`has a layer that says it is ${compression}, compressed anew`, async () => {
      await using pair = await startPair({}, (registry) =>
        registry.push('team/app', '1', makeImage({ layers: [{ tar }, { tar: OTHER, compression }] })),
      );
      const early = await pair.request('/docker/team_app_1.tgz?start=early');
      assert.deepEqual([early.status, early.isCut], [200, false]);
      const prepared = await pair.request('/docker/team_app_1.tgz');
      assert.ok(early.body.equals(prepared.body));
      assert.equal(early.headers.etag, prepared.headers.etag);
      // The tag of the same archive from layers that are gzip.
      const named = { 'if-match': String(prepared.headers.etag).replace(/spliced-.*"/, 'spliced"') };
      for (const path of ['/docker/team_app_1.tgz', '/early/docker/team_app_1.tgz'])
        assert.equal((await pair.request(path, { headers: named })).status, 412, path);
      await pair.assertIdle();
    });
  }

  const rows: readonly [what: string, blob: Buffer][] = [
    ['zstd', zstdCompressSync(tar)],
    ['gzip with zeros behind it', Buffer.concat([gzipSync(tar), Buffer.alloc(512)])],
  ];
  for (const [what, blob] of rows) {
    test(`is cut at a layer that is ${what} and says gzip: the tag that was sent is another's`, async () => {
      await using pair = await startPair({ env: { CACHE_MAX_BYTES: '1000000000' } }, (registry) =>
        registry.push('team/app', '1', makeImage({ layers: [{ blob, diffId: sha256(tar) }] })),
      );
      const first = await pair.request('/docker/team_app_1.tgz?start=early');
      assert.deepEqual([first.status, first.isCut], [200, true]);
      const again = await pair.request('/docker/team_app_1.tgz?start=early');
      assert.deepEqual([again.status, again.isCut], [200, false]);
      assert.notEqual(again.headers.etag, first.headers.etag);
    });
  }
});
