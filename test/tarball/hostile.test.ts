/** Archives that are made to harm whoever reads them, or that are wrong. */

import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import type { ErrorCode } from '../../src/errors.ts';
import { open } from '../../src/tarball/archive.ts';
import { verify } from '../../src/tarball/verify.ts';
import { sha256 } from '../support/collect.ts';
import { makeImage, makeIndex, makeLayer } from '../support/image.ts';
import { paxEntry, rawEntry, rawTar } from '../support/raw-tar.ts';
import { blobsOf, type Files, hexOf, indexJson, manifestJson, tarOf } from './flavours.ts';

const LAYER = makeLayer({ file: 'content' });
const IMAGE = makeImage({ layers: [{ tar: LAYER, compression: 'none' }] });
const OCI = makeImage({ layers: [{ tar: LAYER }] });
const OTHER = makeImage({ layers: [{ tar: makeLayer({ other: 'content' }), compression: 'none' }] });
const NAMES = { 'org.opencontainers.image.ref.name': '1' };

/** An archive of one image with other or further files. */
function archive(files: Files = {}): Buffer {
  const more = Array.isArray(files) ? files : Object.entries(files as Readonly<Record<string, string>>);
  return tarOf([
    ...Object.entries({ 'config.json': IMAGE.config.bytes, 'layer.tar': LAYER }).filter(
      ([name]) => !more.some(([other]) => other === name),
    ),
    ...more,
    ...(more.some(([name]) => name === 'manifest.json')
      ? []
      : [['manifest.json', manifestJson({ Layers: ['layer.tar'] })] as const]),
  ]);
}

/** An OCI layout with other or further files. */
function layout(files: Readonly<Record<string, string | Buffer>> = {}): Buffer {
  return tarOf({
    'oci-layout': '{"imageLayoutVersion":"1.0.0"}',
    ...blobsOf(OCI),
    'index.json': indexJson([OCI.manifest, NAMES]),
    ...files,
  });
}

const layerBlob = `blobs/sha256/${hexOf(OCI.layers[0]?.digest ?? '')}`;
const zeros = (size: number) => Buffer.alloc(size);
const wrongIndex = (descriptor: Readonly<Record<string, unknown>>, entry = OCI) =>
  JSON.stringify({
    schemaVersion: 2,
    manifests: [{ ...JSON.parse(indexJson([entry.manifest, {}])).manifests[0], ...descriptor }],
  });

