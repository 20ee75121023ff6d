import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  type BuiltIndex,
  builtManifest,
  makeImage,
  makeIndex,
  makeLayer,
  type Pushable,
} from '../../support/image.ts';
import { startPulling } from '../pulling.ts';

const image = (name: string) => makeImage({ layers: [{ tar: makeLayer({ name }) }] });

/** An index whose entries declare another size than the manifests have. */
function declaring(size: number, images: readonly Pushable[]): BuiltIndex {
  const index = makeIndex(images.map((one) => ({ image: one })));
  const document = JSON.parse(index.manifest.bytes.toString());
  for (const entry of document.manifests) entry.size = size;
  return { ...index, manifest: builtManifest(index.manifest.mediaType, document) };
}

const ALL = { layout: 'oci', platform: 'all', isPlatformAsked: true } as const;

describe('an index with all its platforms is refused before one of its manifests is fetched', () => {
  const images = Array.from({ length: 10 }, (_, at) => image(`${at}`));
  const inner = declaring(900_000, images);
  const refused: readonly [what: string, index: BuiltIndex, message: RegExp, requests: number][] = [
    [
      'if they are large together',
      declaring(900_000, images),
      /Cannot use index: the manifests below it have 9000000 bytes, more than 8000000/,
      1,
    ],
    [
      'if those of an inner index are',
      makeIndex([{ image: inner }]),
      /the manifests below it have 900\d{4} bytes/,
      2,
    ],
  ];
  for (const [what, index, message, requests] of refused) {
    test(what, async () => {
      await using pulling = await startPulling(index);
      await assert.rejects(pulling.resolve(ALL), { code: 'IMAGE_TOO_LARGE', message });
      assert.equal(pulling.fake.countRequests(/manifests/), requests);
      await pulling.assertIdle();
    });
  }

  test('if there are more than 200', async () => {
    const many = Array.from({ length: 201 }, (_, at) => image(`${at}`));
    await using pulling = await startPulling(makeIndex(many.map((one) => ({ image: one }))));
    const message = 'Cannot use manifest: more than 200 manifests lie below it';
    await assert.rejects(pulling.resolve(ALL), { code: 'UNSUPPORTED_IMAGE', message });
    assert.equal(pulling.fake.countRequests(/manifests/), 1);
  });

  test('but not if equal ones are large only when they are counted twice', async () => {
    const [one = assert.fail()] = images;
    await using pulling = await startPulling(declaring(one.manifest.bytes.length, Array(10).fill(one)));
    const resolved = await pulling.resolve(ALL);
    assert.equal(resolved.images[0]?.manifest.children.length, 1);
    resolved.release();
    await pulling.assertIdle();
  });
});
