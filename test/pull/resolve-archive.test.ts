import assert from 'node:assert/strict';
import test from 'node:test';
import type { LayoutName } from '../../src/archive/archive.ts';
import { makeImage, makeLayer } from '../support/image.ts';
import { noise } from '../support/noise.ts';
import { layerAt, REPOSITORY, refusal, startPulling, TAG } from './pulling.ts';

const BLOB = /^GET .*\/blobs\//;

const LAYER = { tar: makeLayer({ twice: noise('twice', 100_000) }) };

test('an image with more compressed bytes than allowed is refused before a blob is requested', async () => {
  const image = makeImage({ layers: [LAYER, { tar: makeLayer({ other: 'other' }) }] });
  const total = image.layers.reduce((sum, { blob }) => sum + blob.length, 0);
  await using pulling = await startPulling(image, { limits: { compressedBytes: total - 1 } });
  const { message } = await refusal(pulling.resolve(), 'IMAGE_TOO_LARGE');
  assert.match(message, new RegExp(`${total} bytes compressed, more than ${total - 1}$`));
  assert.equal(pulling.fake.countRequests(BLOB), 0);
});

test('an image with exactly the allowed compressed bytes passes; a layer that occurs twice counts once', async () => {
  const image = makeImage({ layers: [LAYER, LAYER] });
  const compressedBytes = layerAt(image, 0).blob.length;
  await using pulling = await startPulling(image, { limits: { compressedBytes } });
  const { images } = await pulling.resolve();
  assert.equal(images[0]?.manifest.digest, image.manifest.digest);
});

const LAYOUTS: readonly [layout: LayoutName, etags: number][] = [
  ['docker', 1],
  ['oci', 1],
  ['docker-gzip', 2],
];
for (const [layout, count] of LAYOUTS) {
  test(`layout ${layout} has ${count} entity tag(s) with and without foreign layers`, async () => {
    const etags = new Set<string>();
    for (const fetchesForeignLayers of [true, false]) {
      await using pulling = await startPulling(makeImage({ layers: [LAYER] }), { fetchesForeignLayers });
      const reference = { registryName: 'a.example', repository: REPOSITORY, tag: TAG };
      etags.add((await pulling.resolve({ layout, reference })).etag);
    }
    assert.equal(etags.size, count);
  });
}
