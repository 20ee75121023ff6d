import assert from 'node:assert/strict';
import test from 'node:test';
import { KnownBlobs } from '../../../src/pull/layers/known-blobs.ts';
import { documentOf, HERE, OTHERS } from '../cache/repositories.ts';

test('a blob is known for the repository that has it, and for no other', () => {
  const blobs = new KnownBlobs();
  const { digest } = documentOf('layer');
  blobs.add(HERE, digest);
  assert.equal(blobs.has(HERE, digest), true);
  for (const other of OTHERS) assert.equal(blobs.has(other, digest), false);
});

test('the blob that was used least recently is forgotten when they take 4 MiB, the longest names included', () => {
  const long = { origin: `https://${'h'.repeat(200)}.example`, name: 'n'.repeat(255) };
  for (const [repository, atLeast, atMost] of [
    [HERE, 15_000, 35_000],
    [long, 5_000, 8_000],
  ] as const) {
    const blobs = new KnownBlobs();
    const [first, second] = [documentOf('first').digest, documentOf('second').digest];
    blobs.add(repository, first);
    blobs.add(repository, second);
    const digestOf = (number: number) => `sha256:${number.toString(16).padStart(64, '0')}` as const;
    for (let number = 0; number < atLeast; number += 1) blobs.add(repository, digestOf(number));
    assert.equal(blobs.has(repository, first), true, 'all that fit are known');
    for (let number = atLeast; number < atMost; number += 1) {
      blobs.add(repository, digestOf(number));
      blobs.has(repository, first);
    }
    assert.equal(blobs.has(repository, second), false);
    assert.equal(blobs.has(repository, first), true);
  }
});
