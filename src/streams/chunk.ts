/**
 * Pieces of the streams that go through the service, and who gives their memory back.
 */

/** Buffers that were made for one piece each, of which nothing but that piece is ever used. */
const releasable = new WeakSet<ArrayBufferLike>();

/** What is to be done when one of the readers of a shared piece has done with it. */
const lent = new WeakMap<Uint8Array, () => void>();

/**
 * Notes that a piece is all that is used of its buffer from now on, so that whoever has it last may give it back.
 *
 * @returns the piece
 */
export function ownChunk<Piece extends Uint8Array>(piece: Piece): Piece {
  releasable.add(piece.buffer);
  return piece;
}

/**
 * Notes that a piece is one reader's view of what others read, too.
 *
 * @param giveBack is called when it is given back, at most once
 * @returns the piece
 */
export function lendChunk<Piece extends Uint8Array>(piece: Piece, giveBack: () => void): Piece {
  lent.set(piece, giveBack);
  return piece;
}

/**
 * Gives the memory of a piece back at once. A gigabyte goes through half a million bytes at a time: left to the garbage
 * collector, some tens of megabytes of dead buffers lie about, and it walks the whole heap again and again to find them.
 *
 * To be called by whoever has the piece last: it has no bytes afterwards. Pieces of other buffers stay as they are.
 */
export function releaseChunk(piece: Uint8Array): void {
  const giveBack = lent.get(piece);
  if (giveBack !== undefined) {
    // Not deleted: given back twice, it must not be taken for one that owns its buffer.
    lent.set(piece, () => undefined);
    giveBack();
    return;
  }
  const { buffer } = piece;
  if (releasable.delete(buffer) && buffer instanceof ArrayBuffer) buffer.transfer(0);
}
