import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { listTar, sha256 } from '../../support/collect.ts';
import type { Defects } from '../../support/defects.ts';
import { startFakeRegistry } from '../../support/fake-registry.ts';
import { makeGzipBombLayer, makeImage, makeIndex, makeLayer } from '../../support/image.ts';
import { makeSchema1Manifest } from '../../support/odd-images.ts';
import { basic, type Pair, type PairOptions, startPair } from '../../support/pair.ts';
import { type Reply, startTestService } from '../../support/service.ts';

const AMD64 = makeImage({
  layers: [
    { tar: makeLayer({ 'bin/': '', 'bin/hello': 'amd64' }) },
    { tar: makeLayer({ 'etc/hello': 'hello' }), compression: 'zstd' },
  ],
});
const ARM64 = makeImage({
  platform: { os: 'linux', architecture: 'arm64' },
  layers: [{ tar: makeLayer({ 'bin/hello': 'arm64' }), compression: 'none' }],
});
const INDEX = makeIndex([{ image: AMD64 }, { image: ARM64 }]);

/** A service before a registry that holds a few images, among them `team/app:1` for two platforms. */
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
/** Two archives that have no layer in common with it. */
const OTHERS = ['/docker/single_1.tar', `/platform/linux/arm64${FILE}`] as const;

function firstLine({ body }: Reply): string {
  return body.toString().split('\n', 1)[0] ?? '';
}

/** What `manifest.json` of an archive holds. */
function manifestOf({ body }: Reply): { Config: string; RepoTags: string[]; Layers: string[] } {
  const [entry, ...others] = JSON.parse(
    String(listTar(body).find(({ name }) => name === 'manifest.json')?.content),
  );
  assert.deepEqual(others, []);
  return entry;
}

