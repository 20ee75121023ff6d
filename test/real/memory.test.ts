/** The memory that the service takes for a large image, in a process of its own. */
import { match } from 'node:assert/strict';
import { execPath } from 'node:process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { run } from './parts.ts';

const SCRIPT = fileURLToPath(new URL('../../scripts/check/measure-memory.ts', import.meta.url));

/** Milliseconds that making, preparing and sending the image may take: several times what it takes. */
const LIMIT = 180_000;

test('an image of more than 1 GB is prepared and sent within 200 MiB of resident memory', async (t) => {
  // The script ends with another exit code above the bound, and `run` rejects then.
  const printed = await run(execPath, [SCRIPT], { timeout: LIMIT });
  for (const line of printed.trim().split('\n')) t.diagnostic(line);
  match(printed, /^archive +1\.\d+ GB/m);
});