/** What is wrong, the archive, the code and the message. The message names the entry where there is one. */
const HOSTILE: readonly (readonly [what: string, archive: Buffer, code: ErrorCode, message: RegExp])[] = [
  ['..', archive({ '../evil': 'x' }), 'INVALID_ARCHIVE', /entry "\.\.\/evil": its name contains "\.\."$/],
  [
    '.. inside',
    archive({ 'a/../../evil': 'x' }),
    'INVALID_ARCHIVE',
    /entry "a\/\.\.\/\.\.\/evil": its name contains/,
  ],
  [
    'an absolute name',
    archive({ '/etc/evil': 'x' }),
    'INVALID_ARCHIVE',
    /entry "\/etc\/evil": its name is absolute$/,
  ],
  [
    'a symbolic link out of the archive',
    archive({ 'layer.tar': { symlink: '../../etc/passwd' } }),
    'INVALID_ARCHIVE',
    /entry "layer\.tar": its link target "\.\.\/\.\.\/etc\/passwd" leads out of the archive$/,
  ],
  [
    'an absolute symbolic link',
    archive({ 'layer.tar': { symlink: '/etc/passwd' } }),
    'INVALID_ARCHIVE',
    /entry "layer\.tar": its link target "\/etc\/passwd" is absolute$/,
  ],
  [
    'a hard link out of the archive',
    archive({ 'layer.tar': { hardlink: '../etc/passwd' } }),
    'INVALID_ARCHIVE',
    /entry "layer\.tar": its link target "\.\.\/etc\/passwd" contains "\.\."$/,
  ],
  [
    'an absolute hard link',
    archive({ x: { hardlink: '/etc/passwd' } }),
    'INVALID_ARCHIVE',
    /entry "x": its link/,
  ],
  [
    'a circle of links',
    archive({ 'layer.tar': { symlink: 'a' }, a: { symlink: 'b' }, b: { hardlink: 'layer.tar' } }),
    'INVALID_ARCHIVE',
    /entry "layer\.tar": its links lead in a circle, or too far$/,
  ],
  [
    'a link to itself that nothing refers to',
    archive({ x: { symlink: 'x' } }),
    'INVALID_ARCHIVE',
    /entry "x": its links/,
  ],
  [
    'a chain of 50 links',
    archive([
      ...Array.from({ length: 50 }, (_, at) => [`l${at}`, { symlink: `l${at + 1}` }] as const),
      ['l50', 'x'],
    ]),
    'INVALID_ARCHIVE',
    /entry "l0": its links lead in a circle, or too far$/,
  ],
  [
    'a link to what is not there',
    archive({ 'layer.tar': { symlink: 'none' } }),
    'INVALID_ARCHIVE',
    /entry "layer\.tar": it links to "none", which is not in the archive$/,
  ],
  [
    'a layer that is a folder',
    archive({ 'layer.tar': { symlink: 'd' }, 'd/': '' }),
    'INVALID_ARCHIVE',
    /it is no file$/,
  ],
  [
    'a size that is too large',
    Buffer.concat([archive().subarray(0, -1024), rawEntry({ name: 'x', size: 1e9 })]),
    'INVALID_ARCHIVE',
    /entry "x": the archive ends after 0 of its 1000000000 bytes$/,
  ],
  [
    'a size of pax that is too large',
    rawTar(archive().subarray(0, -1024), paxEntry({ size: '99999' }), { name: 'x', content: 'x' }),
    'INVALID_ARCHIVE',
    /entry "x": the archive ends after 1536 of its 99999 bytes$/,
  ],
  [
    'two layers of one name and size that differ',
    archive([
      ['layer.tar', LAYER],
      ['layer.tar', zeros(LAYER.length)],
    ]),
    'INVALID_ARCHIVE',
    /entry "layer\.tar": the archive has two entries of this name, and they differ$/,
  ],
  [
    'two manifest.json that differ',
    archive([
      ['manifest.json', manifestJson({ Layers: ['layer.tar'] })],
      ['./manifest.json', manifestJson({ Layers: ['layer.tar'], RepoTags: ['other:1'] })],
    ]),
    'INVALID_ARCHIVE',
    /entry "manifest\.json": the archive has two entries of this name, and they differ$/,
  ],
  [
    'a file and a folder of one name',
    archive({ x: 'x', 'x/': '' }),
    'INVALID_ARCHIVE',
    /entry "x": .* two entries/,
  ],
  [
    '__proto__ twice',
    archive([
      ['__proto__', 'a'],
      ['__proto__', 'b'],
    ]),
    'INVALID_ARCHIVE',
    /"__proto__": .* two/,
  ],
  [
    '__proto__ as a layer that is not there',
    archive({ 'manifest.json': manifestJson({ Layers: ['__proto__'] }) }),
    'INVALID_ARCHIVE',
    /entry "manifest\.json": layer "__proto__" is not in the archive$/,
  ],
  [
    '__proto__ in LayerSources',
    archive({
      'manifest.json': manifestJson({ Layers: ['constructor'] }).replace(
        '{',
        '{"LayerSources":{"__proto__":{}},',
      ),
    }),
    'UNSUPPORTED_IMAGE',
    /entry "manifest\.json": .*LayerSources/,
  ],
  [
    'a name of two images in manifest.json',
    archive({
      'other.json': OTHER.config.bytes,
      'other.tar': OTHER.layers[0]?.blob ?? '',
      'manifest.json': JSON.stringify([
        { Config: 'config.json', RepoTags: ['app'], Layers: ['layer.tar'] },
        { Config: 'other.json', RepoTags: ['docker.io/library/app:latest'], Layers: ['other.tar'] },
      ]),
    }),
    'INVALID_ARCHIVE',
    /the name "docker\.io\/library\/app:latest" stands for two images$/,
  ],
  [
    'a name that stands for other images in manifest.json and index.json',
    archive({
      ...blobsOf(OTHER),
      'index.json': indexJson([OTHER.manifest, { 'io.containerd.image.name': 'example.com/team/app:1' }]),
    }),
    'INVALID_ARCHIVE',
    /the name "example\.com\/team\/app:1" stands for two images$/,
  ],
  [
    'a path of a layer with ..',
    archive({ 'manifest.json': manifestJson({ Layers: ['../layer.tar'] }) }),
    'INVALID_ARCHIVE',
    /it refers to "\.\.\/layer\.tar", which contains "\.\."$/,
  ],
  [
    'a large manifest.json',
    archive({ 'manifest.json': zeros(2 ** 20 + 1) }),
    'IMAGE_TOO_LARGE',
    /"manifest\.json" has 1048577 bytes, more than 1048576$/,
  ],
  [
    'a large config',
    archive({ 'config.json': `${' '.repeat(4 * 2 ** 20)}{}` }),
    'IMAGE_TOO_LARGE',
    /"config\.json" has 4194306 bytes/,
  ],
  [
    'a large index.json',
    layout({ 'index.json': `${' '.repeat(4 * 2 ** 20)}{}` }),
    'IMAGE_TOO_LARGE',
    /"index\.json" has/,
  ],
  [
    'documents that are large together',
    archive({
      ...Object.fromEntries(
        Array.from({ length: 5 }, (_, at) => [`c${at}.json`, `{"a":"${'x'.repeat(4e6)}"}`]),
      ),
      'manifest.json': JSON.stringify(Array.from({ length: 5 }, (_, at) => ({ Config: `c${at}.json` }))),
    }),
    'IMAGE_TOO_LARGE',
    /its documents have more than 16777216 bytes$/,
  ],
  [
    'a config of many values',
    archive({ 'config.json': `{"a":[${'[],'.repeat(200_000)}[]]}` }),
    'IMAGE_TOO_LARGE',
    /its documents have more than 200000 values$/,
  ],
  [
    'many images',
    archive({
      'manifest.json': JSON.stringify(Array.from({ length: 1001 }, () => ({ Config: 'config.json' }))),
    }),
    'IMAGE_TOO_LARGE',
    /manifest\.json names more than 1000 images$/,
  ],
  [
    'many layers',
    archive({ 'manifest.json': manifestJson({ Layers: Array.from({ length: 1001 }, () => 'l') }) }),
    'IMAGE_TOO_LARGE',
    /more than 1000 layers$/,
  ],
  [
    'many names',
    tarOf(Array.from({ length: 4300 }, (_, at) => [`${'x'.repeat(3990)}${at}`, ''] as const)),
    'IMAGE_TOO_LARGE',
    /the names of its entries/,
  ],
  [
    'indexes in each other',
    (() => {
      const deep = Array.from({ length: 6 }).reduce<ReturnType<typeof makeIndex>[]>(
        (all) => [makeIndex([{ image: all[0] ?? OCI }]), ...all],
        [],
      );
      const blobs = deep.map(
        ({ manifest }) => [`blobs/sha256/${hexOf(manifest.digest)}`, manifest.bytes] as const,
      );
      return layout({
        ...Object.fromEntries(blobs),
        'index.json': indexJson([deep[0]?.manifest ?? OCI.manifest, NAMES]),
      });
    })(),
    'IMAGE_TOO_LARGE',
    /more than 3 indexes in each other$/,
  ],
  [
    'an index that grows',
    (() => {
      const one = makeIndex(Array.from({ length: 150 }, () => ({ image: OCI })));
      const two = makeIndex(Array.from({ length: 150 }, () => ({ image: one })));
      const blobs = [one, two].map(
        ({ manifest }) => [`blobs/sha256/${hexOf(manifest.digest)}`, manifest.bytes] as const,
      );
      return layout({ ...Object.fromEntries(blobs), 'index.json': indexJson([two.manifest, NAMES]) });
    })(),
    'IMAGE_TOO_LARGE',
    /names? more than (?:10000 manifests|1000 images)$/,
  ],
  ['no manifest', tarOf({ a: 'x' }), 'INVALID_ARCHIVE', /neither manifest\.json nor index\.json/],
  [
    'an archive of Docker before 1.10',
    tarOf({ 'a/layer.tar': LAYER, 'a/json': '{}', 'a/VERSION': '1.0', repositories: '{}' }),
    'INVALID_ARCHIVE',
    /no manifest\.json, as archives of Docker before 1\.10/,
  ],
  [
    'null as manifest',
    archive({ 'manifest.json': 'null' }),
    'INVALID_ARCHIVE',
    /"manifest\.json": it is null$/,
  ],
  ['a manifest of no images', archive({ 'manifest.json': '[]' }), 'INVALID_ARCHIVE', /it holds no image$/],
  [
    'a manifest that is no list',
    archive({ 'manifest.json': '{}' }),
    'INVALID_ARCHIVE',
    /it is no list of images$/,
  ],
  [
    'a manifest that is no JSON',
    archive({ 'manifest.json': '[' }),
    'INVALID_ARCHIVE',
    /"manifest\.json": it is not JSON$/,
  ],
  [
    'a manifest that is text',
    archive({ 'manifest.json': 'hello' }),
    'INVALID_ARCHIVE',
    /"manifest\.json": it is not JSON$/,
  ],
  [
    'an empty manifest',
    archive({ 'manifest.json': '' }),
    'INVALID_ARCHIVE',
    /"manifest\.json": it is not JSON$/,
  ],
  ['no config', archive({ 'manifest.json': '[{}]' }), 'INVALID_ARCHIVE', /\[0\]\.Config is no path$/],
  [
    'a field in two spellings, of which Go takes the last',
    archive({ 'manifest.json': manifestJson({ Layers: ['layer.tar'], layers: ['config.json'] }) }),
    'INVALID_ARCHIVE',
    /\[0\] has the field "Layers" in two spellings$/,
  ],
  [
    'a field with a long s, which Go takes for an s',
    archive({ 'manifest.json': manifestJson({ Layers: ['layer.tar'], Layerſ: ['config.json'] }) }),
    'INVALID_ARCHIVE',
    /\[0\] has the field "Layers" in two spellings$/,
  ],
  [
    'a config that is not there',
    archive({ 'manifest.json': manifestJson({ Config: 'none.json' }) }),
    'INVALID_ARCHIVE',
    /config "none\.json" is not in the archive$/,
  ],
  [
    'no diff IDs',
    archive({ 'config.json': '{"rootfs":{"diff_ids":[]}}' }),
    'UNSUPPORTED_IMAGE',
    /entry "config\.json": .*the manifest has 1 layers, rootfs\.diff_ids 0$/,
  ],
  [
    'more diff IDs than layers',
    archive({ 'manifest.json': manifestJson({ Layers: [] }) }),
    'UNSUPPORTED_IMAGE',
    /entry "config\.json": .*the manifest has 0 layers, rootfs\.diff_ids 1$/,
  ],
  [
    'a config with another name than its digest',
    archive({
      [`${'0'.repeat(64)}.json`]: IMAGE.config.bytes,
      'manifest.json': manifestJson({ Config: `${'0'.repeat(64)}.json`, Layers: ['layer.tar'] }),
    }),
    'VERIFICATION_FAILED',
    /Cannot verify archive entry "0{64}\.json": expected sha256:0{64}/,
  ],
  [
    'an unknown version of the layout',
    layout({ 'oci-layout': '{"imageLayoutVersion":"2.0.0"}' }),
    'INVALID_ARCHIVE',
    /imageLayoutVersion is "2\.0\.0"/,
  ],
  [
    'a manifest that is not there',
    layout({ 'index.json': wrongIndex({ digest: sha256('x') }) }),
    'INVALID_ARCHIVE',
    /"index\.json": it names sha256:2d711642/,
  ],
  [
    'a manifest of another size',
    layout({ 'index.json': wrongIndex({ size: 1 }) }),
    'VERIFICATION_FAILED',
    /its descriptor says 1$/,
  ],
  [
    'a manifest of another digest',
    layout({
      [`blobs/sha256/${hexOf(OCI.manifest.digest)}`]: OCI.manifest.bytes.toString().replace('2', '3'),
    }),
    'VERIFICATION_FAILED',
    /expected sha256:/,
  ],
  [
    'a layer of another size',
    layout({ [layerBlob]: 'x' }),
    'VERIFICATION_FAILED',
    /it has 1 bytes, its descriptor says/,
  ],
];

