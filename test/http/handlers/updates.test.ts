/** Update archives: without the layers that a base has. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { startScene } from '../../support/cached.ts';
import { sha256 } from '../../support/collect.ts';
import { type BuiltImage, makeImage } from '../../support/image.ts';
import { basic } from '../../support/pair.ts';
import { assertPrepared, ended, prepare, prepareDone } from '../../support/preparing.ts';
import { assertError, blobName, filesOf, firstLine, hexOf, imagesOf } from '../../support/reading.ts';
import { startTestService } from '../../support/service.ts';
import {
  assertLeftOut,
  asTag,
  BASE,
  fetchedBlobs,
  LAYOUTS,
  MOVED,
  MULTI_BASES,
  MULTI_NEXT,
  NEXT,
  PUSHED,
  SETTINGS,
  startUpdates,
  TWICE,
  UNRELATED,
  ZSTD,
} from '../../support/updates.ts';

describe('an update', () => {
  /** Indexes of the layers that are left out, by diff IDs from the bottom up, and by digests. */
  const cases: readonly [
    name: string,
    tag: string,
    image: BuiltImage,
    since: string,
    base: BuiltImage,
    leading: readonly number[],
    any: readonly number[],
  ][] = [
    ['one layer more', '2', NEXT, '1', BASE, [0, 1], [0, 1]],
    ['a common layer that has moved', 'moved', MOVED, '1', BASE, [0], [0, 2]],
    ['a common layer twice', 'twice', TWICE, '1', BASE, [0, 1], [0, 1, 3]],
    ['the same layers, other settings', 'settings', SETTINGS, '1', BASE, [0, 1], [0, 1]],
    ['fewer layers', '1', BASE, '2', NEXT, [0, 1], [0, 1]],
    ['the same image', '2', NEXT, '2', NEXT, [0, 1, 2], [0, 1, 2]],
    ['the same diff IDs in other blobs', 'zstd', ZSTD, '1', BASE, [0, 1], []],
    ['nothing in common', '2', NEXT, 'org/other:1', UNRELATED, [], []],
    ['a base by digest', '2', NEXT, asTag(BASE), BASE, [0, 1], [0, 1]],
  ];
  for (const layout of LAYOUTS) {
    for (const [name, tag, image, since, base, leading, any] of cases) {
      test(`in layout ${layout}: ${name}`, async () => {
        await using pair = await startUpdates();
        const path = `/${layout}/team_app_${tag}.tar`;
        const update = await pair.request(`${path}?since=${since}`);
        assert.equal(update.status, 200, firstLine(update));
        const fetched = fetchedBlobs(pair);
        const whole = await pair.request(path);
        const leftOut = layout === 'oci' ? any : leading;
        assertLeftOut(update, whole, leftOut);
        assert.deepEqual(imagesOf(update), imagesOf(whole));
        const wanted = image.layers.flatMap(({ digest }, index) => (leftOut.includes(index) ? [] : digest));
        const blobs = new Set(image.layers.map(({ digest }) => digest));
        assert.deepEqual(
          fetched.intersection(blobs),
          new Set(wanted),
          'layers that are left out are not fetched',
        );
        const { headers } = update;
        assert.equal(headers['content-length'], String(update.body.length));
        assert.equal(headers['docker-content-digest'], image.manifest.digest);
        assert.equal(headers['docker-base-digest'], base.manifest.digest);
        assert.equal(whole.headers['docker-base-digest'], undefined);
        assert.notEqual(headers.etag, whole.headers.etag);
      });
    }
  }
});

