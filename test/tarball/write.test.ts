import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { gunzipSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { IMAGE_LAYOUTS } from '../../src/archive/archive.ts';
import { open } from '../../src/tarball/archive.ts';
import { image } from '../../src/tarball/image.ts';
import { type Layer, layer } from '../../src/tarball/layer.ts';
import { verify } from '../../src/tarball/verify.ts';
import { manifestOf, size, type WriteProgress, write } from '../../src/tarball/write/write.ts';
import { listTar, sha256 } from '../support/collect.ts';
import { makeLayer } from '../support/image.ts';
import { FLAVOURS, TARS, tarOf } from './flavours.ts';

const [BASE, TOP] = TARS;
const CONFIG = { architecture: 'amd64', os: 'linux' };

async function bytesOf(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(stream, (chunk) => Buffer.from(chunk)));
}

let folder = '';
let file = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'write-'));
  file = join(folder, 'out.tar');
});
afterEach(() => rm(folder, { recursive: true }));

describe('an archive in layout', () => {
  for (const layout of IMAGE_LAYOUTS) {
    test(`${layout}: it has the computed size, and holds what was written`, async () => {
      const [base, top] = [await layer(BASE), await layer(TOP, { compression: 'zstd' })];
      const one = image({ config: CONFIG, layers: [base, top, base] });
      const two = image({ config: { ...CONFIG, os: 'windows' }, layers: [base] });
      const images = new Map([
        ['app:1', one],
        ['example.com/app:2', one],
        ['other', two],
      ]);
      const progress: WriteProgress[] = [];
      const written = await write(file, images, { layout, onProgress: (now) => progress.push(now) });
      const bytes = await readFile(file);
      assert.deepEqual(written, { size: bytes.length });
      assert.equal(await size(images, { layout }), bytes.length);
      assert.deepEqual(progress.at(-1), { total: bytes.length, complete: bytes.length });
      assert.ok(progress.every(({ complete }, at) => complete > (progress[at - 1]?.complete ?? 0)));

      const { images: reports } = await verify(file);
      assert.deepEqual(
        reports.map(({ tags, config, layers }) => ({
          tags,
          config,
          diffIds: layers.map(({ diffId }) => diffId),
        })),
        [
          { tags: ['app:1', 'example.com/app:2'], config: one.id, diffIds: [BASE, TOP, BASE].map(sha256) },
          { tags: ['other:latest'], config: two.id, diffIds: [sha256(BASE)] },
        ],
      );
      const entries = listTar(bytes);
      const manifest = entries.find(({ name }) => name === 'manifest.json')?.content.toString() ?? '';
      assert.deepEqual(await manifestOf(images, { layout }), JSON.parse(manifest));
      if (layout !== 'docker') {
        assert.equal(
          entries.filter(({ content }) => sha256(content) === base.digest).length,
          1,
          'a layer once',
        );
      }
      assert.deepEqual(await readdir(folder), ['out.tar']);
    });
  }

  test('of the default: docker-gzip, the same bytes each time', async () => {
    const made = image({ config: CONFIG, layers: [await layer(BASE)] });
    await write(file, { a: made });
    const first = await readFile(file);
    await write(file, { a: made });
    assert.deepEqual(await readFile(file), first);
    assert.deepEqual(
      listTar(first).map(({ name }) => name.replace(/^[0-9a-f]{64}/, 'hex')),
      ['hex.json', 'hex.tar.gz', 'manifest.json'],
    );
  });
});

describe('an image of another archive', () => {
  for (const layout of IMAGE_LAYOUTS) {
    test(`is written as ${layout}, from every flavour`, async () => {
      for (const [what, { files }] of Object.entries(FLAVOURS)) {
        await using archive = await open(tarOf(files));
        const from = await archive.image();
        await write(file, { 'copy:1': from }, { layout });
        const [report] = (await verify(file)).images;
        assert.deepEqual([report?.tags, report?.layers.length], [['copy:1'], 3], what);
        assert.deepEqual(
          report?.layers.map(({ diffId }) => diffId),
          [BASE, TOP, BASE].map(sha256),
        );
        assert.equal(await size({ 'copy:1': from }, { layout }), (await readFile(file)).length);
      }
    });
  }

  test('keeps its names, and is compressed for docker-gzip', async () => {
    await using archive = await open(tarOf(FLAVOURS['docker save 1.10 to 24']?.files ?? {}));
    await write(file, await archive.image());
    const [report] = (await verify(file)).images;
    assert.deepEqual(report?.tags, ['example.com/team/app:1']);
    const blobs = listTar(await readFile(file)).filter(({ name }) => name.endsWith('.tar.gz'));
    assert.deepEqual(
      blobs.map(({ content }) => sha256(gunzipSync(content))),
      [BASE, TOP].map(sha256),
    );
  });
});

