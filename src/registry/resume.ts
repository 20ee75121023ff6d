import { isPassthroughError, PassthroughError } from '../errors.ts';
import { quoted } from '../util/printable.ts';
import { isTransient } from './transport/connection-error.ts';
import { backoffMs, pause, type RetryPolicy } from './transport/retry.ts';
import type { TransportResponse } from './transport/transport.ts';

/** Consecutive failures without a new byte that end the blob. */
const MAX_FAILURES_WITHOUT_PROGRESS = 3;

/**
 * Most continuations of one blob. Without this limit, a server that sends one byte per connection keeps a pull alive
 * forever.
 */
const MAX_CONTINUATIONS = 50;

/** The blob that {@link readResuming} reads. */
export interface ResumableBlob {
  /** The response, of status 200 or 206, to the request from `offset` on. */
  readonly first: TransportResponse;
  /** Bytes that the reader has already. */
  readonly offset: number;
  /** Size in the descriptor, in bytes. */
  readonly size: number;
  /** Requests the blob from an offset on. */
  readonly open: (offset: number) => Promise<TransportResponse>;
  /** Makes an error from a response that is no continuation. */
  readonly failure: (response: TransportResponse) => Promise<PassthroughError>;
  /** Waits before continuations, and how many may fail. */
  readonly retry: RetryPolicy;
  readonly signal: AbortSignal;
}

/**
 * Reads a blob as one stream over several connections. When a connection breaks or stalls, a `Range` request continues
 * the blob, so that hashing and decompression need not start again. A server that ignores the range sends the whole
 * blob again. Its first bytes are skipped; if they differ from the first response, the digest does not match.
 * `return()` frees the connection, even before the first byte.
 *
 * @throws PassthroughError `REGISTRY_UNREACHABLE` or `REGISTRY_TIMEOUT` when the limits above are reached; what
 *   `failure` makes
 * @see https://www.rfc-editor.org/rfc/rfc9110#name-range-requests
 */
export function readResuming(blob: ResumableBlob): AsyncGenerator<Uint8Array, void, undefined> {
  let isStarted = false;
  async function* start() {
    isStarted = true;
    yield* resume(blob);
  }
  const stream = start();
  const end = stream.return.bind(stream);
  // `return()` on a generator that has not started runs none of its code, not even `finally`.
  stream.return = (value) => {
    if (!isStarted) blob.first.discard();
    return end(value);
  };
  return stream;
}

async function* resume(blob: ResumableBlob): AsyncGenerator<Uint8Array, void, undefined> {
  let response = blob.first;
  let { offset } = blob;
  let failures = 0;
  for (let continuations = 0; ; continuations += 1) {
    let skip = bytesToSkip(response, offset);
    const start = offset;
    try {
      for await (const chunk of response.body) {
        const fresh = chunk.subarray(Math.min(skip, chunk.byteLength));
        skip -= chunk.byteLength - fresh.byteLength;
        if (fresh.byteLength === 0) continue;
        offset += fresh.byteLength;
        failures = 0;
        yield fresh;
      }
      // A server may send less than the range that was requested: https://www.rfc-editor.org/rfc/rfc9110#section-15.3.7
      const isPart = response.status === 206 && offset > start && offset < blob.size;
      if (!isPart || continuations >= MAX_CONTINUATIONS) return;
    } catch (error) {
      failures += 1;
      const isPermanent = !isTransient(error) && !isPassthroughError(error, 'REGISTRY_TIMEOUT');
      // The blob is complete; only the connection did not end cleanly.
      if (offset === blob.size && !isPermanent) return;
      const { bodyFailures = MAX_FAILURES_WITHOUT_PROGRESS } = blob.retry;
      if (isPermanent || failures >= bodyFailures || continuations >= MAX_CONTINUATIONS) throw error;
    }
    await pause(backoffMs(failures, blob.retry), blob.signal);
    response = await blob.open(offset);
    if (response.status !== 206 && response.status !== 200) throw await blob.failure(response);
  }
}

/**
 * The number of bytes at the start of a response that were read before.
 *
 * @throws PassthroughError `REGISTRY_FAILED` when the response starts after the offset
 */
function bytesToSkip(response: TransportResponse, offset: number): number {
  if (response.status === 200) return offset;
  const contentRange = response.headers['content-range'];
  const start = /^bytes (\d+)-/.exec(contentRange ?? '')?.[1];
  const skip = offset - Number(start ?? Number.NaN);
  if (skip >= 0) return skip;
  response.discard();
  const origin = quoted(response.url.origin);
  const got = quoted(contentRange ?? 'no Content-Range');
  throw new PassthroughError(
    'REGISTRY_FAILED',
    `Cannot go on reading from ${origin}: asked for bytes from ${offset}, got ${got}`,
  );
}
