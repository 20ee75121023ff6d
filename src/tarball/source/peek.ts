import type { Opened } from './archive-source.ts';
import { readRange } from './random-source.ts';

/**
 * Looks at the first bytes of an archive.
 *
 * @param length bytes to look at
 * @returns at least these bytes, fewer only of a shorter archive, and the archive in place of the one that was given
 * @throws what the source throws
 */
export async function peek(
  opened: Opened,
  length: number,
): Promise<{ readonly head: Uint8Array; readonly archive: Opened }> {
  if (opened.kind === 'random') {
    const { source } = opened;
    await using reader = await source.open();
    return { head: await reader.readAt(0, Math.min(length, source.size)), archive: opened };
  }
  const iterator = opened.bytes[Symbol.asyncIterator]();
  const chunks: Uint8Array[] = [];
  for (let taken = 0; taken < length; ) {
    const { value, done } = await iterator.next();
    if (done === true) break;
    chunks.push(value);
    taken += value.byteLength;
  }
  return { head: Buffer.concat(chunks), archive: { kind: 'stream', bytes: restored(chunks, iterator) } };
}

/** An archive from its start to its end. */
export function streamOf(opened: Opened, signal: AbortSignal | undefined): AsyncIterable<Uint8Array> {
  if (opened.kind === 'stream') return opened.bytes;
  return readRange(opened.source, { start: 0, end: opened.source.size }, signal);
}

async function* restored(
  head: readonly Uint8Array[],
  rest: AsyncIterator<Uint8Array>,
): AsyncGenerator<Uint8Array, void, undefined> {
  try {
    yield* head;
    for (let next = await rest.next(); next.done !== true; next = await rest.next()) yield next.value;
  } finally {
    await rest.return?.();
  }
}
