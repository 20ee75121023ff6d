import { createHash } from 'node:crypto';
import { type ErrorCode, PassthroughError } from '../errors.ts';
import { type Digest, type DigestAlgorithm, digestAlgorithm } from '../image/digest.ts';
import type { Content } from '../util/content.ts';
import type { Documents } from '../util/documents.ts';
import type { Endpoint } from './endpoint.ts';
import type { TransportRequest, TransportResponse } from './transport/transport.ts';

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

/** A whole body, and its digest. */
export interface HashedContent {
  /** The holder must release it. */
  readonly content: Content;
  readonly sha256: Digest;
}

/** A request for a small body. */
export interface WholeBody {
  readonly endpoint: Endpoint;
  readonly headers: TransportRequest['headers'];
  readonly maxBytes: number;
  /** Code of the error for a larger body. */
  readonly tooLarge: ErrorCode;
  /** Name of the body, for messages. */
  readonly what: string;
  /** What it must have. */
  readonly expected?: { readonly size: number | undefined; readonly digest: Digest | undefined };
}

/** A small body, and the header that came with it. */
export interface FetchedBody extends HashedContent {
  readonly headers: TransportResponse['headers'];
}

/** What {@link readContent} needs. */
export interface ReadContentOptions {
  readonly documents: Documents;
  /** Largest body, in bytes. */
  readonly maxBytes: number;
  /** Name of the body, for messages. */
  readonly what: string;
  /** Code of the error for a larger body. */
  readonly tooLarge: ErrorCode;
  /** Bytes that it must have; any number unless given. */
  readonly size?: number | undefined;
  /** Digests that it must have. */
  readonly digests: readonly Digest[];
}

/**
 * Reads a whole body and verifies it. A large one goes to a file as it comes, so a slow registry holds no memory.
 *
 * @throws PassthroughError `tooLarge` for a larger body, before it is read where its length is announced;
 *   `VERIFICATION_FAILED`; what reading and writing throw
 */
export async function readContent(
  response: TransportResponse,
  options: ReadContentOptions,
): Promise<HashedContent> {
  const { documents, digests } = options;
  const algorithms = new Set<DigestAlgorithm>(['sha256', ...digests.map(digestAlgorithm)]);
  const hashes = Array.from(algorithms, (algorithm) => [algorithm, createHash(algorithm)] as const);
  try {
    checkLength(Number(response.headers['content-length'] ?? 0), options);
  } catch (error) {
    response.discard();
    throw error;
  }
  const spool = documents.spool();
  let length = 0;
  try {
    for await (const chunk of response.body) {
      length += chunk.byteLength;
      checkLength(length, options);
      for (const [, hash] of hashes) hash.update(chunk);
      await spool.write(chunk);
    }
    const actual = new Map(hashes.map(([algorithm, hash]) => [algorithm, hash.digest('hex')]));
    verify(length, (algorithm) => `${algorithm}:${actual.get(algorithm)}`, options);
    return { content: await spool.finish(), sha256: `sha256:${actual.get('sha256')}` };
  } catch (error) {
    await spool.abandon();
    throw error;
  }
}

function checkLength(bytes: number, { maxBytes, what, tooLarge }: ReadContentOptions): void {
  if (bytes > maxBytes)
    throw new PassthroughError(tooLarge, `Cannot read ${what}: it is larger than ${maxBytes} bytes`);
}

function verify(
  bytes: number,
  actualOf: (algorithm: DigestAlgorithm) => Digest,
  { what, size, digests }: ReadContentOptions,
): void {
  const fail = (expected: Digest | undefined, why: string): never => {
    const actual = actualOf(expected === undefined ? 'sha256' : digestAlgorithm(expected));
    const details = { ...(expected !== undefined && { expected }), actual };
    throw new PassthroughError('VERIFICATION_FAILED', `Cannot verify ${what}: ${why}`, details);
  };
  if (size !== undefined && bytes !== size)
    fail(digests[0], `it has ${bytes} bytes, its descriptor says ${size}`);
  for (const digest of digests) {
    const actual = actualOf(digestAlgorithm(digest));
    if (actual !== digest) fail(digest, `its bytes are ${actual}`);
  }
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