describe('refuses, whether it opens or verifies,', () => {
  let folder = '';
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hostile-'));
  });
  after(() => rm(folder, { recursive: true }));

  for (const [what, bytes, code, message] of HOSTILE) {
    test(what, async () => {
      const file = join(folder, 'archive');
      await writeFile(file, bytes);
      for (const source of [file, bytes, gzipSync(bytes, { level: 1 })]) {
        await assert.rejects(verify(source), { code, message });
        await assert.rejects(open(source), { code, message });
      }
      assert.deepEqual(await readdir(folder), ['archive']);
    });
  }
});

describe('refuses when it reads layers', () => {
  const bomb = gzipSync(zeros(8 * 2 ** 20));
  const wrong: readonly (readonly [what: string, archive: Buffer, code: ErrorCode, message: RegExp])[] = [
    [
      'of another diff ID',
      archive({ 'layer.tar': zeros(1024) }),
      'VERIFICATION_FAILED',
      /layer "layer\.tar": expected sha256:/,
    ],
    [
      'that are damaged',
      archive({ 'layer.tar': gzipSync(LAYER).subarray(0, -9) }),
      'VERIFICATION_FAILED',
      /"layer\.tar": its gzip stream is damaged/,
    ],
    [
      'in xz',
      archive({ 'layer.tar': Buffer.from('\xfd7zXZ\0----------', 'latin1') }),
      'UNSUPPORTED_IMAGE',
      /"layer\.tar": it is compressed with xz$/,
    ],
    [
      'of another digest',
      layout({ [layerBlob]: Buffer.alloc(OCI.layers[0]?.blob.length ?? 0, 1) }),
      'VERIFICATION_FAILED',
      /expected sha256:/,
    ],
  ];
  for (const [what, bytes, code, message] of wrong) {
    test(what, async () => {
      for (const source of [bytes, zstdCompressSync(bytes)]) {
        await assert.rejects(verify(source), { code, message });
        await using opened = await open(source);
        const [layer] = (await (await opened.image()).layers().catch((error: unknown) => {
          assert.match(String(error), message);
          return [];
        })) as readonly {
          uncompressed(): AsyncIterable<Uint8Array>;
          compressed(): AsyncIterable<Uint8Array>;
        }[];
        if (layer === undefined) continue;
        await assert.rejects(
          async () => {
            for await (const _ of layer.compressed());
            for await (const _ of layer.uncompressed());
          },
          { code },
        );
      }
    });
  }

  test('a name that is neither digest nor diff ID', async () => {
    const name = `${'1'.repeat(64)}.tar.gz`;
    const bytes = archive({ [name]: LAYER, 'manifest.json': manifestJson({ Layers: [name] }) });
    await assert.rejects(verify(bytes), {
      code: 'VERIFICATION_FAILED',
      message: /its name is neither its digest nor/,
    });
  });

  test('a blob that nothing refers to, and that is not what its name says', async () => {
    const bytes = layout({ [`blobs/sha256/${'1'.repeat(64)}`]: 'x' });
    for (const source of [bytes, gzipSync(bytes)]) {
      await assert.rejects(verify(source), {
        code: 'VERIFICATION_FAILED',
        message: /"blobs\/sha256\/1{64}": expected/,
      });
    }
  });

  test('a bomb: as a layer, and around the archive', async () => {
    const limit = { maxUncompressedBytes: 4 * 2 ** 20 };
    for (const source of [archive({ 'layer.tar': bomb }), gzipSync(archive({ x: zeros(8 * 2 ** 20) }))]) {
      await assert.rejects(verify(source, limit), {
        code: 'IMAGE_TOO_LARGE',
        message: /more than 4194304 bytes/,
      });
    }
    await assert.rejects(open(gzipSync(archive({ x: zeros(8 * 2 ** 20) })), limit), {
      code: 'IMAGE_TOO_LARGE',
    });
  });

  test('but not a bomb that is no layer', async () => {
    const source = archive({ bomb });
    const limit = { maxUncompressedBytes: 2 ** 20 };
    assert.equal((await verify(source, limit)).images.length, 1);
    assert.equal((await verify(streamOf(source), limit)).images.length, 1);
  });
});

