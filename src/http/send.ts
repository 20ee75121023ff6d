import { pipeline } from 'node:stream/promises';
import { isPassthroughError, PassthroughError } from '../errors.ts';
import type { PulledImage } from '../pull/pull-image.ts';
import { instruments } from '../telemetry/metrics.ts';
import type { Exchange } from './exchange.ts';
import { formatJson, formatText, type Problem, prefersJson, problemOf } from './problem.ts';

// Header names are written as RFC 9110 writes them: they mean the same in any case, but not to every small client.

/** Sends a short text. */
export function sendText({ request, response }: Exchange, status: number, text: string): void {
  const body = Buffer.from(text);
  response.writeHead(status, {
    'Content-Type': 'text/plain; charset=utf-8',
    'Content-Length': body.byteLength,
    'Cache-Control': 'no-store',
  });
  response.end(request.method === 'HEAD' ? undefined : body);
}

/**
 * Sends an error, as text or as a problem document. Once the header of another answer is out there is no way to take it
 * back, so the connection is cut: a client must see that what it has is not whole.
 *
 * The reason phrase is the title: some consoles show nothing else of an error.
 */
export function sendProblem({ id, request, response, facts }: Exchange, problem: Problem): void {
  if (response.headersSent || response.destroyed) {
    response.destroy();
    return;
  }
  const isJson = prefersJson(request.headers.accept);
  const context = { requestId: id, image: facts.image };
  const body = Buffer.from(isJson ? formatJson(problem, context) : formatText(problem, context));
  response.writeHead(problem.status, problem.title, {
    'Content-Type': isJson ? 'application/problem+json' : 'text/plain; charset=utf-8',
    'Content-Length': body.byteLength,
    'Cache-Control': 'no-store',
    Vary: 'Accept',
    ...problem.headers,
  });
  response.end(request.method === 'HEAD' ? undefined : body);
}

/** How an archive is sent. */
export interface SendArchiveOptions {
  /** Name that a browser saves it under. */
  readonly filename: string;
  /** Longest time without a byte taken by the client, in milliseconds. */
  readonly stallMs: number;
}

/**
 * Sends an archive: status 200, its exact length, then its bytes as fast as the client takes them. When either side fails
 * on the way, the connection is destroyed.
 *
 * @throws PassthroughError what the archive's bytes throw (`INTERNAL` for a foreign error); why the exchange was aborted;
 *   `ABORTED` when the connection breaks or the client stalls
 */
export async function sendArchive(
  exchange: Exchange,
  image: PulledImage,
  options: SendArchiveOptions,
): Promise<void> {
  const { request, response, facts } = exchange;
  response.writeHead(200, {
    'Content-Type': 'application/x-tar',
    'Content-Length': image.archive.size,
    'Content-Disposition': `attachment; filename="${options.filename}"`,
    'Docker-Content-Digest': image.manifestDigest,
    ETag: image.archive.etag,
    'Cache-Control': 'no-cache',
  });
  facts.bytes = 0;
  if (request.method === 'HEAD') {
    response.end();
    return;
  }
  const stalled = new AbortController();
  response.setTimeout(options.stallMs, () =>
    stalled.abort(
      new PassthroughError('ABORTED', `Stopped: the client took no byte for ${options.stallMs / 1000} s`),
    ),
  );
  const signal = AbortSignal.any([exchange.signal, stalled.signal]);
  try {
    await pipeline(counted(image.bytes(), facts), response, { signal });
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
