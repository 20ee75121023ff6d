/**
 * The doubles themselves: they serve what they should, and each kind of switch does what it says. A double that
 * lies makes every test worthless.
 */

import assert from 'node:assert/strict';
import { get as httpGet, type IncomingMessage } from 'node:http';
import { get as httpsGet } from 'node:https';
import { describe, test } from 'node:test';
import type { SecureContextOptions } from 'node:tls';
import { gunzipSync, zstdDecompressSync } from 'node:zlib';
import { listTar, readAll, sha256 } from './collect.ts';
import type { Defects } from './defects.ts';
import { type FakeRegistry, startFakeRegistry } from './fake-registry.ts';
import {
  compress,
  MEDIA_TYPES,
  makeAttestation,
  makeGzipBombLayer,
  makeImage,
  makeIndex,
  makeLayer,
} from './image.ts';
import { makeAmbiguousIndex, makeHelmChart, makeSchema1Manifest } from './odd-images.ts';
import { answerRaw, startRawServer } from './raw-server.ts';
import { startScriptedServer } from './scripted-server.ts';
import { serveSignedBlobs, URL_SIGNATURE } from './signed-blobs.ts';
import { makeCertificates } from './tls.ts';

const OLD = makeLayer({
  'etc/': '',
  'etc/motd': 'hello\n',
  'bin/sh': { type: 'symlink', linkname: 'busybox' },
});
const IMAGE = makeImage({
  layers: [{ tar: OLD }, { tar: makeLayer({ big: Buffer.alloc(200_000, 'x') }), compression: 'none' }],
});
const BIG = IMAGE.layers[1]?.blob ?? Buffer.alloc(0);
const BIG_PATH = `/v2/team/app/blobs/${IMAGE.layers[1]?.digest}`;
const MANIFEST_PATH = '/v2/team/app/manifests/1';

interface Got {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly rawHeaders: readonly string[];
  readonly body: Buffer;
  /** Whether the connection broke before the end. */
  readonly cut: boolean;
}

/** Whom to trust, and who to be, as PEM. */
type TlsOptions = Pick<SecureContextOptions, 'ca' | 'cert' | 'key'>;

/** One GET on a connection of its own, with whatever comes of it. */
async function get(url: string, headers: Record<string, string> = {}, tls: TlsOptions = {}): Promise<Got> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const options = { headers, agent: false as const, ...tls };
  const request = url.startsWith('https:') ? httpsGet(url, options, resolve) : httpGet(url, options, resolve);
  request.on('error', reject);
  const response = await promise;
  const chunks: Buffer[] = [];
  let cut = false;
  try {
    for await (const chunk of response) {
      chunks.push(chunk as Buffer);
    }
  } catch {
    cut = true;
  }
  const { statusCode: status = 0, rawHeaders } = response;
  return { status, headers: response.headers, rawHeaders, body: Buffer.concat(chunks), cut };
}

async function withDefects(defects: Defects): Promise<FakeRegistry> {
  const registry = await startFakeRegistry({ defects });
  registry.push('team/app', '1', IMAGE);
  return registry;
}

function errorCode(got: Got): string {
  return (JSON.parse(got.body.toString()) as { errors: { code: string }[] }).errors[0]?.code ?? '';
}