describe('an archive', () => {
  test('comes whole, with its exact length, its name, the digest of the manifest and a strong entity tag', async () => {
    await using pair = await start();
    const { service, registry } = pair;
    const reply = await service.request(FILE);
    assert.equal(reply.status, 200);
    assert.equal(reply.isCut, false);
    assert.equal(reply.headers['content-length'], String(reply.body.length));
    assert.equal(reply.headers['content-type'], 'application/x-tar');
    assert.equal(reply.headers['content-disposition'], 'attachment; filename="team_app_1.tar"');
    assert.equal(reply.headers['docker-content-digest'], AMD64.manifest.digest);
    assert.match(reply.headers.etag ?? '', /^"[0-9a-f]{64}"$/);
    assert.match(String(reply.headers['x-request-id']), /^[0-9a-f-]{36}$/);

    const { Config, RepoTags, Layers } = manifestOf(reply);
    const files = new Map(listTar(reply.body).map(({ name, content }) => [name, content]));
    assert.deepEqual(files.get(Config), AMD64.config.bytes);
    assert.deepEqual(RepoTags, [`${registry.host}/team/app:1`]);
    assert.deepEqual(
      Layers.map((name) => sha256(files.get(name) ?? '')),
      AMD64.diffIds,
    );
  });

  test('is the same to the byte when it is asked for again, and from another service', async () => {
    await using pair = await start();
    await using other = await startTestService({ REGISTRY_URL: pair.registry.url });
    const first = await pair.service.request(FILE);
    for (const service of [pair.service, other]) {
      const again = await service.request(FILE);
      assert.deepEqual(again.body, first.body);
      assert.equal(again.headers.etag, first.headers.etag);
    }
  });

  test('under another tag, or for another platform, has another entity tag', async () => {
    await using pair = await start();
    const paths = [FILE, '/docker/team_app_2.tar', `/platform/linux/arm64${FILE}`];
    const tags = new Set<string | undefined>();
    for (const path of paths) tags.add((await pair.service.request(path)).headers.etag);
    assert.equal(tags.size, paths.length);
  });

  test('holds no file open once it is sent', async () => {
    await using pair = await start();
    await pair.service.request(FILE);
    await pair.service.waitForLog({ event: 'request', outcome: 'ok' });
    assert.equal(await pair.service.openFiles(), 0);
  });

  const platforms: readonly [path: string, digest: string][] = [
    [FILE, AMD64.manifest.digest],
    [`/platform/linux/arm64${FILE}`, ARM64.manifest.digest],
    [`/platform/linux/arm64/v8${FILE}`, ARM64.manifest.digest],
    [`/platform/Linux/aarch64${FILE}`, ARM64.manifest.digest],
    [`${FILE}?platform=linux/arm64`, ARM64.manifest.digest],
    [`${FILE}?arch=linux%2Farm64`, ARM64.manifest.digest],
    [`/platform/linux/arm64/registry/http/{host}${FILE}`, ARM64.manifest.digest],
    [`/registry/http/{host}${FILE}?platform=linux/arm64`, ARM64.manifest.digest],
    ['/docker/single_1.tar', ARM64.manifest.digest],
  ];
  for (const [path, digest] of platforms) {
    test(`${path} gives the image of its platform`, async () => {
      await using pair = await start({ env: { REGISTRY_DEFAULT_NAMESPACE: '' } });
      const reply = await pair.service.request(path.replace('{host}', pair.registry.host));
      assert.equal(reply.status, 200, firstLine(reply));
      assert.equal(reply.headers['docker-content-digest'], digest);
    });
  }

  test('is for DEFAULT_PLATFORM where the request names none', async () => {
    await using pair = await start({ env: { DEFAULT_PLATFORM: 'linux/arm64' } });
    const reply = await pair.service.request(FILE);
    assert.equal(reply.headers['docker-content-digest'], ARM64.manifest.digest);
  });

  test('of an image for one platform is refused to who asks for another', async () => {
    await using pair = await start();
    const reply = await pair.service.request('/platform/linux/amd64/docker/single_1.tar');
    assert.equal(reply.status, 502);
    assert.match(firstLine(reply), /"linux\/amd64": the image offers linux\/arm64$/);
  });

  test('for a platform that is not offered is refused with the offer', async () => {
    await using pair = await start();
    const reply = await pair.service.request(`/platform/linux/s390x${FILE}`);
    assert.equal(reply.status, 502);
    assert.match(firstLine(reply), /"linux\/s390x": the image offers linux\/amd64, linux\/arm64$/);
  });

  const names: readonly [path: string, repoTag: string, env?: Readonly<Record<string, string>>][] = [
    ['/docker/team_app_1.tar', '{host}/team/app:1'],
    ['/docker/deep__path__app_1.tar', '{host}/deep/path/app:1'],
    ['/docker/nginx_1.25.tar', '{host}/library/nginx:1.25', { REGISTRY_DEFAULT_NAMESPACE: 'library' }],
    ['/docker/team_app_1.tar', 'hub.example/team/app:1', { REGISTRY_NAME: 'hub.example' }],
    [
      '/registry/http/{host}/docker/team_app_1.tar',
      'hub.example/team/app:1',
      { REGISTRY_NAME: 'hub.example' },
    ],
  ];
  for (const [path, repoTag, env = {}] of names) {
    test(`${path} is tagged ${repoTag} with ${JSON.stringify(env)}`, async () => {
      await using pair = await start({ env });
      const { host } = pair.registry;
      const reply = await pair.service.request(path.replace('{host}', host));
      assert.deepEqual(manifestOf(reply).RepoTags, [repoTag.replace('{host}', host)]);
    });
  }
});

describe('a registry in the path', () => {
  test('is asked instead of the configured one', async () => {
    await using configured = await startFakeRegistry();
    await using pair = await start({ env: { REGISTRY_URL: configured.url } });
    const { host } = pair.registry;
    for (const spelling of [host, host.replace(':', '%3A'), host.replace(':', '%3a')]) {
      const reply = await pair.service.request(`/registry/http/${spelling}${FILE}`);
      assert.equal(reply.status, 200, firstLine(reply));
      assert.deepEqual(manifestOf(reply).RepoTags, [`${host}/team/app:1`]);
    }
    assert.deepEqual(configured.requests, []);
  });

  test('that policy does not list is refused without being asked', async () => {
    await using pair = await start({ env: { REGISTRY_ALLOWED_HOSTS: 'registry.example' } });
    for (const root of ['registry', 'registry-auth']) {
      const reply = await pair.service.request(`/${root}/http/${pair.registry.host}${FILE}`, {
        headers: { authorization: basic('user', 'secret') },
      });
      assert.equal(reply.status, 403);
      assert.match(firstLine(reply), /^Registry not allowed: .*REGISTRY_ALLOWED_HOSTS/);
    }
    assert.deepEqual(pair.registry.requests, []);
    assert.equal((await pair.service.request(FILE)).status, 200, 'the configured one is not concerned');
  });

  test('that policy lists is asked', async () => {
    await using pair = await start({ env: { REGISTRY_ALLOWED_HOSTS: '127.0.0.1' } });
    assert.equal((await pair.service.request(`/registry/http/${pair.registry.host}${FILE}`)).status, 200);
  });
});

