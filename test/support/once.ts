/**
 * What `npm test` makes once for all test files: each file is a process of its own. A file that runs alone makes what it needs.
 */

import { rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from '../../scripts/build.ts';
import { BUILT_MAIN, CACHE } from './shared.ts';

/** Called by Node before the first test file. */
export async function globalSetup(): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'once-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true, maxRetries: 5 }));
  // A cache of this run alone: none that is out of date is ever read.
  process.env[CACHE] = join(folder, 'compiled');
  try {
    await build(join(folder, 'built'));
    process.env[BUILT_MAIN] = join(folder, 'built', 'main.js');
  } catch {
    // The tests that need it fail, and say why.
  }
}
