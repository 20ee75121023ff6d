import { releaseChunk } from '../../streams/chunk.ts';
import type { ByteRange } from '../../tar/encoder.ts';

/**
 * Reads a stream and gives a part of it. The rest is read, too, so that all of the stream is verified.
 *
 * @param range bytes of the stream; all of them unless given
 */
export async function* partOf(
  source: AsyncIterable<Uint8Array>,
  { start, end }: ByteRange,
): AsyncGenerator<Uint8Array, void, undefined> {
  let position = 0;
  for await (const chunk of source) {
    const from = Math.max(0, start - position);
    const to = Math.min(chunk.byteLength, end - position);
    position += chunk.byteLength;
    if (from === 0 && to === chunk.byteLength) {
      yield chunk;
      continue;
    }
    const part = from < to ? Uint8Array.from(chunk.subarray(from, to)) : undefined;
    releaseChunk(chunk);
    if (part !== undefined) yield part;
  }
}

/**
 * Holds the last chunk of a stream back until the stream has ended without an error. A reader that knows the length, such as a client
 * with a `Content-Length`, then has all bytes only if all are right.
 */
export async function* withHeldEnd(
  source: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array, void, undefined> {
  let held: Uint8Array | undefined;
  for await (const chunk of source) {
    if (held !== undefined) yield held;
    held = chunk;
  }
  if (held !== undefined) yield held;
}
