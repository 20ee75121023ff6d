/**
 * `npm run docs:pictures`: writes the pictures of the documents, in docs/pictures: a recorded terminal and a recorded trace. A test
 * compares them with a new run.
 */

import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { terminalPicture } from './terminal.ts';
import { tracePicture } from './trace-picture.ts';

/** Where the pictures are. */
export const PICTURES = join(import.meta.dirname, '..', '..', 'docs', 'pictures');

if (import.meta.main) {
  await mkdir(PICTURES, { recursive: true });
  await writeFile(join(PICTURES, 'terminal.svg'), await terminalPicture());
  await writeFile(join(PICTURES, 'trace.svg'), await tracePicture());
}
