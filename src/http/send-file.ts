import { pipeline } from 'node:stream/promises';
import { isPassthroughError, PassthroughError } from '../errors.ts';
import { instruments } from '../telemetry/metrics.ts';
import { mayBePartial, parseRange } from './conditions.ts';
import type { Delivery } from './delivery.ts';
import type { Exchange } from './exchange.ts';
import { problemOf } from './problem.ts';

/** How a file is sent. */
export interface SendFileOptions {
  /** Digest of the one manifest that the file is made of, where it is one. */
  readonly manifestDigest: string | undefined;
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
export function sendNotModified(
  { response }: Exchange,
  etag: string,
  manifestDigest: string | undefined,
): void {
  response.writeHead(304, { ...validators(etag, manifestDigest) });
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
export async function sendFile(exchange: Exchange, file: Delivery, options: SendFileOptions): Promise<void> {
  const { request, response, facts } = exchange;
  const { headers, method } = request;
  const { size, etag } = file;
  const ifRange = headers['if-range']?.toString();
  const isSameFile = ifRange === undefined ? options.mayContinue : mayBePartial(ifRange, etag);
  const isPartAsked = method === 'GET' && isSameFile;
  const range = isPartAsked ? parseRange(headers.range, size) : undefined;
  const common = {
    ...validators(etag, options.manifestDigest),
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
  await sendBytes(exchange, file.bytes(range), options.stallMs);
}

function validators(etag: string, manifestDigest: string | undefined) {
  return {
    ETag: etag,
    'Cache-Control': 'no-cache',
    ...(manifestDigest !== undefined && { 'Docker-Content-Digest': manifestDigest }),
  };
}

/** https://www.rfc-editor.org/rfc/rfc9530#name-the-repr-digest-field */
function reprDigest(sha256: string): string {
  return `sha-256=:${Buffer.from(sha256, 'hex').toString('base64')}:`;
}

async function sendBytes(
  { response, facts, ...exchange }: Exchange,
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
  try {
    await pipeline(counted(bytes, facts), response, { signal });
  } catch (error) {
    // Every error of ours comes from the bytes; any other says in one of many ways that the connection is gone.
    if (isPassthroughError(error)) throw error;
    throw signal.reason ?? new PassthroughError('ABORTED', 'Stopped: the client has left', { cause: error });
  }
}

async function* counted(
  bytes: AsyncIterable<Uint8Array>,
  facts: Exchange['facts'],
): AsyncGenerator<Uint8Array> {
  const { sent } = instruments();
  try {
    for await (const piece of bytes) {
      sent.add(piece.byteLength);
      facts.bytes = (facts.bytes ?? 0) + piece.byteLength;
      yield piece;
    }
  } catch (error) {
    throw problemOf(error).error;
  }
}