describe('images', () => {
  test('layers are tars, the same at every call', () => {
    const [directory, file, link] = listTar(OLD);
    assert.equal(directory?.type, 'directory');
    assert.deepEqual(
      [file?.name, file?.type, file?.content.toString(), file?.mode],
      ['etc/motd', 'file', 'hello\n', 0o644],
    );
    assert.deepEqual([link?.type, link?.linkname, link?.size], ['symlink', 'busybox', 0]);
    const long = `${'d'.repeat(90)}/${'f'.repeat(90)}`;
    assert.equal(listTar(makeLayer({ [long]: 'x' }))[0]?.name, long);
    assert.deepEqual(gunzipSync(compress(OLD, 'gzip')), OLD);
    assert.deepEqual(zstdDecompressSync(compress(OLD, 'zstd')), OLD);
    assert.deepEqual(compress(OLD, 'gzip'), compress(OLD, 'gzip'));
  });

  test('a broken tar is not listed', () => {
    assert.throws(() => listTar(OLD.subarray(0, 700)), /ends/);
    assert.throws(() => listTar(OLD.subarray(0, -512)), /inside the block/);
    const flipped = Buffer.from(OLD);
    flipped[3] = 0x41;
    assert.throws(() => listTar(flipped), /checksum/);
  });

  test('pax records are applied', () => {
    // 19 bytes, for the umlaut is two of them.
    const pax = makeLayer({ 'PaxHeaders/x': '19 path=täst/lang\n', x: 'content' });
    pax.write('x', 156);
    const sum = pax
      .subarray(0, 512)
      .reduce((total, byte, at) => total + (at >= 148 && at < 156 ? 0x20 : byte), 0);
    pax.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
    assert.deepEqual(
      listTar(pax).map(({ name, content }) => [name, content.toString()]),
      [['täst/lang', 'content']],
    );
  });

  test('digests, sizes and diff IDs fit the bytes', () => {
    for (const mediaTypes of ['oci', 'docker'] as const) {
      const image = makeImage({
        mediaTypes,
        layers: [
          { tar: OLD, compression: 'zstd' },
          { tar: OLD, compression: 'zstd' },
        ],
      });
      const manifest = JSON.parse(image.manifest.bytes.toString());
      assert.equal(manifest.mediaType, MEDIA_TYPES[mediaTypes].manifest);
      assert.equal(image.blobs.size, 2);
      for (const { digest, size } of [manifest.config, ...manifest.layers]) {
        const blob = image.blobs.get(digest);
        assert.ok(blob);
        assert.deepEqual([digest, size], [sha256(blob), blob.length]);
      }
      assert.deepEqual(JSON.parse(image.config.bytes.toString()).rootfs.diff_ids, [sha256(OLD), sha256(OLD)]);
      assert.equal(image.manifest.digest, sha256(image.manifest.bytes));
    }
  });

  test('a descriptor can lie', () => {
    const image = makeImage({
      layers: [
        { tar: OLD, compression: 'none', mediaType: MEDIA_TYPES.oci.layer.gzip, descriptor: { size: 1 } },
      ],
      manifestPaddingBytes: 1000,
    });
    const [layer] = JSON.parse(image.manifest.bytes.toString()).layers;
    assert.deepEqual([layer.mediaType, layer.size], [MEDIA_TYPES.oci.layer.gzip, 1]);
    assert.deepEqual(image.layers[0]?.blob, OLD);
    assert.equal(image.manifest.digest, sha256(image.manifest.bytes));
  });

  test('an index names platforms, attestations, indexes', () => {
    const inner = makeIndex([{ image: IMAGE, platform: null }], { mediaTypes: 'docker' });
    const index = makeIndex([{ image: IMAGE }, makeAttestation(IMAGE), { image: inner }]);
    const { manifests } = JSON.parse(index.manifest.bytes.toString());
    assert.deepEqual(manifests[0].platform, { os: 'linux', architecture: 'amd64' });
    assert.deepEqual(manifests[1].platform, { os: 'unknown', architecture: 'unknown' });
    assert.equal(manifests[1].annotations['vnd.docker.reference.type'], 'attestation-manifest');
    assert.deepEqual([manifests[2].mediaType, manifests[2].platform], [MEDIA_TYPES.docker.index, undefined]);
    assert.equal('platform' in JSON.parse(inner.manifest.bytes.toString()).manifests[0], false);
  });

  test('odd manifests are what they should be', () => {
    assert.equal(JSON.parse(makeSchema1Manifest().manifest.bytes.toString()).schemaVersion, 1);
    assert.match(makeHelmChart().manifest.bytes.toString(), /helm\.config/);
    const both = JSON.parse(makeAmbiguousIndex(IMAGE, IMAGE).manifest.bytes.toString());
    assert.ok(both.manifests.length === 1 && both.layers.length === 2 && both.config.digest);
  });

  test('a bomb is small until it is open', async () => {
    const bomb = await makeGzipBombLayer(8_000_000);
    assert.ok(bomb.blob.length < 100_000);
    const tar = gunzipSync(bomb.blob);
    assert.deepEqual([tar.length, sha256(tar)], [bomb.uncompressedSize, bomb.diffId]);
    assert.equal(listTar(tar)[0]?.size, 8_000_000);
  });
});

