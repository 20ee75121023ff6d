import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { sha256 } from '../../support/collect.ts';
import { compress, makeGzipBombLayer, makeImage, makeLayer } from '../../support/image.ts';
import { noise } from '../../support/noise.ts';
import { startScriptedServer } from '../../support/scripted-server.ts';
import { within } from '../../support/within.ts';
import { layerAt, refusal, startPulling } from '../pulling.ts';
import { BLOB, contentOf, failing, fetchAll, IMAGE, LAYER_BYTES, oneLayer, release } from './fetching.ts';

describe('fetched layers', () => {
  test('are uncompressed files in the order of the image', async () => {
    await using pulling = await startPulling(IMAGE);
    const layers = await fetchAll(pulling, IMAGE);
    assert.deepEqual(
      layers.map(({ descriptor, diffId, file }) => [descriptor.digest, diffId, file.size]),
      IMAGE.layers.map(({ digest, diffId }) => [digest, diffId, LAYER_BYTES]),
    );
    for (const layer of layers) assert.equal(sha256(await contentOf(layer)), layer.diffId);
    assert.equal(await pulling.openFiles(), 3);
    release(layers);
    assert.equal(await pulling.openFiles(), 0);
  });

  test('are none for an image without layers', async () => {
    const image = makeImage({ layers: [] });
    await using pulling = await startPulling(image);
    assert.deepEqual(await fetchAll(pulling, image), []);
  });

  test('are uncompressed by their content, not by their media type', async () => {
    const tar = makeLayer({ file: 'content' });
    const types = ['gzip', 'zstd', 'none'] as const;
    const layers = types.map((compression, index) => ({
      tar,
      compression,
      mediaType: `application/vnd.oci.image.layer.v1.tar+${types[(index + 1) % types.length]}`,
    }));
    const image = makeImage({ layers });
    await using pulling = await startPulling(image);
    const fetched = await fetchAll(pulling, image);
    for (const layer of fetched) assert.deepEqual(await contentOf(layer), tar);
    release(fetched);
  });

  test('include a layer that occurs twice at both places; it is fetched once', async () => {
    const twice = { tar: makeLayer({ twice: 'twice' }) };
    const image = makeImage({ layers: [twice, { tar: makeLayer({ once: 'once' }) }, twice] });
    await using pulling = await startPulling(image);
    const layers = await fetchAll(pulling, image);
    assert.deepEqual(
      layers.map(({ diffId }) => diffId),
      image.diffIds,
    );
    assert.equal(layers[0]?.file, layers[2]?.file);
    assert.equal(pulling.fake.countRequests(BLOB), 2);
    release(layers);
  });

  test('cannot include a layer that occurs twice with two diff IDs', async () => {
    const tar = makeLayer({ twice: 'twice' });
    const image = makeImage({ layers: [{ tar }, { blob: compress(tar, 'gzip'), diffId: sha256('other') }] });
    const { message } = await failing(image, {}, 'VERIFICATION_FAILED');
    assert.match(message, new RegExp(layerAt(image, 0).digest));
  });

  test('are fetched concurrently up to the limit', async () => {
    const layers = ['a', 'b', 'c', 'd', 'e'].map((name) => ({ tar: makeLayer({ [name]: name }) }));
    const image = makeImage({ layers });
    await using pulling = await startPulling(image, {
      limits: { concurrentLayers: 2 },
      defects: { stallBlob: { afterBytes: 1 } },
    });
    const fetching = fetchAll(pulling, image);
    await within(pulling.fake.waitForStalled(2), 'two layers');
    assert.equal(pulling.fake.countRequests(BLOB), 2);
    pulling.fake.defects.stallBlob = undefined;
    pulling.fake.releaseStalled();
    release(await fetching);
    assert.equal(pulling.fake.countRequests(BLOB), 5);
  });

  test('come from their registry only: URLs of another type of layer are not used', async () => {
    await using elsewhere = await startScriptedServer((_, response) => {
      response.end();
    });
    const descriptor = { urls: [`${elsewhere.origin}/layer`] };
    const image = oneLayer({ tar: makeLayer({ a: 'a' }), descriptor });
    await failing(image, { defects: { dropBlob: { digest: layerAt(image, 0).digest } } }, 'IMAGE_NOT_FOUND');
    assert.deepEqual(elsewhere.requests, []);
  });
});

