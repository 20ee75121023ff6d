import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Packer } from '../../../src/pull/iox/packer.ts';
import type { ReadableArchive } from '../../../src/pull/readable-archive.ts';
import { contentOfBytes } from '../../../src/util/content.ts';
import { applicationImage } from '../../support/iox.ts';
import { startPulling } from '../pulling.ts';

test('the artifacts are hashed once, for every size of the application', async () => {
  const image = applicationImage();
  await using pulling = await startPulling(image, { storeBytes: 1e6 });
  const { signal } = new AbortController();
  const packer = new Packer(pulling.store, pulling.policy);
  let passes = 0;
  const content = Buffer.alloc(1024);
  const tar: ReadableArchive = {
    size: content.length,
    async *bytes() {
      passes += 1;
      yield Uint8Array.from(content);
    },
  };
  const config = {
    digest: `sha256:${'0'.repeat(64)}` as const,
    content: contentOfBytes(image.config.bytes),
    platform: { os: 'linux', architecture: 'amd64' },
  };
  const rootfs = { tar, spliced: tar, isDeflated: false, config };
  const known: boolean[] = [];
  for (const sizing of [undefined, undefined, { profile: 'c1.large' }]) {
    const resolved = await pulling.resolve({ layout: 'iox', ...(sizing && { sizing }) });
    known.push(packer.has(resolved));
    (await packer.pack(resolved, rootfs, { signal })).release();
    resolved.release();
  }
  assert.deepEqual(known, [false, true, true]);
  assert.equal(passes, 1);
});
