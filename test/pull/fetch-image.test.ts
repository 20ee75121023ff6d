import assert from 'node:assert/strict';
import { test } from 'node:test';
import { listTar, readAll } from '../support/collect.ts';
import { makeImage, makeIndex, makeLayer } from '../support/image.ts';
import { startPulling } from './pulling.ts';

const AMD64 = makeImage({ layers: [{ tar: makeLayer({ arch: 'amd64' }) }] });

test('an index with all its platforms is pulled with the layers of each', async () => {
  const arm64 = makeImage({
    platform: { os: 'linux', architecture: 'arm64' },
    layers: [{ tar: makeLayer({ arch: 'arm64' }) }],
  });
  await using pulling = await startPulling(makeIndex([{ image: AMD64 }, { image: arm64 }]));
  const image = await pulling.pull({ layout: 'oci', platform: 'all' });
  const entries = listTar(await readAll(image.bytes()));
  const blobs = new Set(entries.map(({ name }) => name));
  for (const { config, manifest, layers } of [AMD64, arm64]) {
    for (const { digest } of [config, manifest, ...layers]) {
      assert.ok(blobs.has(`blobs/sha256/${digest.slice('sha256:'.length)}`), digest);
    }
  }
  image.release();
  await pulling.assertIdle();
});
