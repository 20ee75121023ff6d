/** Documents of tests that have no store: large ones lie in memory, too. */

import type { Content } from '../../src/util/content.ts';
import { Documents } from '../../src/util/documents.ts';
import { MemoryBudget } from '../../src/util/memory-budget.ts';
import type { SpoolFile } from '../../src/util/spool.ts';
import { readAll } from './collect.ts';

/** Longer than any test runs. */
const WAIT_MS = 60_000;

/** A budget that is never exhausted. */
export function ampleMemory(): MemoryBudget {
  return new MemoryBudget({ maxBytes: 256 * 1024 * 1024, maxWaitMs: WAIT_MS });
}

/** Documents whose files are buffers. */
export function documentsInMemory(memory = ampleMemory()): Documents {
  return new Documents({ memory, openFile: async () => bufferFile() });
}

/** All bytes of some content, which is released. */
export async function bytesOf(content: Content): Promise<Buffer> {
  try {
    return await readAll(content.read());
  } finally {
    content.release();
  }
}

/** A file of a spool in memory. */
function bufferFile(): SpoolFile {
  const parts: Buffer[] = [];
  return {
    write: async (bytes) => void parts.push(Buffer.from(bytes)),
    abandon: async () => undefined,
    finish: async () => {
      const whole = Buffer.concat(parts);
      return {
        size: whole.length,
        readWhole: async () => whole,
        release: () => undefined,
        async *read({ start, end } = { start: 0, end: whole.length }) {
          yield whole.subarray(start, end);
        },
      };
    },
  };
}
