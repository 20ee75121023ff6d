/** `GET /{reference}`: an image as `docker pull` names it. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { startFakeRegistry } from '../../support/fake-registry.ts';
import { makeImage, makeIndex, makeLayer } from '../../support/image.ts';
import { basic, type Pair, type PairOptions, startPair } from '../../support/pair.ts';
import { filesOf, firstLine, hexOf, imagesOf, tagsOf } from '../../support/reading.ts';
import { startTestService } from '../../support/service.ts';

const AMD64 = makeImage({ layers: [{ tar: makeLayer({ 'bin/hello': 'amd64' }) }] });
const ARM64 = makeImage({
  platform: { os: 'linux', architecture: 'arm64' },
  layers: [{ tar: makeLayer({ 'bin/hello': 'arm64' }) }],
});
const INDEX = makeIndex([{ image: AMD64 }, { image: ARM64 }]);

function start(options: PairOptions = {}): Promise<Pair> {
  return startPair(options, (registry) => {
    for (const repository of ['alpine', 'team/app', 'library/alpine', 'deep/er/path/app', 'my_app']) {
      registry.push(repository, 'latest', INDEX);
      registry.push(repository, '1_2_rc', INDEX);
    }
  });
}

const GOOD = basic('user', 'secret');

describe('an image by reference', () => {
  test('comes as a gzipped archive of its exact length, named and tagged', async () => {
    await using pair = await start();
    const reply = await pair.service.request('/team/app:latest');
    assert.equal(reply.status, 200, firstLine(reply));
    assert.equal(reply.headers['content-type'], 'application/x-gzip');
    assert.equal(reply.headers['content-length'], String(reply.body.length));
    assert.equal(reply.headers['content-disposition'], 'attachment; filename="team__app_latest.tgz"');
    assert.equal(reply.headers['docker-content-digest'], AMD64.manifest.digest);
    assert.deepEqual(tagsOf(reply), [`${pair.registry.host}/team/app:latest`]);
    assert.deepEqual(filesOf(reply).get(`${hexOf(AMD64.config.digest)}.json`), AMD64.config.bytes);
  });

  const digest = INDEX.manifest.digest;
  const short = hexOf(digest).slice(0, 12);
  const named: readonly [path: string, filename: string, repoTag: string][] = [
    ['/alpine', 'alpine_latest.tgz', '{host}/alpine:latest'],
    ['/alpine:1_2_rc', 'alpine_1_2_rc.tgz', '{host}/alpine:1_2_rc'],
    ['/library/alpine', 'alpine_latest.tgz', '{host}/library/alpine:latest'],
    ['/deep/er/path/app', 'deep__er__path__app_latest.tgz', '{host}/deep/er/path/app:latest'],
    ['/{host}/team/app:1_2_rc', 'team__app_1_2_rc.tgz', '{host}/team/app:1_2_rc'],
    ['/{host}/my_app', 'my_app_latest.tgz', '{host}/my_app:latest'],
    [`/{host}/my_app@${digest}`, `my_app_sha256=${hexOf(digest)}.tgz`, `{host}/my_app:${short}`],
    [`/{host}/team/app@${digest}`, `team__app_sha256=${hexOf(digest)}.tgz`, `{host}/team/app:${short}`],
    [`/alpine:latest@${digest}`, 'alpine_latest.tgz', '{host}/alpine:latest'],
    ['/alpine?format=tar', 'alpine_latest.tar', '{host}/alpine:latest'],
    ['/alpine?format=tgz', 'alpine_latest.tgz', '{host}/alpine:latest'],
    ['/alpine?name=my-alpine', 'my-alpine.tgz', 'my-alpine:latest'],
    ['/alpine:1_2_rc?name=my-alpine&format=tar', 'my-alpine.tar', 'my-alpine:1_2_rc'],
    ['/alpine?name=org/app:2', 'org__app_2.tgz', 'org/app:2'],
    ['/alpine?name=a_b:c_d', 'a_b_c_d.tgz', 'a_b:c_d'],
  ];
  for (const [path, filename, repoTag] of named) {
    test(`${path.slice(0, 50)} is ${filename.slice(0, 50)}`, async () => {
      await using pair = await start();
      const { host } = pair.registry;
      const reply = await pair.service.request(path.replace('{host}', host));
      assert.equal(reply.status, 200, firstLine(reply));
      assert.equal(reply.headers['content-disposition'], `attachment; filename="${filename}"`);
      assert.deepEqual(tagsOf(reply), [repoTag.replace('{host}', host)]);
    });
  }

  test('unpacked is the archive of the filename route', async () => {
    await using pair = await start();
    const byName = await pair.service.request('/docker/team_app_latest.tar');
    const byReference = await pair.service.request('/team/app?format=tar');
    assert.equal(byReference.headers['content-type'], 'application/x-tar');
    assert.deepEqual(byReference.body, byName.body);
    assert.equal(byReference.headers.etag, byName.headers.etag);
  });

  for (const query of [
    'platform=linux/arm64',
    'arch=linux/arm64/v8',
    'arch=linux%2Faarch64',
    'platform=ir1101',
  ]) {
    test(`comes for the platform of ?${query}`, async () => {
      await using pair = await start();
      const reply = await pair.service.request(`/team/app?${query}`);
      assert.equal(reply.headers['docker-content-digest'], ARM64.manifest.digest, firstLine(reply));
    });
  }

  test('gets the default namespace where its path has one part', async () => {
    await using pair = await start({ env: { REGISTRY_DEFAULT_NAMESPACE: 'library' } });
    for (const path of ['/alpine', `/${pair.registry.host}/alpine`, '/library/alpine']) {
      const reply = await pair.service.request(path);
      assert.deepEqual(tagsOf(reply), [`${pair.registry.host}/library/alpine:latest`]);
    }
  });

  const bad: readonly [path: string, title: string, says: RegExp][] = [
    ['/Alpine', 'Invalid image reference', /not lower case/],
    ['/alpine:', 'Invalid image reference', /tag is empty/],
    ['/alpine@sha256:abc', 'Invalid image reference', /digest "sha256:abc"/],
    ['/registry.example:99999/app', 'Invalid registry', /port/],
    [`/${'a'.repeat(64)}`, 'Invalid image reference', /ID of an image/],
    ['/alpine?name=registry.example/app', 'Invalid image reference', /name="registry\.example\/app"/],
    [`/alpine?name=app@${digest}`, 'Invalid image reference', /name=/],
    ['/alpine?name=Ap"p', 'Invalid image reference', /component|lower case/],
    ['/alpine?platform=toaster', 'Invalid platform', /"toaster"/],
    ['/alpine?platform=all', 'Invalid platform', /layout docker: only layout oci/],
    ['/platform/toaster/docker/alpine_1.tar', 'Invalid platform', /"toaster"/],
    ['/platform/linux/docker/alpine_1.tar', 'Invalid platform', /"linux"/],
    ['/platform/all/docker/alpine_1.tar', 'Invalid platform', /layout docker: only layout oci/],
  ];
  for (const [path, title, says] of bad) {
    test(`${path.slice(0, 50)} is 400 ${title}, and the registry is not asked`, async () => {
      await using pair = await start();
      const reply = await pair.service.request(path.replace('"', '%22'));
      assert.equal(reply.status, 400);
      assert.equal(reply.reason, title);
      assert.match(firstLine(reply), says);
      assert.deepEqual(pair.registry.requests, []);
    });
  }
});

describe('the registry of a reference', () => {
  test('on loopback is spoken to over http', async () => {
    await using configured = await startFakeRegistry();
    await using pair = await start({ env: { REGISTRY_URL: configured.url } });
    for (const host of [pair.registry.host, pair.registry.host.replace(':', '%3A')]) {
      const reply = await pair.service.request(`/${host}/team/app`);
      assert.equal(reply.status, 200, firstLine(reply));
      assert.deepEqual(tagsOf(reply), [`${pair.registry.host}/team/app:latest`]);
    }
    assert.deepEqual(configured.requests, []);
  });

  test('is the configured one where it is named by its address, with its name', async () => {
    await using pair = await start({ env: { REGISTRY_NAME: 'hub.example' } });
    const reply = await pair.service.request(`/${pair.registry.host}/team/app`);
    assert.deepEqual(tagsOf(reply), ['hub.example/team/app:latest']);
  });

  test('elsewhere is spoken to over https, or over http where the operator lists it', async () => {
    await using configured = await startFakeRegistry();
    // Port 1 is nobody's: the message tells which scheme was tried.
    const path = '/registry.example.invalid:1/app';
    for (const [hosts, scheme] of [
      ['', 'https'],
      ['registry.example.invalid:2', 'https'],
      ['registry.example.invalid', 'http'],
      ['*.example.invalid', 'http'],
    ] as const) {
      await using service = await startTestService({
        REGISTRY_URL: configured.url,
        ...(hosts !== '' && { REGISTRY_PLAIN_HTTP_HOSTS: hosts }),
      });
      const reply = await service.request(path);
      assert.equal(reply.status, 502);
      assert.match(firstLine(reply), new RegExp(`"${scheme}://registry\\.example\\.invalid:1"`));
    }
  });

  test('that policy does not list is 403, and nobody is asked', async () => {
    await using pair = await start({ env: { REGISTRY_ALLOWED_HOSTS: 'registry.example' } });
    for (const path of [`/${pair.registry.host}/team/app`, '/ghcr.io/org/app', `/manifest/ghcr.io/org/app`]) {
      const reply = await pair.service.request(path, { headers: { authorization: GOOD } });
      assert.equal(reply.status, 403);
      assert.match(firstLine(reply), /^Registry not allowed: .*REGISTRY_ALLOWED_HOSTS/);
    }
    assert.deepEqual(pair.registry.requests, []);
    assert.equal(
      (await pair.service.request('/team/app')).status,
      200,
      'the configured one is not concerned',
    );
  });
});

describe('a reference that the registry does not give to everybody', () => {
  const CHALLENGE = 'Basic realm="registry credentials"';

  for (const auth of [{ mode: 'basic' }, { mode: 'token', allowAnonymous: false }] as const) {
    test(`is 401 with a challenge without credentials, and is had with the client's (${auth.mode})`, async () => {
      await using pair = await start({ auth });
      const { host } = pair.registry;
      for (const path of ['/team/app', `/${host}/team/app`]) {
        const refused = await pair.service.request(path);
        assert.equal(refused.status, 401);
        assert.equal(refused.headers['www-authenticate'], CHALLENGE);
        assert.match(firstLine(refused), /^Registry credentials are required: /);
        const reply = await pair.service.request(path, { headers: { authorization: GOOD } });
        assert.equal(reply.status, 200, firstLine(reply));
        assert.deepEqual(imagesOf(reply)[0]?.RepoTags, [`${host}/team/app:latest`]);
      }
    });
  }

  test('is 502 without a challenge to who has sent the wrong ones', async () => {
    await using pair = await start({ auth: { mode: 'basic' } });
    const headers = { authorization: basic('user', 'wrong') };
    const reply = await pair.service.request('/team/app', { headers });
    assert.equal(reply.status, 502);
    assert.equal(reply.headers['www-authenticate'], undefined);
    assert.match(reply.body.toString(), /^registry code: UNAUTHORIZED$/m);
  });

  test("is 502 where the operator's are refused: the client is not to blame", async () => {
    const env = { REGISTRY_USERNAME: 'user', REGISTRY_PASSWORD: 'wrong' };
    await using pair = await start({ auth: { mode: 'basic' }, env });
    const reply = await pair.service.request('/team/app');
    assert.equal(reply.status, 502);
    assert.equal(reply.headers['www-authenticate'], undefined);
  });

  test("is 502 where the client's are off: a challenge could not be met", async () => {
    await using pair = await start({ auth: { mode: 'basic' }, env: { REGISTRY_CLIENT_AUTH: 'off' } });
    for (const path of ['/team/app', '/manifest/team/app', '/tags/team/app', '/bundle.tar?image=team/app']) {
      const reply = await pair.service.request(path, { headers: { authorization: GOOD } });
      assert.equal(reply.status, 502, path);
      assert.equal(reply.headers['www-authenticate'], undefined);
    }
    assert.equal(pair.registry.requests.filter(({ headers }) => headers.authorization).length, 0);
  });

  test('is 401 before the registry is asked where they are required', async () => {
    await using pair = await start({ env: { REGISTRY_CLIENT_AUTH: 'required' } });
    for (const path of ['/team/app', '/manifest/team/app', '/tags/team/app', '/bundle.tar?image=team/app']) {
      const reply = await pair.service.request(path);
      assert.equal(reply.status, 401, path);
      assert.equal(reply.headers['www-authenticate'], CHALLENGE);
    }
    assert.deepEqual(pair.registry.requests, []);
  });
});
