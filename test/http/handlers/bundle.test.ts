/** Several images in one archive. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { assertHolds } from '../../support/cached.ts';
import { listTar } from '../../support/collect.ts';
import { makeImage, makeIndex, makeLayer } from '../../support/image.ts';
import { type Pair, type PairOptions, startPair } from '../../support/pair.ts';
import { connectRaw } from '../../support/raw-client.ts';
import {
  assertBlobs,
  assertError,
  blobName,
  filesOf,
  firstLine,
  hexOf,
  imagesOf,
  tagsOf,
} from '../../support/reading.ts';
import type { Reply } from '../../support/service.ts';

const SHARED = { tar: makeLayer({ 'base/file': 'shared' }) };
const NGINX = makeImage({ layers: [SHARED, { tar: makeLayer({ 'bin/nginx': 'nginx' }) }] });
const REDIS = makeImage({ layers: [SHARED, { tar: makeLayer({ 'bin/redis': 'redis' }) }] });
const REDIS_ARM64 = makeImage({
  platform: { os: 'linux', architecture: 'arm64' },
  layers: [{ tar: makeLayer({ 'bin/redis': 'arm64' }) }],
});
const SHARED_REQUEST = new RegExp(`GET .*${NGINX.layers[0]?.digest}`);
const BOTH = '/bundle.tar?image=nginx:1.25&image=org/redis:7';

function start(options: PairOptions = {}): Promise<Pair> {
  return startPair(options, (registry) => {
    registry.push('nginx', '1.25', NGINX);
    registry.push('org/redis', '7', makeIndex([{ image: REDIS }, { image: REDIS_ARM64 }]));
  });
}

function post(pair: Pair, body: string, path = '/bundle.tar'): Promise<Reply> {
  return pair.request(path, { method: 'POST', body, headers: { 'content-type': 'text/plain' } });
}

/** Bodies with both references. */
const LISTS: Readonly<Record<string, string>> = {
  'one a line': 'nginx:1.25\norg/redis:7\n',
  'without a last line break': 'nginx:1.25\norg/redis:7',
  'with line breaks of Windows': 'nginx:1.25\r\norg/redis:7\r\n',
  'with blank lines, spaces and comments': '# both\n\n  nginx:1.25  # web\n\t\norg/redis:7\t\n',
  'with a byte order mark': '\ufeffnginx:1.25\norg/redis:7\n',
};

