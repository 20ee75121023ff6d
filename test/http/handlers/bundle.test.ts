/** Several images in one archive. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { listTar } from '../../support/collect.ts';
import { startFakeRegistry } from '../../support/fake-registry.ts';
import { makeImage, makeIndex, makeLayer } from '../../support/image.ts';
import { basic, type Pair, type PairOptions, startPair } from '../../support/pair.ts';
import { connectRaw } from '../../support/raw-client.ts';
import { blobName, filesOf, firstLine, hexOf, imagesOf, tagsOf } from '../../support/reading.ts';
import type { Reply } from '../../support/service.ts';

const SHARED = { tar: makeLayer({ 'base/file': 'what both stand on' }) };
const NGINX = makeImage({ layers: [SHARED, { tar: makeLayer({ 'bin/nginx': 'nginx' }) }] });
const REDIS = makeImage({ layers: [SHARED, { tar: makeLayer({ 'bin/redis': 'redis' }) }] });
const REDIS_ARM64 = makeImage({
  platform: { os: 'linux', architecture: 'arm64' },
  layers: [{ tar: makeLayer({ 'bin/redis': 'arm64' }) }],
});
const SHARED_DIGEST = NGINX.layers[0]?.digest ?? '';
const BOTH = '/bundle.tar?image=nginx:1.25&image=org/redis:7';

function start(options: PairOptions = {}): Promise<Pair> {
  return startPair(options, (registry) => {
    registry.push('nginx', '1.25', NGINX);
    registry.push('org/redis', '7', makeIndex([{ image: REDIS }, { image: REDIS_ARM64 }]));
  });
}

function post({ service }: Pair, body: string, path = '/bundle.tar'): Promise<Reply> {
  return service.request(path, { method: 'POST', body, headers: { 'content-type': 'text/plain' } });
}

/** Bodies that name both images. */
const LISTS: Readonly<Record<string, string>> = {
  'one a line': 'nginx:1.25\norg/redis:7\n',
  'without a last line break': 'nginx:1.25\norg/redis:7',
  'in lines as Windows ends them': 'nginx:1.25\r\norg/redis:7\r\n',
  'with blank lines, spaces and remarks': '# both\n\n  nginx:1.25  # web\n\t\norg/redis:7\t\n',
  'with the mark that some editors put first': '\ufeffnginx:1.25\norg/redis:7\n',
};

