/** What a request makes its answer depend on: HEAD, ranges, entity tags. */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, test } from 'node:test';
import { makeImage, makeIndex, makeLayer } from '../../support/image.ts';
import { type Pair, type PairOptions, startPair } from '../../support/pair.ts';
import { firstLine } from '../../support/reading.ts';
import type { Reply } from '../../support/service.ts';

const IMAGE = makeImage({ layers: [{ tar: makeLayer({ 'etc/hello': 'hello '.repeat(2_000) }) }] });

function start(options: PairOptions = {}): Promise<Pair> {
  return startPair(options, (registry) => {
    registry.push('team/app', '1', makeIndex([{ image: IMAGE }]));
  });
}

/** Every form in which an image is delivered. */
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

/** The headers that do not differ from one answer to the next. */
function lasting({ headers }: Reply): Record<string, unknown> {
  const { date: _, 'x-request-id': __, ...rest } = headers;
  return rest;
}

function reprDigest(body: Buffer): string {
  return `sha-256=:${createHash('sha256').update(body).digest('base64')}:`;
}

describe('HEAD', () => {
  for (const path of FORMS) {
    test(`${path} tells what GET gives, the exact length among it`, async () => {
      await using pair = await start();
      // Twice, for the first answer may be the one that makes a checksum known.
      await pair.service.request(path);
      const get = await pair.service.request(path);
      const head = await pair.service.request(path, { method: 'HEAD' });
      assert.equal(head.status, 200);
      assert.equal(head.body.length, 0);
      assert.equal(head.headers['content-length'], String(get.body.length));
      assert.deepEqual(lasting(head), lasting(get));
    });
  }

  test('pays no heed to Range', async () => {
    await using pair = await start();
    const reply = await pair.service.request('/team/app:1', {
      method: 'HEAD',
      headers: { range: 'bytes=0-9' },
    });
    assert.equal(reply.status, 200);
    assert.equal(reply.headers['content-range'], undefined);
  });
});

describe('a range', () => {
  const forms = [
    '/docker/team_app_1.tar',
    '/team/app:1',
    '/oci/team_app_1.tar',
    '/docker/team_app_1.tar.md5',
  ];
  for (const path of forms) {
    test(`of ${path} is a part of the whole, and says which`, async () => {
      await using pair = await start();
      const whole = await pair.service.request(path);
      const { length } = whole.body;
      assert.equal(whole.headers['accept-ranges'], 'bytes');
      for (const [range, start, end] of [
        ['bytes=0-0', 0, 1],
        ['bytes=10-', 10, length],
        ['bytes=7-20', 7, 21],
        [`bytes=${length - 1}-`, length - 1, length],
        ['bytes=-5', length - 5, length],
        [`bytes=-${length + 100}`, 0, length],
        [`bytes=3-${length + 100}`, 3, length],
        ['bytes=0-', 0, length],
        ['BYTES = 1 - 2', 1, 3],
      ] as const) {
        const part = await pair.service.request(path, { headers: { range } });
        assert.equal(part.status, 206, range);
        assert.equal(part.headers['content-range'], `bytes ${start}-${end - 1}/${length}`);
        assert.equal(part.headers['content-length'], String(end - start));
        assert.equal(part.headers.etag, whole.headers.etag);
        assert.equal(part.headers['content-disposition'], whole.headers['content-disposition']);
        assert.deepEqual(part.body, whole.body.subarray(start, end), range);
      }
    });
  }

  for (const range of ['bytes={length}-', 'bytes=99999999999999999999-', 'bytes=-0']) {
    test(`${range} has no byte of the file: 416, with its length`, async () => {
      await using pair = await start();
      const path = '/docker/team_app_1.tar';
      const { length } = (await pair.service.request(path)).body;
      const headers = { range: range.replace('{length}', String(length)) };
      const reply = await pair.service.request(path, { headers });
      assert.equal(reply.status, 416);
      assert.equal(reply.headers['content-range'], `bytes */${length}`);
      assert.equal(reply.body.length, 0);
      await pair.service.waitForLog({ event: 'request', status: 416 });
      assert.equal(await pair.service.openFiles(), 0);
    });
  }

  for (const range of ['bytes=0-1,4-5', 'bytes=5-2', 'lines=1-2', 'bytes=', 'bytes=a-b', 'nonsense']) {
    test(`${range} is answered with the whole`, async () => {
      await using pair = await start();
      const whole = await pair.service.request('/team/app:1');
      const reply = await pair.service.request('/team/app:1', { headers: { range } });
      assert.equal(reply.status, 200);
      assert.equal(reply.headers['content-range'], undefined);
      assert.deepEqual(reply.body, whole.body);
    });
  }

  test('of a POST is answered with the whole', async () => {
    await using pair = await start();
    const options = { method: 'POST', body: 'team/app:1', headers: { range: 'bytes=0-9' } };
    assert.equal((await pair.service.request('/bundle.tar', options)).status, 200);
  });
});

