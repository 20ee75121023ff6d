/** `proxy`: one image over HTTP, through the built program and a registry that misbehaves on demand. */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { COMMANDS } from '../../../src/cli/commands.ts';
import { machinePlatform } from '../../../src/cli/options/platform.ts';
import type { Defects } from '../../support/defects.ts';
import { type FakeRegistry, startFakeRegistry } from '../../support/fake-registry.ts';
import { request } from '../../support/http-request.ts';
import { MEDIA_TYPES, makeImage, makeIndex, makeLayer } from '../../support/image.ts';
import { noise } from '../../support/noise.ts';
import { connectRaw } from '../../support/raw-client.ts';
import { type ListeningProxy, startProxy } from './proxying.ts';

const HERE = machinePlatform();
const OTHER = { os: 'linux', architecture: 'riscv64' };
/** Many chunks of a socket. */
const LARGE = makeLayer({ large: noise('large', 3_000_000) });
const SMALL = makeLayer({ small: 'small' });
const LAYERS = [
  { tar: SMALL },
  { tar: LARGE, compression: 'none' },
  { tar: SMALL, compression: 'zstd' },
] as const;
const DOCKERS = makeImage({ platform: HERE, layers: LAYERS, mediaTypes: 'docker' });
const OCIS = makeImage({ platform: HERE, layers: LAYERS, manifest: { annotations: { note: 'kept' } } });
const FOREIGN = makeImage({ platform: OTHER, layers: [{ tar: SMALL }] });
const INDEX = makeIndex([{ image: FOREIGN }, { image: DOCKERS }], { mediaTypes: 'docker' });

const SMALL_BLOB = DOCKERS.layers[0] ?? assert.fail();
const LARGE_BLOB = DOCKERS.layers[1] ?? assert.fail();

