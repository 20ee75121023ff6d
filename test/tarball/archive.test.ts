import '../support/own-temporary-folder.ts';

import assert from 'node:assert/strict';
import { mkdtemp, open as openFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { type Archive, open } from '../../src/tarball/archive.ts';
import type { Image } from '../../src/tarball/image.ts';
import { sha256 } from '../support/collect.ts';
import { makeImage, makeIndex, makeLayer } from '../support/image.ts';
import { base256, rawEntry } from '../support/raw-tar.ts';
import {
  blobsOf,
  type Files,
  FLAVOURS,
  hexOf,
  IMAGE,
  indexJson,
  manifestJson,
  PLAIN_IMAGE,
  TAG,
  TARS,
  tarOf,
} from './flavours.ts';

async function bytesOf(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(stream, (chunk) => Buffer.from(chunk)));
}

/** What an image is, with all bytes of its layers. */
async function contentOf(image: Image) {
  const layers = await image.layers();
  return {
    id: image.id,
    config: sha256((await image.rawConfig()).bytes),
    layers: await Promise.all(
      layers.map(async (layer) => {
        const [blob, tar] = [await bytesOf(layer.compressed()), await bytesOf(layer.uncompressed())];
        assert.equal(layer.size, blob.length);
        if (layer.digest.startsWith('sha256')) assert.equal(layer.digest, sha256(blob));
        assert.equal(layer.diffId, sha256(tar));
        return tar;
      }),
    ),
  };
}

describe('opens an archive of', () => {
  for (const [what, { files, form, tags = [TAG] }] of Object.entries(FLAVOURS)) {
    test(what, async () => {
      const [base, top] = TARS;
      for (const source of [tarOf(files), gzipSync(tarOf(files))]) {
        await using archive = await open(source);
        const image = await archive.image();
        assert.deepEqual(await contentOf(image), {
          id: image.id,
          config: IMAGE.config.digest,
          layers: [base, top, base],
        });
        assert.deepEqual(image.tags, tags);
        assert.deepEqual(image.platform, { os: 'linux', architecture: 'arm', variant: 'v7' });
        assert.deepEqual(await image.config(), JSON.parse(IMAGE.config.bytes.toString()));
        const { layers } = (await image.manifest()) as { layers: readonly { mediaType: string }[] };
        assert.equal(layers.length, 3);
        const ending = form === 'gzip' ? 'gzip' : '.tar';
        assert.ok(layers.every(({ mediaType }) => mediaType.endsWith(ending)));
      }
    });
  }
});

test('gives the manifest of the archive, byte for byte, if it has one', async () => {
  for (const flavour of ['regctl image export', 'OCI layout of skopeo, buildah, umoci']) {
    await using archive = await open(tarOf(FLAVOURS[flavour]?.files ?? {}));
    const { digest, mediaType } = await (await archive.image()).rawManifest();
    assert.deepEqual([digest, mediaType], [IMAGE.manifest.digest, IMAGE.manifest.mediaType]);
  }
});

describe('an image is found by', () => {
  const other = makeImage({ layers: [{ tar: makeLayer({ other: '1' }), compression: 'none' }] });
  const arm = makeImage({
    platform: { os: 'linux', architecture: 'arm64' },
    layers: [{ tar: makeLayer({ arm: '1' }) }],
  });
  const amd = makeImage({ layers: [{ tar: makeLayer({ amd: '1' }) }] });
  const index = makeIndex([{ image: arm }, { image: amd }]);
  let several: Archive;
  let platforms: Archive;
  before(async () => {
    const layers = PLAIN_IMAGE.layers.map((_, at) => (at === 1 ? 'b.tar' : 'a.tar'));
    several = await open(
      tarOf({
        ...{ 'a.tar': TARS[0], 'b.tar': TARS[1], 'c.json': PLAIN_IMAGE.config.bytes },
        ...{ 'd.tar': other.layers[0]?.blob ?? '', 'd.json': other.config.bytes },
        'manifest.json': JSON.stringify([
          { Config: 'c.json', RepoTags: ['test_image_1', TAG], Layers: layers },
          { Config: 'd.json', RepoTags: ['ghcr.io/other:2', 'not a NAME'], Layers: ['d.tar'] },
          { Config: 'c.json', RepoTags: ['again:1'], Layers: layers },
        ]),
      }),
    );
    platforms = await open(
      tarOf({
        ...blobsOf(arm),
        ...blobsOf(amd),
        [`blobs/sha256/${hexOf(index.manifest.digest)}`]: index.manifest.bytes,
        'index.json': indexJson([index.manifest, { 'io.containerd.image.name': 'docker.io/library/app:1' }]),
      }),
    );
  });

  const names: readonly (readonly [name: string, id: string])[] = [
    ['test_image_1', PLAIN_IMAGE.config.digest],
    ['test_image_1:latest', PLAIN_IMAGE.config.digest],
    ['index.docker.io/library/test_image_1:latest', PLAIN_IMAGE.config.digest],
    [TAG, PLAIN_IMAGE.config.digest],
    ['docker.io/library/again:1', PLAIN_IMAGE.config.digest],
    ['ghcr.io/other:2', other.config.digest],
    ['not a NAME', other.config.digest],
  ];
  for (const [name, id] of names) {
    test(name, async () => assert.equal((await several.image(name)).id, id));
  }

  test('an image under several names is there once', () => {
    assert.deepEqual(
      several.images().map(({ tags }) => tags),
      [
        ['test_image_1', TAG, 'again:1'],
        ['ghcr.io/other:2', 'not a NAME'],
      ],
    );
  });

  test('no name, if there is one image only', async () => {
    await assert.rejects(several.image(), {
      code: 'INVALID_REFERENCE',
      message:
        /^Cannot choose image: the archive has several, and no tag is given: "test_image_1 .* for linux\/arm\/v7, "ghcr/,
    });
  });

  test('a name that is not there: the error names it, and those that are', async () => {
    await assert.rejects(several.image('none:1'), {
      code: 'IMAGE_NOT_FOUND',
      message:
        /^Cannot find "none:1" in the archive: it has "test_image_1 example\.com\/team\/app:1 again:1" for /,
    });
  });

  test('a platform', async () => {
    assert.deepEqual((await platforms.image('app:1', { platform: 'linux/arm64' })).tags, ['app:1']);
    assert.equal((await platforms.image('app:1', { platform: 'linux/amd64' })).id, amd.config.digest);
    await assert.rejects(platforms.image('app:1'), {
      message: /several of this name: "app:1" for linux\/arm64, "app/,
    });
    await assert.rejects(platforms.image('app:1', { platform: 'linux/s390x' }), {
      code: 'PLATFORM_NOT_FOUND',
    });
    await assert.rejects(platforms.image('app:1', { platform: 'x' }), { code: 'INVALID_PLATFORM' });
  });
});

