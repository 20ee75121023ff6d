import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { PassthroughError } from '../errors.ts';
import type { Delivery, Reader } from '../pull/archive-file.ts';
import { releaseChunk } from '../streams/chunk.ts';
import { instruments } from '../telemetry/metrics.ts';
import { mayBePartial, parseRange } from './conditional.ts';
import { problemOf } from './problem.ts';
import type { RequestContext } from './request-context.ts';

/** What is told of a file beside its own validators. */
export interface AboutFile {
  /** Digest of the one manifest that the file is made of, where it is one. */
  readonly manifestDigest?: string | undefined;
  /** Milliseconds since the registry has said that this is the file, where it could not be asked now. */
  readonly staleMs?: number | undefined;
}

/** A file and the name that a browser saves it under. */
export interface NamedDelivery extends Delivery {
  readonly filename: string;
}

/** https://www.rfc-editor.org/rfc/rfc7234#section-5.5: of old age, and still the one way to say it. */
const STALE_WARNING =
  '110 docker-http-passthrough "Response is Stale", 111 docker-http-passthrough "Revalidation Failed"';

/** How a file is sent. */
export interface SendFileOptions extends AboutFile {
  readonly reader: Reader;
  /** Whether a part may be sent to whoever does not say, by `If-Range`, of which file it has the rest. */
  readonly mayContinue: boolean;
  /** Longest time without a byte taken by the client, in milliseconds. */
  readonly stallMs: number;
}

/**
 * Answers that the client has what it asks for.
 *
 * @see https://www.rfc-editor.org/rfc/rfc9110#name-304-not-modified
 */
export function sendNotModified({ response }: RequestContext, etag: string, about: AboutFile): void {
  response.writeHead(304, { ...validators(etag, about) });
  response.end();
}

/**
 * Sends a file, or the part of it that is asked for: status 200 or 206, its exact length, then its bytes as fast as the client
 * takes them. When either side fails on the way, the connection is destroyed.
 *
 * @throws PassthroughError what the bytes throw (`INTERNAL` for a foreign error); why the exchange was aborted; `ABORTED` when
 *   the connection breaks or the client stalls
 * @see https://www.rfc-editor.org/rfc/rfc9110#name-range-requests
 */
export async function sendFile(
  exchange: RequestContext,
  file: NamedDelivery,
  options: SendFileOptions,
): Promise<void> {
  const { request, response, facts } = exchange;
  const { headers, method } = request;
  const { size, etag } = file;
  const ifRange = headers['if-range']?.toString();
  const isSameFile = ifRange === undefined ? options.mayContinue : mayBePartial(ifRange, etag);
  const isPartAsked = method === 'GET' && isSameFile;
  const range = isPartAsked ? parseRange(headers.range, size) : undefined;
  const common = {
    ...validators(etag, options),
    'Accept-Ranges': 'bytes',
    ...(file.sha256 !== undefined && { 'Repr-Digest': reprDigest(file.sha256) }),
  };
  if (range === 'unsatisfiable') {
    response.writeHead(416, { ...common, 'Content-Range': `bytes */${size}`, 'Content-Length': 0 });
    response.end();
    return;
  }
  response.writeHead(range === undefined ? 200 : 206, {
    ...common,
    'Content-Type': file.contentType,
    'Content-Length': range === undefined ? size : range.end - range.start,
    ...(range !== undefined && { 'Content-Range': `bytes ${range.start}-${range.end - 1}/${size}` }),
    'Content-Disposition': `attachment; filename="${file.filename}"`,
  });
  facts.bytes = 0;
  if (method === 'HEAD') {
    response.end();
    return;
  }
  await sendBytes(exchange, file.bytes(range, options.reader), options.stallMs);
}

function validators(etag: string, { manifestDigest, staleMs }: AboutFile) {
  return {
    ETag: etag,
    'Cache-Control': 'no-cache',
    ...(manifestDigest !== undefined && { 'Docker-Content-Digest': manifestDigest }),
    ...(staleMs !== undefined && { Age: Math.floor(staleMs / 1000), Warning: STALE_WARNING }),
  };
}

/** https://www.rfc-editor.org/rfc/rfc9530#name-the-repr-digest-field */
function reprDigest(sha256: string): string {
  return `sha-256=:${Buffer.from(sha256, 'hex').toString('base64')}:`;
}

/**
 * Sends bytes piece by piece, the next one when the system has taken the last: so its memory can be given back at once, and a
 * slow client holds no more than one.
 */
async function sendBytes(
  { request, response, facts, ...exchange }: RequestContext,
  bytes: AsyncIterable<Uint8Array>,
  stallMs: number,
): Promise<void> {
  const stalled = new AbortController();
  response.setTimeout(stallMs, () =>
    stalled.abort(
      new PassthroughError('ABORTED', `Stopped: the client took no byte for ${stallMs / 1000} s`),
    ),
  );
  const signal = AbortSignal.any([exchange.signal, stalled.signal]);
  const { sent } = instruments();
  try {
    await turnOf(response, signal);
    using writer = new Writer(response, signal);
    for await (const piece of bytes) {
      const { byteLength } = piece;
      await writer.write(piece);
      sent.add(byteLength);
      facts.bytes = (facts.bytes ?? 0) + byteLength;
      releaseChunk(piece);
    }
    response.end();
  } catch (error) {
    response.destroy();
    if (signal.aborted) throw signal.reason;
    if (error instanceof WriteError) {
      throw new PassthroughError('ABORTED', 'Stopped: the client has left', { cause: error.cause });
    }
    throw problemOf(error).error;
  }
}

/** Waits until all answers before this one on the same connection are out: until then its bytes would lie in memory. */
async function turnOf(response: ServerResponse, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  if (response.socket !== null) return;
  await once(response, 'socket', { signal });
}

/** That the connection would not take a piece. */
class WriteError extends Error {}

/** Writes an answer piece by piece. Listens to its signal once, not for each of thousands of pieces. */
class Writer implements Disposable {
  readonly #response: ServerResponse;
  readonly #signal: AbortSignal;
  /** Ends the wait for the piece that is being written. */
  #fail: (reason: unknown) => void = () => undefined;
  readonly #leave = () => this.#fail(this.#signal.reason);

  constructor(response: ServerResponse, signal: AbortSignal) {
    this.#response = response;
    this.#signal = signal;
    signal.addEventListener('abort', this.#leave, { once: true });
  }

  /**
   * Writes a piece. When this resolves, the system has all of it; when it rejects, it may still be reading from it.
   *
   * @throws WriteError when the connection is broken; the signal's reason
   */
  write(piece: Uint8Array): Promise<void> {
    this.#signal.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#fail = reject;
    this.#response.write(piece, (cause) => {
      if (cause) reject(new WriteError('Cannot write', { cause }));
      else resolve();
    });
    return promise;
  }

  [Symbol.dispose](): void {
    this.#signal.removeEventListener('abort', this.#leave);
  }
}
