import assert from 'node:assert/strict';
import { mkdtemp, open, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import fc from 'fast-check';
import { encodeTar, headerBlocks, tarSize } from '../../src/tar/encoder.ts';
import { paddingAfter, type TarEntry } from '../../src/tar/header.ts';
import { type Listed, readers } from './readers.ts';
import { GIB_8, type Sample, samples, samplesAtBoundaries } from './samples.ts';

async function withFolder(use: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'tar-test-'));
  try {
    await use(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

function expectedList(entries: readonly TarEntry[]): Listed[] {
  return entries.map(({ name, type, size, mode, mtime = 0 }) => ({
    name: name.replace(/\/$/, ''),
    type,
    size,
    mode: mode ?? (type === 'directory' ? 0o755 : 0o644),
    mtime,
    uid: 0,
    gid: 0,
  }));
}

/** Compares one by one, so that a failure shows only one entry. */
function assertSame<T>(actual: readonly T[], expected: readonly T[]): void {
  for (const [index, entry] of expected.entries()) assert.deepEqual(actual[index], entry);
  assert.equal(actual.length, expected.length);
}

const byName = (list: readonly Listed[]) =>
  list.toSorted((a, b) => Buffer.compare(Buffer.from(a.name), Buffer.from(b.name)));

const namesAndSizes = (list: readonly Pick<Listed, 'name' | 'size'>[]) =>
  list.map(({ name, size }) => ({ name, size }));

for (const reader of readers) {
  const options = { skip: reader.skip };

  test(`${reader.name} lists names at every boundary of the format unchanged`, options, async () => {
    await withFolder(async (folder) => {
      const entries = samplesAtBoundaries();
      const archive = join(folder, 'archive.tar');
      await writeFile(archive, encodeTar(entries));
      assertSame(byName(await reader.list(archive)), byName(expectedList(entries)));
      assertSame(namesAndSizes(await reader.sizes(archive)), namesAndSizes(expectedList(entries)));
    });
  });

  test(`${reader.name} lists random entries unchanged`, options, async () => {
    await withFolder(async (folder) => {
      const archive = join(folder, 'archive.tar');
      const property = fc.asyncProperty(samples(60), async (entries) => {
        await writeFile(archive, encodeTar(entries));
        assertSame(byName(await reader.list(archive)), byName(expectedList(entries)));
      });
      await fc.assert(property, { numRuns: 8 });
    });
  });

  test(`${reader.name} extracts the entries unchanged`, options, async () => {
    await withFolder(async (folder) => {
      // File systems allow at most 255 bytes in a segment.
      const entries: Sample[] = samplesAtBoundaries()
        .filter(({ name }) => name.split('/').every((segment) => Buffer.byteLength(segment) <= 255))
        .map((entry, index) => ({ ...entry, mtime: 1_000_000_000 + index, mode: index % 2 ? 0o700 : 0o755 }));
      const archive = join(folder, 'archive.tar');
      const target = await mkdtemp(join(folder, 'target-'));
      await writeFile(archive, encodeTar(entries));
      await reader.extract(archive, target);
      for (const entry of entries) {
        const path = join(target, entry.name);
        const { mode, mtimeMs } = await stat(path);
        assert.deepEqual([mode & 0o7777, mtimeMs / 1000], [entry.mode, entry.mtime], entry.name);
        if (entry.type === 'file') assert.deepEqual(new Uint8Array(await readFile(path)), entry.content);
        else assert.deepEqual(await readdir(path), []);
      }
    });
  });

  test(`${reader.name} seeks over contents of about 8 GiB`, options, async () => {
    await withFolder(async (folder) => {
      const long = (size: number) => ({ name: `${'é'.repeat(200)}${size}`, type: 'file', size }) as const;
      const entries: TarEntry[] = [
        ...[GIB_8 - 1, GIB_8, GIB_8 + 1].map((size) => ({ name: `${size}`, type: 'file', size }) as const),
        long(GIB_8 + 513),
        { name: 'last', type: 'directory', size: 0 },
      ];
      const archive = join(folder, 'archive.tar');
      const handle = await open(archive, 'w');
      let at = 0;
      for (const entry of entries) {
        const blocks = headerBlocks(entry);
        await handle.write(blocks, 0, blocks.length, at);
        at += blocks.length + entry.size + paddingAfter(entry.size);
      }
      await handle.truncate(tarSize(entries));
      await handle.close();
      // A reader that does not seek reads 32 GiB and times out.
      assertSame(namesAndSizes(await reader.sizes(archive)), namesAndSizes(entries));
    });
  });
}
