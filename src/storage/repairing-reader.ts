import { isPassthroughError } from '../errors.ts';
import type { ByteRange } from '../tar/encoder.ts';
import type { Stored } from './store.ts';

/**
 * Reads a stored file, or a part of it. If the file turns out to be damaged, the rest comes from a new copy, so that the reader
 * loses time only.
 *
 * @param refetch fetches the same content again; its file is released here
 * @throws PassthroughError `DAMAGED` if the new copy is damaged, too; what `refetch` throws
 */
export async function* readRepairing(
  file: Stored,
  range: ByteRange = { start: 0, end: file.size },
  refetch: () => Promise<Stored>,
): AsyncGenerator<Uint8Array, void, undefined> {
  let { start } = range;
  try {
    for await (const chunk of file.read(range)) {
      start += chunk.byteLength;
      yield chunk;
    }
    return;
  } catch (error) {
    if (!isPassthroughError(error, 'DAMAGED')) throw error;
  }
  const copy = await refetch();
  try {
    yield* copy.read({ start, end: range.end });
  } finally {
    copy.release();
  }
}
