/** The forms of layers in the store: which downloads write which files. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { LayerForm } from '../../../src/archive/layouts.ts';
import { PassthroughError } from '../../../src/errors.ts';
import { SizeBudget } from '../../../src/pull/limits.ts';
import { ProgressCounter } from '../../../src/pull/progress.ts';
import { makeLayer } from '../../support/image.ts';
import { noise } from '../../support/noise.ts';
import { within } from '../../support/within.ts';
import { descriptors, diffIdsOf, layerAt, NEVER, type Pulling, startPulling } from '../pulling.ts';
import { BLOB, contentOf, IMAGE, oneLayer, release } from './fetching.ts';

const MUCH = { storeBytes: 1e9 };

/** Uncompressible bytes, so that both forms have about the same size. */
const TAR = makeLayer({ noise: noise('noise', 2_000_000) });
const ONE = oneLayer({ tar: TAR });

function fetch(
  pulling: Pulling,
  form: LayerForm,
  { image = IMAGE, signal = NEVER, keepsBlobs = true, onBytes = () => {} } = {},
) {
  const progress = new ProgressCounter(({ bytes: { done } }) => {
    if (done > 0) onBytes();
  });
  return within(
    pulling.layers.fetchAll(descriptors(image), {
      ...{ source: pulling, form, signal, keepsBlobs, progress },
      diffIds: Promise.resolve(diffIdsOf(image)),
      budget: new SizeBudget(pulling.policy.limits),
      known: new Map(),
    }),
    `the layers in form ${form}`,
  );
}

/** Requests for blobs. */
const downloads = (pulling: Pulling) => pulling.fake.countRequests(BLOB);

describe('one download', () => {
  for (const first of ['uncompressed', 'gzip', 'compressed'] as const) {
    test(`of form ${first} is enough for all forms`, async () => {
      await using pulling = await startPulling(IMAGE, MUCH);
      for (const form of [first, 'uncompressed', 'gzip', 'compressed'] as const) {
        const layers = await fetch(pulling, form);
        const bytes = await Promise.all(layers.map(contentOf));
        if (form === 'compressed')
          assert.deepEqual(
            bytes,
            IMAGE.layers.map(({ blob }) => blob),
          );
        release(layers);
      }
      assert.equal(downloads(pulling), IMAGE.layers.length);
    });
  }

  test('serves callers of different forms at the same time', async () => {
    await using pulling = await startPulling(IMAGE, MUCH);
    const forms = ['uncompressed', 'compressed', 'gzip', 'uncompressed'] as const;
    for (const layers of await Promise.all(forms.map((form) => fetch(pulling, form)))) release(layers);
    assert.equal(downloads(pulling), IMAGE.layers.length);
  });

  test('goes on for the blob when the caller of the uncompressed bytes leaves', async () => {
    const { digest, blob } = layerAt(ONE, 0);
    await using pulling = await startPulling(ONE, {
      ...MUCH,
      defects: { stallBlob: { digest, afterBytes: 1_500_000 } },
    });
    const leaver = new AbortController();
    const leaving = fetch(pulling, 'uncompressed', { image: ONE, signal: leaver.signal });
    await within(pulling.fake.waitForStalled(), 'the layer');
    const joined = Promise.withResolvers<void>();
    const staying = fetch(pulling, 'compressed', { image: ONE, onBytes: joined.resolve });
    await within(joined.promise, 'the other caller');
    leaver.abort(new Error('left'));
    await assert.rejects(leaving, /left/);
    pulling.fake.releaseStalled();
    const layers = await staying;
    assert.deepEqual(await contentOf(layers[0]), blob);
    release(layers);
    assert.equal(downloads(pulling), 1);
    const again = await fetch(pulling, 'uncompressed', { image: ONE });
    assert.deepEqual(await contentOf(again[0]), TAR);
    release(again);
    assert.equal(downloads(pulling), 1);
  });
});

describe('a blob is not written beside the uncompressed bytes', () => {
  const rows: readonly [why: string, storeBytes: number, keepsBlobs: boolean][] = [
    ['where nothing is kept', 0, true],
    ['where it could not stay', 200_000, true],
    ['for a caller that has no use for it', 1e9, false],
  ];
  for (const [why, storeBytes, keepsBlobs] of rows) {
    test(why, async () => {
      const keys: string[] = [];
      await using pulling = await startPulling(ONE, {
        storeBytes,
        tamperDraft: (draft, key) => {
          keys.push(key.split(' ', 1)[0] ?? '');
          return draft;
        },
      });
      release(await fetch(pulling, 'uncompressed', { image: ONE, keepsBlobs }));
      assert.deepEqual(keys, ['uncompressed']);
      assert.equal(downloads(pulling), 1);
    });
  }

  for (const full of ['compressed', 'uncompressed']) {
    test(`where the disk is full: ${full}`, async () => {
      let isFull = true;
      await using pulling = await startPulling(ONE, {
        ...MUCH,
        tamperDraft: (draft, key) => ({
          write: async (bytes) => {
            if (key.startsWith(`${full} `) && isFull) {
              isFull = full === 'compressed';
              throw new PassthroughError('NO_SPACE', 'the disk is full');
            }
            await draft.write(bytes);
          },
        }),
      });
      const layers = await fetch(pulling, 'uncompressed', { image: ONE });
      assert.deepEqual(await contentOf(layers[0]), TAR);
      release(layers);
      assert.equal(downloads(pulling), 2);
    });
  }
});
