import assert from 'node:assert/strict';
import test from 'node:test';
import type { Digest } from '../../src/image/digest.ts';
import { RepositoryContents } from '../../src/pull/repository-contents.ts';

/** Most facts: `MAX_FACTS`. */
const MAX_FACTS = 20_000;

const REPOSITORY = { origin: 'https://registry.example.com', name: 'team/app' };

const digestOf = (index: number): Digest => `sha256:${String(index).padStart(64, '0')}`;

test('known blobs are bounded: the oldest goes for one too many, and no other', () => {
  const contents = new RepositoryContents();
  const isKnown = (index: number) => contents.has(REPOSITORY, digestOf(index));
  for (let index = 0; index < MAX_FACTS; index += 1) contents.add(REPOSITORY, digestOf(index));
  const unknown = () =>
    Array.from({ length: MAX_FACTS }, (_, index) => index).filter((index) => !isKnown(index));
  assert.deepEqual(unknown(), []);
  contents.add(REPOSITORY, digestOf(MAX_FACTS));
  assert.deepEqual(unknown(), [0]);
  assert.equal(isKnown(MAX_FACTS), true);
  contents.add(REPOSITORY, digestOf(MAX_FACTS + 1));
  assert.deepEqual(unknown(), [0, 1]);
});
