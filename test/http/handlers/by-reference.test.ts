/** `GET /{reference}`: an image by its reference for `docker pull`, with a tag or a digest. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { serveNames } from '../../registry/support/name-server.ts';
import { assertHolds } from '../../support/cached.ts';
import { startFakeRegistry } from '../../support/fake-registry.ts';
import { type Pair, type PairOptions, startPair } from '../../support/pair.ts';
import { assertError, firstLine, hexOf, tagsOf } from '../../support/reading.ts';
import { startTestService } from '../../support/service.ts';
import { AMD64, ARM64, INDEX } from '../../support/two-platforms.ts';

function start(options: PairOptions = {}): Promise<Pair> {
  return startPair(options, (registry) => {
    for (const repository of ['alpine', 'team/app', 'library/alpine', 'deep/er/path/app', 'my_app']) {
      registry.push(repository, 'latest', INDEX);
      registry.push(repository, '1_2_rc', INDEX);
    }
  });
}

describe('an image by reference', () => {
  test('is a gzipped archive of its exact length, with filename, tag and digest', async () => {
    await using pair = await start();
    const reply = await pair.request('/team/app:latest');
    assertHolds(reply, AMD64);
    assert.equal(reply.headers['content-type'], 'application/x-gzip');
    assert.equal(reply.headers['content-length'], String(reply.body.length));
    assert.equal(reply.headers['docker-content-digest'], AMD64.manifest.digest);
  });

  const digest = INDEX.manifest.digest;
  const short = hexOf(digest).slice(0, 12);
  const named: readonly [path: string, filename: string, repoTag: string][] = [
    ['/alpine', 'alpine_latest.tgz', '{host}/alpine:latest'],
    ['/alpine:1_2_rc', 'alpine_1_2_rc.tgz', '{host}/alpine:1_2_rc'],
    ['/team/app:latest', 'team__app_latest.tgz', '{host}/team/app:latest'],
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
    test(`${path.slice(0, 50)} has the filename ${filename.slice(0, 50)} and the tag ${repoTag}`, async () => {
      await using pair = await start();
      const reply = await pair.request(path);
      assert.equal(reply.status, 200, firstLine(reply));
      assert.equal(reply.headers['content-disposition'], `attachment; filename="${filename}"`);
      assert.deepEqual(tagsOf(reply), [repoTag.replace('{host}', pair.registry.host)]);
    });
  }

  test('with format=tar is the archive of the filename route', async () => {
    await using pair = await start();
    const byName = await pair.request('/docker/team_app_latest.tar');
    const byReference = await pair.request('/team/app?format=tar');
    assert.equal(byReference.headers['content-type'], 'application/x-tar');
    assert.deepEqual(byReference.body, byName.body);
    assert.equal(byReference.headers.etag, byName.headers.etag);
  });

  for (const query of ['platform=linux/arm64', 'arch=linux%2Faarch64', 'platform=ir1101']) {
    test(`with ?${query} is for that platform`, async () => {
      await using pair = await start();
      const reply = await pair.request(`/team/app?${query}`);
      assert.equal(reply.headers['docker-content-digest'], ARM64.manifest.digest, firstLine(reply));
    });
  }

  test('of one component is in the default namespace', async () => {
    await using pair = await start({ env: { REGISTRY_DEFAULT_NAMESPACE: 'library' } });
    for (const path of ['/alpine', '/{host}/alpine', '/library/alpine']) {
      assert.deepEqual(tagsOf(await pair.request(path)), [`${pair.registry.host}/library/alpine:latest`]);
    }
  });

  const bad: readonly [path: string, line: RegExp][] = [
    ['/Alpine', /^Invalid image reference: .*not lower case/],
    ['/registry.example:99999/app', /^Invalid registry: .*port/],
    [`/${'a'.repeat(64)}`, /^Invalid image reference: .*ID of an image/],
    ['/alpine?name=registry.example/app', /^Invalid image reference: .*name="registry\.example\/app"/],
    [`/alpine?name=app@${digest}`, /^Invalid image reference: .*name=/],
    ['/alpine?name=Ap%22p', /^Invalid image reference: .*(?:component|lower case)/],
    ['/alpine?platform=toaster', /^Invalid platform: .*"toaster"/],
    ['/alpine?platform=all', /^Invalid platform: .*layout docker: only layout oci/],
    ['/platform/toaster/docker/alpine_1.tar', /^Invalid platform: .*"toaster"/],
    ['/platform/linux/docker/alpine_1.tar', /^Invalid platform: .*"linux"/],
  ];
  for (const [path, line] of bad) {
    test(`${path.slice(0, 50)} is 400 before the registry is asked`, async () => {
      await using pair = await start();
      assertError(await pair.request(path), 400, line);
      assert.deepEqual(pair.registry.requests, []);
    });
  }
});

describe('an image by digest', () => {
  /** Each spelling of a reference by digest. */
  const spellings = [
    '/docker/team_app_sha256={hex}.tar',
    '/docker/team__app_sha256%3D{hex}.tar',
    '/registry/http/{host}/docker/team_app_sha256={hex}.tar',
    '/oci/team_app_sha256={hex}.tar',
    '/docker-gzip/team_app_sha256={hex}.tgz',
    '/team/app@sha256:{hex}',
    '/team/app@sha256%3A{hex}?format=tar',
    '/{host}/team/app%40sha256%3A{hex}',
    '/bundle.tar?image={host}/team/app@sha256:{hex}',
  ];
  for (const spelling of spellings) {
    test(`is served by ${spelling}, of an index or an image, and refused if it is unknown`, async () => {
      await using pair = await start();
      for (const [digest, manifest] of [
        [INDEX.manifest.digest, AMD64.manifest.digest],
        [ARM64.manifest.digest, ARM64.manifest.digest],
      ] as const) {
        const reply = await pair.request(spelling.replace('{hex}', hexOf(digest)));
        assert.equal(reply.status, 200, firstLine(reply));
        assert.equal(reply.headers['docker-content-digest'], manifest);
        assert.deepEqual(tagsOf(reply), [`${pair.registry.host}/team/app:${hexOf(digest).slice(0, 12)}`]);
      }
      assert.equal(pair.registry.countRequests(/manifests\/latest$/), 0);
      const unknown = '0'.repeat(64);
      const refused = await pair.request(spelling.replace('{hex}', unknown));
      assertError(refused, 502, new RegExp(`sha256:${unknown}.*not found`));
      assert.match(refused.body.toString(), /^registry code: MANIFEST_UNKNOWN$/m);
    });
  }

  test('is the digest if a tag stands beside it, and the tag names the image', async () => {
    await using pair = await start();
    const reply = await pair.request(`/team/app:9@${ARM64.manifest.digest}`);
    assert.equal(reply.headers['docker-content-digest'], ARM64.manifest.digest);
    assert.deepEqual(tagsOf(reply), [`${pair.registry.host}/team/app:9`]);
  });

  test('that is malformed is 400 before the registry is asked', async () => {
    await using pair = await start();
    const digest = `sha256:${'0'.repeat(63)}`;
    for (const [path, line] of [
      [`/docker/team_app_${digest.replace(':', '=')}.tar`, /^Invalid filename format: .*digest ".*" must be/],
      [`/docker/team_app_${AMD64.manifest.digest}.tar`, /^Invalid filename format: /],
      [`/team/app@${digest}`, /^Invalid image reference: .*digest ".*" must be/],
      [`/manifest/team/app@${digest}`, /^Invalid image reference: .*digest ".*" must be/],
      [`/bundle.tar?image=team/app@${digest}`, /^Invalid image reference: .*digest ".*" must be/],
    ] as const) {
      assertError(await pair.request(path), 400, line);
    }
    assert.deepEqual(pair.registry.requests, []);
  });
});

