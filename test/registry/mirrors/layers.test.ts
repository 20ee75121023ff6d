import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { isPassthroughError } from '../../../src/errors.ts';
import { FIRST_PAUSE_MS, MAX_PAUSE_MS } from '../../../src/registry/mirrors/circuit.ts';
import { readAll } from '../../support/collect.ts';
import type { Defects } from '../../support/defects.ts';
import type { FakeRegistry, FakeRegistryOptions } from '../../support/fake-registry.ts';
import { BIG, BIG_LAYER, CLIENT, headersOf, never, SHORT_MS } from '../support/scene.ts';
import { startMirrored } from './mirrored.ts';

const having = (defects: Defects): FakeRegistryOptions => ({ defects });

/** How a server is asked for the layer: the ranges of its requests, in their order. */
const rangesOf = (server: FakeRegistry | undefined) =>
  server === undefined ? [] : headersOf(server, 'range', /\/blobs\//);

describe('a layer that breaks off is continued at the next source', () => {
  const cut = having({ truncateBlob: { afterBytes: 100_000 } });
  const cutLater = having({ truncateBlob: { afterBytes: 50_000 } });
  const whole = [undefined];
  const rest = (ranges: readonly (string | undefined)[]) => {
    assert.equal(ranges.length, 1);
    assert.match(ranges[0] ?? '', /^bytes=[1-9]\d*-$/);
  };

  test('at the registry', async () => {
    await using scene = await startMirrored({ mirrors: [cut] });
    const bytes = await readAll(await scene.open().openLayer(BIG_LAYER, never()));
    assert.ok(bytes.equals(BIG));
    assert.deepEqual(rangesOf(scene.mirrors[0]), whole);
    rest(rangesOf(scene.registry));
    assert.deepEqual(scene.reports(), ['0 layer answered', '0 layer failed']);
    assert.deepEqual(scene.sources(), ['0', 'registry']);
  });

  test('at a mirror, and then at the registry', async () => {
    await using scene = await startMirrored({ mirrors: [cut, cutLater] });
    const bytes = await readAll(await scene.open().openLayer(BIG_LAYER, never()));
    assert.ok(bytes.equals(BIG));
    assert.deepEqual(rangesOf(scene.mirrors[0]), whole);
    rest(rangesOf(scene.mirrors[1]));
    rest(rangesOf(scene.registry));
    assert.deepEqual(scene.sources(), ['0', '1', 'registry']);
    const states = scene.access.mirrors?.all.snapshot().map(({ state }) => state);
    assert.deepEqual(states, ['open', 'open']);
  });

  test('that ignores ranges', async () => {
    await using scene = await startMirrored({ mirrors: [cut, having({ noRange: true })] });
    const bytes = await readAll(await scene.open().openLayer(BIG_LAYER, never()));
    assert.ok(bytes.equals(BIG));
  });

  test('also if it stalls', async () => {
    const stalled = having({ stallBlob: { afterBytes: 100_000 } });
    await using scene = await startMirrored({ mirrors: [stalled], timeouts: { stallMs: SHORT_MS } });
    const bytes = await readAll(await scene.open().openLayer(BIG_LAYER, never()));
    assert.ok(bytes.equals(BIG));
    assert.deepEqual(rangesOf(scene.mirrors[0]), whole);
    scene.mirrors[0]?.releaseStalled();
  });

  test('and the mirror is left alone for longer each time, until it has given a whole one', async (t) => {
    let lateMs = 0;
    const now = performance.now.bind(performance);
    t.mock.method(performance, 'now', () => now() + lateMs);
    await using scene = await startMirrored();
    const [mirror] = scene.mirrors;
    assert.ok(mirror !== undefined);
    for (const isCut of [true, true, false, true]) {
      mirror.defects.truncateBlob = isCut ? { afterBytes: 100_000 } : undefined;
      assert.ok((await readAll(await scene.open().openLayer(BIG_LAYER, never()))).equals(BIG));
      lateMs += MAX_PAUSE_MS;
    }
    const pauses = scene.all.flatMap(({ pauseMs = [] }) => pauseMs);
    assert.deepEqual(pauses, [FIRST_PAUSE_MS, 2 * FIRST_PAUSE_MS, FIRST_PAUSE_MS]);
  });

  test('and fails with the error of the registry if it has none of the rest', async () => {
    await using scene = await startMirrored({ mirrors: [cut], registry: having({ dropBlob: true }) });
    const reading = scene.open().openLayer(BIG_LAYER, never()).then(readAll);
    await assert.rejects(reading, (error) => isPassthroughError(error, 'IMAGE_NOT_FOUND'));
  });
});

describe('a reader that stops', () => {
  for (const when of ['before the first byte', 'after it']) {
    test(`${when} frees the connection, and no other source is asked`, async () => {
      await using scene = await startMirrored();
      const [mirror] = scene.mirrors;
      const bytes = await scene.open().openLayer(BIG_LAYER, never());
      if (when === 'after it') await bytes.next();
      await bytes.return();
      await mirror?.waitForNoActiveRequests();
      assert.deepEqual(scene.reports(), ['0 layer answered']);
      assert.deepEqual(rangesOf(scene.registry), []);
    });
  }
});

describe('a layer with wrong bytes', () => {
  test('is not asked for again where a part of it came from', async () => {
    await using scene = await startMirrored({
      mirrors: [having({ truncateBlob: { afterBytes: 100_000 } }), {}, {}],
    });
    const repository = scene.open();
    await readAll(await repository.openLayer(BIG_LAYER, never()));
    assert.equal(repository.rejectLayer?.(BIG_LAYER), true);
    const bytes = await readAll(await repository.openLayer(BIG_LAYER, never()));
    assert.ok(bytes.equals(BIG));
    assert.deepEqual(scene.sources(), ['0', '1', '2']);
    assert.deepEqual(rangesOf(scene.mirrors[2]), [undefined]);
  });

  test('does not close the mirror to other images, since an image may name a wrong size', async () => {
    await using scene = await startMirrored();
    const repository = scene.open();
    await readAll(await repository.openLayer(BIG_LAYER, never()));
    assert.equal(repository.rejectLayer?.(BIG_LAYER), true);
    assert.deepEqual(scene.reports(), ['0 layer answered', '0 layer wrong']);
    assert.equal(scene.access.mirrors?.all.snapshot()[0]?.state, 'closed');
  });

  test('from the registry has no other source', async () => {
    await using scene = await startMirrored({ mirrors: [having({ dropBlob: true })] });
    const repository = scene.open();
    await readAll(await repository.openLayer(BIG_LAYER, never()));
    assert.equal(repository.rejectLayer?.(BIG_LAYER), false);
  });

  test('has each mirror asked once', async () => {
    await using scene = await startMirrored({ mirrors: [{}, {}] });
    const repository = scene.open();
    for (const more of [true, true, false]) {
      await readAll(await repository.openLayer(BIG_LAYER, never()));
      assert.equal(repository.rejectLayer?.(BIG_LAYER), more);
    }
    assert.deepEqual(scene.sources(), ['0', '1', 'registry']);
  });
});

describe('whether the repository has a layer', () => {
  test('is asked at the registry', async () => {
    await using scene = await startMirrored();
    await scene.open().checkLayer(BIG_LAYER, never());
    assert.deepEqual(
      scene.paths(scene.registry).map((path) => path.split(' ')[0]),
      ['HEAD'],
    );
    assert.deepEqual(scene.reports(), []);
  });

  test('is proved by a mirror with its bytes, where the registry is down', async () => {
    await using scene = await startMirrored({ registry: having({ failWith: { status: 503 } }) });
    await scene.open().checkLayer(BIG_LAYER, never());
    assert.deepEqual(scene.reports(), ['0 layer answered']);
    // The registry is left alone, too, while a mirror can answer.
    const asked = scene.paths(scene.registry).length;
    await scene.open().checkLayer(BIG_LAYER, never());
    assert.equal(scene.paths(scene.registry).length, asked);
  });

  test('is not proved by a mirror that says yes to everything', async () => {
    await using scene = await startMirrored({
      mirrors: [having({ wrongBlobDigest: true })],
      registry: having({ dropBlob: true }),
    });
    const checking = scene.open().checkLayer(BIG_LAYER, never());
    await assert.rejects(checking, (error) => isPassthroughError(error, 'IMAGE_NOT_FOUND'));
  });

  test('is asked at the registry alone for a client with credentials', async () => {
    await using scene = await startMirrored({ registry: having({ dropBlob: true }) });
    const checking = scene.open({ credential: CLIENT }).checkLayer(BIG_LAYER, never());
    await assert.rejects(checking, (error) => isPassthroughError(error, 'IMAGE_NOT_FOUND'));
    assert.deepEqual(scene.reports(), []);
  });
});
