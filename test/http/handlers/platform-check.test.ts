/** A platform that a request names is checked on every path, whatever is cached. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { startScene } from '../../support/cached.ts';
import { makeImage, makeIndex, makeLayer } from '../../support/image.ts';
import { firstLine } from '../../support/reading.ts';
import type { Reply, TestService } from '../../support/service.ts';

const AMD64 = makeImage({ layers: [{ tar: makeLayer({ hello: 'amd64' }) }] });

/** Images that are for linux/amd64 alone, and do not say so before their config is read. */
const IMAGES = [
  ['an image without index', AMD64],
  ['the only entry of an index, without a platform,', makeIndex([{ image: AMD64, platform: null }])],
] as const;

/** Requests that name no platform, and the same requests for linux/arm64. */
const REQUESTS: readonly [plain: string, ...other: readonly string[]][] = [
  ['/docker/lab_hello_1.tar', '/platform/linux/arm64/docker/lab_hello_1.tar'],
  [
    '/docker/lab_hello_1.tgz',
    '/platform/linux/arm64/docker/lab_hello_1.tgz',
    '/platform/ir1101/docker/lab_hello_1.tgz',
    '/docker/lab_hello_1.tgz?platform=linux/arm64',
  ],
  ['/docker/lab_hello_1.tar.sha256', '/platform/linux/arm64/docker/lab_hello_1.tar.sha256'],
  ['/docker/lab_hello_1.tgz.md5', '/platform/linux/arm64/docker/lab_hello_1.tgz.md5'],
  ['/docker-gzip/lab_hello_1.tgz', '/platform/linux/arm64/docker-gzip/lab_hello_1.tgz'],
  ['/oci/lab_hello_1.tgz', '/platform/linux/arm64/oci/lab_hello_1.tgz'],
  ['/lab/hello:1', '/lab/hello:1?arch=linux/arm64'],
  ['/bundle.tgz?image=lab/hello:1', '/platform/linux/arm64/bundle.tgz?image=lab/hello:1'],
  ['/manifest/lab/hello:1', '/manifest/lab/hello:1?platform=linux/arm64'],
];

function assertRefused(reply: Reply, path: string): void {
  assert.equal(reply.status, 502, path);
  assert.match(firstLine(reply), /"linux\/arm64": the image offers linux\/amd64$/, path);
}

async function assertServed(service: TestService, path: string): Promise<void> {
  assert.equal((await service.request(path)).status, 200, path);
}

for (const [what, pushed] of IMAGES) {
  describe(`${what} is refused for another platform`, () => {
    for (const [plain, ...others] of REQUESTS) {
      test(`before and after ${plain} is cached, and after a restart`, async () => {
        await using scene = await startScene();
        scene.registry.push('lab/hello', '1', pushed);
        const env = { CACHE_DIR: scene.directory };
        {
          await using service = await scene.start(env);
          for (const path of others) assertRefused(await service.request(path), path);
          await assertServed(service, plain);
          for (const path of others) assertRefused(await service.request(path), path);
        }
        await using service = await scene.start(env);
        for (const path of others) assertRefused(await service.request(path), path);
        await assertServed(service, plain);
      });
    }
  });
}
