import { type ErrorCode, PassthroughError } from '../errors.ts';
import type { TransportResponse } from './transport/transport.ts';

/**
 * Reads a whole small body.
 *
 * @param maxBytes largest body, in bytes
 * @param what name of the body, for the message
 * @param code of the error for a larger body
 * @throws PassthroughError `code` for a larger body; what reading throws
 */
export async function readBounded(
  response: TransportResponse,
  maxBytes: number,
  what: string,
  code: ErrorCode,
): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of response.body) {
    length += chunk.byteLength;
    if (length > maxBytes) {
      throw new PassthroughError(code, `Cannot read ${what}: it is larger than ${maxBytes} bytes`);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, length);
}

/**
 * Reads the start of a body and discards the rest. Does not throw: it reads error bodies, and a failure here would hide the
 * error.
 *
 * @param maxBytes most bytes of the result
 * @returns the bytes that arrived before the limit, the end or a failure
 */
export async function readStart(response: TransportResponse, maxBytes: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  try {
    for await (const chunk of response.body) {
      chunks.push(chunk);
      length += chunk.byteLength;
      if (length >= maxBytes) break;
    }
  } catch {
    // The bytes that arrived before the failure are the result.
  }
  return Buffer.concat(chunks, length).subarray(0, maxBytes);
}