describe('client credentials', () => {
  const BASIC = { mode: 'basic' } as const;

  async function outcome(
    pair: Pair,
    path: string,
    authorization: string | undefined,
  ): Promise<{ status: number; sent: readonly (string | undefined)[]; reply: Reply }> {
    const before = pair.registry.requests.length;
    const reply = await pair.service.request(path.replace('{host}', pair.registry.host), {
      ...(authorization !== undefined && { headers: { authorization } }),
    });
    const sent = pair.registry.requests.slice(before).map(({ headers }) => headers.authorization);
    return { status: reply.status, sent, reply };
  }

  const NAMED = `/registry/http/{host}${FILE}`;
  const AUTH = `/registry-auth/http/{host}${FILE}`;
  const GOOD = basic('user', 'secret');

  for (const path of [FILE, NAMED, AUTH]) {
    test(`are passed on by ${path}`, async () => {
      await using pair = await start({ auth: BASIC });
      const { status, sent } = await outcome(pair, path, GOOD);
      assert.equal(status, 200);
      assert.ok(sent.includes(GOOD));
    });
  }

  const required: readonly [mode: string, path: string][] = [
    ['optional', AUTH],
    ['off', AUTH],
    ['required', AUTH],
    ['required', NAMED],
    ['required', FILE],
    ['required', `/platform/linux/arm64${FILE}`],
  ];
  for (const [mode, path] of required) {
    test(`are demanded by ${path} with REGISTRY_CLIENT_AUTH=${mode}, before the registry is asked`, async () => {
      await using pair = await start({ auth: BASIC, env: { REGISTRY_CLIENT_AUTH: mode } });
      const { status, sent, reply } = await outcome(pair, path, undefined);
      assert.equal(status, 401);
      assert.equal(reply.headers['www-authenticate'], 'Basic realm="registry credentials"');
      assert.match(firstLine(reply), /^Registry credentials are required: /);
      assert.deepEqual(sent, []);
      assert.equal((await outcome(pair, path, GOOD)).status, 200);
    });
  }

  for (const path of [FILE, NAMED]) {
    test(`are not demanded by ${path} where they are optional`, async () => {
      await using pair = await start();
      assert.equal((await outcome(pair, path, undefined)).status, 200);
    });

    test(`are ignored by ${path} where they are off, readable or not`, async () => {
      await using pair = await start({ env: { REGISTRY_CLIENT_AUTH: 'off' } });
      for (const authorization of [GOOD, 'Bearer x', 'Basic !']) {
        const { status, sent } = await outcome(pair, path, authorization);
        assert.equal(status, 200);
        assert.deepEqual(new Set(sent), new Set([undefined]));
      }
    });
  }

  test('that the registry refuses make no challenge: the client has sent what it has', async () => {
    await using pair = await start({ auth: BASIC });
    for (const path of [FILE, NAMED, AUTH]) {
      const { status, reply } = await outcome(pair, path, basic('user', 'wrong'));
      assert.equal(status, 502);
      assert.equal(reply.headers['www-authenticate'], undefined);
      assert.match(reply.body.toString(), /^registry code: UNAUTHORIZED$/m);
    }
  });

  test('come before those of the environment', async () => {
    await using pair = await start({
      auth: BASIC,
      env: { REGISTRY_USERNAME: 'user', REGISTRY_PASSWORD: 'wrong' },
    });
    assert.equal((await outcome(pair, FILE, GOOD)).status, 200);
    assert.equal((await outcome(pair, FILE, undefined)).status, 502);
  });

  test('of one client serve no other', async () => {
    await using pair = await start({ auth: { mode: 'token', allowAnonymous: false } });
    assert.equal((await outcome(pair, FILE, GOOD)).status, 200);
    assert.equal((await outcome(pair, FILE, undefined)).status, 502);
    assert.equal((await outcome(pair, FILE, basic('user', 'wrong'))).status, 502);
    assert.equal((await outcome(pair, FILE, GOOD)).status, 200);
    assert.equal(pair.registry.tokenRequests.length, 4);
  });

  test('come before the registry, not before what is wrong with the request', async () => {
    await using pair = await start();
    const { status } = await outcome(pair, '/registry-auth/http/{host}/docker/nginx.tar', undefined);
    assert.equal(status, 400);
  });
});

