/** `GET /manifest/…` and `GET /tags/…`. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { makeImage, makeIndex, makeLayer } from '../../support/image.ts';
import { makeHelmChart } from '../../support/odd-images.ts';
import { type Pair, type PairOptions, startPair } from '../../support/pair.ts';
import { assertError, firstLine } from '../../support/reading.ts';
import { ARM64 } from '../../support/two-platforms.ts';

const AMD64 = makeImage({ layers: [{ tar: makeLayer({ 'bin/hello': 'amd64' }) }], manifestPaddingBytes: 7 });
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

describe('/manifest', () => {
  const shown: readonly [path: string, pushed: Pick<typeof INDEX, 'manifest'>][] = [
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
    test(`${path.slice(0, 60)} is byte for byte that of the registry; no blob is requested`, async () => {
      await using pair = await start();
      const { digest, bytes, mediaType } = manifest;
      const get = await pair.request(path);
      assert.equal(get.status, 200, firstLine(get));
      assert.deepEqual(get.body, bytes);
      assert.equal(get.headers['content-type'], mediaType);
      assert.equal(get.headers['content-length'], String(bytes.length));
      assert.equal(get.headers['docker-content-digest'], digest);
      assert.equal(get.headers.etag, `"${digest}"`);

      const head = await pair.request(path, { method: 'HEAD' });
      assert.deepEqual([head.status, head.body.length], [200, 0]);
      assert.equal(head.headers['content-length'], get.headers['content-length']);
      assert.equal(head.headers['docker-content-digest'], digest);

      const known = await pair.request(path, { headers: { 'if-none-match': `"${digest}"` } });
      assert.deepEqual([known.status, known.body.length], [304, 0]);
      assert.equal(known.headers['docker-content-digest'], digest);
      assert.equal(pair.registry.countRequests(/\/blobs\//), 0);
    });
  }

  const configs: readonly [path: string, config: { readonly bytes: Buffer; readonly digest: string }][] = [
    ['/manifest/team/app:1?type=config', AMD64.config],
    ['/manifest/team/app:1?type=config&platform=linux/arm64', ARM64.config],
    ['/manifest/team/single:1?type=config', ARM64.config],
  ];
  for (const [path, { bytes, digest }] of configs) {
    test(`${path} is the config, byte for byte`, async () => {
      await using pair = await start();
      const get = await pair.request(path);
      assert.deepEqual([get.status, get.body], [200, bytes]);
      assert.equal(get.headers['content-type'], 'application/json');
      assert.equal(get.headers['docker-content-digest'], digest);
      const known = await pair.request(path, { headers: { 'if-none-match': `"${digest}"` } });
      assert.deepEqual([known.status, known.body.length], [304, 0]);
    });
  }

  test('a config is never a page, whatever its media type says', async () => {
    const layers = [{ tar: makeLayer({ a: '1' }) }];
    const { config } = makeImage({ layers });
    const page = { mediaType: 'text/html', digest: config.digest, size: config.bytes.length };
    await using pair = await startPair({}, (registry) => {
      registry.push('team/html', '1', makeImage({ layers, manifest: { config: page } }));
      registry.push('team/chart', '1', CHART);
    });
    for (const [path, type] of [
      ['/manifest/team/html:1?type=config', 'application/json'],
      ['/manifest/team/chart:1?type=config', 'application/octet-stream'],
    ] as const) {
      const { status, headers } = await pair.request(path);
      assert.deepEqual(
        [status, headers['content-type'], headers['x-content-type-options']],
        [200, type, 'nosniff'],
      );
    }
  });

  test('with type=image is that of DEFAULT_PLATFORM', async () => {
    await using pair = await start({ env: { DEFAULT_PLATFORM: 'linux/arm64' } });
    assert.deepEqual((await pair.request('/manifest/team/app:1?type=image')).body, ARM64.manifest.bytes);
  });

  for (const [path, line] of [
    [
      '/manifest/team/single:1?type=index',
      /Cannot show the index of ".*": it is for a single platform and has none/,
    ],
    [
      '/manifest/team/chart:1?type=index',
      /Cannot show the index of ".*": it is for a single platform and has none/,
    ],
    [
      '/manifest/team/app:1?platform=linux/s390x',
      /"linux\/s390x": the image offers linux\/amd64, linux\/arm64$/,
    ],
  ] as const) {
    test(`${path} is 502`, async () => {
      await using pair = await start();
      assertError(await pair.request(path), 502, line);
    });
  }

  for (const [query, line] of [
    ['type=list', /^Invalid image reference: /],
    ['platform=linux', /^Invalid platform: /],
    ['platform=all', /^Invalid platform: /],
    ['platform=toaster', /^Invalid platform: /],
  ] as const) {
    test(`?${query} is 400 before the registry is asked`, async () => {
      await using pair = await start();
      assertError(await pair.request(`/manifest/team/app:1?${query}`), 400, line);
      assert.deepEqual(pair.registry.requests, []);
    });
  }

  test('with other bytes than its digest is 502', async () => {
    await using pair = await start({ defects: { wrongManifestDigest: true } });
    assertError(
      await pair.request(`/manifest/team/app@${AMD64.manifest.digest}`),
      502,
      /Cannot verify manifest/,
    );
  });
});

describe('/tags', () => {
  for (const path of ['/tags/team/app', '/tags/{host}/team/app']) {
    test(`${path} is JSON with the tags of the registry`, async () => {
      await using pair = await start();
      const { status, headers, body } = await pair.request(path);
      assert.equal(status, 200, firstLine({ body }));
      assert.equal(headers['content-type'], 'application/json');
      assert.equal(headers['content-length'], String(body.length));
      const expected = { name: `${pair.registry.host}/team/app`, tags: ['1', 'latest'] };
      assert.deepEqual(JSON.parse(body.toString()), expected);
      const head = await pair.request(path, { method: 'HEAD' });
      assert.deepEqual([head.headers['content-length'], head.body.length], [headers['content-length'], 0]);
    });
  }

  test('has the tags of all pages', async () => {
    await using pair = await start({ defects: { tagPageSize: 3 } });
    const tags = Array.from({ length: 10 }, (_, number) => `v${number}`);
    for (const tag of tags) pair.registry.push('many', tag, ARM64);
    assert.deepEqual(JSON.parse((await pair.request('/tags/many')).body.toString()).tags, tags);
    assert.equal(pair.registry.countRequests(/tags\/list/), 4);
  });

  for (const version of [':1', `@${AMD64.manifest.digest}`]) {
    test(`of a reference with ${version.slice(0, 8)} is 400 before the registry is asked`, async () => {
      await using pair = await start();
      const line = /^Invalid image reference: .*expected a repository without tag and digest/;
      assertError(await pair.request(`/tags/team/app${version}`), 400, line);
      assert.deepEqual(pair.registry.requests, []);
    });
  }

  test('of one component is in the default namespace', async () => {
    await using pair = await start({ env: { REGISTRY_DEFAULT_NAMESPACE: 'team' } });
    const { name } = JSON.parse((await pair.request('/tags/app')).body.toString());
    assert.equal(name, `${pair.registry.host}/team/app`);
  });

  test('with a page at another origin is 502', async () => {
    const defects = { tagPageSize: 1, tagLink: () => '<http://elsewhere.example/v2/>; rel="next"' };
    await using pair = await start({ defects });
    assertError(await pair.request('/tags/team/app'), 502, /another origin/);
  });
});

for (const path of ['/manifest/team/nothing:1', '/manifest/team/app:9', '/tags/team/nothing']) {
  test(`${path}, which the registry does not have, is 502 with its status and code`, async () => {
    await using pair = await start();
    const reply = await pair.request(path);
    assert.equal(reply.status, 502);
    assert.match(reply.body.toString(), /^registry status: 404\nregistry code: (?:NAME|MANIFEST)_UNKNOWN$/m);
  });
}

for (const path of ['/manifest/team/app:1', '/tags/team/app']) {
  test(`${path} is 502 if the registry fails, and 503 with its Retry-After if it limits the rate`, async () => {
    await using pair = await start();
    pair.registry.defects.failWith = { status: 500 };
    assert.equal((await pair.request(path)).status, 502);
    pair.registry.defects.failWith = { status: 429, headers: { 'Retry-After': '77' } };
    const limited = await pair.request(path);
    assert.deepEqual([limited.status, limited.headers['retry-after']], [503, '77']);
  });
}
