/** Downloads for hundreds of clients at once: only the checksum of a body is kept. */

import { createHash } from 'node:crypto';
import { type IncomingHttpHeaders, type IncomingMessage, request } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';

/** Longest download in milliseconds unless given: many times what one takes on a busy machine. */
const DOWNLOAD_LIMIT_MS = 60_000;

/** How a client behaves. */
export interface DownloadOptions {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Leaves after this many bytes of the body; 0: as soon as the header has arrived. */
  readonly leaveAfterBytes?: number;
  /** Leaves at this signal. */
  readonly signal?: AbortSignal;
  /** Milliseconds to wait after each chunk of about 64 KiB. */
  readonly pauseMs?: number;
  /** Longest duration in milliseconds. */
  readonly limitMs?: number;
}

/** The outcome of a download. */
export interface Download {
  /** 0 if no header arrived. */
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** Received bytes of the body. */
  readonly bytes: number;
  /** SHA-256 of the received bytes, in hex. */
  readonly sha256: string;
  /** The first bytes of the body as text, for messages. */
  readonly text: string;
  /** `whole`: all bytes of `Content-Length` arrived; `cut`: the connection broke before; `left`: the client left. */
  readonly end: 'whole' | 'cut' | 'left';
}

/** Largest part of a body that is kept as text. */
const TEXT_BYTES = 4096;

/**
 * Downloads on its own connection.
 *
 * @returns the outcome, also if the connection broke
 * @throws Error if it takes longer than its limit, or a whole body differs from `Content-Length`
 */
export async function download(port: number, path: string, options: DownloadOptions = {}): Promise<Download> {
  const { leaveAfterBytes = Number.POSITIVE_INFINITY, pauseMs = 0, method = 'GET' } = options;
  const { limitMs = DOWNLOAD_LIMIT_MS } = options;
  const late = AbortSignal.timeout(limitMs);
  const signal = options.signal === undefined ? late : AbortSignal.any([options.signal, late]);
  const hash = createHash('sha256');
  let response: IncomingMessage | undefined;
  let bytes = 0;
  let text = '';
  const outcome = (end: Download['end']): Download => {
    response?.destroy();
    const { statusCode: status = 0, headers = {} } = response ?? {};
    return { status, headers, bytes, sha256: hash.digest('hex'), text, end };
  };
  try {
    response = await begin(port, path, { method, headers: options.headers ?? {}, signal });
    if (leaveAfterBytes === 0) return outcome('left');
    for await (const piece of response as AsyncIterable<Buffer>) {
      hash.update(piece);
      if (text.length < TEXT_BYTES) text += piece.toString('latin1', 0, TEXT_BYTES);
      bytes += piece.length;
      if (bytes >= leaveAfterBytes) return outcome('left');
      if (pauseMs > 0) await delay(pauseMs, undefined, { signal });
    }
  } catch (error) {
    if (late.aborted) throw new Error(`Cannot download ${path}: ${limitMs} ms are over`, { cause: error });
    if (options.signal?.aborted) return outcome('left');
    return outcome('cut');
  }
  const { 'content-length': length } = response.headers;
  if (method !== 'HEAD' && length !== undefined && bytes !== Number(length)) {
    throw new Error(`Cannot download ${path}: it ended after ${bytes} bytes, not ${length}`);
  }
  return outcome('whole');
}

function begin(
  port: number,
  path: string,
  options: {
    readonly method: string;
    readonly headers: Record<string, string>;
    readonly signal: AbortSignal;
  },
): Promise<IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const outgoing = request({ host: '127.0.0.1', port, path, agent: false, ...options }, resolve);
  outgoing.on('error', reject);
  outgoing.end();
  return promise;
}
