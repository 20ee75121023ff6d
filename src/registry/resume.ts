import { isPassthroughError, PassthroughError } from '../errors.ts';
import { isPassing } from './transport/connection-error.ts';
import { backoffMs, pause, type RetryPolicy } from './transport/retry.ts';
import type { TransportResponse } from './transport/transport.ts';

/** Failures in a row, without a byte between them, after which a blob is given up. */
const MAX_FAILURES_WITHOUT_PROGRESS = 3;

/** Continuations of one blob in all: a server that gives a byte a connection must not keep a pull alive for ever. */
const MAX_CONTINUATIONS = 50;

/** What {@link readResuming} reads. */
export interface ResumableBlob {
  /** The answer to the request without a range, its status 200. */
  readonly first: TransportResponse;
  /** Size that the descriptor names, in bytes. */
  readonly size: number;
  /** Asks for the blob from an offset on. */
  readonly open: (offset: number) => Promise<TransportResponse>;
  /** Makes an error of an answer that cannot be read on from. */
  readonly failure: (response: TransportResponse) => Promise<PassthroughError>;
  /** How long to wait before a continuation. */
  readonly retry: RetryPolicy;
  readonly signal: AbortSignal;
}

/**
 * Reads a blob as one stream over as many connections as it takes. Where a connection breaks or stalls, the next one goes
 * on with `Range`, so that whoever hashes and inflates the stream need not start again. A server that ignores the range
 * sends everything anew; what was read already is passed over then, and should it differ, the digest tells. Given up with
 * `return()`, also before the first byte, it frees the connection.
 *
 * @throws PassthroughError `REGISTRY_UNREACHABLE` or `REGISTRY_TIMEOUT` when it cannot be had whole, and what `failure` makes
 * @see https://www.rfc-editor.org/rfc/rfc9110#name-range-requests
 */
export function readResuming(blob: ResumableBlob): AsyncGenerator<Uint8Array, void, undefined> {
  let isBegun = false;
  async function* begun() {
    isBegun = true;
    yield* resumed(blob);
  }
  const stream = begun();
  const giveUp = stream.return.bind(stream);
  // A generator that was never begun runs none of its code, `finally` included, when it is given up.
  stream.return = (value) => {
    if (!isBegun) blob.first.discard();
    return giveUp(value);
  };
  return stream;
}

async function* resumed(blob: ResumableBlob): AsyncGenerator<Uint8Array, void, undefined> {
  let response = blob.first;
  let offset = 0;
  let failures = 0;
  for (let continuations = 0; ; continuations += 1) {
    let skip = continuations === 0 ? 0 : bytesToSkip(response, offset);
    const begun = offset;
    try {
      for await (const piece of response.body) {
        const fresh = piece.subarray(Math.min(skip, piece.byteLength));
        skip -= piece.byteLength - fresh.byteLength;
        if (fresh.byteLength === 0) continue;
        offset += fresh.byteLength;
        failures = 0;
        yield fresh;
      }
      // A range may be answered in part, and the rest be asked for: https://www.rfc-editor.org/rfc/rfc9110#section-15.3.7
      const isPart = response.status === 206 && offset > begun && offset < blob.size;
      if (!isPart || continuations >= MAX_CONTINUATIONS) return;
    } catch (error) {
      failures += 1;
      const isLasting = !isPassing(error) && !isPassthroughError(error, 'REGISTRY_TIMEOUT');
      if (isLasting || failures >= MAX_FAILURES_WITHOUT_PROGRESS || continuations >= MAX_CONTINUATIONS)
        throw error;
      // All is here, only the end of the connection was not clean.
      if (offset === blob.size) return;
    }
    await pause(backoffMs(failures, blob.retry), blob.signal);
    response = await blob.open(offset);
    if (response.status !== 206 && response.status !== 200) throw await blob.failure(response);
  }
}

/**
 * How many bytes of an answer were read already.
 *
 * @throws PassthroughError `REGISTRY_FAILED` when the answer begins behind the offset
 */
function bytesToSkip(response: TransportResponse, offset: number): number {
  if (response.status === 200) return offset;
  const start = /^bytes (\d+)-/.exec(response.headers['content-range'] ?? '')?.[1];
  const skip = offset - Number(start ?? Number.NaN);
  if (skip >= 0) return skip;
  response.discard();
  throw new PassthroughError(
    'REGISTRY_FAILED',
    `Cannot go on reading from ${JSON.stringify(response.url.origin)}: asked for bytes from ${offset}, got ${JSON.stringify(response.headers['content-range'] ?? 'no Content-Range')}`,
  );
}