const BUILT_NAMES: readonly [path: string, filename: string][] = [
  ['/since/1/docker/team_app_2.tar', 'team_app_2_since_1.tar'],
  ['/since/1/docker/team_app_2.tar.gz', 'team_app_2_since_1.tar.gz'],
  ['/since/1/docker/team_app_2.tar.sha256', 'team_app_2_since_1.tar.sha256'],
  [`/since/${asTag(BASE)}/docker/team_app_2.tar`, `team_app_2_since_${asTag(BASE)}.tar`],
  ['/docker/team_app_2.tar?since=1', 'team_app_2_since_1.tar'],
  ['/docker/team_app_2.tar?since=team/app:1', 'team_app_2_since_1.tar'],
  ['/docker/team_app_2.tar?since={host}/team/app:1', 'team_app_2_since_1.tar'],
  ['/docker/team_app_2.tar?since=org/other:1', 'team_app_2_since_org__other_1.tar'],
  ['/since/1/registry/http/{host}/docker/team_app_2.tar', 'team_app_2_since_1.tar'],
  ['/platform/linux/amd64/since/1/docker/team_app_2.tar', 'team_app_2_since_1.tar'],
  ['/since/1/platform/cat9k/docker/team_app_2.tar', 'team_app_2_since_1.tar'],
  ['/team/app:2?since=1', 'team__app_2_since_1.tgz'],
  ['/team/app:2?since=1&format=tar', 'team__app_2_since_1.tar'],
  ['/{host}/team/app:2?since=1', 'team__app_2_since_1.tgz'],
  [`/team/app:2?since=@${BASE.manifest.digest}`, `team__app_2_since_${asTag(BASE)}.tgz`],
  ['/team/app:2?since=1&name=mine:3', 'mine_3_since_1.tgz'],
  ['/bundle.tar?image=team/app:2&since=1', 'bundle_update.tar'],
  ['/bundle.tgz?image=team/app:2&since=1&image=org/other:1', 'bundle_update.tgz'],
];
for (const [path, filename] of BUILT_NAMES) {
  test(`${path} is a file ${filename}`, async () => {
    await using pair = await startUpdates();
    const reply = await pair.request(path);
    assert.equal(reply.status, 200, firstLine(reply));
    assert.equal(reply.headers['content-disposition'], `attachment; filename="${filename}"`);
    if (filename.endsWith('.sha256')) return;
    const [{ Layers } = { Layers: [] }] = imagesOf(reply);
    const isThere = Layers.map((name) => filesOf(reply).has(name));
    assert.deepEqual(isThere, [filename.includes('other'), filename.includes('other'), true]);
  });
}

describe('an update is a file as any other', () => {
  const PATH = '/since/1/docker/team_app_2.tar';

  test('with the same bytes for each request and at a replica', async () => {
    await using pair = await startUpdates();
    await using replica = await startTestService({ REGISTRY_URL: pair.registry.url });
    const first = await pair.request(PATH);
    for (const service of [pair.service, replica]) {
      const again = await service.request(PATH);
      assert.deepEqual(again.body, first.body);
      assert.equal(again.headers.etag, first.headers.etag);
    }
  });

  test('with a checksum that names it', async () => {
    await using pair = await startUpdates();
    const { body } = await pair.request(PATH);
    const sum = await pair.request(`${PATH}.sha256`);
    assert.equal(String(sum.body), `${hexOf(sha256(body))}  team_app_2_since_1.tar\n`);
    assert.equal(sum.headers['docker-base-digest'], BASE.manifest.digest);
  });

  for (const way of ['spliced', 'whole']) {
    for (const layout of LAYOUTS) {
      test(`as .tgz of layout ${layout}, ${way}, which unpacks to the .tar`, async () => {
        await using pair = await startUpdates({ env: { ARCHIVE_GZIP: way } });
        const path = `/since/1/${layout}/team_app_2`;
        const packed = await pair.request(`${path}.tgz`);
        assert.equal(packed.headers['content-length'], String(packed.body.length));
        assert.equal(packed.headers['docker-base-digest'], BASE.manifest.digest);
        assert.deepEqual(gunzipSync(packed.body), (await pair.request(`${path}.tar`)).body);
      });
    }
  }

  test('with HEAD, ranges and conditions', async () => {
    await using pair = await startUpdates();
    const { body, headers } = await pair.request(PATH);
    const { etag = '' } = headers;
    const head = await pair.request(PATH, { method: 'HEAD' });
    for (const name of ['etag', 'content-length', 'docker-base-digest', 'docker-content-digest'] as const)
      assert.equal(head.headers[name], headers[name], name);
    const part = await pair.request(PATH, { headers: { range: 'bytes=700-', 'if-range': etag } });
    assert.equal(part.status, 206);
    assert.equal(part.headers['docker-base-digest'], BASE.manifest.digest);
    assert.deepEqual(part.body, body.subarray(700));
    const before = fetchedBlobs(pair).size;
    const known = await pair.request(PATH, { headers: { 'if-none-match': etag } });
    assert.equal(known.status, 304);
    assert.equal(known.headers['docker-base-digest'], BASE.manifest.digest);
    assert.equal(fetchedBlobs(pair).size, before, 'a 304 needs manifests only');
  });

  test('with another tag once its base has moved', async () => {
    await using pair = await startUpdates();
    const { headers } = await pair.request(PATH);
    pair.registry.push('team/app', '1', UNRELATED);
    const moved = await pair.request(PATH, { headers: { 'if-none-match': headers.etag ?? '' } });
    assert.equal(moved.status, 200);
    assert.equal(moved.headers['docker-base-digest'], UNRELATED.manifest.digest);
  });

  test('that a client may not append to the rest of one since another base', async () => {
    await using pair = await startUpdates();
    const first = await pair.request(PATH, { headers: { range: 'bytes=0-600' } });
    assert.equal(first.status, 206);
    pair.registry.push('team/app', '1', UNRELATED);
    assertError(
      await pair.request(PATH, { headers: { range: 'bytes=601-' } }),
      412,
      /Cannot continue the download/,
    );
  });
});

