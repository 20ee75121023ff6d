import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { assertHolds } from '../../support/cached.ts';
import { startFakeRegistry } from '../../support/fake-registry.ts';
import { basic, type Pair, type PairOptions, startPair } from '../../support/pair.ts';
import { assertError, assertRetryAfter, firstLine, tagsOf } from '../../support/reading.ts';
import { type Reply, startTestService } from '../../support/service.ts';
import { AMD64, ARM64, INDEX } from '../../support/two-platforms.ts';

function start(options: PairOptions = {}): Promise<Pair> {
  return startPair(options, (registry) => {
    registry.push('team/app', '1', INDEX);
    registry.push('team/app', '2', INDEX);
    registry.push('single', '1', ARM64);
    registry.push('library/nginx', '1.25', INDEX);
    registry.push('deep/path/app', '1', INDEX);
  });
}

const FILE = '/docker/team_app_1.tar';

describe('an archive', () => {
  test('has the pushed config and layers, its exact length, name, digest and a strong entity tag', async () => {
    await using pair = await start();
    const reply = await pair.request(FILE);
    assertHolds(reply, AMD64);
    assert.deepEqual(tagsOf(reply), [`${pair.registry.host}/team/app:1`]);
    const { headers } = reply;
    assert.equal(headers['content-length'], String(reply.body.length));
    assert.equal(headers['content-type'], 'application/x-tar');
    assert.equal(headers['content-disposition'], 'attachment; filename="team_app_1.tar"');
    assert.equal(headers['docker-content-digest'], AMD64.manifest.digest);
    assert.match(headers.etag ?? '', /^"[0-9a-f]{64}"$/);
    assert.match(String(headers['x-request-id']), /^[0-9a-f-]{36}$/);
  });

  test('is byte for byte the same for a second request and at a replica', async () => {
    await using pair = await start();
    await using replica = await startTestService({ REGISTRY_URL: pair.registry.url });
    const first = await pair.request(FILE);
    for (const service of [pair.service, replica]) {
      const again = await service.request(FILE);
      assert.deepEqual(again.body, first.body);
      assert.equal(again.headers.etag, first.headers.etag);
    }
  });

  test('has another entity tag under another tag and for another platform', async () => {
    await using pair = await start();
    const paths = [FILE, '/docker/team_app_2.tar', `/platform/linux/arm64${FILE}`];
    const tags = new Set<string | undefined>();
    for (const path of paths) tags.add((await pair.request(path)).headers.etag);
    assert.equal(tags.size, paths.length);
  });

  test('leaves no file open when it is sent', async () => {
    await using pair = await start();
    await pair.request(FILE);
    await pair.service.waitForLog({ event: 'request', outcome: 'ok' });
    await pair.assertIdle();
  });

  const platforms: readonly [path: string, image: typeof ARM64, env?: Readonly<Record<string, string>>][] = [
    [FILE, AMD64],
    [FILE, ARM64, { DEFAULT_PLATFORM: 'linux/arm64' }],
    [`/platform/linux/arm64/v8${FILE}`, ARM64],
    [`/platform/Linux/aarch64${FILE}`, ARM64],
    [`${FILE}?platform=linux/arm64`, ARM64],
    [`${FILE}?arch=linux%2Farm64`, ARM64],
    [`/platform/linux/arm64/registry/http/{host}${FILE}`, ARM64],
    [`/registry/http/{host}${FILE}?platform=linux/arm64`, ARM64],
    ['/docker/single_1.tar', ARM64, { REGISTRY_DEFAULT_NAMESPACE: '' }],
  ];
  for (const [path, { platform, manifest }, env = {}] of platforms) {
    test(`${path} with ${JSON.stringify(env)} is for ${platform.os}/${platform.architecture}`, async () => {
      await using pair = await start({ env });
      const reply = await pair.request(path);
      assert.equal(reply.status, 200, firstLine(reply));
      assert.equal(reply.headers['docker-content-digest'], manifest.digest);
    });
  }

  for (const [path, line] of [
    ['/platform/linux/amd64/docker/single_1.tar', /"linux\/amd64": the image offers linux\/arm64$/],
    [`/platform/linux/s390x${FILE}`, /"linux\/s390x": the image offers linux\/amd64, linux\/arm64$/],
  ] as const) {
    test(`${path} is refused with the platforms of the image`, async () => {
      await using pair = await start();
      assertError(await pair.request(path), 502, line);
    });
  }

  const names: readonly [path: string, repoTag: string, env?: Readonly<Record<string, string>>][] = [
    [FILE, '{host}/team/app:1'],
    ['/docker/deep__path__app_1.tar', '{host}/deep/path/app:1'],
    ['/docker/nginx_1.25.tar', '{host}/library/nginx:1.25', { REGISTRY_DEFAULT_NAMESPACE: 'library' }],
    [FILE, 'hub.example/team/app:1', { REGISTRY_NAME: 'hub.example' }],
    [`/registry/http/{host}${FILE}`, 'hub.example/team/app:1', { REGISTRY_NAME: 'hub.example' }],
  ];
  for (const [path, repoTag, env = {}] of names) {
    test(`${path} with ${JSON.stringify(env)} has the tag ${repoTag}`, async () => {
      await using pair = await start({ env });
      assert.deepEqual(tagsOf(await pair.request(path)), [repoTag.replace('{host}', pair.registry.host)]);
    });
  }
});

