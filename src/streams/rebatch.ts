import { ownChunk, releaseChunk } from './chunk.ts';

/**
 * Passes bytes on in larger pieces. What comes from a socket comes 64 KiB at a time, and each call that hands a piece to another
 * thread costs as much as some of the work there; copying costs next to nothing beside that.
 *
 * @param source pieces, taken over
 * @param bytes that a piece has at the least, but for the last one
 * @returns pieces that each own their memory
 */
export async function* rebatched(
  source: AsyncIterable<Uint8Array>,
  bytes: number,
): AsyncGenerator<Uint8Array, void, undefined> {
  let pieces: Uint8Array[] = [];
  let length = 0;
  for await (const piece of source) {
    pieces.push(piece);
    length += piece.byteLength;
    if (length < bytes) continue;
    const whole = joined(pieces, length);
    pieces = [];
    length = 0;
    yield whole;
  }
  if (length > 0) yield joined(pieces, length);
}

function joined(pieces: readonly Uint8Array[], length: number): Uint8Array {
  const [first] = pieces;
  if (pieces.length === 1 && first !== undefined) return first;
  const whole = ownChunk(Buffer.allocUnsafeSlow(length));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.byteLength;
    releaseChunk(piece);
  }
  return whole;
}