describe('the base is', () => {
  const BASE_HINT = /team\/app:none is the base of the update: without since, the archive is whole/;

  for (const [path, status] of [
    ['/since/none/docker/team_app_2.tar', 502],
    ['/team/app:2?since=none', 502],
    ['/manifest/team/app:2?since=none', 502],
  ] as const) {
    test(`missing: ${path} fails as for a missing image`, async () => {
      await using pair = await startUpdates();
      const reply = await pair.request(path);
      assertError(reply, status, 'IMAGE_NOT_FOUND');
      assert.match(String(reply.body), BASE_HINT);
      assert.doesNotMatch(String(reply.body), /is the tag 2 of/);
      assert.deepEqual(fetchedBlobs(pair), new Set());
      await pair.assertIdle();
    });
  }

  test('for the same platform', async () => {
    await using pair = await startUpdates();
    for (const [platform, at, leftOut] of [
      ['linux/amd64', 0, [0, 1]],
      ['linux/arm64', 1, [0]],
    ] as const) {
      const path = `/docker/team_multi_2.tar?platform=${platform}`;
      const update = await pair.request(`${path}&since=1`);
      assert.equal(update.headers['docker-base-digest'], MULTI_BASES[at].manifest.digest);
      assertLeftOut(update, await pair.request(path), leftOut);
    }
  });

  test('not there for the platform: an error that says what it offers', async () => {
    await using pair = await startUpdates();
    const reply = await pair.request('/platform/linux/arm64/docker/team_multi_2.tar?since=team/app:1');
    assertError(reply, 502, /"linux\/arm64": the image offers linux\/amd64$/);
    assert.match(String(reply.body), /team\/app:1 is the base of the update/);
  });

  test('an index with all its platforms', async () => {
    await using pair = await startUpdates();
    const path = '/platform/all/oci/team_multi_2.tar';
    const update = await pair.request(`/since/1${path}`);
    const whole = filesOf(await pair.request(path));
    const shared = new Set(MULTI_BASES.flatMap(({ layers }) => layers.map(({ digest }) => blobName(digest))));
    assert.deepEqual(
      [...filesOf(update).keys()],
      [...whole.keys()].filter((name) => !shared.has(name)),
    );
  });

  for (const [since, line] of [
    [
      'other.example/team/app:1',
      /Cannot use since="other\.example\/team\/app:1": the base must be in the registry of the image/,
    ],
    ['a%20b', /Cannot use since="a b": tag "a b" must be letters/],
    ['Team/app:1', /the base must be in the registry/],
    ['team/App:1', /Cannot parse reference "team\/App:1"/],
  ] as const) {
    test(`refused: ${since}`, async () => {
      await using pair = await startUpdates();
      assertError(await pair.request(`/docker/team_app_2.tar?since=${since}`), 400, line);
      assert.equal(pair.registry.requests.length, 0);
    });
  }

  test('asked for with the credentials of the client, and refused as an image is', async () => {
    await using pair = await startUpdates({ auth: { mode: 'basic' } });
    const headers = { authorization: basic('user', 'secret') };
    const path = '/since/1/registry-auth/http/{host}/docker/team_app_2.tar';
    assert.equal((await pair.request(path)).status, 401);
    assert.equal(pair.registry.requests.length, 0);
    assert.equal((await pair.request(path, { headers })).status, 200);
    const sent = pair.registry.requests.filter(({ path: one }) => /manifests\/1$/.test(one));
    assert.deepEqual(
      sent.map(({ headers: { authorization } }) => authorization).at(-1),
      headers.authorization,
    );
    const wrong = await pair.request(path, { headers: { authorization: basic('user', 'wrong') } });
    assertError(wrong, 502, 'REGISTRY_DENIED');
  });

  test('one that the client may not pull: refused, also where another client has it', async () => {
    const env = { CACHE_MAX_BYTES: '1000000000' };
    await using pair = await startUpdates({ auth: { mode: 'basic' }, env });
    const headers = { authorization: basic('user', 'secret') };
    for (const path of [
      '/docker/team_app_2.tar?since=org/other:1',
      '/manifest/team/app:2?since=org/other:1',
    ]) {
      pair.registry.auth.deniedRepositories = new Set();
      assert.equal((await pair.request(path, { headers })).status, 200);
      pair.registry.auth.deniedRepositories.add('org/other');
      const denied = await pair.request(path, { headers });
      assertError(denied, 502, 'REGISTRY_DENIED');
      assert.match(String(denied.body), /org\/other:1 is the base of the update/);
    }
  });
});