describe('a failure of the registry', () => {
  const LAYER = AMD64.layers[0]?.digest ?? '';
  const failures: readonly [
    what: string,
    defects: Defects,
    status: number,
    title: string,
    says: RegExp,
    env?: Readonly<Record<string, string>>,
  ][] = [
    [
      'a layer with the wrong digest',
      { wrongBlobDigest: { digest: LAYER } },
      502,
      'Failed to prepare image',
      /Cannot verify layer/,
    ],
    [
      'a missing layer',
      { dropBlob: { digest: LAYER } },
      502,
      'Failed to prepare image',
      /layer .*not found.*BLOB_UNKNOWN/,
    ],
    [
      'a manifest with the wrong digest',
      { wrongManifestDigest: true },
      502,
      'Failed to prepare image',
      /Cannot verify manifest/,
    ],
    ['a lasting 500', { failWith: { status: 500 } }, 502, 'Failed to prepare image', /the answer is 500/],
    ['403', { failWith: { status: 403 } }, 502, 'Failed to prepare image', /access is denied.*DENIED/],
    ['connections that are reset', { resetConnections: {} }, 502, 'Failed to prepare image', /broke off/],
    [
      'a registry that does not answer',
      { stallRequests: {} },
      504,
      'Registry timed out',
      /no answer within 0\.05 s/,
      { REGISTRY_RESPONSE_TIMEOUT: '0.05' },
    ],
    [
      'a preparation that takes too long',
      { stallBlob: { digest: LAYER, afterBytes: 10 } },
      504,
      'Registry timed out',
      /more than 0\.2 s/,
      { PREPARE_TIMEOUT: '0.2' },
    ],
    [
      'an image with too many bytes',
      {},
      507,
      'Image too large',
      /compressed, more than 100$/,
      { MAX_COMPRESSED_BYTES: '100' },
    ],
  ];
  for (const [what, defects, status, title, says, env = {}] of failures) {
    test(`${what} is ${status} ${title}, and leaves nothing behind`, async () => {
      await using pair = await start({ defects, env });
      const reply = await pair.service.request(FILE);
      assert.equal(reply.status, status);
      assert.equal(reply.reason, title);
      assert.equal(firstLine(reply).slice(0, title.length + 2), `${title}: `);
      assert.match(firstLine(reply), says);
      assert.match(reply.body.toString(), new RegExp(`^image: ${pair.registry.host}/team/app:1$`, 'm'));
      await pair.service.waitForLog({ event: 'request', status });
      await pair.untilQuiet();
      assert.equal(await pair.service.openFiles(), 0);
    });
  }

  test('a tag that it does not have is 502 with its own code', async () => {
    await using pair = await start();
    const reply = await pair.service.request('/docker/team_app_9.tar');
    assert.equal(reply.status, 502);
    assert.match(firstLine(reply), /^Failed to prepare image: Cannot get manifest "9" .*not found/);
    assert.match(reply.body.toString(), /^registry status: 404$/m);
    assert.match(reply.body.toString(), /^registry code: MANIFEST_UNKNOWN$/m);
  });

  test('a registry that is not there is 502 and names it', async () => {
    await using pair = await start();
    const { host } = pair.registry;
    await pair.registry.close();
    const reply = await pair.service.request(FILE);
    assert.equal(reply.status, 502);
    assert.match(firstLine(reply), new RegExp(`Cannot reach "http://${host}": connection refused`));
  });

  test('schema 1 is refused by its name', async () => {
    await using pair = await start();
    pair.registry.push('old', '1', makeSchema1Manifest());
    const reply = await pair.service.request('/docker/old_1.tar');
    assert.equal(reply.status, 502);
    assert.match(firstLine(reply), /schema 1/);
  });

  test('a gzip bomb is 507', async () => {
    await using pair = await start({ env: { MAX_IMAGE_BYTES: '1MiB' } });
    pair.registry.push('bomb', '1', makeImage({ layers: [await makeGzipBombLayer(32 * 1024 ** 2)] }));
    const reply = await pair.service.request('/docker/bomb_1.tar');
    assert.equal(reply.status, 507);
    assert.match(firstLine(reply), /^Image too large: .*1048576 bytes uncompressed/);
  });

  test('its rate limit is 503, and the wait that it asks for is passed on', async () => {
    await using pair = await start({
      defects: { failWith: { status: 429, headers: { 'Retry-After': '777' } } },
    });
    const reply = await pair.service.request(FILE);
    assert.equal(reply.status, 503);
    assert.equal(reply.reason, 'Busy');
    assert.equal(reply.headers['retry-after'], '777');
    assert.match(firstLine(reply), /too many requests/);
    assert.equal(pair.registry.requests.length, 1, 'it is not asked again before that');
  });

  test('a rate limit that names no wait is 503 with some wait', async () => {
    await using pair = await start({ defects: { failWith: { status: 429 } } });
    const reply = await pair.service.request(FILE);
    assert.equal(reply.status, 503);
    assert.match(reply.headers['retry-after'] ?? '', /^[1-9]\d*$/);
  });
});

