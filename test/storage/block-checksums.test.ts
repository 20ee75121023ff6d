import assert from 'node:assert/strict';
import test from 'node:test';
import { crc32 } from 'node:zlib';
import { BLOCK_BYTES, BlockChecksums } from '../../src/storage/block-checksums.ts';
import { patternOf } from './folder.ts';

/** The expected checksums, each computed from its whole block. */
function expected(bytes: Buffer): number[] {
  const blocks = Array.from({ length: Math.ceil(bytes.length / BLOCK_BYTES) }, (_, index) =>
    bytes.subarray(index * BLOCK_BYTES, (index + 1) * BLOCK_BYTES),
  );
  return blocks.map((block) => crc32(block));
}

for (const size of [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 3 * BLOCK_BYTES, 200_001]) {
  for (const step of [1000, BLOCK_BYTES, 100_000]) {
    test(`the checksums of ${size} bytes in chunks of ${step} are those of the blocks`, () => {
      const bytes = patternOf(size);
      const checksums = new BlockChecksums();
      for (let at = 0; at < size; at += step) checksums.update(bytes.subarray(at, at + step));
      const table = checksums.table();
      assert.equal(checksums.size, size);
      const counted = Array.from({ length: table.length / 4 }, (_, index) => table.readUInt32LE(index * 4));
      assert.deepEqual(counted, expected(bytes));
    });
  }
}