async function* streamOf(bytes: Buffer): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += 65_536) yield Uint8Array.from(bytes.subarray(at, at + 65_536));
}

describe('refuses by name', () => {
  const outside: readonly (readonly [format: string, bytes: Buffer])[] = [
    ['xz', Buffer.from('\xfd7zXZ\0----------', 'latin1')],
    ['bzip2', Buffer.from('BZh91AY&SY------', 'latin1')],
  ];
  for (const [format, bytes] of outside) {
    test(`${format} around the archive`, async () => {
      const expected = {
        code: 'UNSUPPORTED_IMAGE',
        message: `Cannot unpack archive: it is compressed with ${format}`,
      };
      for (const source of [bytes, streamOf(bytes)]) await assert.rejects(verify(source), expected);
      await assert.rejects(open(bytes), expected);
    });
  }

  test('a file that is not there, and a folder', async () => {
    await assert.rejects(verify('/nowhere/x.tar'), {
      code: 'INVALID_ARCHIVE',
      message: /ENOENT.*\/nowhere\/x\.tar/,
    });
    await assert.rejects(open(tmpdir()), { code: 'INVALID_ARCHIVE', message: /is a folder$/ });
  });

  test('a stream of text', async () => {
    const text = (async function* () {
      yield 'text' as unknown as Uint8Array;
    })();
    await assert.rejects(verify(text), TypeError);
  });
});
