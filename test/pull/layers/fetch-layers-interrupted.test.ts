/** Downloads of layers that break off, stall, fail, or are aborted. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { PassthroughError } from '../../../src/errors.ts';
import type { Digest } from '../../../src/image/digest.ts';
import type { FetchedLayer } from '../../../src/pull/layers/fetch-layers.ts';
import { sha256 } from '../../support/collect.ts';
import { makeLayer } from '../../support/image.ts';
import { noise } from '../../support/noise.ts';
import { within } from '../../support/within.ts';
import { diffIdsOf, layerAt, refusal, startPulling } from '../pulling.ts';
import { BLOB, contentOf, failing, fetchAll, IMAGE, oneLayer, release } from './fetching.ts';

const [FIRST = '', SECOND = '', THIRD = ''] = IMAGE.layers.map(({ digest }) => digest);

/** Diff IDs of a config that does not arrive. */
const NO_CONFIG = new Promise<never>(() => undefined);

describe('a layer', () => {
  test('that breaks off is continued from there', async () => {
    // More bytes than socket buffers hold, so that the reader has some of them when the connection breaks.
    const tar = makeLayer({ large: Buffer.alloc(12_000_000, noise('large', 1_000)) });
    const image = oneLayer({ tar, compression: 'none' });
    const { digest } = layerAt(image, 0);
    await using pulling = await startPulling(image, {
      defects: { truncateBlob: { digest, afterBytes: 11_000_000, times: 1 } },
    });
    release(await fetchAll(pulling, image));
    const ranges = pulling.fake.requests
      .filter(({ path }) => path.endsWith(digest))
      .map(({ headers }) => headers.range);
    assert.equal(ranges.length, 2);
    const from = Number(/^bytes=(\d+)-$/.exec(ranges[1] ?? '')?.[1]);
    assert.ok(from > 0 && from <= 11_000_000, `the second request was for ${ranges[1]}`);
  });

  test('that stalls is an error after its time limit', async () => {
    const stallBlob = [
      { digest: SECOND, afterBytes: 1_000, times: 1 },
      { digest: SECOND, afterBytes: 0 },
    ];
    const options = { timeouts: { stallMs: 50 }, defects: { stallBlob } };
    const { message } = await failing(IMAGE, options, 'REGISTRY_TIMEOUT');
    assert.match(message, /no further bytes within 0\.05 s/);
  });
});

describe('all layers end', () => {
  test('with the first failure, those that are sent and those that have not answered', async () => {
    await using pulling = await startPulling(IMAGE, {
      defects: {
        stallBlob: { digest: FIRST, afterBytes: 1_000 },
        stallRequests: { pattern: new RegExp(`blobs/${SECOND}`) },
        wrongBlobDigest: { digest: THIRD },
      },
    });
    const config = Promise.withResolvers<readonly Digest[]>();
    const failed = refusal(fetchAll(pulling, IMAGE, { diffIds: config.promise }), 'VERIFICATION_FAILED');
    await within(pulling.fake.waitForStalled(2), 'two layers');
    config.resolve(diffIdsOf(IMAGE));
    assert.match((await failed).message, new RegExp(THIRD));
    await pulling.assertIdle();
  });

  test('but those that were handed on can be read until their receiver releases them', async () => {
    await using pulling = await startPulling(IMAGE, { defects: { wrongBlobDigest: { digest: THIRD } } });
    const given: FetchedLayer[] = [];
    const onLayer = (layer: FetchedLayer) => given.push(layer);
    await refusal(fetchAll(pulling, IMAGE, { onLayer, isFirstAlone: true }), 'VERIFICATION_FAILED');
    assert.equal(given[0]?.descriptor.digest, FIRST);
    for (const layer of given) assert.equal(sha256(await contentOf(layer)), layer.diffId);
    release(given);
    await pulling.assertIdle();
  });

  test('with a failure while the others wait for the config', async () => {
    await using pulling = await startPulling(IMAGE, { defects: { dropBlob: { digest: FIRST } } });
    await refusal(fetchAll(pulling, IMAGE, { diffIds: NO_CONFIG }), 'IMAGE_NOT_FOUND');
    await pulling.assertIdle();
  });

  test('with the failure of the config', async () => {
    await using pulling = await startPulling(IMAGE);
    const reason = new PassthroughError('IMAGE_NOT_FOUND', 'no config');
    const diffIds = Promise.reject(reason);
    diffIds.catch(() => undefined);
    await assert.rejects(fetchAll(pulling, IMAGE, { diffIds }), reason);
    await pulling.assertIdle();
  });

  test('with a full disk', async () => {
    const full = new PassthroughError('NO_SPACE', 'Cannot write to the workspace: the disk is full');
    const tamperDraft = () => ({ write: () => Promise.reject(full) });
    await failing(IMAGE, { tamperDraft }, 'NO_SPACE');
  });

  test('with the signal, whose reason is the error', async () => {
    await using pulling = await startPulling(IMAGE, { defects: { stallBlob: { afterBytes: 1_000 } } });
    const stop = new AbortController();
    const reason = new PassthroughError('ABORTED', 'the client has left');
    const rejected = assert.rejects(fetchAll(pulling, IMAGE, { signal: stop.signal }), reason);
    await within(pulling.fake.waitForStalled(3), 'three layers');
    assert.notEqual(await pulling.openFiles(), 0);
    stop.abort(reason);
    await rejected;
    await pulling.assertIdle();
  });
});

test('a shared layer arrives although the other image, whose config has not arrived, is aborted', async () => {
  await using pulling = await startPulling(IMAGE);
  const client = new AbortController();
  const reason = new PassthroughError('ABORTED', 'the client has left');
  const leaving = fetchAll(pulling, IMAGE, { diffIds: NO_CONFIG, signal: client.signal });
  const left = assert.rejects(leaving, reason);
  const staying = fetchAll(pulling, IMAGE);
  await within(pulling.fake.waitForRequest(BLOB, 3), 'the layers');
  client.abort(reason);
  await left;
  release(await staying);
  assert.equal(pulling.fake.countRequests(BLOB), 3);
  assert.equal(await pulling.openFiles(), 0);
});
