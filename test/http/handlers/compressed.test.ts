/** Archives that are gzipped as a whole, before the first byte of them is sent. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { storageError } from '../../../src/storage/storage-error.ts';
import type { Draft } from '../../../src/storage/store.ts';
import { makeImage, makeLayer } from '../../support/image.ts';
import { nextResponse } from '../../support/next-response.ts';
import { type Pair, type PairOptions, startPair } from '../../support/pair.ts';
import { firstLine } from '../../support/reading.ts';
import { startTestService } from '../../support/service.ts';
import { within } from '../../support/within.ts';

const IMAGE = makeImage({ layers: [{ tar: makeLayer({ 'etc/hello': 'hello '.repeat(10_000) }) }] });

function start(options: PairOptions = {}): Promise<Pair> {
  return startPair(options, (registry) => registry.push('team/app', '1', IMAGE));
}

/** Does something to the bytes that are to be written to a compressed archive, the first that is made. */
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

/** What a file says whose disk is full. */
function full(): Promise<never> {
  return Promise.reject(
    storageError(Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' })),
  );
}

describe('a compressed archive', () => {
  for (const layout of ['docker', 'docker-gzip', 'oci']) {
    test(`in layout ${layout} is the plain one inside`, async () => {
      await using pair = await start();
      const plain = await pair.service.request(`/${layout}/team_app_1.tar`);
      for (const ending of ['tgz', 'tar.gz']) {
        const reply = await pair.service.request(`/${layout}/team_app_1.${ending}`);
        assert.equal(reply.status, 200, firstLine(reply));
        assert.ok(gunzipSync(reply.body).equals(plain.body));
        assert.notEqual(reply.headers.etag, plain.headers.etag);
      }
    });
  }

  test('is the same to the byte on any replica, without a name and a time in it', async () => {
    await using pair = await start();
    await using replica = await startTestService({ REGISTRY_URL: pair.registry.url });
    const first = await pair.service.request('/docker/team_app_1.tgz');
    for (const service of [pair.service, replica]) {
      const again = await service.request('/docker/team_app_1.tar.gz');
      assert.ok(again.body.equals(first.body));
      assert.equal(again.headers.etag, first.headers.etag);
    }
    // RFC 1952: no flags, no time.
    assert.deepEqual([...first.body.subarray(3, 8)], [0, 0, 0, 0, 0]);
  });

  const quiet: readonly [
    what: string,
    path: string,
    options: Parameters<Pair['service']['request']>[1],
    status: number,
  ][] = [
    ['is sent', '/docker/team_app_1.tgz', {}, 200],
    ['is sent in part', '/docker/team_app_1.tgz', { headers: { range: 'bytes=5-' } }, 206],
    ['is not modified', '/docker/team_app_1.tgz', { headers: { 'if-none-match': '*' } }, 304],
    ['has no such range', '/docker/team_app_1.tgz', { headers: { range: 'bytes=99999999-' } }, 416],
    ['is asked for by HEAD', '/docker/team_app_1.tgz', { method: 'HEAD' }, 200],
    ['is asked for by its checksum', '/docker/team_app_1.tgz.md5', {}, 200],
    ['is not there', '/docker/team_app_9.tgz', {}, 502],
  ];
  for (const [what, path, options, status] of quiet) {
    test(`leaves no file behind when it ${what}`, async () => {
      await using pair = await start();
      assert.equal((await pair.service.request(path, options)).status, status);
      await pair.service.waitForLog({ event: 'request', status });
      assert.equal(await pair.service.openFiles(), 0);
    });
  }
});

describe('while an archive is compressed', () => {
  for (const path of ['/docker/team_app_1.tgz', '/team/app:1', '/docker/team_app_1.tgz.sha256']) {
    test(`a full disk is 507 for ${path}, and leaves nothing behind`, async () => {
      await using pair = await start(tamperWithArchive(full));
      const reply = await pair.service.request(path);
      assert.equal(reply.status, 507);
      assert.equal(reply.reason, 'No space');
      assert.match(firstLine(reply), /^No space: Cannot write to the workspace: the disk is full$/);
      await pair.service.waitForLog({ event: 'request', status: 507 });
      assert.equal(await pair.service.openFiles(), 0);
      assert.equal((await pair.service.request(path)).status, 200, 'the next one has its place');
    });
  }

  test('a client that leaves stops it, and leaves nothing behind', async () => {
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
    const asked = pair.service.open('/docker/team_app_1.tgz', { signal: client.signal });
    asked.catch(() => undefined);
    const gone = response.then((one) => new Promise((resolve) => one.once('close', resolve)));
    await within(writing.promise, 'the first bytes');
    client.abort();
    await within(gone, 'the service to see that the client has left');
    goOn.resolve();
    const line = await pair.service.waitForLog({ event: 'request', outcome: 'aborted' });
    assert.equal(line['error'], 'ABORTED');
    assert.deepEqual(
      pair.service.logs().filter(({ event }) => event === 'internal_error'),
      [],
    );
    assert.equal(await pair.service.openFiles(), 0);
  });
});