describe('the registry of a reference', () => {
  test('on a loopback address is asked over http', async () => {
    await using configured = await startFakeRegistry();
    await using pair = await start({ env: { REGISTRY_URL: configured.url } });
    for (const host of [pair.registry.host, pair.registry.host.replace(':', '%3A')]) {
      const reply = await pair.request(`/${host}/team/app`);
      assert.equal(reply.status, 200, firstLine(reply));
      assert.deepEqual(tagsOf(reply), [`${pair.registry.host}/team/app:latest`]);
    }
    assert.deepEqual(configured.requests, []);
  });

  test('is the configured one, with its name, if the reference has the address of that', async () => {
    await using pair = await start({ env: { REGISTRY_NAME: 'hub.example' } });
    assert.deepEqual(tagsOf(await pair.request('/{host}/team/app')), ['hub.example/team/app:latest']);
  });

  for (const [hosts, scheme] of [
    ['', 'https'],
    ['registry.example.invalid:2', 'https'],
    ['registry.example.invalid', 'http'],
    ['*.example.invalid', 'http'],
  ] as const) {
    test(`is asked over ${scheme} with REGISTRY_PLAIN_HTTP_HOSTS=${hosts}`, async (t) => {
      serveNames(t, {});
      const env = hosts === '' ? {} : { REGISTRY_PLAIN_HTTP_HOSTS: hosts };
      await using service = await startTestService(env);
      // The name does not exist: the message shows the scheme.
      const reply = await service.request('/registry.example.invalid:1/app');
      assertError(reply, 502, new RegExp(`"${scheme}://registry\\.example\\.invalid:1"`));
    });
  }
});
