/** The pictures of the documents show what the program does today. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { terminalPicture } from '../../scripts/docs/terminal.ts';
import { namesIn, tracePicture } from '../../scripts/docs/trace-picture.ts';
import { readPage } from './markdown.ts';

/** Bytes: readers fetch the picture with the README. */
const MAX_PICTURE_BYTES = 60 * 1024;

/** What to do about an old picture. */
const STALE = 'out of date: npm run docs:pictures';

test('the terminal of the README is a recording of these commands', async () => {
  const picture = await readPage('docs/pictures/terminal.svg');
  assert.equal(picture, await terminalPicture(), STALE);
  assert.ok(Buffer.byteLength(picture) <= MAX_PICTURE_BYTES);
});

test('the trace has the spans of a pull, in their order', async () => {
  const names = namesIn(await readPage('docs/pictures/trace.svg'));
  assert.ok(names.length > 10);
  assert.deepEqual(names, namesIn(await tracePicture()), STALE);
});
