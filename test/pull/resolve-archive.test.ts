import assert from 'node:assert/strict';
import test from 'node:test';
import { makeImage, makeLayer } from '../support/image.ts';
import { noise } from '../support/noise.ts';
import { layerAt, refusal, startPulling } from './pulling.ts';

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