describe('an update whose base has the same layers in another order', () => {
  const [OS, RUNTIME] = BASE.layers;
  const swapped = makeImage({ layers: [RUNTIME, OS].flatMap((layer) => layer ?? []) });
  const path = '/since/1/docker/team_app_swapped.tar';

  test('takes a place, as all of its layers are fetched', async () => {
    const env = { MAX_CONCURRENT_PREPARATIONS: '1', MAX_QUEUED_PREPARATIONS: '0' };
    await using pair = await startUpdates({ env });
    pair.registry.push('team/app', 'swapped', swapped);
    const digest = UNRELATED.layers[0]?.digest ?? '';
    pair.registry.defects.stallBlob = { digest, afterBytes: 0, times: 1 };
    const other = pair.request('/docker/org_other_1.tar');
    await pair.untilStalled();
    assertError(await pair.request(path), 503, 'BUSY');
    pair.registry.releaseStalled();
    assert.equal((await other).status, 200);
  });

  test('begins early', async () => {
    await using pair = await startUpdates();
    pair.registry.push('team/app', 'swapped', swapped);
    const reply = await pair.request(`${path}?start=early`);
    assert.deepEqual([reply.status, reply.headers['transfer-encoding']], [200, 'chunked']);
    assertLeftOut(reply, await pair.request(path.replace('/since/1', '')), []);
  });
});

describe('a bundle', () => {
  const QUERY = 'image=team/app:2&since=1&image=team/multi:2&image=org/other:1&since=team/app:1';

  for (const layout of LAYOUTS) {
    test(`in layout ${layout} has the layers that any of its images is not an update for`, async () => {
      await using pair = await startUpdates();
      const reply = await pair.request(`/bundle.tar?layout=${layout}&${QUERY}`);
      assert.equal(reply.status, 200, firstLine(reply));
      assert.equal(reply.headers['docker-base-digest'], undefined);
      const whole = await pair.request(
        `/bundle.tar?layout=${layout}&${QUERY.replaceAll(/&since=[^&]*/g, '')}`,
      );
      assert.deepEqual(imagesOf(reply), imagesOf(whole));
      assert.notEqual(reply.headers.etag, whole.headers.etag);
      // team/multi:2 is not an update, and has all layers that team/app:2 leaves out.
      const files = [...filesOf(whole)].filter(([name]) => filesOf(reply).has(name));
      assert.deepEqual(new Map(files), filesOf(reply));
      assert.equal(files.length, filesOf(whole).size);
    });
  }

  test('leaves out what all of its images leave out', async () => {
    await using pair = await startUpdates();
    const path = '/bundle.tar?image=team/app:2&since=1&image=team/app:settings&since=1';
    const [first, second] = imagesOf(await pair.request(path));
    const files = filesOf(await pair.request(path));
    assert.deepEqual(
      first?.Layers.map((name) => files.has(name)),
      [false, false, true],
    );
    assert.deepEqual(
      second?.Layers.map((name) => files.has(name)),
      [false, false],
    );
  });

  test('takes bases in the body of a POST', async () => {
    await using pair = await startUpdates();
    const body = 'team/app:2 since=1 # for those who have 1\nteam/multi:2\r\norg/other:1\tsince=team/app:1\n';
    const posted = await pair.request('/bundle.tar', { method: 'POST', body });
    assert.deepEqual(posted.body, (await pair.request(`/bundle.tar?${QUERY}`)).body);
  });

  for (const line of [
    'team/app:2 1',
    'team/app:2 since=',
    'team/app:2 since=1 since=2',
    'team/app:2 base=1',
  ]) {
    test(`refuses the line "${line}"`, async () => {
      await using pair = await startUpdates();
      const reply = await pair.request('/bundle.tar', { method: 'POST', body: line });
      assertError(reply, 400, /expected an image on each line, and since= with its base/);
    });
  }
});

