import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Digest } from '../../../src/image/digest.ts';
import type { IndexEntry } from '../../../src/image/manifest.ts';
import { checkPlatform, EntryChoice } from '../../../src/pull/documents/choose-entry.ts';

const AMD64 = { os: 'linux', architecture: 'amd64' };

function entryFor(architecture: string | undefined, index: number): IndexEntry {
  const digest: Digest = `sha256:${index.toString(16).padStart(64, '0')}`;
  const descriptor = { mediaType: 'application/vnd.oci.image.manifest.v1+json', digest, size: 1 };
  return architecture === undefined ? descriptor : { ...descriptor, platform: { os: 'linux', architecture } };
}

function choiceOf(...architectures: readonly (string | undefined)[]): EntryChoice {
  const choice = new EntryChoice(AMD64);
  for (const [index, architecture] of architectures.entries())
    choice.add(entryFor(architecture, index), true);
  return choice;
}

const notFound = (list: string) => ({
  code: 'PLATFORM_NOT_FOUND',
  message: `Cannot find platform "linux/amd64": the image offers ${list}`,
});

test('the first of the entries that fit best is chosen', () => {
  assert.deepEqual(choiceOf('386', 'arm64', 'amd64', 'amd64').entry, entryFor('amd64', 2));
  assert.deepEqual(choiceOf(undefined, 'arm64').entry, entryFor(undefined, 0));
  const choice = new EntryChoice(AMD64);
  choice.add(entryFor('amd64', 0), false);
  assert.throws(() => choice.entry, notFound('none'));
});

test('an error lists eight platforms, and says how many there are', () => {
  const names = Array.from({ length: 25_000 }, (_, index) => `a${index}`);
  assert.throws(
    () => choiceOf(...names.slice(0, 8)).entry,
    notFound('linux/a0, linux/a1, linux/a2, linux/a3, linux/a4, linux/a5, linux/a6, linux/a7'),
  );
  assert.throws(
    () => choiceOf(...names).entry,
    notFound(
      '25000 platforms: linux/a0, linux/a1, linux/a2, linux/a3, linux/a4, linux/a5, linux/a6, linux/a7 and 24992 more',
    ),
  );
});

test('names of platforms in an error are short and printable', () => {
  assert.throws(() => choiceOf('\u001b]0;title\u0007\n').entry, notFound('linux/\\u001b]0;title\\u0007\\n'));
  assert.throws(
    () => choiceOf('x'.repeat(2_000_000)).entry,
    (error: unknown) => error instanceof Error && error.message.length < 200,
  );
  assert.throws(
    () => checkPlatform(AMD64, { os: 'linux', architecture: '\u202e' }),
    notFound('linux/\\u202e'),
  );
});