describe('If-Range', () => {
  test('with the tag of the file gives the part', async () => {
    await using pair = await start();
    const { headers, body } = await pair.service.request('/team/app:1');
    const reply = await pair.service.request('/team/app:1', {
      headers: { range: 'bytes=5-', 'if-range': String(headers.etag) },
    });
    assert.equal(reply.status, 206);
    assert.deepEqual(reply.body, body.subarray(5));
  });

  for (const [what, tagOf] of [
    ['another tag', () => '"other"'],
    ['the tag in its weak form', (etag: string) => `W/${etag}`],
    ['a date', () => 'Sat, 21 Nov 2026 00:00:00 GMT'],
    ['a star', () => '*'],
  ] as const) {
    test(`with ${what} gives the whole`, async () => {
      await using pair = await start();
      const whole = await pair.service.request('/team/app:1');
      for (const range of ['bytes=5-', `bytes=${whole.body.length}-`]) {
        const headers = { range, 'if-range': tagOf(String(whole.headers.etag)) };
        const reply = await pair.service.request('/team/app:1', { headers });
        assert.equal(reply.status, 200);
        assert.deepEqual(reply.body, whole.body);
      }
    });
  }
});

describe('If-None-Match', () => {
  for (const path of FORMS) {
    test(`with the tag of ${path} gives 304, and no blob is fetched for that`, async () => {
      await using pair = await start();
      const { headers } = await pair.service.request(path);
      const etag = String(headers.etag);
      assert.match(etag, /^"[^"]+"$/);
      const before = pair.registry.countRequests(/\/blobs\//);
      for (const method of ['GET', 'HEAD']) {
        for (const tags of [etag, `W/${etag}`, `"other", ${etag}`, '*']) {
          const reply = await pair.service.request(path, { method, headers: { 'if-none-match': tags } });
          assert.equal(reply.status, 304, tags);
          assert.equal(reply.headers.etag, etag);
          assert.equal(reply.body.length, 0);
        }
      }
      assert.equal(pair.registry.countRequests(/\/blobs\//), before);
      assert.equal(await pair.service.openFiles(), 0);
    });
  }

  test('with another tag gives the file', async () => {
    await using pair = await start();
    const reply = await pair.service.request('/team/app:1', { headers: { 'if-none-match': '"other"' } });
    assert.equal(reply.status, 200);
  });

  test('of an image that is not there gives its error', async () => {
    await using pair = await start();
    const reply = await pair.service.request('/team/app:9', { headers: { 'if-none-match': '*' } });
    assert.equal(reply.status, 502, firstLine(reply));
  });
});

describe('Repr-Digest', () => {
  test('stands at a compressed archive, whole or in part: it was counted while it was made', async () => {
    await using pair = await start();
    const whole = await pair.service.request('/docker/team_app_1.tgz');
    assert.equal(whole.headers['repr-digest'], reprDigest(whole.body));
    const part = await pair.service.request('/docker/team_app_1.tgz', { headers: { range: 'bytes=3-' } });
    assert.equal(part.headers['repr-digest'], reprDigest(whole.body));
  });

  test('stands at a plain one from when its checksum was asked for', async () => {
    await using pair = await start();
    const path = '/docker/team_app_1.tar';
    assert.equal((await pair.service.request(path)).headers['repr-digest'], undefined);
    await pair.service.request(`${path}.md5`);
    assert.equal((await pair.service.request(path)).headers['repr-digest'], undefined);
    await pair.service.request(`${path}.sha256`);
    for (const same of [path, '/team/app:1?format=tar']) {
      const reply = await pair.service.request(same);
      assert.equal(reply.headers['repr-digest'], reprDigest(reply.body));
    }
    const other = await pair.service.request('/oci/team_app_1.tar');
    assert.equal(other.headers['repr-digest'], undefined, 'another file');
  });
});