describe('a bundle', () => {
  test('has the images in their order, and what they share is downloaded once', async () => {
    await using pair = await start();
    const { host } = pair.registry;
    const reply = await pair.service.request(BOTH);
    assert.equal(reply.status, 200, firstLine(reply));
    assert.equal(reply.headers['content-type'], 'application/x-tar');
    assert.equal(reply.headers['content-disposition'], 'attachment; filename="bundle.tar"');
    assert.equal(reply.headers['content-length'], String(reply.body.length));
    assert.equal(reply.headers['docker-content-digest'], undefined, 'there is no one manifest');
    assert.deepEqual(tagsOf(reply), [`${host}/nginx:1.25`, `${host}/org/redis:7`]);
    const files = filesOf(reply);
    for (const { config } of [NGINX, REDIS]) {
      assert.deepEqual(files.get(`${hexOf(config.digest)}.json`), config.bytes);
    }
    assert.equal(pair.registry.countRequests(new RegExp(`GET .*${SHARED_DIGEST}`)), 1);
    const [first, second] = imagesOf(reply);
    assert.equal(first?.Layers[0], second?.Layers[0]);
  });

  for (const [what, body] of Object.entries(LISTS)) {
    test(`is the same by POST, ${what}`, async () => {
      await using pair = await start();
      const posted = await post(pair, body);
      assert.equal(posted.status, 200, firstLine(posted));
      assert.deepEqual(posted.body, (await pair.service.request(BOTH)).body);
    });
  }

  test('takes references of the query and of the body together', async () => {
    await using pair = await start();
    const posted = await post(pair, 'org/redis:7', '/bundle.tar?image=nginx:1.25');
    assert.deepEqual(posted.body, (await pair.service.request(BOTH)).body);
  });

  test('of other order is another archive', async () => {
    await using pair = await start();
    const [one, other] = [
      await post(pair, 'nginx:1.25\norg/redis:7'),
      await post(pair, 'org/redis:7\nnginx:1.25'),
    ];
    assert.notEqual(one.headers.etag, other.headers.etag);
    assert.deepEqual(tagsOf(other), tagsOf(one).toReversed());
  });

  for (const ending of ['tgz', 'tar.gz']) {
    test(`comes as .${ending}`, async () => {
      await using pair = await start();
      const reply = await pair.service.request(BOTH.replace('.tar', `.${ending}`));
      assert.equal(reply.headers['content-type'], 'application/x-gzip');
      assert.equal(reply.headers['content-disposition'], `attachment; filename="bundle.${ending}"`);
      assert.equal(tagsOf(reply).length, 2);
    });
  }

  test('comes in layout oci, each blob once', async () => {
    await using pair = await start();
    const reply = await pair.service.request(`${BOTH}&layout=oci`);
    const files = filesOf(reply);
    const blobs = new Map([...NGINX.blobs, ...REDIS.blobs]);
    for (const { manifest } of [NGINX, REDIS]) blobs.set(manifest.digest, manifest.bytes);
    for (const [digest, bytes] of blobs) assert.deepEqual(files.get(blobName(digest)), bytes);
    assert.equal([...files.keys()].filter((name) => name.startsWith('blobs/')).length, blobs.size);
    const { manifests } = JSON.parse(String(files.get('index.json')));
    assert.deepEqual(
      manifests.map(({ digest }: { digest: string }) => digest),
      [NGINX.manifest.digest, REDIS.manifest.digest],
    );
  });

  test('is for the platform of its path', async () => {
    await using pair = await start();
    for (const path of [
      '/platform/linux/arm64/bundle.tar?image=org/redis:7',
      '/platform/ir1101/bundle.tar?image=org/redis:7',
      '/bundle.tar?image=org/redis:7&platform=linux/arm64',
    ]) {
      const reply = await pair.service.request(path);
      assert.deepEqual(imagesOf(reply)[0]?.Config, `${hexOf(REDIS_ARM64.config.digest)}.json`);
    }
  });

  test('of as many images as there may be comes, and of one more does not', async () => {
    await using pair = await start();
    for (let number = 0; number < 33; number += 1) pair.registry.push('many', String(number), NGINX);
    const lines = Array.from({ length: 33 }, (_, number) => `many:${number}`);
    assert.equal((await post(pair, lines.slice(1).join('\n'))).status, 200);
    const before = pair.registry.requests.length;
    const refused = await post(pair, lines.join('\n'));
    assert.equal(refused.status, 400);
    assert.match(firstLine(refused), /^Invalid image reference: Cannot bundle 33 images: expected 1 to 32/);
    assert.equal(pair.registry.requests.length, before);
  });

  for (const layout of ['docker', 'docker-gzip', 'oci']) {
    test(`that names an image twice, under one name and two, has its bytes once in layout ${layout}`, async () => {
      await using pair = await start();
      pair.registry.push('nginx', 'stable', NGINX);
      const path = `/bundle.tar?image=nginx:1.25&image=nginx:1.25&image=nginx:stable&layout=${layout}`;
      const reply = await pair.service.request(path);
      assert.equal(reply.status, 200, firstLine(reply));
      const { host } = pair.registry;
      assert.deepEqual([...new Set(tagsOf(reply))], [`${host}/nginx:1.25`, `${host}/nginx:stable`]);
      const names = listTar(reply.body).map(({ name }) => name);
      assert.equal(new Set(names).size, names.length);
      assert.equal(pair.registry.countRequests(new RegExp(`GET .*${SHARED_DIGEST}`)), 1);
    });
  }

  test('one image of which is not there fails as a whole, names it, and leaves nothing behind', async () => {
    await using pair = await start();
    const reply = await pair.service.request(`${BOTH}&image=org/nothing:1`);
    assert.equal(reply.status, 502);
    assert.match(reply.body.toString(), /org\/nothing/);
    await pair.untilQuiet();
    assert.equal(await pair.service.openFiles(), 0);
  });

  test('one layer of which is not there leaves nothing behind', async () => {
    await using pair = await start({ defects: { dropBlob: { digest: REDIS.layers[1]?.digest ?? '' } } });
    assert.equal((await pair.service.request(BOTH)).status, 502);
    await pair.untilQuiet();
    assert.equal(await pair.service.openFiles(), 0);
  });
});