describe('a bundle', () => {
  test('has the images in their order, and a shared layer is fetched once', async () => {
    await using pair = await start();
    const { host } = pair.registry;
    const reply = await pair.request(BOTH);
    assertHolds(reply, NGINX, REDIS);
    assert.equal(reply.headers['content-type'], 'application/x-tar');
    assert.equal(reply.headers['content-disposition'], 'attachment; filename="bundle.tar"');
    assert.equal(reply.headers['content-length'], String(reply.body.length));
    assert.equal(reply.headers['docker-content-digest'], undefined, 'there are several manifests');
    assert.deepEqual(tagsOf(reply), [`${host}/nginx:1.25`, `${host}/org/redis:7`]);
    assert.equal(pair.registry.countRequests(SHARED_REQUEST), 1);
    const [first, second] = imagesOf(reply);
    assert.equal(first?.Layers[0], second?.Layers[0]);
  });

  for (const [what, body, path] of [
    ...Object.entries(LISTS),
    ['in body and query', 'org/redis:7', '/bundle.tar?image=nginx:1.25'],
  ] as readonly [string, string, string?][]) {
    test(`is the same by POST, with references ${what}`, async () => {
      await using pair = await start();
      const posted = await post(pair, body, path);
      assert.equal(posted.status, 200, firstLine(posted));
      assert.deepEqual(posted.body, (await pair.request(BOTH)).body);
    });
  }

  test('has another entity tag in another order', async () => {
    await using pair = await start();
    const one = await post(pair, 'nginx:1.25\norg/redis:7');
    const other = await post(pair, 'org/redis:7\nnginx:1.25');
    assert.notEqual(one.headers.etag, other.headers.etag);
    assert.deepEqual(tagsOf(other), tagsOf(one).toReversed());
  });

  for (const ending of ['tgz', 'tar.gz']) {
    test(`.${ending} is gzipped`, async () => {
      await using pair = await start();
      const reply = await pair.request(BOTH.replace('.tar', `.${ending}`));
      assert.equal(reply.headers['content-type'], 'application/x-gzip');
      assert.equal(reply.headers['content-disposition'], `attachment; filename="bundle.${ending}"`);
      assert.equal(tagsOf(reply).length, 2);
    });
  }

  test('in layout oci has each blob once', async () => {
    await using pair = await start();
    const reply = await pair.request(`${BOTH}&layout=oci`);
    const manifests = [NGINX, REDIS].map(({ manifest }) => [manifest.digest, manifest.bytes] as const);
    assertBlobs(reply, new Map([...NGINX.blobs, ...REDIS.blobs, ...manifests]));
    const index = JSON.parse(String(filesOf(reply).get('index.json')));
    assert.deepEqual(
      index.manifests.map(({ digest }: { digest: string }) => digest),
      manifests.map(([digest]) => digest),
    );
  });

  for (const images of ['image=org/redis:7&image=nginx:1.25', 'image=nginx:1.25&image=org/redis:7']) {
    test(`of all platforms has a layer that an index and an image share: ${images}`, async () => {
      await using pair = await start();
      const path = `/platform/all/bundle.tar?layout=oci&${images}`;
      const reply = await pair.request(path);
      assert.equal(reply.status, 200, firstLine(reply));
      const held = new Set(filesOf(reply).keys());
      for (const { layers } of [NGINX, REDIS, REDIS_ARM64])
        for (const { digest } of layers) assert.ok(held.has(blobName(digest)), digest);
      const head = await pair.request(path, { method: 'HEAD' });
      assert.equal(head.headers['content-length'], String(reply.body.length));
      assert.ok((await pair.request(`${path}&start=early`)).body.equals(reply.body));
    });
  }

  for (const path of [
    '/platform/linux/arm64/bundle.tar?image=org/redis:7',
    '/platform/ir1101/bundle.tar?image=org/redis:7',
    '/bundle.tar?image=org/redis:7&platform=linux/arm64',
  ]) {
    test(`is for the platform of the request: ${path}`, async () => {
      await using pair = await start();
      assert.equal(imagesOf(await pair.request(path))[0]?.Config, `${hexOf(REDIS_ARM64.config.digest)}.json`);
    });
  }

  test('of 32 images is served, of 33 it is refused before the registry is asked', async () => {
    await using pair = await start();
    const lines = Array.from({ length: 33 }, (_, number) => `many:${number}`);
    for (const number of lines.keys()) pair.registry.push('many', String(number), NGINX);
    assert.equal((await post(pair, lines.slice(1).join('\n'))).status, 200);
    const before = pair.registry.requests.length;
    const refused = await post(pair, lines.join('\n'));
    assertError(refused, 400, /^Invalid image reference: Cannot bundle 33 images: expected 1 to 32/);
    assert.equal(pair.registry.requests.length, before);
  });

  for (const layout of ['docker', 'docker-gzip', 'oci']) {
    test(`has the bytes of an image once if it is named several times, layout ${layout}`, async () => {
      await using pair = await start();
      pair.registry.push('nginx', 'stable', NGINX);
      const images = 'image=nginx:1.25&image=nginx:1.25&image=nginx:stable';
      const reply = await pair.request(`/bundle.tar?${images}&layout=${layout}`);
      assert.equal(reply.status, 200, firstLine(reply));
      const { host } = pair.registry;
      assert.deepEqual([...new Set(tagsOf(reply))], [`${host}/nginx:1.25`, `${host}/nginx:stable`]);
      const names = listTar(reply.body).map(({ name }) => name);
      assert.equal(new Set(names).size, names.length);
      assert.equal(pair.registry.countRequests(SHARED_REQUEST), 1);
    });
  }

  for (const [what, path, missing] of [
    ['image', `${BOTH}&image=org/nothing:1`, 'org/nothing'],
    ['layer', BOTH, REDIS.layers[1]?.digest ?? ''],
  ] as const) {
    test(`with a missing ${what} fails as a whole and names it`, async () => {
      await using pair = await start({ defects: { dropBlob: { digest: missing } } });
      const reply = await pair.request(path);
      assert.equal(reply.status, 502);
      assert.match(reply.body.toString(), new RegExp(missing));
      await pair.assertIdle();
    });
  }
});

