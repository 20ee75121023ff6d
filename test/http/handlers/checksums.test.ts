/** The checksum beside every archive, in the form that `sha256sum -c` and its like read. */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { promisify } from 'node:util';
import { makeFolder } from '../../storage/folder.ts';
import { makeImage, makeLayer } from '../../support/image.ts';
import { type Pair, startPair } from '../../support/pair.ts';
import { firstLine } from '../../support/reading.ts';

const IMAGE = makeImage({ layers: [{ tar: makeLayer({ 'etc/hello': 'hello' }) }] });

const start = (): Promise<Pair> => startPair({}, (registry) => registry.push('team/app', '1', IMAGE));

const ALGORITHMS = ['sha256', 'sha512', 'md5'] as const;

/** Address of an archive, the file name that goes with it, and what follows the ending. */
const ARCHIVES: readonly [path: string, filename: string, query: string][] = [
  ['/docker/team_app_1.tar', 'team_app_1.tar', ''],
  ['/docker/team_app_1.tgz', 'team_app_1.tgz', ''],
  ['/docker/team_app_1.tar.gz', 'team_app_1.tar.gz', ''],
  ['/oci/team__app_1.tar', 'team__app_1.tar', ''],
  ['/docker-gzip/team_app_1.tgz', 'team_app_1.tgz', ''],
  [
    `/docker/team_app_${IMAGE.manifest.digest.replace(':', '=')}.tar`,
    `team_app_${IMAGE.manifest.digest.replace(':', '=')}.tar`,
    '',
  ],
  ['/bundle.tar', 'bundle.tar', '?image=team/app:1'],
  ['/bundle.tgz', 'bundle.tgz', '?image=team/app:1&layout=oci'],
];

describe('a checksum', () => {
  for (const [path, filename, query] of ARCHIVES) {
    for (const algorithm of ALGORITHMS) {
      test(`${path.slice(0, 40)}.${algorithm}${query} is that of the archive, in one line`, async () => {
        await using pair = await start();
        const reply = await pair.service.request(`${path}.${algorithm}${query}`);
        assert.equal(reply.status, 200, firstLine(reply));
        const archive = await pair.service.request(`${path}${query}`);
        const hex = createHash(algorithm).update(archive.body).digest('hex');
        assert.equal(reply.body.toString(), `${hex}  ${filename}\n`);
        assert.equal(reply.headers['content-type'], 'text/plain; charset=utf-8');
        assert.equal(reply.headers['content-length'], String(reply.body.length));
        assert.equal(reply.headers['content-disposition'], `attachment; filename="${filename}.${algorithm}"`);
        await pair.service.waitForLog({ event: 'request', outcome: 'ok' }, 2);
        assert.equal(await pair.service.openFiles(), 0);
      });
    }
  }

  test('is the same when it is asked for again: once counted, and once remembered', async () => {
    await using pair = await start();
    const replies = [];
    for (let time = 0; time < 2; time += 1) {
      replies.push(await pair.service.request('/docker/team_app_1.tar.sha512'));
    }
    assert.deepEqual(replies[1]?.body, replies[0]?.body);
    assert.equal(replies[1]?.headers.etag, replies[0]?.headers.etag);
  });

  test('has an entity tag of its own for each algorithm, and none is that of the archive', async () => {
    await using pair = await start();
    const tags = new Set<string | undefined>();
    for (const path of ['/docker/team_app_1.tar', '/docker/team_app_1.tgz']) {
      for (const ending of ['', '.sha256', '.sha512', '.md5']) {
        tags.add((await pair.service.request(`${path}${ending}`)).headers.etag);
      }
    }
    assert.equal(tags.size, 8);
  });

  test('is what the tools of coreutils take, and a file that was changed is not', async () => {
    await using pair = await start();
    await using folder = await makeFolder();
    const check = (tool: string, list: string) =>
      promisify(execFile)(tool, ['-c', list], { cwd: folder.path });
    for (const [algorithm, tool] of [
      ['sha256', 'sha256sum'],
      ['sha512', 'sha512sum'],
      ['md5', 'md5sum'],
    ] as const) {
      const archive = join(folder.path, 'team_app_1.tgz');
      const { body } = await pair.service.request('/docker/team_app_1.tgz');
      await writeFile(archive, body);
      const list = `team_app_1.tgz.${algorithm}`;
      await writeFile(join(folder.path, list), (await pair.service.request(`/docker/${list}`)).body);
      assert.match((await check(tool, list)).stdout, /^team_app_1\.tgz: OK$/m);
      await writeFile(archive, Buffer.concat([body, Buffer.alloc(1)]));
      await assert.rejects(check(tool, list));
    }
  });

  for (const ending of ['sha1', 'sha256.sha256', 'SHA256', 'crc32']) {
    test(`.${ending} is 400, with those that there are`, async () => {
      await using pair = await start();
      const reply = await pair.service.request(`/docker/team_app_1.tar.${ending}`);
      assert.equal(reply.status, 400);
      assert.match(firstLine(reply), /\.sha256, \.sha512 or \.md5/);
      assert.deepEqual(pair.registry.requests, []);
    });
  }
});