describe('a layer is refused', () => {
  for (const [index, compression] of ['gzip', 'zstd', 'none'].entries()) {
    const { digest, blob, diffId } = layerAt(IMAGE, index);

    test(`with other bytes than its digest (${compression})`, async () => {
      const defects = { wrongBlobDigest: { digest } };
      const { message, details } = await failing(IMAGE, { defects }, 'VERIFICATION_FAILED');
      assert.match(message, new RegExp(`Cannot verify layer "${digest}": expected ${digest}`));
      assert.equal(details.expected, digest);
      assert.match(details.actual ?? '', /^sha256:[0-9a-f]{64}$/);
      assert.notEqual(details.actual, digest);
    });

    for (const contentLength of ['actual', 'none'] as const) {
      for (const by of [1, -1]) {
        test(`with a size that differs by ${by}, Content-Length ${contentLength} (${compression})`, async () => {
          const defects = { wrongBlobSize: { digest, by, contentLength } };
          const { message } = await failing(IMAGE, { defects }, 'VERIFICATION_FAILED');
          assert.match(
            message,
            new RegExp(`^Cannot verify layer "${digest}": it has .* its descriptor says`),
          );
          assert.match(message, new RegExp(`\\b${blob.length}\\b`));
        });
      }
    }

    test(`with other uncompressed bytes than its diff ID (${compression})`, async () => {
      const image = oneLayer({ blob, diffId: sha256('other') });
      const { message, details } = await failing(image, {}, 'VERIFICATION_FAILED');
      assert.match(message, new RegExp(`Cannot verify uncompressed layer "${digest}"`));
      assert.deepEqual([details.expected, details.actual], [sha256('other'), diffId]);
    });
  }

  for (const compression of ['gzip', 'zstd'] as const) {
    // Compressible text: incompressible bytes are stored as they are, so that only the digest would show the damage.
    const tar = makeLayer({ big: noise('damaged', 300_000).toString('hex') });
    const whole = compress(tar, compression);
    const damaged = Buffer.from(whole);
    damaged.fill(0xff, 9, 109);
    for (const [what, blob] of [
      ['damaged', damaged],
      ['cut', whole.subarray(0, -20)],
    ] as const) {
      test(`that was pushed with a ${what} ${compression} stream`, async () => {
        const image = oneLayer({ blob, diffId: sha256(tar) });
        const { message } = await failing(image, {}, 'VERIFICATION_FAILED');
        const { digest } = layerAt(image, 0);
        assert.match(message, new RegExp(`Cannot unpack layer "${digest}": its ${compression} stream`));
      });
    }
  }

  test('with an unknown compression, which the error names', async () => {
    const blob = Buffer.concat([Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]), noise('xz', 5_000)]);
    const error = await failing(oneLayer({ blob, diffId: sha256('tar') }), {}, 'UNSUPPORTED_IMAGE');
    assert.match(error.message, /xz/);
  });

  test('at the size of its descriptor if it does not end', async () => {
    const image = oneLayer({ tar: makeLayer({ endless: noise('endless', 50_000) }), compression: 'none' });
    const { digest } = layerAt(image, 0);
    const defects = { wrongBlobSize: { digest, by: 50_000_000, contentLength: 'none' } } as const;
    assert.match((await failing(image, { defects }, 'VERIFICATION_FAILED')).message, /it has more than the/);
  });
});

test('a layer with zeros behind its gzip stream is accepted', async () => {
  const tar = makeLayer({ big: noise('padded', 300_000) });
  const image = oneLayer({
    blob: Buffer.concat([gzipSync(tar), Buffer.alloc(200_000)]),
    diffId: sha256(tar),
  });
  await using pulling = await startPulling(image);
  const layers = await fetchAll(pulling, image);
  assert.deepEqual(await contentOf(layers[0]), tar);
  release(layers);
});

describe('the limit for uncompressed bytes', () => {
  const tar = makeLayer({ twice: noise('twice', 100_000) });
  for (const [what, image, bytes] of [
    ['all layers', IMAGE, 3 * LAYER_BYTES],
    ['a layer that occurs twice, twice', makeImage({ layers: [{ tar }, { tar }] }), 2 * tar.length],
  ] as const) {
    test(`counts ${what}`, async () => {
      await using pulling = await startPulling(image, { limits: { uncompressedBytes: bytes } });
      release(await fetchAll(pulling, image));
      const limits = { uncompressedBytes: bytes - 1 };
      const { message } = await failing(image, { limits }, 'IMAGE_TOO_LARGE');
      assert.match(message, new RegExp(`more than ${bytes - 1} bytes uncompressed`));
    });
  }

  test('is not exceeded by the written bytes of a gzip bomb', async () => {
    const image = oneLayer(await makeGzipBombLayer(64 * 1024 ** 2));
    let written = 0;
    await using pulling = await startPulling(image, {
      limits: { uncompressedBytes: 1024 ** 2 },
      tamperDraft: (draft) => ({
        write: async (bytes) => {
          written += bytes.byteLength;
          await draft.write(bytes);
        },
      }),
    });
    await refusal(fetchAll(pulling, image), 'IMAGE_TOO_LARGE');
    assert.ok(written <= 1024 ** 2, `${written} bytes were written`);
    await pulling.assertIdle();
  });
});
