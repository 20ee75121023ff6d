/** Streams for tests. */

/** Chunks of one length, and then a failure, if any. */
export async function* chunksOf(
  bytes: Uint8Array,
  length: number,
  failure?: Error,
): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += length) yield bytes.subarray(at, at + length);
  if (failure !== undefined) throw failure;
}

/**
 * A stream that counts the chunks that were read, and shows whether it was closed.
 *
 * @param onChunk receives the number of chunks before the next one
 */
export function watched(chunks: Iterable<Uint8Array>, onChunk: (count: number) => unknown = () => undefined) {
  const seen = { chunks: 0, isClosed: false };
  async function* source(): AsyncGenerator<Uint8Array> {
    try {
      for (const chunk of chunks) {
        onChunk(seen.chunks);
        seen.chunks += 1;
        yield chunk;
      }
    } finally {
      seen.isClosed = true;
    }
  }
  return { seen, source: source() };
}