describe('a layer', () => {
  const forms = [
    ['none', BASE],
    ['gzip', gzipSync(BASE)],
    ['zstd', zstdCompressSync(BASE)],
  ] as const;
  for (const [from, source] of forms) {
    for (const to of ['gzip', 'zstd', 'none', undefined] as const) {
      for (const keep of [false, true]) {
        test(`from ${from} to ${to ?? 'its default'}${keep ? ', kept' : ''}`, async () => {
          await using made = await layer(source, { ...(to && { compression: to }), keep });
          const blob = await bytesOf(made.compressed());
          const wanted = to ?? (from === 'none' ? 'gzip' : from);
          assert.equal(made.mediaType.split('.').at(-1), wanted === 'none' ? 'tar' : `tar+${wanted}`);
          assert.deepEqual([made.digest, made.size, made.diffId], [sha256(blob), blob.length, sha256(BASE)]);
          if (from === wanted) assert.deepEqual(blob, source, 'it stays as it is');
          assert.deepEqual(await bytesOf(made.uncompressed()), BASE);
          assert.deepEqual(await bytesOf(made.compressed()), blob, 'it can be read again');
        });
      }
    }
  }

  test('from a file, an opener and a stream that is read once', async () => {
    await writeFile(join(folder, 'layer.tar'), BASE);
    let opened = 0;
    const opener = () => {
      opened += 1;
      return new Blob([Uint8Array.from(BASE)]).stream();
    };
    for (const source of [join(folder, 'layer.tar'), opener, new Blob([Uint8Array.from(BASE)]).stream()]) {
      await using made = await layer(source);
      assert.deepEqual(await bytesOf(made.uncompressed()), BASE);
      assert.deepEqual(await bytesOf(made.uncompressed()), BASE);
    }
    assert.ok(opened >= 3);
  });

  test('of a level', async () => {
    const text = Buffer.from(Array.from({ length: 3000 }, (_, at) => `${at * at} `).join(''));
    const sizes = await Promise.all(
      [1, 9].map(async (level) => (await layer(text, { compression: 'gzip', level })).size),
    );
    assert.ok((sizes[0] ?? 0) > (sizes[1] ?? 0), sizes.join(' '));
    for (const [compression, level] of [
      ['gzip', 10],
      ['gzip', 0],
      ['zstd', 23],
      ['gzip', 1.5],
    ] as const) {
      await assert.rejects(layer(BASE, { compression, level }), RangeError);
    }
  });

  test('that is damaged, too large, or changes between two readings', async () => {
    await assert.rejects(layer(gzipSync(BASE).subarray(0, -5)), { code: 'VERIFICATION_FAILED' });
    await assert.rejects(layer(gzipSync(BASE), { maxUncompressedBytes: 100 }), { code: 'IMAGE_TOO_LARGE' });
    await assert.rejects(layer(Buffer.from('BZh91AY&SY------', 'latin1')), { code: 'UNSUPPORTED_IMAGE' });
    let reading = 0;
    const made = await layer(
      () => {
        reading += 1;
        return new Blob([Uint8Array.from(makeLayer({ reading: String(reading) }))]).stream();
      },
      { compression: 'none' },
    );
    await assert.rejects(write(file, { a: image({ config: CONFIG, layers: [made] }) }), {
      code: 'VERIFICATION_FAILED',
    });
    assert.deepEqual(await readdir(folder), [], 'no part of an archive is left');
  });
});

test('each layer is closed before the next one is opened', async () => {
  const events: string[] = [];
  const watched = async (name: string, tar: Buffer): Promise<Layer> => {
    const made = await layer(tar);
    return {
      ...made,
      compressed: async function* () {
        events.push(`open ${name}`);
        try {
          yield* made.compressed();
        } finally {
          events.push(`close ${name}`);
        }
      },
    };
  };
  const layers = [await watched('base', BASE), await watched('top', TOP)];
  await write(file, { a: image({ config: CONFIG, layers }) });
  assert.deepEqual(events, ['open base', 'close base', 'open top', 'close top']);
});