describe('a bundle is refused before the registry is asked', () => {
  const PASSWORD = 'hunter2';
  const bad: readonly [what: string, path: string, body: string | undefined, line: RegExp][] = [
    ['without an image', '/bundle.tar', undefined, /Cannot bundle 0 images/],
    ['with an empty body', '/bundle.tar', '', /Cannot bundle 0 images/],
    ['with comments only', '/bundle.tar', '# nothing\n\n', /Cannot bundle 0 images/],
    [
      'with a malformed reference in the query',
      '/bundle.tar?image=nginx:1&image=Nginx',
      undefined,
      /"Nginx".*not lower/,
    ],
    ['with a malformed reference in the body', '/bundle.tar', 'nginx:1\nno good\n', /"no good"/],
    ['with a control character in the body', '/bundle.tar', 'nginx\u0000:1\n', /control character/],
    ['with a password in the query', `/bundle.tar?image=u:${PASSWORD}@h/app`, undefined, /credentials/],
    ['with a password in the body', '/bundle.tar', `nginx:1\nu:${PASSWORD}@h/app\n`, /credentials/],
    ['with an encoded password in the body', '/bundle.tar', `u:${PASSWORD}%40h/app\n`, /credentials/],
    ['with a body of 33 KiB', '/bundle.tar', 'x'.repeat(33 * 1024), /longer than 32768 bytes/],
    ['with a body of 1 MiB', '/bundle.tar', 'x\n'.repeat(512 * 1024), /longer than 32768 bytes/],
  ];
  for (const [what, path, body, line] of bad) {
    test(what, async () => {
      await using pair = await start();
      const reply = body === undefined ? await pair.request(path) : await post(pair, body, path);
      assertError(reply, 400, new RegExp(`^Invalid image reference: .*${line.source}`));
      assert.deepEqual(pair.registry.requests, []);
      await pair.service.waitForLog({ event: 'request', status: 400 });
      assert.ok(!`${reply.body}${pair.service.logText()}`.includes(PASSWORD));
    });
  }

  for (const name of [
    'bundle.zip',
    'bundle.tar.sha1',
    'bundle.a.tar',
    'bundle.a%22b.tar',
    'bundle.%E2%82%AC.tar',
  ]) {
    test(`with the filename ${name}`, async () => {
      await using pair = await start();
      assertError(await pair.request(`/${name}?image=nginx:1.25`), 400, /^Invalid filename format: /);
      assert.deepEqual(pair.registry.requests, []);
    });
  }

  test('with a long body, whose rest is not read: the connection is closed', async () => {
    await using pair = await start();
    using client = await connectRaw(pair.service.port);
    const head = 'POST /bundle.tar HTTP/1.1\r\nHost: service\r\nContent-Length: 1000000\r\n\r\n';
    client.send(`${head}${'x'.repeat(40_000)}`);
    assert.match((await client.untilClosed()).toString(), /^HTTP\/1\.1 400 .*longer than 32768 bytes/s);
  });

  test('when its client leaves within the body', async () => {
    await using pair = await start();
    const line = pair.service.waitForLog({ event: 'request', outcome: 'aborted' });
    {
      using client = await connectRaw(pair.service.port);
      const headers = 'Host: service\r\nContent-Length: 9\r\nExpect: 100-continue';
      client.send(`POST /bundle.tar HTTP/1.1\r\n${headers}\r\n\r\nngi`);
      await client.waitFor(/100 Continue/);
    }
    assert.equal((await line)['error'], 'ABORTED');
    assert.deepEqual(pair.registry.requests, []);
  });
});