describe('proxy', { concurrency: 2 }, () => {
  let registry: FakeRegistry;
  before(async () => {
    registry = await startFakeRegistry();
    registry.push('team/app', 'docker', DOCKERS);
    registry.push('team/app', 'oci', OCIS);
    registry.push('team/app', 'index', INDEX);
    registry.push('team/app', 'other', FOREIGN);
  });
  after(() => registry.close());
  const proxyOf = (tag: string, ...args: string[]) =>
    startProxy([...args, `${registry.host}/team/app:${tag}`]);

  test('gives a manifest of Docker in the form of OCI, and its blobs', async () => {
    await using proxy = await proxyOf('docker');
    const { status, headers, body } = await request(proxy.port, '/manifest');
    assert.deepEqual(
      [status, headers['content-type'], headers['manifest-digest'], headers['index-digest']],
      [200, MEDIA_TYPES.oci.manifest, DOCKERS.manifest.digest, undefined],
    );
    const manifest = JSON.parse(String(body));
    const { config, layer } = MEDIA_TYPES.oci;
    assert.deepEqual(manifest, {
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.oci.manifest,
      config: { mediaType: config, digest: DOCKERS.config.digest, size: DOCKERS.config.bytes.length },
      layers: DOCKERS.layers.map(({ digest, blob }, at) => ({
        mediaType: [layer.gzip, layer.none, layer.zstd][at],
        digest,
        size: blob.length,
      })),
    });
    for (const { digest, size } of [manifest.config, ...manifest.layers]) {
      const blob = await request(proxy.port, `/blobs/${digest}`);
      assert.deepEqual([blob.status, blob.headers['content-length'], blob.isCut], [200, `${size}`, false]);
      assert.equal(blob.headers['content-type'], 'application/octet-stream');
      assert.ok(blob.body.equals(registry.blobs.get(digest) ?? Buffer.of()), digest);
    }
  });

  test('gives a manifest of OCI byte for byte', async () => {
    await using proxy = await proxyOf('oci');
    const { headers, body } = await request(proxy.port, '/manifest');
    assert.ok(body.equals(OCIS.manifest.bytes));
    assert.equal(headers['manifest-digest'], OCIS.manifest.digest);
  });

  const platforms: readonly [args: readonly string[], image: typeof DOCKERS][] = [
    [[], DOCKERS],
    [['--platform', 'linux/riscv64'], FOREIGN],
    [['-o', 'linux', '-a', 'riscv64'], FOREIGN],
  ];
  for (const [args, image] of platforms) {
    test(`chooses from an index with "${args.join(' ')}"`, async () => {
      await using proxy = await proxyOf('index', ...args);
      const { headers, body } = await request(proxy.port, '/manifest');
      assert.equal(headers['manifest-digest'], image.manifest.digest);
      assert.equal(headers['index-digest'], INDEX.manifest.digest);
      assert.equal(JSON.parse(String(body)).config.digest, image.config.digest);
    });
  }

  const refusals: readonly [tag: string, args: readonly string[], says: RegExp][] = [
    ['index', ['--platform', 'windows/arm64'], /^docker-http-passthrough: .*windows\/arm64.*riscv64/],
    ['other', ['--platform', 'linux/s390x'], /^docker-http-passthrough: .*linux\/s390x/],
    ['none', [], /^docker-http-passthrough: .*MANIFEST_UNKNOWN.*\nCheck name and tag/],
  ];
  for (const [tag, args, says] of refusals) {
    test(`says why there is no manifest of ${tag} ${args.join(' ')}`, async () => {
      await using proxy = await proxyOf(tag, ...args);
      for (const path of ['/manifest', `/blobs/${SMALL_BLOB.digest}`]) {
        const { status, body } = await request(proxy.port, path);
        assert.equal(status, 502);
        assert.match(String(body), says);
      }
      // Also on standard error, once for each.
      await proxy.waitForError(new RegExp(`(?:${says.source.slice(1)}[^]*){2}`));
    });
  }

  test('keeps the manifest when the tag moves, and no failure', async () => {
    await using proxy = await proxyOf('moving');
    assert.equal((await request(proxy.port, '/manifest')).status, 502);
    for (const image of [OCIS, DOCKERS]) {
      registry.push('team/app', 'moving', image);
      const { headers } = await request(proxy.port, '/manifest');
      assert.equal(headers['manifest-digest'], OCIS.manifest.digest);
    }
  });

  describe('answers', { concurrency: 4 }, () => {
    let proxy: ListeningProxy;
    before(async () => {
      proxy = await proxyOf('docker');
    });
    after(() => proxy[Symbol.asyncDispose]());

    const blob = `/blobs/${LARGE_BLOB.digest}`;
    const size = LARGE_BLOB.blob.length;
    const etag = `"${LARGE_BLOB.digest}"`;
    const page = { Origin: 'http://127.0.0.1' };
    const table: readonly [
      request: string,
      status: number,
      options?: { headers?: Record<string, string>; says?: RegExp; allow?: string },
    ][] = [
      ['GET /', 404, { says: /expected \/manifest, \/blobs\/\{digest\} or \/quit/ }],
      ['GET /manifest/', 404],
      ['GET /manifest?x=1', 200],
      ['GET http://localhost/manifest', 200],
      ['HEAD /', 404],
      ['POST /', 404],
      ['POST /manifest', 405, { allow: 'GET, HEAD' }],
      ['DELETE /manifest', 405, { allow: 'GET, HEAD' }],
      [`PUT ${blob}`, 405, { allow: 'GET, HEAD' }],
      ['GET /quit', 405, { allow: 'POST' }],
      ['HEAD /quit', 405, { allow: 'POST' }],
      ['GET /blobs/', 400, { says: /Cannot parse digest ""/ }],
      ['GET /blobs/sha256:661e87a', 400, { says: /Cannot parse digest "sha256:661e87a"/ }],
      ['GET /blobs/%', 400, { says: /a percent sign is wrong/ }],
      ['GET /blobs/%1b%5d0;x', 400, { says: /Cannot parse digest "\\u001b\]0;x"/ }],
      [`GET /blobs/sha256%3A${LARGE_BLOB.digest.slice(7)}`, 200],
      // At the registry, but no blob of this image: the manifest of the image, and a layer of another one.
      [`GET /blobs/${DOCKERS.manifest.digest}`, 404, { says: /names no such config or layer/ }],
      [`GET /blobs/${FOREIGN.config.digest}`, 404, { says: /names no such config or layer/ }],
      [`GET ${blob}`, 304, { headers: { 'If-None-Match': etag } }],
      [`GET ${blob}`, 412, { headers: { 'If-Match': '"other"' } }],
      ['GET /manifest', 403, { headers: page, says: /it comes from a web page/ }],
      ['POST /quit', 403, { headers: page }],
      ['GET /manifest', 403, { headers: { Origin: 'null' } }],
      [`GET ${blob}`, 403, { headers: { 'Sec-Fetch-Site': 'cross-site' } }],
      [`GET ${blob}`, 403, { headers: { 'Sec-Fetch-Site': 'same-site' } }],
      ['GET /manifest', 200, { headers: { 'Sec-Fetch-Site': 'none' } }],
      [
        'GET /manifest',
        403,
        { headers: { Host: 'evil.example' }, says: /Host "evil\.example" is not loopback/ },
      ],
      ['GET /manifest', 403, { headers: { Host: '127.0.0.1.evil.example:80' } }],
      ['POST /quit', 403, { headers: { Host: 'evil.example' } }],
      ['GET /manifest', 200, { headers: { Host: '[::1]:80' } }],
      ['GET /manifest', 200, { headers: { Host: 'localhost:80' } }],
    ];
    for (const [line, status, { headers = {}, says, allow } = {}] of table) {
      test(`${line} with ${status} ${JSON.stringify(headers).slice(0, 60)}`, async () => {
        const [method = '', path = ''] = line.split(' ');
        const reply = await request(proxy.port, path, { method, headers });
        assert.equal(reply.status, status, String(reply.body));
        assert.equal(reply.headers.allow, allow);
        if (says !== undefined) assert.match(String(reply.body), says);
        if (method === 'HEAD' || status === 304) assert.equal(reply.body.length, 0);
      });
    }

    for (const path of ['/manifest', blob]) {
      test(`HEAD ${path.slice(0, 20)} with the header of GET`, async () => {
        const head = await request(proxy.port, path, { method: 'HEAD' });
        const get = await request(proxy.port, path);
        const comparable = ({ date, ...headers }: typeof get.headers) => [typeof date, headers];
        assert.deepEqual([head.status, comparable(head.headers)], [get.status, comparable(get.headers)]);
        assert.equal(head.body.length, 0);
      });
    }

    const ranges: readonly [range: string, from: number, to: number, ifRange?: string][] = [
      ['bytes=0-0', 0, 1],
      ['bytes=0-', 0, size],
      ['bytes=100000-2000000', 100_000, 2_000_001],
      [`bytes=${size - 1}-`, size - 1, size],
      ['bytes=-70000', size - 70_000, size],
      [`bytes=5-${size * 2}`, 5, size],
      ['bytes=7-8', 7, 9, etag],
    ];
    for (const [range, from, to, ifRange] of ranges) {
      test(`Range ${range} with 206`, async () => {
        const headers = { Range: range, ...(ifRange !== undefined && { 'If-Range': ifRange }) };
        const reply = await request(proxy.port, blob, { headers });
        assert.deepEqual(
          [reply.status, reply.headers['content-range'], reply.headers['content-length'], reply.isCut],
          [206, `bytes ${from}-${to - 1}/${size}`, `${to - from}`, false],
        );
        assert.ok(reply.body.equals(LARGE_BLOB.blob.subarray(from, to)));
      });
    }

    test('a range that is not there with 416, and one of another blob with 200', async () => {
      const none = await request(proxy.port, blob, { headers: { Range: `bytes=${size}-` } });
      assert.deepEqual([none.status, none.headers['content-range']], [416, `bytes */${size}`]);
      const headers = { Range: 'bytes=1-2', 'If-Range': '"other"' };
      const whole = await request(proxy.port, blob, { headers });
      assert.deepEqual([whole.status, whole.body.length], [200, size]);
    });
  });

  describe('never completes a blob that is wrong:', () => {
    const faults: readonly (readonly [name: string, defects: (digest: string) => Defects])[] = [
      ['other bytes', (digest: string) => ({ wrongBlobDigest: { digest } })],
      ['longer', (digest: string) => ({ wrongBlobSize: { digest, by: 1, contentLength: 'none' } })],
      [
        'much longer',
        (digest: string) => ({ wrongBlobSize: { digest, by: 200_000, contentLength: 'none' } }),
      ],
      ['shorter', (digest: string) => ({ wrongBlobSize: { digest, by: -1, contentLength: 'none' } })],
    ];
    for (const [name, defects] of faults) {
      for (const range of [undefined, 'bytes=0-9', 'bytes=100000-2000000']) {
        test(`${name}, ${range ?? 'all of it'}`, async () => {
          await using wrong = await startFakeRegistry({ defects: defects(LARGE_BLOB.digest) });
          wrong.push('team/app', '1', DOCKERS);
          await using proxy = await startProxy([`${wrong.host}/team/app:1`]);
          const headers = range === undefined ? {} : { Range: range };
          const reply = await request(proxy.port, `/blobs/${LARGE_BLOB.digest}`, { headers });
          // A small part is not begun before all is verified.
          if (range === 'bytes=0-9') assert.equal(reply.status, 502);
          else assert.deepEqual([reply.status, reply.isCut], [range === undefined ? 200 : 206, true]);
          // Also for a client that counts the bytes and does not look how the connection ends.
          const { 'content-length': declared } = reply.headers;
          if (reply.status !== 502)
            assert.ok(reply.body.length < Number(declared), `${reply.body.length} bytes`);
          await proxy.waitForError(/Cannot verify blob "sha256:/);
          // The next blob is not concerned.
          assert.equal((await request(proxy.port, `/blobs/${SMALL_BLOB.digest}`)).status, 200);
        });
      }

      test(`${name}, in one piece`, async () => {
        await using wrong = await startFakeRegistry({ defects: defects(SMALL_BLOB.digest) });
        wrong.push('team/app', '1', DOCKERS);
        await using proxy = await startProxy([`${wrong.host}/team/app:1`]);
        const reply = await request(proxy.port, `/blobs/${SMALL_BLOB.digest}`);
        assert.equal(reply.status, 502);
        assert.match(String(reply.body), /^docker-http-passthrough: Cannot verify blob "sha256:/);
      });
    }
  });

  test('a blob that the registry has not is 502 at GET; HEAD does not ask for it', async () => {
    await using without = await startFakeRegistry({ defects: { dropBlob: true } });
    without.push('team/app', '1', DOCKERS);
    await using proxy = await startProxy([`${without.host}/team/app:1`]);
    const path = `/blobs/${SMALL_BLOB.digest}`;
    assert.equal((await request(proxy.port, path, { method: 'HEAD' })).status, 200);
    const { status, body } = await request(proxy.port, path);
    assert.equal(status, 502);
    assert.match(String(body), /BLOB_UNKNOWN/);
  });

  test('a transfer from the registry that breaks off goes on', async () => {
    const truncateBlob = { digest: LARGE_BLOB.digest, afterBytes: 1_000_000, times: 1 };
    await using breaking = await startFakeRegistry({ defects: { truncateBlob } });
    breaking.push('team/app', '1', DOCKERS);
    await using proxy = await startProxy([`${breaking.host}/team/app:1`]);
    const { body } = await request(proxy.port, `/blobs/${LARGE_BLOB.digest}`);
    assert.ok(body.equals(LARGE_BLOB.blob));
  });

  test('a client that never reads delays no other client, nor the end', async () => {
    await using proxy = await proxyOf('large');
    const image = makeImage({
      platform: HERE,
      layers: [{ tar: makeLayer({ a: noise('a', 32_000_000) }), compression: 'none' }],
    });
    registry.push('team/app', 'large', image);
    const [layer = assert.fail()] = image.layers;
    const path = `/blobs/${layer.digest}`;
    using silent = await connectRaw(proxy.port);
    silent.socket.pause();
    silent.send(`GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
    const other = await request(proxy.port, path);
    assert.ok(other.body.equals(layer.blob));
    assert.equal((await request(proxy.port, '/quit', { method: 'POST' })).status, 200);
    assert.deepEqual(await proxy.ended(), { code: 0, signal: null, stderr: '' });
  });

  test('a client that leaves ends its transfer, and is no error', async () => {
    const stallBlob = { digest: LARGE_BLOB.digest, afterBytes: 1_000_000 };
    await using stalling = await startFakeRegistry({ defects: { stallBlob } });
    stalling.push('team/app', '1', DOCKERS);
    await using proxy = await startProxy([`${stalling.host}/team/app:1`]);
    {
      using client = await connectRaw(proxy.port);
      client.send(`GET /blobs/${LARGE_BLOB.digest} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
      await client.waitFor(/HTTP\/1\.1 200/);
      await stalling.waitForStalled();
    }
    assert.equal((await request(proxy.port, '/quit', { method: 'POST' })).status, 200);
    assert.deepEqual(await proxy.ended(), { code: 0, signal: null, stderr: '' });
  });

  test('a signal ends it', async () => {
    await using proxy = await proxyOf('docker');
    proxy.child.kill('SIGTERM');
    assert.equal((await proxy.ended()).code, 143);
  });

  test('credentials serve manifest and blobs', async () => {
    await using closed = await startFakeRegistry({
      auth: { mode: 'basic', users: new Map([['bob', 'hunter2']]) },
    });
    closed.push('team/app', '1', DOCKERS);
    const ref = `${closed.host}/team/app:1`;
    await using proxy = await startProxy(['-u', 'bob', '-p', 'hunter2', ref]);
    for (const path of ['/manifest', `/blobs/${LARGE_BLOB.digest}`])
      assert.equal((await request(proxy.port, path)).status, 200);
    await using wrong = await startProxy(['-u', 'bob', '-p', 'wrong', ref]);
    const { status, body } = await request(wrong.port, '/manifest');
    assert.equal(status, 502);
    assert.match(String(body), /\nSign in with docker login/);
  });

  test('its example with a port runs', async () => {
    const examples = COMMANDS.find(({ name }) => name === 'proxy')?.examples ?? [];
    const [line = assert.fail()] = examples.flatMap(([text]) => (text.includes('--port') ? [text] : []));
    registry.push('library/alpine', '3.20', DOCKERS);
    const env = { REGISTRY_URL: registry.origin, REGISTRY_DEFAULT_NAMESPACE: 'library' };
    // Port 8080 may be in use.
    const [, ...args] = line.replace('--port 8080', '--port 0').split(' ');
    await using proxy = await startProxy(args, env);
    assert.equal((await request(proxy.port, '/manifest')).status, 200);
  });
});
