/** Sends an answer whole or in part, cut or held back. Its body may be larger than the memory. */

import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http';
import { Conditions } from './conditions.ts';

/** Bytes that can be read from any position. */
export interface Body {
  readonly size: number;
  /** The bytes from `start` to `end`, exclusive. */
  chunks(start: number, end: number): Iterable<Buffer>;
}

/** What to send. */
export interface Answer {
  readonly status: number;
  readonly headers?: OutgoingHttpHeaders;
  readonly body?: Body;
  /** Part of the body to send, `end` exclusive; the whole body unless given. */
  readonly start?: number;
  readonly end?: number;
  /** `Content-Length`, if it differs from the bytes that are sent; `none` leaves it out. */
  readonly contentLength?: number | 'none' | undefined;
  /** Bytes after which the answer is held. */
  readonly holdAfter?: number | undefined;
  /** Bytes after which the socket is destroyed. */
  readonly cutAfter?: number | undefined;
}

/** An error of the registry (OCI distribution, "Error Codes"). */
export interface Refusal {
  readonly status: number;
  readonly code: string;
  readonly message: string;
  readonly headers?: OutgoingHttpHeaders;
}

/** Chunk of a body: several fit into a socket buffer, and a layer takes several. */
const CHUNK_BYTES = 64 * 1024;

/** @returns a body of these bytes */
export function bytesBody(bytes: string | Buffer): Body {
  return paddedBody(bytes, 0, '');
}

/**
 * @param before what it begins with
 * @param paddingBytes how many times `fill` follows; never in memory as a whole
 * @param after what it ends with
 * @param fill one ASCII character
 */
export function paddedBody(
  before: string | Buffer,
  paddingBytes: number,
  after: string | Buffer,
  fill = ' ',
): Body {
  const pad = Buffer.alloc(CHUNK_BYTES, fill);
  const segments = [Buffer.from(before), paddingBytes, Buffer.from(after)] as const;
  const length = (segment: Buffer | number): number =>
    typeof segment === 'number' ? segment : segment.length;
  return {
    size: segments.reduce<number>((total, segment) => total + length(segment), 0),
    *chunks(start, end) {
      let base = 0;
      for (const segment of segments) {
        const until = Math.min(end - base, length(segment));
        for (let from = Math.max(start - base, 0); from < until; from += CHUNK_BYTES) {
          const to = Math.min(from + CHUNK_BYTES, until);
          yield typeof segment === 'number' ? pad.subarray(0, to - from) : segment.subarray(from, to);
        }
        base += length(segment);
      }
    },
  };
}

/** Answers that are held back until the test releases them or the client leaves. */
export class HeldAnswers {
  readonly #held = new Map<ServerResponse, () => void>();
  readonly #events = new Conditions();

  /** @returns when the answer is released, or its client has left */
  async hold(response: ServerResponse): Promise<void> {
    if (response.destroyed) {
      return;
    }
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#held.set(response, resolve);
    response.once('close', resolve);
    this.#events.changed();
    await promise;
    response.off('close', resolve);
    this.#held.delete(response);
  }

  /** Releases the answers that are held now, or those whose path matches. */
  release(pattern = /^/): void {
    for (const [response, resolve] of this.#held) {
      if (pattern.test(response.req.url ?? '')) resolve();
    }
  }

  /** @returns as soon as `count` answers are held at the same time */
  async waitFor(count: number): Promise<void> {
    await this.#events.when(() => (this.#held.size >= count ? true : undefined));
  }

  /** Rejects all waits: no answer is held any more. */
  close(reason: Error): void {
    this.#events.close(reason);
  }
}

/**
 * Sends an answer at the pace of the client, and stops when it leaves. HEAD gets the headers only.
 *
 * @param held keeps answers with `holdAfter`
 */
export async function sendAnswer(
  request: IncomingMessage,
  response: ServerResponse,
  answer: Answer,
  held: HeldAnswers,
): Promise<void> {
  const { status, headers = {}, body = bytesBody(''), holdAfter, cutAfter } = answer;
  const { start = 0, end = body.size } = answer;
  const { contentLength = end - start } = answer;
  if (response.destroyed) {
    return;
  }
  // If length and bytes differ, the connection cannot serve a further request.
  const lies = contentLength !== 'none' && contentLength !== end - start;
  response.writeHead(status, {
    ...headers,
    ...(contentLength === 'none' ? {} : { 'Content-Length': contentLength }),
    ...(lies ? { Connection: 'close' } : {}),
  });
  if (request.method === 'HEAD') {
    response.end();
    return;
  }
  response.flushHeaders();
  const last = Math.min(end, start + (cutAfter ?? Number.POSITIVE_INFINITY));
  const pause = holdAfter === undefined ? last : Math.min(last, start + holdAfter);
  await write(response, body.chunks(start, pause));
  if (holdAfter !== undefined) {
    await held.hold(response);
    await write(response, body.chunks(pause, last));
  }
  if (cutAfter !== undefined) {
    // The callback of an empty write comes after the bytes before it, headers included, are with the kernel.
    request.socket.write('', () => request.socket.destroy());
  } else if (!response.destroyed) {
    response.end();
  }
}

async function write(response: ServerResponse, chunks: Iterable<Buffer>): Promise<void> {
  for (const chunk of chunks) {
    if (response.destroyed) {
      return;
    }
    const { promise, resolve } = Promise.withResolvers<void>();
    const done = (): void => resolve();
    response.once('close', done);
    // Called once the kernel has the bytes: what was written before a cut does arrive.
    response.write(chunk, done);
    await promise;
    response.off('close', done);
  }
}

/**
 * Reads a `Range` header (RFC 9110, section 14.1.2).
 *
 * @param header its value
 * @param size length of the whole
 * @returns the one range, `end` exclusive; `whole` if there is none to honour; `unsatisfiable`
 */
export function parseRange(
  header: string | undefined,
  size: number,
): { start: number; end: number } | 'whole' | 'unsatisfiable' {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header ?? '');
  const [first, last] = [match?.[1] ?? '', match?.[2] ?? ''];
  if (first === '' && last === '') {
    return 'whole';
  }
  if (first === '') {
    const start = Math.max(size - Number(last), 0);
    return start < size ? { start, end: size } : 'unsatisfiable';
  }
  const start = Number(first);
  const end = last === '' ? size : Math.min(Number(last) + 1, size);
  if (last !== '' && Number(last) < start) {
    return 'whole';
  }
  return start < size ? { start, end } : 'unsatisfiable';
}

/**
 * The answer to a request for bytes, in part if it has a `Range`.
 *
 * @param body the whole
 * @param headers further headers
 * @returns 200, 206 or 416 (RFC 9110, section 14)
 */
export function rangedAnswer(request: IncomingMessage, body: Body, headers: OutgoingHttpHeaders): Answer {
  const all = { 'Accept-Ranges': 'bytes', ...headers };
  // A range applies to GET only: RFC 9110, section 14.2.
  const range = request.method === 'GET' ? parseRange(request.headers.range, body.size) : 'whole';
  if (range === 'whole') {
    return { status: 200, headers: all, body };
  }
  if (range === 'unsatisfiable') {
    return { status: 416, headers: { ...all, 'Content-Range': `bytes */${body.size}` } };
  }
  const contentRange = `bytes ${range.start}-${range.end - 1}/${body.size}`;
  return { status: 206, headers: { ...all, 'Content-Range': contentRange }, body, ...range };
}