describe('a preparation', () => {
  test('of an update counts its layers only, and makes the download cost no blob', async () => {
    await using scene = await startScene();
    for (const [repository, tag, image] of PUSHED) scene.registry.push(repository, tag, image);
    await using service = await scene.start();
    const path = '/since/1/docker/team_app_2.tar';
    const { layers, bytes, path: shown } = await prepareDone(service, path);
    const size = NEXT.layers[2]?.blob.length;
    assert.deepEqual([layers, bytes, shown], [{ done: 1, total: 1 }, { done: size, total: size }, path]);
    const again = await prepareDone(service, path);
    assert.deepEqual(again.layers, layers);
    const reply = await assertPrepared(scene, service, path);
    assert.equal(reply.headers['docker-base-digest'], BASE.manifest.digest);
  });

  test('of an update whose base is gone fails with the reason', async () => {
    await using scene = await startScene();
    await using service = await scene.start();
    const started = await prepare(service, '/since/none/docker/team_app_1.tar');
    const { state, error } = await ended(service, started);
    assert.deepEqual([state, error?.code], ['failed', 'IMAGE_NOT_FOUND']);
  });
});

describe('/manifest/…?since=', () => {
  const cases: readonly [query: string, image: BuiltImage, base: BuiltImage, shared: readonly number[]][] = [
    ['/manifest/team/app:2?since=1', NEXT, BASE, [0, 1]],
    ['/manifest/team/app:moved?since=1', MOVED, BASE, [0]],
    ['/manifest/team/app:moved?since=1&layout=oci', MOVED, BASE, [0, 2]],
    ['/manifest/team/app:zstd?since=1&layout=docker-gzip', ZSTD, BASE, [0, 1]],
    ['/manifest/team/app:zstd?since=1&layout=oci', ZSTD, BASE, []],
    ['/manifest/team/app:2?since=org/other:1', NEXT, UNRELATED, []],
    ['/manifest/team/app:twice?since=1', TWICE, BASE, [0, 1]],
    ['/manifest/team/multi:2?since=1&platform=linux/arm64', MULTI_NEXT[1], MULTI_BASES[1], [0]],
  ];
  for (const [path, image, base, shared] of cases) {
    test(`${path} tells layers and bytes, and fetches no layer`, async () => {
      await using pair = await startUpdates();
      const reply = await pair.request(path);
      assert.equal(reply.status, 200, firstLine(reply));
      assert.equal(reply.headers['content-type'], 'application/json');
      const { image: named, base: since, ...rest } = JSON.parse(String(reply.body));
      assert.ok(
        named.startsWith(`${pair.registry.host}/team/`) && named.endsWith(`@${image.manifest.digest}`),
        named,
      );
      assert.ok(
        since.startsWith(`${pair.registry.host}/`) && since.endsWith(`@${base.manifest.digest}`),
        since,
      );
      const layers = image.layers.map(({ digest, diffId, blob }, index) => ({
        ...{ digest, diffId, size: blob.length, shared: shared.includes(index) },
      }));
      const sum = (some: typeof layers) =>
        new Map(some.map(({ digest, size }) => [digest, size])).values().reduce((all, size) => all + size, 0);
      const updateBytes = sum(layers.filter((layer) => !layer.shared));
      assert.deepEqual(rest, { layers, bytes: sum(layers), updateBytes });
      const blobs = fetchedBlobs(pair);
      for (const { digest } of image.layers) assert.ok(!blobs.has(digest), digest);
      await pair.assertIdle();
    });
  }

  test('refuses all platforms', async () => {
    await using pair = await startUpdates();
    assertError(await pair.request('/manifest/team/multi:2?since=1&platform=all'), 400, /name one of them$/);
  });
});

test('the log says the base, and how much was left out', async () => {
  await using pair = await startUpdates();
  await pair.request('/since/1/docker/team_app_2.tar');
  const line = await pair.service.waitForLog({ event: 'request', outcome: 'ok' });
  const saved = NEXT.layers.slice(0, 2).reduce((sum, { blob }) => sum + blob.length, 0);
  assert.deepEqual([line['since'], line['savedBytes']], [`${pair.registry.host}/team/app:1`, saved]);
});
