/**
 * `node first-failure.ts <test file>…`: runs test files one after another, in the order given, which `node --test` does not
 * keep. Writes a line for each test that ends: `ok`, or `not ok` with file and name, after which it stops.
 */

import { relative } from 'node:path';
import { run } from 'node:test';

const events = run({ files: process.argv.slice(2), concurrency: 1, forceExit: true });
// Fires when a test ends, before the report that waits for the tests above it.
events.on('test:complete', ({ name, file, details }) => {
  if (details.passed) return void process.stdout.write('ok\n');
  const where = relative(process.cwd(), file ?? name);
  process.stdout.write(`not ok ${where}: ${name}\n`, () => process.exit(1));
});
events.resume();
