import { type ErrorCode, PassthroughError } from '../errors.ts';
import type { TransportResponse } from './transport/transport.ts';

/**
 * Reads a small body whole.
 *
 * @param maxBytes most bytes that it may have
 * @param what the body is, for the message
 * @param code of the error beyond the limit
 * @throws PassthroughError `code` beyond the limit, and what reading throws
 */
export async function readBounded(
  response: TransportResponse,
  maxBytes: number,
  what: string,
  code: ErrorCode,
): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  let length = 0;
  for await (const piece of response.body) {
    length += piece.byteLength;
    if (length > maxBytes) {
      throw new PassthroughError(code, `Cannot read ${what}: it is larger than ${maxBytes} bytes`);
    }
    pieces.push(piece);
  }
  return Buffer.concat(pieces, length);
}

/**
 * Reads the first part of a body and gives the rest up; never fails. For error bodies, where the error counts and what
 * the server says of it is a help.
 *
 * @param maxBytes most bytes that are read
 */
export async function readStart(response: TransportResponse, maxBytes: number): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  let length = 0;
  try {
    for await (const piece of response.body) {
      pieces.push(piece);
      length += piece.byteLength;
      if (length >= maxBytes) break;
    }
  } catch {
    // What arrived before it broke off is all there is.
  }
  return Buffer.concat(pieces, length).subarray(0, maxBytes);
}
