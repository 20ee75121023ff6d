/**
 * Gives the process of a test file a temporary folder of its own, so that the test can say what is left in it: the system's folder
 * has files of tests that run at the same time. A test file imports this before all else, since the product may look up the folder
 * when it is loaded. The folder is removed with the process.
 */

import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ownFolder } from './leave-nothing.ts';

process.env['TMPDIR'] = mkdtempSync(join(tmpdir(), 'own-'));
ownFolder(tmpdir());
