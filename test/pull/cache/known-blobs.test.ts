import assert from 'node:assert/strict';
import test from 'node:test';
import { KnownBlobs } from '../../../src/pull/cache/known-blobs.ts';
import { documentOf, HERE, OTHERS } from './repositories.ts';

test('a blob is known for the repository that has it, and for no other', () => {
  const blobs = new KnownBlobs();
  const { digest } = documentOf('layer');
  blobs.add(HERE, digest);
  assert.equal(blobs.has(HERE, digest), true);
  for (const other of OTHERS) assert.equal(blobs.has(other, digest), false);
});

test('the blob that was used least recently is forgotten when there are too many', () => {
  const blobs = new KnownBlobs();
  const [first, second] = [documentOf('first').digest, documentOf('second').digest];
  blobs.add(HERE, first);
  blobs.add(HERE, second);
  for (let number = 0; number < 19_998; number += 1) blobs.add(HERE, `sha256:${number}`);
  assert.equal(blobs.has(HERE, first), true, 'all that fit are known');
  blobs.add(HERE, 'sha256:one-too-many');
  assert.equal(blobs.has(HERE, second), false);
  assert.equal(blobs.has(HERE, first), true);
});
