/** Gzipped archives that are put together from the blobs of the layers. */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { describe, test } from 'node:test';
import { crc32, gunzipSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { APP, BASE_DIGEST, blobsOf, layerOf, startScene, storedFiles, TOOL } from '../../support/cached.ts';
import { sha256 } from '../../support/collect.ts';
import { makeImage, makeLayer } from '../../support/image.ts';
import { noise } from '../../support/noise.ts';
import { startPair } from '../../support/pair.ts';
import { firstLine } from '../../support/reading.ts';
import { startTestService } from '../../support/service.ts';

const GZIP_FILE = '/docker/team_app_1.tgz';
const TAR_FILE = '/docker/team_app_1.tar';

const TAR = makeLayer({ 'etc/hello': 'hello '.repeat(50_000) });
const GZIP = gzipSync(TAR);

/** A gzip member with fields in its header: https://www.rfc-editor.org/rfc/rfc1952#section-2.3 */
function withHeader(flags: number, fields: Buffer, gzip = GZIP): Buffer {
  const header = Buffer.concat([gzip.subarray(0, 3), Buffer.from([flags]), gzip.subarray(4, 10), fields]);
  const checksum = Buffer.alloc(flags & 2 ? 2 : 0);
  if (flags & 2) checksum.writeUInt16LE(crc32(header) & 0xffff);
  return Buffer.concat([header, checksum, gzip.subarray(10)]);
}

/** Blobs of a layer as registries have them, and whether they stand in the archive as they are. */
const BLOBS: readonly [what: string, blob: Buffer, tar: Buffer, isKept: boolean][] = [
  ['gzip', GZIP, TAR, true],
  [
    'gzip of several members',
    Buffer.concat([gzipSync(TAR.subarray(0, 700)), gzipSync(TAR.subarray(700))]),
    TAR,
    true,
  ],
  ['gzip of 500 members', Buffer.concat(slices(TAR, 500).map((part) => gzipSync(part))), TAR, true],
  ['gzip with a name and a comment', withHeader(0x18, Buffer.from('layer.tar\0a comment\0')), TAR, true],
  ['gzip with an extra field', withHeader(0x04, Buffer.from([4, 0, 0x41, 0x42, 0, 0])), TAR, true],
  ['gzip with a checksum of its header', withHeader(0x02, Buffer.alloc(0)), TAR, false],
  [
    'gzip with such a checksum in a later member',
    Buffer.concat([
      gzipSync(TAR.subarray(0, 700)),
      withHeader(0x0a, Buffer.from('layer.tar\0'), gzipSync(TAR.subarray(700))),
    ]),
    TAR,
    false,
  ],
  ['gzip with zeros behind it', Buffer.concat([GZIP, Buffer.alloc(512)]), TAR, false],
  ['gzip with other bytes behind it', Buffer.concat([GZIP, Buffer.from('other bytes')]), TAR, false],
  ['gzip with one byte behind it', Buffer.concat([GZIP, Buffer.from('\n')]), TAR, false],
  [
    'gzip of several members with other bytes behind them',
    Buffer.concat([gzipSync(TAR.subarray(0, 700)), gzipSync(TAR.subarray(700)), noise('behind', 300_000)]),
    TAR,
    false,
  ],
  ['gzip that stores', gzipSync(TAR, { level: 0 }), TAR, true],
  ['zstd', zstdCompressSync(TAR), TAR, false],
  ['a plain tar', TAR, TAR, false],
  ['an empty layer', gzipSync(Buffer.alloc(0)), Buffer.alloc(0), false],
];

function slices(bytes: Buffer, count: number): readonly Buffer[] {
  const size = Math.ceil(bytes.length / count);
  return Array.from({ length: count }, (_, index) => bytes.subarray(index * size, (index + 1) * size));
}

const imageOf = (blob: Buffer, tar: Buffer) =>
  makeImage({
    layers: [layerOf('below', 5_000), { blob, diffId: sha256(tar) }, layerOf('above', 5_000)],
  });

describe('a .tgz of layout docker', () => {
  for (const [what, blob, tar, isKept] of BLOBS) {
    test(`unpacks to the .tar, with a layer that is ${what}`, async () => {
      await using pair = await startPair({}, (registry) =>
        registry.push('team/app', '1', imageOf(blob, tar)),
      );
      const head = await pair.request(GZIP_FILE, { method: 'HEAD' });
      const { status, body, headers } = await pair.request(GZIP_FILE);
      assert.equal(status, 200);
      assert.equal(Number(head.headers['content-length']), body.length);
      assert.ok(gunzipSync(body).equals((await pair.request(TAR_FILE)).body));
      assert.equal(body.includes(blob), isKept);
      // zlib's version counts where a layer is compressed here. There is nothing to compress in an empty one.
      const isDeflated = !isKept && tar.length > 0;
      assert.equal(headers.etag?.includes(process.versions.zlib), isDeflated);
      const line = `${createHash('sha256').update(body).digest('hex')}  team_app_1.tgz\n`;
      assert.equal((await pair.request(`${GZIP_FILE}.sha256`)).body.toString(), line);
    });

    test(`is conditional and in parts, with a layer that is ${what}`, async () => {
      await using pair = await startPair({}, (registry) =>
        registry.push('team/app', '1', imageOf(blob, tar)),
      );
      const whole = await pair.request(GZIP_FILE);
      const etag = String(whole.headers.etag);
      const middle = Math.floor(whole.body.length / 2);
      for (const headers of [{ 'if-range': etag }, { 'if-match': etag }]) {
        const part = await pair.request(GZIP_FILE, { headers: { range: `bytes=${middle}-`, ...headers } });
        assert.equal(part.status, 206, firstLine(part));
        assert.ok(part.body.equals(whole.body.subarray(middle)));
      }
      assert.equal((await pair.request(GZIP_FILE, { headers: { 'if-none-match': etag } })).status, 304);
      const other = await pair.request(GZIP_FILE, { headers: { 'if-match': '"other"' } });
      assert.equal(other.status, 412);
    });
  }

  test('is the same at a replica, whatever either was asked for before', async () => {
    await using pair = await startPair({}, (registry) => registry.push('team/app', '1', APP));
    const first = await pair.request(GZIP_FILE);
    for (const before of [TAR_FILE, '/docker-gzip/team_app_1.tar', '/oci/team_app_1.tgz']) {
      await using replica = await startTestService({ REGISTRY_URL: pair.registry.url });
      await replica.request(before);
      const again = await replica.request('/docker/team_app_1.tar.gz');
      assert.ok(again.body.equals(first.body), before);
      assert.equal(again.headers.etag, first.headers.etag);
    }
  });

  test('differs by its tag from one that is compressed as a whole', async () => {
    await using pair = await startPair({ env: { ARCHIVE_GZIP: 'whole' } }, (registry) =>
      registry.push('team/app', '1', APP),
    );
    await using spliced = await startTestService({ REGISTRY_URL: pair.registry.url });
    const whole = await pair.request(GZIP_FILE);
    const other = await spliced.request(GZIP_FILE);
    assert.notEqual(whole.headers.etag, other.headers.etag);
    assert.ok(gunzipSync(whole.body).equals(gunzipSync(other.body)));
    for (const layer of APP.layers)
      assert.deepEqual(
        [whole, other].map(({ body }) => body.includes(layer.blob)),
        [false, true],
      );
  });
});

describe('a .tgz of layout', () => {
  for (const layout of ['docker-gzip', 'oci']) {
    test(`${layout} has the layers in it as they are`, async () => {
      await using pair = await startPair({}, (registry) => registry.push('team/app', '1', APP));
      const { body, headers } = await pair.request(`/${layout}/team_app_1.tgz`);
      const plain = await pair.request(`/${layout}/team_app_1.tar`);
      assert.ok(gunzipSync(body).equals(plain.body));
      assert.ok(body.length < plain.body.length * 1.001 + 1000);
      assert.ok(!headers.etag?.includes(process.versions.zlib));
    });
  }
});

describe('the store', () => {
  const CACHED = [TAR_FILE, GZIP_FILE, '/docker-gzip/team_app_1.tar', '/oci/team_app_1.tgz'] as const;
  const rows: readonly [first: string, then: string, fetched: number][] = [
    [GZIP_FILE, TAR_FILE, 0],
    [GZIP_FILE, '/oci/team_app_1.tar', 0],
    ['/docker-gzip/team_app_1.tar', GZIP_FILE, 0],
    ['/oci/team_app_1.tgz', TAR_FILE, 0],
    [TAR_FILE, GZIP_FILE, 0],
    [TAR_FILE, '/docker-gzip/team_app_1.tar', 0],
    [TAR_FILE, '/oci/team_app_1.tgz', 0],
  ];
  for (const [first, then, fetched] of rows) {
    test(`has the layers of ${then} after ${first}: ${fetched} are fetched`, async () => {
      await using scene = await startScene();
      await using service = await scene.start({ CACHE_DIR: scene.directory });
      await service.request(first);
      scene.takeRequests();
      assert.equal((await service.request(then)).status, 200);
      const layers = blobsOf(scene.takeRequests()).filter((line) => !line.includes(APP.config.digest));
      assert.equal(layers.filter((line) => line.startsWith('GET ')).length, fetched);
      for (const path of CACHED) await service.request(path);
      scene.takeRequests();
      for (const path of CACHED) await service.request(path);
      assert.deepEqual(blobsOf(scene.takeRequests()), [], 'all forms are there');
    });
  }

  test('has nothing inflated where only gzip was asked for', async () => {
    const image = makeImage({ layers: [{ tar: makeLayer({ zeros: '0'.repeat(5_000_000) }) }] });
    await using scene = await startScene();
    scene.registry.push('team/zeros', '1', image);
    await using service = await scene.start({ CACHE_DIR: scene.directory });
    for (const path of ['/docker/team_zeros_1.tgz', '/docker-gzip/team_zeros_1.tar', '/oci/team_zeros_1.tgz'])
      assert.equal((await service.request(path)).status, 200);
    const sizes = await Promise.all(
      (await storedFiles(scene.directory)).map(async (path) => (await stat(path)).size),
    );
    assert.ok(Math.max(...sizes) < 100_000, `${Math.max(...sizes)} bytes`);
  });

  test('gives an inflated layer only to a repository that has its blob', async () => {
    await using scene = await startScene();
    await using service = await scene.start({ CACHE_DIR: scene.directory });
    await service.request(GZIP_FILE);
    scene.takeRequests();
    assert.equal((await service.request('/docker/org_tool_1.tar')).status, 200);
    assert.ok(scene.takeRequests().includes(`HEAD org/tool/blobs/${BASE_DIGEST}`), 'the registry was asked');
    assert.ok(TOOL.layers.some(({ digest }) => digest === BASE_DIGEST));
  });
});

test('a blob with other bytes behind its gzip is unpacked from its file, in every form and after a restart', async () => {
  const blob = Buffer.concat([GZIP, Buffer.from('other bytes')]);
  await using scene = await startScene();
  scene.registry.push('team/odd', '1', imageOf(blob, TAR));
  const env = { CACHE_DIR: scene.directory };
  const paths = ['/docker/team_odd_1.tgz', '/docker/team_odd_1.tar'];
  await using alone = await scene.start({ CACHE_MAX_BYTES: '0' });
  const expected = await Promise.all(paths.map((path) => alone.request(path)));
  {
    await using service = await scene.start(env);
    assert.equal((await service.request('/oci/team_odd_1.tar')).status, 200);
    await service.stop();
  }
  scene.takeRequests();
  for (let count = 0; count < 2; count += 1) {
    await using service = await scene.start(env);
    for (const [at, path] of paths.entries())
      assert.ok((await service.request(path)).body.equals(expected[at]?.body ?? assert.fail()), path);
    await service.stop();
  }
  const requested = scene
    .takeRequests()
    .filter((line) => line.startsWith('GET') && line.includes(sha256(blob)));
  assert.deepEqual(requested, []);
});

test('a layer that unpacks to other bytes than the config says is refused as .tgz, too', async () => {
  const image = makeImage({ layers: [{ blob: GZIP, diffId: `sha256:${'0'.repeat(64)}` }] });
  await using pair = await startPair({}, (registry) => registry.push('team/app', '1', image));
  const reply = await pair.request(GZIP_FILE);
  assert.equal(reply.status, 502);
  assert.match(firstLine(reply), /Cannot verify uncompressed layer/);
  await pair.assertIdle();
});

const DAMAGED: Readonly<Record<string, Buffer>> = {
  'overwritten in its middle': Buffer.concat([
    GZIP.subarray(0, 100),
    Buffer.alloc(100, 0xff),
    GZIP.subarray(200),
  ]),
  'cut in its last byte': GZIP.subarray(0, -1),
  'cut in its second member': Buffer.concat([GZIP, GZIP.subarray(0, 100)]),
  'cut in the header of its second member': Buffer.concat([GZIP, GZIP.subarray(0, 5)]),
  'damaged in its second member': Buffer.concat([
    GZIP,
    GZIP.subarray(0, 3),
    Buffer.from([0xff]),
    GZIP.subarray(4),
  ]),
};
for (const [what, blob] of Object.entries(DAMAGED)) {
  test(`a layer whose gzip is ${what} is refused in layout docker`, async () => {
    const image = makeImage({ layers: [{ blob, diffId: sha256(TAR) }] });
    await using pair = await startPair({}, (registry) => registry.push('team/app', '1', image));
    for (const path of [GZIP_FILE, TAR_FILE]) {
      const reply = await pair.request(path);
      assert.equal(reply.status, 502);
      assert.match(firstLine(reply), /Cannot unpack layer .*: its gzip stream is damaged/);
    }
    await pair.assertIdle();
  });
}

test('a bomb is stopped while it is unpacked, and leaves nothing', async () => {
  const tar = Buffer.alloc(50_000_000);
  const image = makeImage({ layers: [{ blob: gzipSync(tar), diffId: sha256(tar) }] });
  await using pair = await startPair({ env: { MAX_IMAGE_BYTES: '1000000' } }, (registry) =>
    registry.push('team/app', '1', image),
  );
  for (const before of [undefined, '/oci/team_app_1.tar']) {
    if (before !== undefined) assert.equal((await pair.request(before)).status, 200);
    const reply = await pair.request(GZIP_FILE);
    assert.equal(reply.status, 507, firstLine(reply));
    await pair.assertIdle();
  }
});