describe('capacity', () => {
  /** A service with one place for preparations, which is taken until the registry goes on. */
  async function occupied(
    env: Readonly<Record<string, string>>,
  ): Promise<{ pair: Pair; running: () => Promise<Reply> }> {
    const pair = await start({
      defects: { stallRequests: { pattern: /blobs/, times: 1 } },
      env: { MAX_CONCURRENT_PREPARATIONS: '1', ...env },
    });
    const running = pair.service.request(FILE);
    await pair.untilStalled();
    return { pair, running: () => running };
  }

  function assertBusy(reply: Reply): void {
    assert.equal(reply.status, 503);
    assert.equal(reply.reason, 'Busy');
    assert.match(reply.headers['retry-after'] ?? '', /^[1-9]\d*$/);
    assert.match(firstLine(reply), /^Busy: Cannot prepare the image now/);
  }

  test('without a queue, who comes too many is told 503 with Retry-After, and the registry is asked for no blob', async () => {
    const { pair, running } = await occupied({ MAX_QUEUED_PREPARATIONS: '0' });
    await using _ = pair;
    assertBusy(await pair.service.request(OTHERS[0]));
    assert.equal(pair.registry.countRequests(/single\/manifests/), 1);
    assert.equal(pair.registry.countRequests(/single\/blobs/), 0);
    pair.registry.releaseStalled();
    assert.equal((await running()).status, 200);
    assert.equal((await pair.service.request(OTHERS[0])).status, 200, 'the place is free again');
  });

  test('who is in the queue is served when a place comes free', async () => {
    const { pair, running } = await occupied({ MAX_QUEUED_PREPARATIONS: '1' });
    await using _ = pair;
    // Two at once: one takes the place in the queue, the other finds it full. No telling which.
    const both = OTHERS.map((file) => pair.service.request(file));
    const refused = await Promise.race(both);
    assertBusy(refused);
    pair.registry.releaseStalled();
    assert.equal((await running()).status, 200);
    assert.deepEqual((await Promise.all(both)).map(({ status }) => status).toSorted(), [200, 503]);
  });

  test('who waits too long in the queue is told 503', async () => {
    const { pair, running } = await occupied({ QUEUE_TIMEOUT: '0.05' });
    await using _ = pair;
    const reply = await pair.service.request(OTHERS[0]);
    assertBusy(reply);
    assert.match(firstLine(reply), /within 0\.05 s/);
    pair.registry.releaseStalled();
    assert.equal((await running()).status, 200);
  });

  test('health and readiness need no place', async () => {
    const { pair, running } = await occupied({ MAX_QUEUED_PREPARATIONS: '0' });
    await using _ = pair;
    for (const path of ['/health', '/ready', '/'])
      assert.equal((await pair.service.request(path)).status, 200);
    pair.registry.releaseStalled();
    assert.equal((await running()).status, 200);
  });
});
