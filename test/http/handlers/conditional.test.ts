/** HEAD, ranges and entity tags of archives. `conditional.test.ts` in the folder above tests the parsers of the headers. */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, test } from 'node:test';
import { makeImage, makeIndex, makeLayer } from '../../support/image.ts';
import { type Pair, type PairOptions, startPair } from '../../support/pair.ts';
import { assertError, firstLine, stableHeaders } from '../../support/reading.ts';

const IMAGE = makeImage({ layers: [{ tar: makeLayer({ 'etc/hello': 'hello '.repeat(2_000) }) }] });

function start(options: PairOptions = {}): Promise<Pair> {
  return startPair(options, (registry) => registry.push('team/app', '1', makeIndex([{ image: IMAGE }])));
}

/** Every form of an archive. */
const FORMS = [
  '/docker/team_app_1.tar',
  '/docker/team_app_1.tgz',
  '/docker/team_app_1.tar.gz',
  '/docker/team_app_1.tar.sha256',
  '/docker/team_app_1.tgz.md5',
  '/docker-gzip/team_app_1.tar',
  '/docker-gzip/team_app_1.tgz',
  '/oci/team_app_1.tar',
  '/platform/all/oci/team_app_1.tgz',
  '/team/app:1',
  '/team/app:1?format=tar',
  '/bundle.tar?image=team/app:1',
  '/bundle.tgz?image=team/app:1',
];

function reprDigest(body: Buffer): string {
  return `sha-256=:${createHash('sha256').update(body).digest('base64')}:`;
}

