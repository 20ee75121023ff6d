import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { divideMemory, LAYER_BYTES } from '../../../src/pull/documents/held-memory.ts';
import { makeImage, makeLayer } from '../../support/image.ts';
import { startPulling } from '../pulling.ts';

/** An image with many small layers. */
function withLayers(count: number) {
  return makeImage({
    layers: Array.from({ length: count }, (_, at) => ({ tar: makeLayer({ at: `${at % 5}` }) })),
  });
}

test('memory is divided into what is held for long and for moments', () => {
  assert.deepEqual(divideMemory(101), { held: 25, brief: 76 });
});

describe('an archive reserves memory while it is held', () => {
  for (const [layers, isReserved] of [
    [1, false],
    [127, false],
    [600, true],
  ] as const) {
    test(`${isReserved ? 'some' : 'none'} for ${layers} layers`, async () => {
      await using pulling = await startPulling(withLayers(layers));
      const { heldMemory } = pulling.policy;
      const resolved = await pulling.resolve();
      assert.equal(heldMemory.used > 0, isReserved);
      assert.ok(heldMemory.used <= layers * LAYER_BYTES.uncompressed);
      resolved.release();
      resolved.release();
      await pulling.assertIdle();
    });
  }

  test('and waits for others, then is refused', async () => {
    await using pulling = await startPulling(withLayers(600), { heldBytes: 2_000_000 });
    const first = await pulling.resolve();
    await assert.rejects(pulling.resolve(), {
      code: 'BUSY',
      message: /^Cannot hold the 600 layers of the archive in memory now: no memory came free within/,
    });
    first.release();
    (await pulling.resolve()).release();
    await pulling.assertIdle();
  });

  test('and is refused at once if it never fits', async () => {
    await using pulling = await startPulling(withLayers(600), { heldBytes: 100_000 });
    await assert.rejects(pulling.resolve(), {
      code: 'IMAGE_TOO_LARGE',
      details: { setting: 'bufferedBytes' },
    });
    await pulling.assertIdle();
  });
});