test('foreign layers stand in LayerSources, with their bytes if they can be read', async () => {
  const mediaType = 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip';
  const urls = ['https://example.com/base'];
  const foreign = await layer(BASE, { mediaType, urls });
  const made = image({ config: CONFIG, layers: [foreign, await layer(TOP)], mediaTypes: 'docker' });
  const [item] = await manifestOf({ a: made });
  const { digest, size: bytes } = foreign;
  assert.deepEqual(item?.LayerSources, { [foreign.diffId]: { mediaType, size: bytes, digest, urls } });
  await write(file, { a: made });
  assert.equal((await verify(file)).images[0]?.layers.length, 2);

  // The archive without the file of the foreign layer, as a registry's archive may be.
  const entries = listTar(await readFile(file)).filter(({ content }) => sha256(content) !== digest);
  const named = tarOf(entries.map(({ name, content }) => [name, content] as const));
  await using archive = await open(named);
  const from = await archive.image();
  await write(file, from);
  assert.deepEqual(
    listTar(await readFile(file)).map(({ name }) => name),
    entries.map(({ name }) => name),
  );
  assert.equal(await size(from), (await readFile(file)).length);
  for (const layout of ['docker', 'oci'] as const) {
    await assert.rejects(write(join(folder, 'none.tar'), from, { layout }), { code: 'UNSUPPORTED_IMAGE' });
  }
  assert.deepEqual(await readdir(folder), ['out.tar']);
});

describe('what cannot be written', () => {
  test('no image, an image without a name, a name that cannot be read', async () => {
    const made = image({ config: CONFIG, layers: [] });
    for (const images of [{}, new Map(), made, { 'Not a name': made }]) {
      await assert.rejects(write(file, images), { code: 'INVALID_REFERENCE' });
    }
    assert.deepEqual(await readdir(folder), []);
  });

  test('a config that does not fit the layers', async () => {
    const base = await layer(BASE);
    const wrong = [
      { rootfs: { diff_ids: [] } },
      { rootfs: { diff_ids: [sha256(TOP)] } },
      Buffer.from('no JSON'),
    ];
    for (const config of wrong)
      assert.throws(() => image({ config, layers: [base] }), { code: 'UNSUPPORTED_IMAGE' });
  });
});

describe('a destination', () => {
  const make = async () => ({ a: image({ config: CONFIG, layers: [await layer(BASE)] }) });

  test('a file that is there is replaced by a whole one only, and a link stays', async () => {
    await writeFile(file, 'old');
    await symlink('out.tar', join(folder, 'link.tar'));
    const stop = new AbortController();
    const onProgress = () => stop.abort(new Error('enough'));
    await assert.rejects(
      write(join(folder, 'link.tar'), await make(), { signal: stop.signal, onProgress }),
      /enough/,
    );
    assert.equal(await readFile(file, 'utf8'), 'old');
    await write(join(folder, 'link.tar'), await make());
    assert.equal((await verify(file)).images.length, 1);
    assert.deepEqual((await readdir(folder)).toSorted(), ['link.tar', 'out.tar']);
  });

  test('a file URL, and a folder that is not there', async () => {
    await write(new URL(`file://${file}`), await make());
    assert.equal((await verify(file)).images.length, 1);
    await assert.rejects(write(join(folder, 'none', 'x.tar'), await make()), { code: 'ENOENT' });
    await assert.rejects(write(folder, await make()), { code: 'EISDIR' });
    assert.deepEqual(await readdir(folder), ['out.tar']);
  });

  test('a stream of Node, and one of the web', async () => {
    const images = await make();
    await write(file, images);
    const collected: Buffer[] = [];
    const node = new Writable({
      write: (chunk: Buffer, _, done) => {
        collected.push(Buffer.from(chunk));
        done();
      },
    });
    await write(node, images);
    const web = new TransformStream<Uint8Array, Uint8Array>();
    const [fromWeb] = await Promise.all([bytesOf(web.readable), write(web.writable, images)]);
    for (const bytes of [Buffer.concat(collected), fromWeb]) assert.deepEqual(bytes, await readFile(file));
  });

  test('a stream that fails', async () => {
    const node = new Writable({ write: (_chunk, _encoding, done) => done(new Error('broken')) });
    await assert.rejects(write(node, await make()), /broken/);
  });
});
