import assert from 'node:assert/strict';
import { test } from 'node:test';
import { imageTags } from '../../scripts/image-tags.ts';

const COMMIT = '0123456789abcdef0123456789abcdef01234567';
const SHA = 'sha-0123456789ab';

const TABLE: readonly [ref: string, tags: readonly string[] | undefined][] = [
  ['refs/heads/main', ['main', SHA, 'latest']],
  ['refs/tags/v0.1.0', ['0.1.0', '0.1', SHA]],
  ['refs/tags/v12.34.56', ['12.34.56', '12.34', SHA]],
  ['refs/tags/v0.2.0-rc.1', ['0.2.0-rc.1', SHA]],
  ['refs/heads/fix/slow', ['fix-slow', SHA]],
  ['refs/heads/latest', undefined],
  ['refs/heads/0.1', undefined],
  ['refs/heads/-x', undefined],
  ['refs/tags/nightly', undefined],
  ['refs/pull/7/merge', undefined],
  ['', undefined],
];

for (const [ref, tags] of TABLE) {
  test(`${ref || 'no ref'} gives ${tags?.join(', ') ?? 'an error'}`, () => {
    if (tags === undefined) assert.throws(() => imageTags(ref, COMMIT), /Cannot publish an image from/);
    else assert.deepEqual(imageTags(ref, COMMIT), tags);
  });
}

test('a commit is all of its digits', () => {
  assert.throws(() => imageTags('refs/heads/main', 'abc'), /Cannot use "abc" as a commit/);
});