describe('a file', () => {
  let folder = '';
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'open-'));
  });
  after(() => rm(folder, { recursive: true }));
  const files: Files = FLAVOURS['jib buildTar']?.files ?? {};

  test('that changes after it was opened is refused', async () => {
    const file = join(folder, 'a.tar');
    await writeFile(file, tarOf(files));
    const archive = await open(file);
    await writeFile(file, tarOf({ first: 'x', ...(files as Record<string, string>) }));
    const image = await archive.image();
    await assert.rejects(image.layers(), {
      code: 'INVALID_ARCHIVE',
      message: /has changed since it was opened$/,
    });
  });

  test('by its URL; a stream is copied to where no file is left', async () => {
    const file = join(folder, 'b.tar');
    await writeFile(file, tarOf(files));
    const before = await readdir(tmpdir());
    for (const source of [
      new URL(`file://${file}`),
      async () => new Blob([Uint8Array.from(tarOf(files))]).stream(),
    ]) {
      await using archive = await open(source);
      assert.equal((await contentOf(await archive.image())).id, IMAGE.config.digest);
    }
    assert.deepEqual(await readdir(tmpdir()), before);
  });

  test('and a signal that stops the work', async () => {
    const reason = new Error('enough');
    const signal = AbortSignal.abort(reason);
    await assert.rejects(open(tarOf(files), { signal }), reason);
    await using archive = await open(tarOf(files));
    const [layer] = await (await archive.image()).layers();
    await assert.rejects(bytesOf(layer?.compressed({ signal }) ?? assert.fail()), reason);
  });
});

test('a layer of more than 8 GiB: its size is in base-256, and only headers are read', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'huge-'));
  try {
    const path = join(folder, 'huge.tar');
    const size = 9 * 2 ** 30;
    const config = Buffer.from(`{"rootfs":{"diff_ids":["${sha256('')}"]}}`);
    const manifest = manifestJson({ Layers: ['layer.tar'] });
    await using file = await openFile(path, 'w');
    await file.write(rawEntry({ name: 'layer.tar', size: base256(BigInt(size)) }));
    const rest = tarOf({ 'config.json': config, 'manifest.json': manifest });
    await file.write(rest, 0, rest.length, 512 + size);
    await using archive = await open(path);
    const [layer] = await (await archive.image()).layers();
    assert.deepEqual([layer?.size, layer?.diffId], [size, sha256('')]);
  } finally {
    await rm(folder, { recursive: true });
  }
});

test('a foreign layer that is only named', async () => {
  const [base] = TARS;
  const foreign = makeImage({ layers: [{ tar: base }] });
  const descriptor = {
    mediaType: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
    digest: foreign.layers[0]?.digest,
    size: 42,
    urls: ['https://example.com/layer'],
  };
  const manifest = manifestJson({
    Layers: ['x.tar.gz'],
    LayerSources: { [foreign.diffIds[0] ?? '']: descriptor },
  });
  await using archive = await open(tarOf({ 'config.json': foreign.config.bytes, 'manifest.json': manifest }));
  const [layer] = await (await archive.image()).layers();
  assert.deepEqual(
    { ...descriptor },
    { mediaType: layer?.mediaType, digest: layer?.digest, size: layer?.size, urls: layer?.urls },
  );
  await assert.rejects(bytesOf(layer?.uncompressed() ?? assert.fail()), {
    code: 'UNSUPPORTED_IMAGE',
    message: /it is a foreign layer, which the archive only names$/,
  });
});
