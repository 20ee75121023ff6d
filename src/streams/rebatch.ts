import { ownChunk, releaseChunk } from './chunk.ts';

/**
 * Joins the chunks of a stream to larger ones. A socket gives 64 KiB at a time. A call that passes a chunk to another thread
 * costs far more than copying it.
 *
 * @param source its chunks are taken over, and released after they were copied
 * @param bytes least length of a chunk, except the last
 * @returns joined chunks own their memory; a chunk that is large enough passes as it is
 */
export async function* rebatched(
  source: AsyncIterable<Uint8Array>,
  bytes: number,
): AsyncGenerator<Uint8Array, void, undefined> {
  let chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of source) {
    chunks.push(chunk);
    length += chunk.byteLength;
    if (length < bytes) continue;
    const whole = joined(chunks, length);
    chunks = [];
    length = 0;
    yield whole;
  }
  if (length > 0) yield joined(chunks, length);
}

function joined(chunks: readonly Uint8Array[], length: number): Uint8Array {
  const [first] = chunks;
  if (chunks.length === 1 && first !== undefined) return first;
  const whole = ownChunk(Buffer.allocUnsafeSlow(length));
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.byteLength;
    releaseChunk(chunk);
  }
  return whole;
}
