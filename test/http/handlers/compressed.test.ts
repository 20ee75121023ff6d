/** Archives that are compressed as a whole, before their first byte is sent. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { storageError } from '../../../src/storage/storage-error.ts';
import type { Draft } from '../../../src/storage/store.ts';
import { makeImage, makeLayer } from '../../support/image.ts';
import { nextResponse } from '../../support/next-response.ts';
import { type Pair, type PairOptions, startPair } from '../../support/pair.ts';
import { assertError, firstLine } from '../../support/reading.ts';
import { type RequestOptions, startTestService } from '../../support/service.ts';
import { within } from '../../support/within.ts';

const IMAGE = makeImage({ layers: [{ tar: makeLayer({ 'etc/hello': 'hello '.repeat(10_000) }) }] });
const FILE = '/docker/team_app_1.tgz';

const WHOLE = { ARCHIVE_GZIP: 'whole' };

function start(options: PairOptions = {}): Promise<Pair> {
  return startPair({ ...options, env: { ...WHOLE, ...options.env } }, (registry) =>
    registry.push('team/app', '1', IMAGE),
  );
}

/** Replaces the writes to the first compressed archive. */
function tamperWithArchive(write: (draft: Draft, bytes: Uint8Array) => Promise<void>): PairOptions {
  let count = 0;
  return {
    tamperDraft: (draft, key) => {
      if (!key.startsWith('gzip-')) return draft;
      count += 1;
      return count > 1 ? draft : { ...draft, write: (bytes) => write(draft, bytes) };
    },
  };
}

/** A write to a full disk. */
function full(): Promise<never> {
  return Promise.reject(storageError(Object.assign(new Error('ENOSPC: no space left'), { code: 'ENOSPC' })));
}

describe('a compressed archive', () => {
  for (const layout of ['docker', 'docker-gzip', 'oci']) {
    test(`in layout ${layout} unpacks to the plain one, and has another entity tag`, async () => {
      await using pair = await start();
      const plain = await pair.request(`/${layout}/team_app_1.tar`);
      for (const ending of ['tgz', 'tar.gz']) {
        const reply = await pair.request(`/${layout}/team_app_1.${ending}`);
        assert.equal(reply.status, 200, firstLine(reply));
        assert.ok(gunzipSync(reply.body).equals(plain.body));
        assert.notEqual(reply.headers.etag, plain.headers.etag);
      }
    });
  }

  test('is byte for byte the same at a replica', async () => {
    await using pair = await start();
    await using replica = await startTestService({ REGISTRY_URL: pair.registry.url, ...WHOLE });
    const first = await pair.request(FILE);
    for (const service of [pair.service, replica]) {
      const again = await service.request('/docker/team_app_1.tar.gz');
      assert.ok(again.body.equals(first.body));
      assert.equal(again.headers.etag, first.headers.etag);
    }
    // RFC 1952, section 2.3: no flags, so no file name, and no time.
    assert.deepEqual([...first.body.subarray(3, 8)], [0, 0, 0, 0, 0]);
  });

  const endings: readonly [what: string, path: string, options: RequestOptions, status: number][] = [
    ['is sent', FILE, {}, 200],
    ['is sent in part', FILE, { headers: { range: 'bytes=5-' } }, 206],
    ['is not modified', FILE, { headers: { 'if-none-match': '*' } }, 304],
    ['does not have the range', FILE, { headers: { range: 'bytes=99999999-' } }, 416],
    ['is requested by HEAD', FILE, { method: 'HEAD' }, 200],
    ['has its checksum sent', `${FILE}.md5`, {}, 200],
    ['does not exist', '/docker/team_app_9.tgz', {}, 502],
  ];
  for (const [what, path, options, status] of endings) {
    test(`leaves no file open when it ${what}`, async () => {
      await using pair = await start();
      assert.equal((await pair.request(path, options)).status, status);
      await pair.service.waitForLog({ event: 'request', status });
      await pair.assertIdle();
    });
  }
});

describe('while an archive is compressed', () => {
  for (const path of [FILE, '/team/app:1', `${FILE}.sha256`]) {
    test(`a full disk is 507, and the next request is served: ${path}`, async () => {
      await using pair = await start(tamperWithArchive(full));
      const reply = await pair.request(path);
      assertError(reply, 507, /^No space: Cannot write to the workspace: the disk is full$/);
      await pair.service.waitForLog({ event: 'request', status: 507 });
      await pair.assertIdle();
      assert.equal((await pair.request(path)).status, 200);
    });
  }

  test('a client that leaves ends the compression', async () => {
    const writing = Promise.withResolvers<void>();
    const goOn = Promise.withResolvers<void>();
    await using pair = await start(
      tamperWithArchive(async (draft, bytes) => {
        writing.resolve();
        await goOn.promise;
        await draft.write(bytes);
      }),
    );
    const client = new AbortController();
    const response = nextResponse((path) => path.endsWith('.tgz'));
    pair.service.open(FILE, { signal: client.signal }).catch(() => undefined);
    const gone = response.then((one) => new Promise((resolve) => one.once('close', resolve)));
    await within(writing.promise, 'the first bytes');
    client.abort();
    await within(gone, 'the close of the response');
    goOn.resolve();
    const line = await pair.service.waitForLog({ event: 'request', outcome: 'aborted' });
    assert.equal(line['error'], 'ABORTED');
    assert.ok(!pair.service.logs().some(({ event }) => event === 'internal_error'));
    await pair.assertIdle();
  });
});
