/**
 * Ownership of the chunks of a stream. The last holder of a chunk may free its memory at once:
 *
 * - {@link ownChunk} marks a chunk that is the only use of its buffer.
 * - {@link lendChunk} marks one reader's view of a chunk that others read, too.
 * - {@link releaseChunk} frees the first, ends the second, and leaves any other chunk as it is.
 */

/** Buffers that are used by one chunk alone. */
const releasable = new WeakSet<ArrayBufferLike>();

/** What is called when a reader releases its view of a shared chunk. */
const lent = new WeakMap<Uint8Array, () => void>();

/**
 * Marks a chunk as the only use of its buffer, so that its last holder can free the memory.
 *
 * @returns the chunk
 */
export function ownChunk<Chunk extends Uint8Array>(chunk: Chunk): Chunk {
  releasable.add(chunk.buffer);
  return chunk;
}

/**
 * Marks a chunk as one reader's view of memory that others read, too.
 *
 * @param onRelease is called at most once, when the reader releases the view
 * @returns the chunk
 */
export function lendChunk<Chunk extends Uint8Array>(chunk: Chunk, onRelease: () => void): Chunk {
  lent.set(chunk, onRelease);
  return chunk;
}

/**
 * Frees the memory of a chunk at once; it has no bytes afterwards. Only its last holder may call this. A chunk that is neither
 * owned nor lent stays as it is.
 *
 * A gigabyte passes in chunks of half a megabyte. Left to the garbage collector, tens of megabytes of dead buffers stay in
 * memory, and each collection walks the whole heap to find them.
 */
export function releaseChunk(chunk: Uint8Array): void {
  const onRelease = lent.get(chunk);
  if (onRelease !== undefined) {
    // Not deleted: a second release must not take the view for a chunk that owns its buffer.
    lent.set(chunk, () => undefined);
    onRelease();
    return;
  }
  const { buffer } = chunk;
  if (releasable.delete(buffer) && buffer instanceof ArrayBuffer) buffer.transfer(0);
}