describe('a registry that behaves', () => {
  test('serves manifests by tag and digest, blobs, and parts of blobs', async () => {
    await using registry = await withDefects({});
    for (const reference of ['1', IMAGE.manifest.digest, IMAGE.manifest.digest.replace(':', '%3A')]) {
      const got = await get(`${registry.url}/v2/team/app/manifests/${reference}?ns=docker.io`);
      assert.deepEqual(got.body, IMAGE.manifest.bytes);
      assert.equal(got.headers['content-type'], IMAGE.manifest.mediaType);
      assert.equal(got.headers['docker-content-digest'], IMAGE.manifest.digest);
    }
    assert.deepEqual((await get(registry.url + BIG_PATH)).body, BIG);
    for (const [range, part] of [
      ['bytes=10-19', BIG.subarray(10, 20)],
      ['bytes=199000-', BIG.subarray(199_000)],
      ['bytes=-5', BIG.subarray(-5)],
    ] as const) {
      const got = await get(registry.url + BIG_PATH, { Range: range });
      assert.deepEqual([got.status, got.body], [206, part]);
      assert.match(got.headers['content-range'] ?? '', new RegExp(`^bytes \\d+-\\d+/${BIG.length}$`));
    }
    assert.equal((await get(registry.url + BIG_PATH, { Range: `bytes=${BIG.length}-` })).status, 416);
    const head = await fetch(registry.url + BIG_PATH, { method: 'HEAD' });
    assert.deepEqual([head.status, head.headers.get('content-length')], [200, String(BIG.length)]);
    assert.equal((await get(`${registry.url}/v2/`)).status, 200);
  });

  test('answers what it does not have with OCI errors', async () => {
    await using registry = await withDefects({});
    assert.equal(errorCode(await get(`${registry.url}/v2/team/app/manifests/2`)), 'MANIFEST_UNKNOWN');
    assert.equal(errorCode(await get(`${registry.url}/v2/team/other/manifests/1`)), 'NAME_UNKNOWN');
    assert.equal(errorCode(await get(`${registry.url}/v2/team/app/blobs/${sha256('')}`)), 'BLOB_UNKNOWN');
    const picky = await get(registry.url + MANIFEST_PATH, { Accept: MEDIA_TYPES.docker.manifest });
    assert.deepEqual([picky.status, errorCode(picky)], [404, 'MANIFEST_UNKNOWN']);
  });

  test('records requests, and tells when they come and when they are over', async () => {
    await using registry = await withDefects({ stallBlob: { afterBytes: 1000 } });
    const future = registry.waitForRequest(/^GET .*blobs/);
    const controller = new AbortController();
    const response = await fetch(registry.url + BIG_PATH, {
      signal: controller.signal,
      headers: { 'X-Test': 'a' },
    });
    assert.equal((await future).headers['x-test'], 'a');
    assert.deepEqual(await registry.waitForRequest(/blobs/), await future);
    await registry.waitForStalled();
    assert.deepEqual(
      [registry.activeRequests(), registry.openConnections(), registry.countRequests(/blobs/g)],
      [1, 1, 1],
    );
    controller.abort();
    await assert.rejects(response.arrayBuffer());
    await registry.waitForNoActiveRequests();
    const never = registry.waitForRequest(/never/);
    await registry.close();
    await assert.rejects(never, /closed/);
  });

  test('speaks TLS, and asks for client certificates', async () => {
    const { ca, cert, key, clientCert, clientKey } = await makeCertificates();
    assert.equal(await makeCertificates(), await makeCertificates());
    await using registry = await startFakeRegistry({ tls: { cert, key } });
    registry.push('team/app', '1', IMAGE);
    assert.match(registry.origin, /^https:\/\/127\.0\.0\.1:\d+$/);
    assert.deepEqual((await get(registry.url + BIG_PATH, {}, { ca })).body, BIG);
    await assert.rejects(get(registry.url + BIG_PATH));
    await using mutual = await startFakeRegistry({ tls: { cert, key, clientCa: ca } });
    await assert.rejects(get(`${mutual.url}/v2/`, {}, { ca }));
    const known = { ca, cert: clientCert, key: clientKey };
    assert.equal((await get(`${mutual.url}/v2/`, {}, known)).status, 200);
  });
});

