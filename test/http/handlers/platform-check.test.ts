/** A platform in a request is checked for cached images, too. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { startScene } from '../../support/cached.ts';
import { makeImage, makeIndex, makeLayer } from '../../support/image.ts';
import { assertError } from '../../support/reading.ts';

const AMD64 = makeImage({ layers: [{ tar: makeLayer({ hello: 'amd64' }) }] });

/** Images for linux/amd64 whose platform is known only from their config. */
const IMAGES = [
  ['an image without index', AMD64],
  ['the only entry of an index, without a platform,', makeIndex([{ image: AMD64, platform: null }])],
] as const;

/** Requests without a platform, and the same requests for linux/arm64. */
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

for (const [what, pushed] of IMAGES) {
  describe(`${what} is refused for another platform`, () => {
    for (const [plain, ...others] of REQUESTS) {
      test(`before and after ${plain} is cached, and after a restart`, async () => {
        await using scene = await startScene();
        scene.registry.push('lab/hello', '1', pushed);
        for (let start = 1; start <= 2; start += 1) {
          await using service = await scene.start({ CACHE_DIR: scene.directory });
          const assertOthersRefused = async () => {
            for (const path of others) {
              const reply = await service.request(path);
              assertError(reply, 502, /"linux\/arm64": the image offers linux\/amd64$/, path);
            }
          };
          await assertOthersRefused();
          assert.equal((await service.request(plain)).status, 200, plain);
          await assertOthersRefused();
        }
      });
    }
  });
}