describe('a bundle is refused before any registry is asked', () => {
  const PASSWORD = 'hunter2';
  const bad: readonly [what: string, path: string, body: string | undefined, says: RegExp][] = [
    ['that names no image', '/bundle.tar', undefined, /Cannot bundle 0 images/],
    ['whose list is empty', '/bundle.tar', '', /Cannot bundle 0 images/],
    ['whose list is of remarks only', '/bundle.tar', '# nothing\n\n', /Cannot bundle 0 images/],
    ['with a bad reference', '/bundle.tar?image=nginx:1&image=Nginx', undefined, /"Nginx".*not lower case/],
    ['with a bad line', '/bundle.tar', 'nginx:1\nno good\n', /"no good"/],
    ['with a control character in its list', '/bundle.tar', 'nginx\u0000:1\n', /control character/],
    ['with a password in its query', `/bundle.tar?image=u:${PASSWORD}@h/app`, undefined, /credentials/],
    ['with a password in its list', '/bundle.tar', `nginx:1\nu:${PASSWORD}@h/app\n`, /credentials/],
    ['with an encoded password in its list', '/bundle.tar', `u:${PASSWORD}%40h/app\n`, /credentials/],
    ['whose list is long', '/bundle.tar', 'x'.repeat(33 * 1024), /longer than 32768 bytes/],
    ['whose list is very long', '/bundle.tar', 'x\n'.repeat(512 * 1024), /longer than 32768 bytes/],
  ];
  for (const [what, path, body, says] of bad) {
    test(what, async () => {
      await using pair = await start();
      const reply = body === undefined ? await pair.service.request(path) : await post(pair, body, path);
      assert.equal(reply.status, 400);
      assert.match(firstLine(reply), /^Invalid image reference: /);
      assert.match(firstLine(reply), says);
      assert.deepEqual(pair.registry.requests, []);
      await pair.service.waitForLog({ event: 'request', status: 400 });
      assert.ok(!`${reply.body}${pair.service.logText()}`.includes(PASSWORD));
    });
  }

  const names = ['bundle.zip', 'bundle.tar.sha1', 'bundle.a.tar', 'bundle.a%22b.tar', 'bundle.%E2%82%AC.tar'];
  for (const name of names) {
    test(`under the name ${name}`, async () => {
      await using pair = await start();
      const reply = await pair.service.request(`/${name}?image=nginx:1.25`);
      assert.equal(reply.status, 400);
      assert.match(firstLine(reply), /^Invalid filename format: /);
      assert.deepEqual(pair.registry.requests, []);
    });
  }

  test('whose list is long, on a connection that would go on: it is closed, for nobody reads the rest', async () => {
    await using pair = await start();
    using client = await connectRaw(pair.service.port);
    const head = 'POST /bundle.tar HTTP/1.1\r\nHost: service\r\nContent-Length: 1000000\r\n\r\n';
    client.send(`${head}${'x'.repeat(40_000)}`);
    const answer = (await client.untilClosed()).toString();
    assert.match(answer, /^HTTP\/1\.1 400 /);
    assert.match(answer, /longer than 32768 bytes/);
  });

  test('whose client leaves within its list, and the log says so', async () => {
    await using pair = await start();
    const expected = pair.service.waitForLog({ event: 'request', outcome: 'aborted' });
    {
      using client = await connectRaw(pair.service.port);
      client.send(
        'POST /bundle.tar HTTP/1.1\r\nHost: service\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\nngi',
      );
      await client.waitFor(/100 Continue/);
    }
    assert.equal((await expected)['error'], 'ABORTED');
    assert.deepEqual(pair.registry.requests, []);
  });

  test('by PUT, which is told the methods that there are', async () => {
    await using pair = await start();
    const reply = await pair.service.request(BOTH, { method: 'PUT' });
    assert.equal(reply.status, 405);
    assert.equal(reply.headers.allow, 'GET, HEAD, POST');
  });
});

describe("the client's credentials", () => {
  const headers = { authorization: basic('user', 'secret') };

  test('are used for a bundle from one registry, however it is named', async () => {
    await using pair = await start({ auth: { mode: 'basic' } });
    const path = `/bundle.tar?image=nginx:1.25&image=${pair.registry.host}/org/redis:7`;
    const refused = await pair.service.request(path);
    assert.equal(refused.status, 401);
    assert.equal(refused.headers['www-authenticate'], 'Basic realm="registry credentials"');
    const reply = await pair.service.request(path, { headers });
    assert.equal(reply.status, 200, firstLine(reply));
  });

  test('are sent to nobody where a bundle names two: whose they are is not said', async () => {
    await using other = await startFakeRegistry();
    other.push('org/redis', '7', REDIS);
    await using pair = await start();
    const path = `/bundle.tar?image=nginx:1.25&image=${other.host}/org/redis:7`;
    const reply = await pair.service.request(path, { headers });
    assert.equal(reply.status, 200, firstLine(reply));
    assert.deepEqual(tagsOf(reply), [`${pair.registry.host}/nginx:1.25`, `${other.host}/org/redis:7`]);
    for (const request of [...pair.registry.requests, ...other.requests]) {
      assert.equal(request.headers.authorization, undefined);
    }
  });

  test('are not asked for where a bundle names two and one refuses: they would not be used', async () => {
    await using other = await startFakeRegistry({ auth: { mode: 'basic' } });
    other.push('org/redis', '7', REDIS);
    await using pair = await start();
    const path = `/bundle.tar?image=nginx:1.25&image=${other.host}/org/redis:7`;
    for (const options of [{}, { headers }]) {
      const reply = await pair.service.request(path, options);
      assert.equal(reply.status, 502);
      assert.equal(reply.headers['www-authenticate'], undefined);
    }
  });
});