describe('a registry with a defect', () => {
  test('in the bytes of a blob', async () => {
    await using registry = await withDefects({ wrongBlobDigest: { digest: sha256(BIG), times: 1 } });
    const flipped = (await get(registry.url + BIG_PATH)).body;
    assert.deepEqual([flipped.length, flipped.equals(BIG)], [BIG.length, false]);
    assert.deepEqual((await get(registry.url + BIG_PATH)).body, BIG);
    registry.defects.wrongBlobSize = { by: 5 };
    assert.equal((await get(registry.url + BIG_PATH)).headers['content-length'], String(BIG.length + 5));
    registry.defects.wrongBlobSize = { by: -5, contentLength: 'none' };
    const short = await get(registry.url + BIG_PATH);
    assert.deepEqual(
      [short.body, short.headers['content-length'], short.cut],
      [BIG.subarray(0, -5), undefined, false],
    );
    registry.defects.wrongBlobSize = { by: -5, contentLength: 'descriptor' };
    const cut = await get(registry.url + BIG_PATH);
    assert.deepEqual([cut.headers['content-length'], cut.cut], [String(BIG.length), true]);
    registry.defects.wrongBlobSize = undefined;
    registry.defects.dropBlob = true;
    assert.equal((await get(registry.url + BIG_PATH)).status, 404);
  });

  test('in the way of a blob', async () => {
    await using registry = await withDefects({ truncateBlob: { afterBytes: 150_000, times: 2 } });
    for (let time = 0; time < 2; time += 1) {
      const got = await get(registry.url + BIG_PATH);
      assert.deepEqual([got.status, got.cut, got.body], [200, true, BIG.subarray(0, 150_000)]);
    }
    const rest = await get(registry.url + BIG_PATH, { Range: 'bytes=150000-' });
    assert.deepEqual([rest.status, rest.body], [206, BIG.subarray(150_000)]);
    registry.defects.truncateBlob = { afterBytes: 0 };
    assert.deepEqual((await get(registry.url + BIG_PATH)).body.length, 0);
    delete registry.defects.truncateBlob;
    registry.defects.noRange = true;
    assert.equal((await get(registry.url + BIG_PATH, { Range: 'bytes=5-' })).status, 200);
    registry.defects.noRange = false;
    registry.defects.wrongContentRange = 'fromZero';
    const lie = await get(registry.url + BIG_PATH, { Range: 'bytes=5-9' });
    assert.deepEqual(
      [lie.status, lie.headers['content-range'], lie.body],
      [206, `bytes 0-4/${BIG.length}`, BIG.subarray(0, 5)],
    );
    registry.defects.wrongContentRange = undefined;
    registry.defects.stallBlob = { afterBytes: 7 };
    const stalled = get(registry.url + BIG_PATH);
    await registry.waitForStalled();
    registry.releaseStalled();
    assert.deepEqual((await stalled).body, BIG);
  });

  test('in a manifest', async () => {
    const { digest } = IMAGE.manifest;
    await using registry = await withDefects({ wrongManifestDigest: true, manifestContentType: null });
    const right = await get(registry.url + MANIFEST_PATH);
    assert.deepEqual([right.body, right.headers['content-type']], [IMAGE.manifest.bytes, undefined]);
    const wrong = await get(`${registry.url}/v2/team/app/manifests/${digest}`);
    assert.equal(wrong.body.length, IMAGE.manifest.bytes.length);
    assert.notEqual(sha256(wrong.body), digest);
    assert.equal(JSON.parse(wrong.body.toString()).layers.length, 2);
    assert.equal(wrong.headers['docker-content-digest'], digest);
    Object.assign(registry.defects, { wrongManifestDigest: undefined, wrongHeaderDigest: true });
    assert.match(
      String((await get(registry.url + MANIFEST_PATH)).headers['docker-content-digest']),
      /^sha256:0{64}$/,
    );
    registry.defects.hugeManifest = { bytes: 3_000_000, contentLength: false };
    const huge = await get(registry.url + MANIFEST_PATH);
    assert.equal(huge.body.length, IMAGE.manifest.bytes.length + 3_000_000);
    assert.deepEqual(JSON.parse(huge.body.toString()), JSON.parse(IMAGE.manifest.bytes.toString()));
    registry.defects.hugeManifest = undefined;
    registry.defects.stallManifest = true;
    const stalled = get(registry.url + MANIFEST_PATH);
    await registry.waitForStalled();
    registry.releaseStalled();
    assert.equal((await stalled).status, 200);
  });

  test('in any request', async () => {
    await using registry = await withDefects({ resetConnections: { pattern: /manifests/, times: 1 } });
    await assert.rejects(get(registry.url + MANIFEST_PATH), { code: 'ECONNRESET' });
    registry.defects.failWith = [
      { pattern: /manifests/, status: 429, times: 1, headers: { 'Retry-After': '7' } },
      { pattern: /manifests/, status: 503, times: 1, body: 'busy' },
    ];
    const limited = await get(registry.url + MANIFEST_PATH);
    assert.deepEqual(
      [limited.status, limited.headers['retry-after'], errorCode(limited)],
      [429, '7', 'TOOMANYREQUESTS'],
    );
    assert.equal((await get(registry.url + MANIFEST_PATH)).body.toString(), 'busy');
    assert.equal((await get(registry.url + MANIFEST_PATH)).status, 200);
    Object.assign(registry.defects, { echoAuthorizationInErrors: true, hugeErrorBody: { bytes: 1_000_000 } });
    const echo = await get(`${registry.url}/v2/team/none/manifests/1`, { Authorization: 'Bearer abc' });
    assert.match(echo.body.toString(), /Bearer abc/);
    assert.ok(echo.body.length > 1_000_000);
    registry.defects.redirectLoop = { pattern: /manifests/, endless: true };
    assert.equal(
      (await get(`${registry.url}${MANIFEST_PATH}?hop=4`)).headers.location,
      `${MANIFEST_PATH}?hop=5`,
    );
  });

  test('that redirects to another origin', async () => {
    await using storage = await startScriptedServer(serveSignedBlobs(IMAGE.blobs));
    await using registry = await withDefects({ redirectBlobsTo: storage.origin });
    const { status, headers } = await get(registry.url + BIG_PATH);
    const location = headers.location ?? '';
    assert.deepEqual(
      [status, location.startsWith(storage.origin), location.includes(URL_SIGNATURE)],
      [307, true, true],
    );
    assert.deepEqual((await get(location, { Range: 'bytes=1-2' })).body, BIG.subarray(1, 3));
    assert.equal((await get(location, { Authorization: 'Bearer x' })).status, 400);
    assert.equal((await get(location.split('?')[0] ?? '')).status, 403);
    assert.equal(storage.requests[1]?.headers.authorization, 'Bearer x');
    // A registry answers such URLs too, so that its switches can be had behind a redirect.
    assert.deepEqual((await get(location.replace(storage.origin, registry.origin))).body, BIG);
  });
});