for (const path of FORMS) {
  test(`HEAD has the headers of GET, and If-None-Match gives 304 without a blob: ${path}`, async () => {
    await using pair = await start();
    // The first answer may compute a checksum that is a header of the later ones.
    await pair.request(path);
    const get = await pair.request(path);
    const head = await pair.request(path, { method: 'HEAD' });
    assert.deepEqual([head.status, head.body.length], [200, 0]);
    assert.equal(head.headers['content-length'], String(get.body.length));
    assert.deepEqual(stableHeaders(head), stableHeaders(get));

    const { etag = '' } = get.headers;
    assert.match(etag, /^"[^"]+"$/);
    const blobs = pair.registry.countRequests(/\/blobs\//);
    for (const method of ['GET', 'HEAD']) {
      for (const tags of [etag, `W/${etag}`, `"other", ${etag}`, '*']) {
        const reply = await pair.request(path, { method, headers: { 'if-none-match': tags } });
        assert.deepEqual([reply.status, reply.headers.etag, reply.body.length], [304, etag, 0], tags);
      }
    }
    assert.equal(pair.registry.countRequests(/\/blobs\//), blobs);
    await pair.assertIdle();
  });
}

for (const path of [...FORMS, '/manifest/team/app:1']) {
  test(`If-Match gives 412 for another tag, before a blob is fetched, and else the file: ${path}`, async () => {
    await using pair = await start();
    const { headers, body } = await pair.request(path);
    const { etag = '' } = headers;
    const blobs = pair.registry.countRequests(/\/blobs\//);
    for (const method of ['GET', 'HEAD']) {
      for (const tags of ['"other"', `W/${etag}`, '']) {
        const reply = await pair.request(path, { method, headers: { 'if-match': tags } });
        assert.equal(reply.status, 412, tags);
        assert.equal(reply.reason, 'Precondition failed');
        if (method === 'GET') assertError(reply, 412, /If-Match does not name it$/);
        // It precedes If-None-Match.
        const both = { 'if-match': tags, 'if-none-match': etag };
        assert.equal((await pair.request(path, { method, headers: both })).status, 412, tags);
      }
    }
    assert.equal(pair.registry.countRequests(/\/blobs\//), blobs);
    for (const tags of [etag, `"other", ${etag}`, '*']) {
      const reply = await pair.request(path, { headers: { 'if-match': tags } });
      assert.equal(reply.status, 200, tags);
      assert.ok(reply.body.equals(body));
      const both = { 'if-match': tags, 'if-none-match': etag };
      assert.equal((await pair.request(path, { headers: both })).status, 304, tags);
    }
    await pair.assertIdle();
  });
}

test('If-Match with the tag of the file and a range gives the part', async () => {
  await using pair = await start();
  const { headers, body } = await pair.request('/docker/team_app_1.tar');
  const etag = String(headers.etag);
  const part = { 'if-match': etag, range: 'bytes=10-19' };
  const reply = await pair.request('/docker/team_app_1.tar', { headers: part });
  assert.deepEqual([reply.status, reply.body], [206, body.subarray(10, 20)]);
  const other = { ...part, 'if-match': '"other"' };
  assert.equal((await pair.request('/docker/team_app_1.tar', { headers: other })).status, 412);
});

describe('If-None-Match', () => {
  test('with another tag gives the file', async () => {
    await using pair = await start();
    assert.equal(
      (await pair.request('/team/app:1', { headers: { 'if-none-match': '"other"' } })).status,
      200,
    );
  });

  test('of a missing image gives its error', async () => {
    await using pair = await start();
    const reply = await pair.request('/team/app:9', { headers: { 'if-none-match': '*' } });
    assert.equal(reply.status, 502, firstLine(reply));
  });
});

describe('a range', () => {
  for (const path of [
    '/docker/team_app_1.tar',
    '/team/app:1',
    '/oci/team_app_1.tar',
    '/docker/team_app_1.tar.md5',
  ]) {
    test(`of ${path} is 206 with these bytes and the headers of the file`, async () => {
      await using pair = await start();
      const whole = await pair.request(path);
      const { length } = whole.body;
      assert.equal(whole.headers['accept-ranges'], 'bytes');
      for (const [range, start, end] of [
        ['bytes=0-0', 0, 1],
        ['bytes=10-', 10, length],
        ['bytes=7-20', 7, 21],
        ['bytes=-5', length - 5, length],
        [`bytes=3-${length + 100}`, 3, length],
        ['bytes=0-', 0, length],
      ] as const) {
        const part = await pair.request(path, { headers: { range } });
        assert.equal(part.status, 206, range);
        assert.equal(part.headers['content-range'], `bytes ${start}-${end - 1}/${length}`);
        assert.equal(part.headers['content-length'], String(end - start));
        for (const name of ['etag', 'content-disposition'])
          assert.equal(part.headers[name], whole.headers[name]);
        assert.deepEqual(part.body, whole.body.subarray(start, end), range);
      }
    });
  }

  test('behind the end is 416 with the length of the file', async () => {
    await using pair = await start();
    const path = '/docker/team_app_1.tar';
    const { length } = (await pair.request(path)).body;
    const { status, headers, body } = await pair.request(path, { headers: { range: `bytes=${length}-` } });
    assert.deepEqual([status, headers['content-range'], body.length], [416, `bytes */${length}`, 0]);
    await pair.service.waitForLog({ event: 'request', status: 416 });
    await pair.assertIdle();
  });

  for (const [what, path, options] of [
    ['of two parts', '/team/app:1', { headers: { range: 'bytes=0-1,4-5' } }],
    ['of HEAD', '/team/app:1', { method: 'HEAD', headers: { range: 'bytes=0-9' } }],
    ['of POST', '/bundle.tar', { method: 'POST', body: 'team/app:1', headers: { range: 'bytes=0-9' } }],
  ] as const) {
    test(`${what} is ignored`, async () => {
      await using pair = await start();
      const { headers: _, ...plain } = { method: 'GET', ...options };
      const whole = await pair.request(path, plain);
      const reply = await pair.request(path, options);
      assert.deepEqual([reply.status, reply.headers['content-range']], [200, undefined]);
      assert.deepEqual(reply.body, whole.body);
    });
  }

  for (const [what, tagOf, isPart] of [
    ['the tag of the file gives the part', (etag: string) => etag, true],
    ['the weak form of the tag gives the file', (etag: string) => `W/${etag}`, false],
    ['another tag gives the file', () => '"other"', false],
  ] as const) {
    test(`with If-Range and ${what}`, async () => {
      await using pair = await start();
      const whole = await pair.request('/team/app:1');
      const ifRange = tagOf(String(whole.headers.etag));
      for (const start of isPart ? [5] : [5, whole.body.length]) {
        const headers = { range: `bytes=${start}-`, 'if-range': ifRange };
        const reply = await pair.request('/team/app:1', { headers });
        assert.equal(reply.status, isPart ? 206 : 200);
        assert.deepEqual(reply.body, isPart ? whole.body.subarray(start) : whole.body);
      }
    });
  }
});

describe('Repr-Digest', () => {
  test('is a header of an archive that is compressed as a whole, whole or in part', async () => {
    await using pair = await start({ env: { ARCHIVE_GZIP: 'whole' } });
    const whole = await pair.request('/docker/team_app_1.tgz');
    const part = await pair.request('/docker/team_app_1.tgz', { headers: { range: 'bytes=3-' } });
    for (const { headers } of [whole, part]) assert.equal(headers['repr-digest'], reprDigest(whole.body));
  });

  for (const format of ['tar', 'tgz']) {
    test(`is a header of another archive once its SHA-256 was requested: .${format}`, async () => {
      await using pair = await start();
      const path = `/docker/team_app_1.${format}`;
      for (const before of [path, `${path}.md5`]) {
        await pair.request(before);
        assert.equal((await pair.request(path)).headers['repr-digest'], undefined);
      }
      await pair.request(`${path}.sha256`);
      for (const same of [path, `/team/app:1?format=${format}`]) {
        const reply = await pair.request(same);
        assert.equal(reply.headers['repr-digest'], reprDigest(reply.body));
      }
      assert.equal((await pair.request(`/oci/team_app_1.${format}`)).headers['repr-digest'], undefined);
    });
  }
});

describe('a header of 31 KB', () => {
  // A quadratic parser takes half a second and more for each of them: regexes.test.ts finds such parsers.
  for (const name of [
    'Authorization',
    'Range',
    'If-Range',
    'If-None-Match',
    'If-Match',
    'Accept',
    'Forwarded',
  ]) {
    test(`is read in linear time: ${name}`, async () => {
      await using pair = await start();
      await pair.request('/docker/team_app_1.tar');
      // Time of the processor, which other processes do not lengthen.
      const begun = process.cpuUsage();
      for (const fill of [' ', '\t', '"', ',', 'a', 'W/"', '=', ';', '-', '1']) {
        const value = `bytes=1-${fill.repeat(31_000 / fill.length)}x`;
        const reply = await pair.request('/docker/team_app_1.tar', { headers: { [name]: value } });
        assert.ok([200, 401, 412].includes(reply.status), firstLine(reply));
      }
      const took = process.cpuUsage(begun).user / 1000;
      assert.ok(took < 1_500, `ten requests took ${took} ms of the processor`);
    });
  }
});
