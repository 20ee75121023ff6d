/** `GET /manifest/…` and `GET /tags/…`: what there is, before anything is pulled. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { makeImage, makeIndex, makeLayer } from '../../support/image.ts';
import { makeHelmChart } from '../../support/odd-images.ts';
import { basic, type Pair, type PairOptions, startPair } from '../../support/pair.ts';
import { firstLine } from '../../support/reading.ts';

const AMD64 = makeImage({ layers: [{ tar: makeLayer({ 'bin/hello': 'amd64' }) }], manifestPaddingBytes: 7 });
const ARM64 = makeImage({
  platform: { os: 'linux', architecture: 'arm64' },
  layers: [{ tar: makeLayer({ 'bin/hello': 'arm64' }) }],
  mediaTypes: 'docker',
});
const INDEX = makeIndex([{ image: AMD64 }, { image: ARM64 }]);
const CHART = makeHelmChart();

function start(options: PairOptions = {}): Promise<Pair> {
  return startPair(options, (registry) => {
    registry.push('team/app', '1', INDEX);
    registry.push('team/app', 'latest', INDEX);
    registry.push('team/single', '1', ARM64);
    registry.push('team/chart', '1', CHART);
  });
}

describe('a manifest', () => {
  const shown: readonly [path: string, what: { readonly manifest: typeof AMD64.manifest }][] = [
    ['/manifest/team/app:1', INDEX],
    ['/manifest/team/app', INDEX],
    ['/manifest/{host}/team/app:1', INDEX],
    ['/manifest/team/app:1?type=index', INDEX],
    ['/manifest/team/app:1?type=index&platform=linux/arm64', INDEX],
    ['/manifest/team/app:1?type=image', AMD64],
    ['/manifest/team/app:1?type=image&platform=linux/arm64', ARM64],
    ['/manifest/team/app:1?platform=linux/arm64', ARM64],
    ['/manifest/team/app:1?arch=linux/aarch64', ARM64],
    ['/manifest/team/app:1?platform=ir1101', ARM64],
    [`/manifest/team/app@${AMD64.manifest.digest}`, AMD64],
    ['/manifest/team/single:1', ARM64],
    ['/manifest/team/single:1?type=image', ARM64],
    ['/manifest/team/chart:1', CHART],
    ['/manifest/team/chart:1?type=image', CHART],
  ];
  for (const [path, { manifest }] of shown) {
    test(`${path.slice(0, 60)} comes byte for byte, with its type and digest, and no blob is asked for`, async () => {
      await using pair = await start();
      const target = path.replace('{host}', pair.registry.host);
      const reply = await pair.service.request(target);
      assert.equal(reply.status, 200, firstLine(reply));
      assert.deepEqual(reply.body, manifest.bytes);
      assert.equal(reply.headers['content-type'], manifest.mediaType);
      assert.equal(reply.headers['content-length'], String(manifest.bytes.length));
      assert.equal(reply.headers['docker-content-digest'], manifest.digest);
      assert.equal(reply.headers.etag, `"${manifest.digest}"`);

      const head = await pair.service.request(target, { method: 'HEAD' });
      assert.equal(head.status, 200);
      assert.equal(head.headers['content-length'], reply.headers['content-length']);
      assert.equal(head.headers['docker-content-digest'], manifest.digest);
      assert.equal(head.body.length, 0);

      const headers = { 'if-none-match': `"${manifest.digest}"` };
      const same = await pair.service.request(target, { headers });
      assert.equal(same.status, 304);
      assert.equal(same.headers['docker-content-digest'], manifest.digest);
      assert.equal(same.body.length, 0);
      assert.equal(pair.registry.countRequests(/\/blobs\//), 0);
    });
  }

  test('is for DEFAULT_PLATFORM where an image is asked for', async () => {
    await using pair = await start({ env: { DEFAULT_PLATFORM: 'linux/arm64' } });
    const reply = await pair.service.request('/manifest/team/app:1?type=image');
    assert.deepEqual(reply.body, ARM64.manifest.bytes);
  });

  for (const path of ['/manifest/team/single:1?type=index', '/manifest/team/chart:1?type=index']) {
    test(`${path} is refused in words: there is no index`, async () => {
      await using pair = await start();
      const reply = await pair.service.request(path);
      assert.equal(reply.status, 502);
      assert.match(
        firstLine(reply),
        /Cannot show the index of ".*": it is for a single platform and has none/,
      );
    });
  }

  test('for a platform that is not offered is refused with the offer', async () => {
    await using pair = await start();
    const reply = await pair.service.request('/manifest/team/app:1?platform=linux/s390x');
    assert.equal(reply.status, 502);
    assert.match(firstLine(reply), /"linux\/s390x": the image offers linux\/amd64, linux\/arm64$/);
  });

  for (const [query, title] of [
    ['type=list', 'Invalid image reference'],
    ['platform=linux', 'Invalid platform'],
    ['platform=all', 'Invalid platform'],
    ['platform=toaster', 'Invalid platform'],
  ] as const) {
    test(`?${query} is 400 ${title}, and the registry is not asked`, async () => {
      await using pair = await start();
      const reply = await pair.service.request(`/manifest/team/app:1?${query}`);
      assert.equal(reply.status, 400);
      assert.equal(reply.reason, title);
      assert.deepEqual(pair.registry.requests, []);
    });
  }

  test('whose bytes are others is 502', async () => {
    await using pair = await start({ defects: { wrongManifestDigest: true } });
    const reply = await pair.service.request(`/manifest/team/app@${AMD64.manifest.digest}`);
    assert.equal(reply.status, 502);
    assert.match(firstLine(reply), /Cannot verify manifest/);
  });
});

describe('tags', () => {
  test('come as the registry has them, in JSON', async () => {
    await using pair = await start();
    const { host } = pair.registry;
    for (const path of ['/tags/team/app', `/tags/${host}/team/app`]) {
      const reply = await pair.service.request(path);
      assert.equal(reply.status, 200, firstLine(reply));
      assert.equal(reply.headers['content-type'], 'application/json');
      assert.equal(reply.headers['content-length'], String(reply.body.length));
      assert.deepEqual(JSON.parse(reply.body.toString()), {
        name: `${host}/team/app`,
        tags: ['1', 'latest'],
      });
      const head = await pair.service.request(path, { method: 'HEAD' });
      assert.equal(head.headers['content-length'], reply.headers['content-length']);
      assert.equal(head.body.length, 0);
    }
  });

  test('come from all pages', async () => {
    await using pair = await start({ defects: { tagPageSize: 3 } });
    const tags = Array.from({ length: 10 }, (_, number) => `v${number}`);
    for (const tag of tags) pair.registry.push('many', tag, ARM64);
    const reply = await pair.service.request('/tags/many');
    assert.deepEqual(JSON.parse(reply.body.toString()).tags, tags);
    assert.equal(pair.registry.countRequests(/tags\/list/), 4);
  });

  for (const version of [':1', `@${AMD64.manifest.digest}`]) {
    test(`of what is named with ${version.slice(0, 8)} are refused: a repository has tags`, async () => {
      await using pair = await start();
      const reply = await pair.service.request(`/tags/team/app${version}`);
      assert.equal(reply.status, 400);
      assert.match(
        firstLine(reply),
        /^Invalid image reference: .*expected a repository without tag and digest/,
      );
      assert.deepEqual(pair.registry.requests, []);
    });
  }

  test('get the default namespace', async () => {
    await using pair = await start({ env: { REGISTRY_DEFAULT_NAMESPACE: 'team' } });
    const reply = await pair.service.request('/tags/app');
    assert.deepEqual(JSON.parse(reply.body.toString()).name, `${pair.registry.host}/team/app`);
  });

  test('whose pages lead elsewhere are 502', async () => {
    const defects = { tagPageSize: 1, tagLink: () => '<http://elsewhere.example/v2/>; rel="next"' };
    await using pair = await start({ defects });
    const reply = await pair.service.request('/tags/team/app');
    assert.equal(reply.status, 502);
    assert.match(firstLine(reply), /another origin/);
  });
});

describe('an inspection', () => {
  for (const path of ['/manifest/team/nothing:1', '/manifest/team/app:9', '/tags/team/nothing']) {
    test(`${path} of what the registry does not have is 502 with its own code`, async () => {
      await using pair = await start();
      const reply = await pair.service.request(path);
      assert.equal(reply.status, 502);
      assert.match(reply.body.toString(), /^registry status: 404$/m);
      assert.match(reply.body.toString(), /^registry code: (?:NAME|MANIFEST)_UNKNOWN$/m);
    });
  }

  for (const path of ['/manifest/team/app:1', '/tags/team/app']) {
    test(`${path} asks for credentials where the registry does, and uses them`, async () => {
      await using pair = await start({ auth: { mode: 'basic' } });
      const refused = await pair.service.request(path);
      assert.equal(refused.status, 401);
      assert.equal(refused.headers['www-authenticate'], 'Basic realm="registry credentials"');
      const headers = { authorization: basic('user', 'secret') };
      assert.equal((await pair.service.request(path, { headers })).status, 200);
      const wrong = { authorization: basic('user', 'wrong') };
      assert.equal((await pair.service.request(path, { headers: wrong })).status, 502);
    });

    test(`${path} tells what went wrong upstream`, async () => {
      await using pair = await start();
      pair.registry.defects.failWith = { status: 500 };
      assert.equal((await pair.service.request(path)).status, 502);
      pair.registry.defects.failWith = { status: 429, headers: { 'Retry-After': '77' } };
      const limited = await pair.service.request(path);
      assert.deepEqual([limited.status, limited.headers['retry-after']], [503, '77']);
    });

    test(`${path} is for GET and HEAD`, async () => {
      await using pair = await start();
      const reply = await pair.service.request(path, { method: 'POST' });
      assert.equal(reply.status, 405);
      assert.equal(reply.headers.allow, 'GET, HEAD');
    });
  }
});