describe('authorization', () => {
  const basic = `Basic ${Buffer.from('user:secret').toString('base64')}`;
  const tokenOf = (got: Got): string => (JSON.parse(got.body.toString()) as { token: string }).token;

  test('by Basic credentials', async () => {
    await using registry = await startFakeRegistry({ auth: { mode: 'basic' } });
    registry.push('team/app', '1', IMAGE);
    const refused = await get(registry.url + MANIFEST_PATH, { Authorization: 'Basic eDp5' });
    assert.deepEqual(
      [refused.status, refused.headers['www-authenticate']],
      [401, 'Basic realm="fake registry"'],
    );
    assert.equal((await get(registry.url + MANIFEST_PATH, { Authorization: basic })).status, 200);
    registry.auth.deniedRepositories.add('team/app');
    assert.equal(errorCode(await get(registry.url + MANIFEST_PATH, { Authorization: basic })), 'DENIED');
  });

  test('by tokens that open one repository', async () => {
    await using registry = await startFakeRegistry({ auth: { mode: 'token', allowAnonymous: false } });
    registry.push('team/app', '1', IMAGE);
    registry.push('team/other', '1', IMAGE);
    const challenge = (await get(registry.url + MANIFEST_PATH)).headers['www-authenticate'] ?? '';
    assert.equal(
      challenge,
      `Bearer realm="${registry.origin}/token",service="fake-registry",scope="repository:team/app:pull"`,
    );
    const url = `${registry.origin}/token?service=fake-registry&scope=repository:team/app:pull,push`;
    assert.equal((await get(url)).status, 401);
    assert.equal((await get(url, { Authorization: 'Basic eDp5' })).status, 401);
    const token = tokenOf(await get(url, { Authorization: basic }));
    const bearer = { Authorization: `Bearer ${token}` };
    assert.equal((await get(registry.url + MANIFEST_PATH, bearer)).status, 200);
    const other = await get(`${registry.url}/v2/team/other/manifests/1`, bearer);
    assert.match(other.headers['www-authenticate'] ?? '', /error="insufficient_scope"/);
    registry.tokens.revokeAll();
    const revoked = await get(registry.url + MANIFEST_PATH, bearer);
    assert.match(revoked.headers['www-authenticate'] ?? '', /error="invalid_token"/);
    assert.equal(registry.tokenRequests.length, 3);
    assert.equal(registry.tokenRequests[2]?.headers.authorization, basic);
  });

  test('with odd challenges and odd token answers', async () => {
    await using registry = await startFakeRegistry({ auth: { mode: 'token', allowAnonymous: 'noAccess' } });
    registry.push('team/app', '1', IMAGE);
    registry.auth.challengeSpelling = ({ realm }) => ['Basic realm="a, b"', `bearer realm=${realm}`];
    const { rawHeaders } = await get(registry.url + MANIFEST_PATH);
    assert.equal(rawHeaders.filter((name) => name === 'WWW-Authenticate').length, 2);
    const url = `${registry.origin}/token?scope=repository:team/app:pull`;
    const nothing = { Authorization: `Bearer ${tokenOf(await get(url))}` };
    assert.equal((await get(registry.url + MANIFEST_PATH, nothing)).status, 401);
    Object.assign(registry.auth, { tokenField: 'access_token', expiresIn: undefined });
    assert.deepEqual(Object.keys(JSON.parse((await get(url)).body.toString())), ['access_token']);
    registry.auth.hugeToken = 2_000_000;
    assert.equal(tokenOf(await get(url)).length, 2_000_000);
    Object.assign(registry.auth, { hugeToken: undefined, tokenDelayUntilReleased: true });
    const delayed = get(url);
    await registry.waitForStalled();
    registry.releaseStalled();
    assert.equal((await delayed).status, 200);
    Object.assign(registry.auth, {
      tokenDelayUntilReleased: false,
      tokenRedirectTo: 'http://other.invalid/',
    });
    assert.deepEqual((await get(url)).headers.location, 'http://other.invalid/');
    assert.equal((await get(`${url}&service=wrong`)).status, 307);
    Object.assign(registry.auth, { tokenRedirectTo: undefined, tokenBody: '<html>', tokenStatus: 502 });
    const html = await get(url);
    assert.deepEqual([html.status, html.body.toString()], [502, '<html>']);
  });
});

describe('other servers', () => {
  test('a failing script comes out at the end', async () => {
    const server = await startScriptedServer(() => {
      throw new Error('no answer');
    });
    await assert.rejects(get(server.url), { code: 'ECONNRESET' });
    await assert.rejects(server.close(), /handler failed/);
  });

  test('a raw server sends broken HTTP', async () => {
    await using server = await startRawServer(
      answerRaw('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf', 'end'),
    );
    const got = await get(server.url);
    assert.deepEqual([got.body.toString(), got.cut], ['half', true]);
    await server.waitForConnections(1);
    assert.equal(server.connectionCount(), 1);
  });

  test('a stream is rebatched up to a limit', async () => {
    async function* twice(): AsyncGenerator<string> {
      yield 'ab';
      yield 'cd';
    }
    assert.equal((await readAll(twice())).toString(), 'abcd');
    await assert.rejects(readAll(twice(), 3), RangeError);
  });
});
