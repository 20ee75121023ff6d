import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import type { ByteSource } from '../../src/tarball/source/archive-source.ts';
import { type ArchiveReport, verify } from '../../src/tarball/verify.ts';
import { FLAVOURS, type Flavour, IMAGE, PLAIN_IMAGE, TAG, tarOf } from './flavours.ts';

/** Gives a stream of short chunks, whose memory may be reused. */
async function* streamOf(bytes: Buffer): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += 1000) yield Uint8Array.from(bytes.subarray(at, at + 1000));
}

function expected({ form, tags = [TAG] }: Flavour): ArchiveReport {
  const image = form === 'gzip' ? IMAGE : PLAIN_IMAGE;
  const layers = image.layers.map(({ diffId, digest, blob }) => ({ diffId, digest, size: blob.length }));
  const images = [{ tags, config: IMAGE.config.digest, platform: 'linux/arm/v7', layers }];
  return JSON.parse(JSON.stringify({ images })) as ArchiveReport;
}

/** A report with the digests of SHA-256 in the place of those of SHA-512, by flavour. */
const bySha256 = new Map([
  [
    'OCI layout by SHA-512',
    ({ images: [image] }: ArchiveReport): ArchiveReport => {
      const digests = image?.layers.map(({ digest }) => digest) ?? [];
      assert.ok([image?.config, ...digests].every((digest) => digest?.startsWith('sha512:')));
      const layers = (image?.layers ?? []).map((layer, index) => ({
        ...layer,
        digest: IMAGE.layers[index]?.digest as ArchiveReport['images'][0]['config'],
      }));
      return {
        images: [
          { ...expected({ files: {}, form: 'gzip' }).images[0], layers } as ArchiveReport['images'][0],
        ],
      };
    },
  ],
]);

describe('tells what is in an archive of', () => {
  let folder = '';
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'verify-'));
  });
  after(() => rm(folder, { recursive: true }));

  for (const [what, flavour] of Object.entries(FLAVOURS)) {
    test(what, async () => {
      const tar = tarOf(flavour.files);
      const file = join(folder, 'archive');
      await writeFile(file, tar);
      const sources: readonly (readonly [form: string, source: ByteSource])[] = [
        ['file', file],
        ['bytes', tar],
        ['blob', new Blob([Uint8Array.from(tar)])],
        ['stream', streamOf(tar)],
        ['opener', async () => streamOf(tar)],
        ['gzip', gzipSync(tar)],
        ['zstd', streamOf(zstdCompressSync(tar))],
      ];
      for (const [form, source] of sources) {
        const report = await verify(source);
        assert.deepEqual(bySha256.get(what)?.(report) ?? report, expected(flavour), form);
      }
      assert.deepEqual(await readdir(folder), ['archive'], 'nothing is written');
    });
  }
});