describe('a registry in the path', () => {
  test('serves the image, and the configured one gets no request', async () => {
    await using configured = await startFakeRegistry();
    await using pair = await start({ env: { REGISTRY_URL: configured.url } });
    const { host } = pair.registry;
    for (const spelling of [host, host.replace(':', '%3A'), host.replace(':', '%3a')]) {
      const reply = await pair.request(`/registry/http/${spelling}${FILE}`);
      assert.equal(reply.status, 200, firstLine(reply));
      assert.deepEqual(tagsOf(reply), [`${host}/team/app:1`]);
    }
    assert.deepEqual(configured.requests, []);
  });

  test('that REGISTRY_ALLOWED_HOSTS lists is asked', async () => {
    await using pair = await start({ env: { REGISTRY_ALLOWED_HOSTS: '127.0.0.1' } });
    assert.equal((await pair.request(`/registry/http/{host}${FILE}`)).status, 200);
  });

  test('that REGISTRY_ALLOWED_HOSTS does not list is 403 and not asked; the configured one is', async () => {
    await using pair = await start({ env: { REGISTRY_ALLOWED_HOSTS: 'registry.example' } });
    const headers = { authorization: basic('user', 'secret') };
    for (const path of [
      `/registry/http/{host}${FILE}`,
      `/registry-auth/http/{host}${FILE}`,
      '/{host}/team/app:1',
      '/ghcr.io/org/app',
      '/manifest/ghcr.io/org/app',
    ]) {
      assertError(
        await pair.request(path, { headers }),
        403,
        /^Registry not allowed: .*REGISTRY_ALLOWED_HOSTS/,
      );
    }
    assert.deepEqual(pair.registry.requests, []);
    for (const path of [FILE, '/team/app:1']) assert.equal((await pair.request(path)).status, 200);
  });
});

describe('capacity for preparations', () => {
  /** Archives that have no layer in common with the one that occupies the place. */
  const OTHERS = ['/docker/single_1.tar', `/platform/linux/arm64${FILE}`] as const;

  /** A service with one place, which is taken until `finish`. */
  async function startOccupied(env: Readonly<Record<string, string>>) {
    const pair = await start({
      defects: { stallRequests: { pattern: /blobs/, times: 1 } },
      env: { MAX_CONCURRENT_PREPARATIONS: '1', ...env },
    });
    const running = pair.request(FILE);
    await pair.untilStalled();
    const finish = async () => {
      pair.registry.releaseStalled();
      assert.equal((await running).status, 200);
    };
    return { ...pair, finish };
  }

  function assertBusy(reply: Reply, line = /^Busy: Cannot prepare the image now/): void {
    assertError(reply, 503, line);
    assertRetryAfter(reply);
  }

  test('that is used up without a queue is 503, and no blob is requested', async () => {
    await using pair = await startOccupied({ MAX_QUEUED_PREPARATIONS: '0' });
    assertBusy(await pair.request(OTHERS[0]));
    assert.equal(pair.registry.countRequests(/single\/manifests/), 1);
    assert.equal(pair.registry.countRequests(/single\/blobs/), 0);
    for (const path of ['/health', '/ready', '/']) assert.equal((await pair.request(path)).status, 200);
    await pair.finish();
    assert.equal((await pair.request(OTHERS[0])).status, 200, 'the place is free again');
  });

  test('that comes free is given to a request in the queue', async () => {
    await using pair = await startOccupied({ MAX_QUEUED_PREPARATIONS: '1' });
    // One of the two takes the only place in the queue.
    const both = OTHERS.map((file) => pair.request(file));
    assertBusy(await Promise.race(both));
    await pair.finish();
    assert.deepEqual((await Promise.all(both)).map(({ status }) => status).toSorted(), [200, 503]);
  });

  test('that does not come free within QUEUE_TIMEOUT is 503', async () => {
    await using pair = await startOccupied({ QUEUE_TIMEOUT: '0.05' });
    assertBusy(await pair.request(OTHERS[0]), /^Busy: Cannot prepare the image now.*within 0\.05 s/);
    await pair.finish();
  });
});
