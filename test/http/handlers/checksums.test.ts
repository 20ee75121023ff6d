/** The checksum of an archive, in the format of `sha256sum -c`. */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { promisify } from 'node:util';
import { makeFolder } from '../../storage/folder.ts';
import { makeImage, makeLayer } from '../../support/image.ts';
import { startPair } from '../../support/pair.ts';
import { assertError, firstLine } from '../../support/reading.ts';

const IMAGE = makeImage({ layers: [{ tar: makeLayer({ 'etc/hello': 'hello' }) }] });
const DIGEST = IMAGE.manifest.digest.replace(':', '=');

const start = () => startPair({}, (registry) => registry.push('team/app', '1', IMAGE));

const ALGORITHMS = ['sha256', 'sha512', 'md5'] as const;

const ARCHIVES: readonly [path: string, query: string][] = [
  ['/docker/team_app_1.tar', ''],
  ['/docker/team_app_1.tgz', ''],
  ['/docker/team_app_1.tar.gz', ''],
  ['/oci/team__app_1.tar', ''],
  ['/docker-gzip/team_app_1.tgz', ''],
  [`/docker/team_app_${DIGEST}.tar`, ''],
  ['/bundle.tar', '?image=team/app:1'],
  ['/bundle.tgz', '?image=team/app:1&layout=oci'],
];

describe('a checksum', () => {
  for (const [path, query] of ARCHIVES) {
    test(`${path.slice(0, 40)}.{algorithm}${query} is one line with that of the archive and its name`, async () => {
      await using pair = await start();
      const filename = path.slice(path.lastIndexOf('/') + 1);
      for (const algorithm of ALGORITHMS) {
        const reply = await pair.request(`${path}.${algorithm}${query}`);
        assert.equal(reply.status, 200, firstLine(reply));
        const archive = await pair.request(`${path}${query}`);
        const hex = createHash(algorithm).update(archive.body).digest('hex');
        assert.equal(reply.body.toString(), `${hex}  ${filename}\n`);
        assert.equal(reply.headers['content-type'], 'text/plain; charset=utf-8');
        assert.equal(reply.headers['content-length'], String(reply.body.length));
        assert.equal(reply.headers['content-disposition'], `attachment; filename="${filename}.${algorithm}"`);
      }
      await pair.service.waitForLog({ event: 'request', outcome: 'ok' }, 2 * ALGORITHMS.length);
      await pair.assertIdle();
    });
  }

  test('has an entity tag of its own for each algorithm and archive, the same for each request', async () => {
    await using pair = await start();
    const tags = new Set<string | undefined>();
    for (let turn = 0; turn < 2; turn += 1) {
      for (const path of ['/docker/team_app_1.tar', '/docker/team_app_1.tgz']) {
        for (const ending of ['', '.sha256', '.sha512', '.md5']) {
          tags.add((await pair.request(`${path}${ending}`)).headers.etag);
        }
      }
    }
    assert.equal(tags.size, 8);
  });

  for (const algorithm of ALGORITHMS) {
    test(`passes ${algorithm}sum -c, which fails for a changed file`, async () => {
      await using pair = await start();
      await using folder = await makeFolder();
      const archive = join(folder.path, 'team_app_1.tgz');
      const list = `team_app_1.tgz.${algorithm}`;
      const check = () => promisify(execFile)(`${algorithm}sum`, ['-c', list], { cwd: folder.path });
      const { body } = await pair.request('/docker/team_app_1.tgz');
      await writeFile(archive, body);
      await writeFile(join(folder.path, list), (await pair.request(`/docker/${list}`)).body);
      assert.match((await check()).stdout, /^team_app_1\.tgz: OK$/m);
      await writeFile(archive, Buffer.concat([body, Buffer.alloc(1)]));
      await assert.rejects(check());
    });
  }

  test('of an unknown algorithm is 400 with the known ones', async () => {
    await using pair = await start();
    for (const ending of ['sha1', 'sha256.sha256', 'SHA256', 'crc32']) {
      const reply = await pair.request(`/docker/team_app_1.tar.${ending}`);
      assertError(reply, 400, /\.sha256, \.sha512 or \.md5/, ending);
    }
    assert.deepEqual(pair.registry.requests, []);
  });
});
