import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { PassthroughError } from '../errors.ts';
import type { ArchiveFile } from '../pull/archive-file.ts';
import { releaseChunk } from '../streams/chunk.ts';
import { instruments } from '../telemetry/metrics.ts';
import type { Content } from '../util/content.ts';
import { clientOf } from './client-limit.ts';
import { mayBePartial, parseRange, rangeStart } from './conditional.ts';
import { SendTurns } from './connections/send-turns.ts';
import type { Download, StartedDownloads } from './handlers/started-downloads.ts';
import { problemOf } from './problem.ts';
import type { RequestContext } from './request-context.ts';
import { sendDocument } from './respond.ts';

/** Shared by all answers, as the event loop is. */
const TURNS = new SendTurns();

/** What headers say about a file besides its own validators. */
export interface AboutFile {
  /** Digest of the manifest, if the file is made from a single one. */
  readonly manifestDigest?: string | undefined;
  /** Digest of the manifest of the base, if the file is an update of a single image. */
  readonly baseDigest?: string | undefined;
  /** Milliseconds since the registry last resolved the reference, if it cannot be asked now. */
  readonly staleMs?: number | undefined;
}

/** Obsolete since RFC 9111, and still the only standard way to say it: https://www.rfc-editor.org/rfc/rfc7234#section-5.5 */
const STALE_WARNING =
  '110 docker-http-passthrough "Response is Stale", 111 docker-http-passthrough "Revalidation Failed"';

/** How a file is sent. */
export interface SendFileOptions extends AboutFile {
  /** What clients have begun to download. */
  readonly downloads: StartedDownloads;
  /** Longest time without a byte taken by the client, in milliseconds. */
  readonly stallMs: number;
}

/**
 * Answers that the client has the current file.
 *
 * @see https://www.rfc-editor.org/rfc/rfc9110#name-304-not-modified
 */
export function sendNotModified({ response }: RequestContext, etag: string, about: AboutFile): void {
  response.writeHead(304, { ...validators(etag, about) });
  response.end();
}

/**
 * Sends a file, or the range that is requested: status 200 or 206, the exact length, then the bytes as fast as the client takes
 * them. If either side fails after the header, the connection is destroyed.
 *
 * @throws PassthroughError what reading the file throws (`INTERNAL` for an unknown error); the reason of the request's signal;
 *   `ABORTED` when the connection breaks or the client stalls
 * @see https://www.rfc-editor.org/rfc/rfc9110#name-range-requests
 */
export async function sendFile(
  context: RequestContext,
  file: ArchiveFile,
  options: SendFileOptions,
): Promise<void> {
  const { request, response, facts, client } = context;
  const { headers, method } = request;
  const { size, etag } = file;
  const ifRange = headers['if-range']?.toString();
  const isPartAsked = method === 'GET' && mayBePartial(ifRange, etag);
  const range = isPartAsked ? parseRange(headers.range, size) : undefined;
  const { socket, url = '' } = request;
  const download = { address: client.address, url, etag, size };
  if (ifRange === undefined && !namesItsFile(headers['if-match']) && range !== undefined) {
    const position = range === 'unsatisfiable' ? rangeStart(headers.range) : range.start;
    refuseForeignRest(position, download, options.downloads);
  }
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
  const writeHead = () =>
    response.writeHead(range === undefined ? 200 : 206, {
      ...common,
      'Content-Type': file.contentType,
      'Content-Length': range === undefined ? size : range.end - range.start,
      ...(range !== undefined && { 'Content-Range': `bytes ${range.start}-${range.end - 1}/${size}` }),
      'Content-Disposition': `attachment; filename="${file.filename}"`,
    });
  facts.bytes = 0;
  if (method === 'HEAD') {
    writeHead();
    response.end();
    return;
  }
  let handedOver = () => {};
  const begin = () => {
    writeHead();
    options.downloads.begin(download);
    handedOver = options.downloads.watch(socket, download);
  };
  await sendBytes(context, begin, file.bytes(range), options.stallMs);
  if (range === undefined || range.end === size) handedOver();
}

/** Whether `If-Match`, which is met here, says of which file a client has a part. */
function namesItsFile(ifMatch: string | undefined): boolean {
  return ifMatch !== undefined && ifMatch.trim() !== '*';
}

/**
 * Refuses a part without `If-Range` that may be appended to the beginning of another file. Any answer but an error is appended:
 * wget skips as many bytes of a 200 as it has, and appends the rest.
 *
 * @throws PassthroughError `PRECONDITION_FAILED`
 */
function refuseForeignRest(position: number, download: Download, downloads: StartedDownloads): void {
  if (position === 0 || !downloads.mayBelongToAnother(download, position)) return;
  const why = 'this address has downloaded another file from this URL, and the image has changed since';
  throw new PassthroughError('PRECONDITION_FAILED', `Cannot continue the download: ${why}`, {
    hints: [
      'Remove the part and download the file again. If-Range with the ETag of the part says which file it is of.',
    ],
  });
}

/**
 * Sends a document with status 200: a small one at once, a large one as fast as the client takes it.
 *
 * @param around text before and after the document
 * @throws as {@link sendFile}
 */
export async function sendContent(
  context: RequestContext,
  content: Content,
  headers: Readonly<Record<string, string>>,
  stallMs: number,
  { before = '', after = '' }: { readonly before?: string; readonly after?: string } = {},
): Promise<void> {
  const [start, end] = [Buffer.from(before), Buffer.from(after)];
  const size = start.byteLength + content.size + end.byteLength;
  if (content.bytes !== undefined) {
    sendDocument(context, Buffer.concat([start, content.bytes, end]), headers);
    return;
  }
  const { request, response } = context;
  const writeHead = () => response.writeHead(200, { ...headers, 'Content-Length': size });
  if (request.method === 'HEAD') {
    writeHead();
    response.end();
    return;
  }
  const whole = async function* () {
    if (before !== '') yield start;
    yield* content.read();
    if (after !== '') yield end;
  };
  await sendBytes(context, writeHead, whole(), stallMs);
}

/** The headers that say which file it is, and how current. */
export function validators(etag: string, { manifestDigest, baseDigest, staleMs }: AboutFile) {
  return {
    ETag: etag,
    'Cache-Control': 'no-cache',
    ...(manifestDigest !== undefined && { 'Docker-Content-Digest': manifestDigest }),
    ...(baseDigest !== undefined && { 'Docker-Base-Digest': baseDigest }),
    ...(staleMs !== undefined && { Age: Math.floor(staleMs / 1000), Warning: STALE_WARNING }),
  };
}

/** https://www.rfc-editor.org/rfc/rfc9530#name-the-repr-digest-field */
function reprDigest(sha256: string): string {
  return `sha-256=:${Buffer.from(sha256, 'hex').toString('base64')}:`;
}

/**
 * Sends bytes chunk by chunk, to a client that takes some in time; see {@link writeBody}. Each is written after the system has taken the one before, so
 * its memory is released at once, and a slow client holds one chunk.
 */
export async function sendBytes(
  { response, facts, ...context }: RequestContext,
  writeHead: () => void,
  bytes: AsyncIterable<Uint8Array>,
  stallMs: number,
): Promise<void> {
  const stalled = new AbortController();
  response.setTimeout(stallMs, () => {
    // Nothing is there to be taken: the next layer is still on its way.
    if (response.writableLength === 0) response.setTimeout(stallMs);
    else
      stalled.abort(
        new PassthroughError('ABORTED', `Stopped: the client took no byte for ${stallMs / 1000} s`),
      );
  });
  const signal = AbortSignal.any([context.signal, stalled.signal]);
  const { sent } = instruments();
  const onWritten = (byteLength: number) => {
    sent.add(byteLength);
    facts.bytes = (facts.bytes ?? 0) + byteLength;
  };
  await writeBody(response, bytes, { signal, writeHead, onWritten, client: context.client.address });
}

/** What belongs to one call of {@link writeBody}. */
export interface BodyCall {
  readonly signal: AbortSignal;
  /** Is called when the first chunk is there, so that bytes that cannot be read are answered with an error. */
  readonly writeHead: () => void;
  /** Receives the length of each chunk that the system has taken. */
  readonly onWritten?: (byteLength: number) => void;
  /** Address of the client, whose turn the writes take; that of the connection unless given. */
  readonly client?: string;
}

/**
 * Writes an answer as {@link sendFile} does, and ends it. If either side fails after the header, the connection is destroyed.
 *
 * @throws as {@link sendFile}
 */
export async function writeBody(
  response: ServerResponse,
  bytes: AsyncIterable<Uint8Array>,
  { signal, writeHead, onWritten = () => undefined, client }: BodyCall,
): Promise<void> {
  try {
    await turnOf(response, signal);
    using writer = new Writer(response, signal, client ?? response.socket?.remoteAddress ?? '');
    for await (const chunk of bytes) {
      const { byteLength } = chunk;
      if (!response.headersSent) writeHead();
      await writer.write(chunk);
      onWritten(byteLength);
      releaseChunk(chunk);
    }
    if (!response.headersSent) writeHead();
    response.end();
  } catch (error) {
    if (response.headersSent || signal.aborted) response.destroy();
    if (signal.aborted) throw signal.reason;
    if (error instanceof WriteError) {
      throw new PassthroughError('ABORTED', 'Stopped: the client has left', { cause: error.cause });
    }
    throw problemOf(error).error;
  }
}

/** Waits until all earlier answers on the connection are out. Until then Node would buffer the bytes of this one. */
async function turnOf(response: ServerResponse, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  if (response.socket !== null) return;
  await once(response, 'socket', { signal });
}

/** The connection did not take a chunk. */
class WriteError extends Error {}

/** Writes an answer chunk by chunk. Listens to its signal once, not for each of thousands of chunks. */
class Writer implements Disposable {
  readonly #response: ServerResponse;
  readonly #signal: AbortSignal;
  readonly #client: string;
  /** Ends the wait for the current chunk. */
  #fail: (reason: unknown) => void = () => undefined;
  readonly #leave = () => this.#fail(this.#signal.reason);

  constructor(response: ServerResponse, signal: AbortSignal, address: string) {
    this.#response = response;
    this.#signal = signal;
    this.#client = clientOf(address);
    signal.addEventListener('abort', this.#leave, { once: true });
  }

  /**
   * Writes a chunk. The system has taken all of it when the promise resolves, and may still read from it when it rejects.
   *
   * @throws WriteError when the connection is broken; the signal's reason
   */
  async write(chunk: Uint8Array): Promise<void> {
    await TURNS.enter(this.#client, chunk.byteLength);
    this.#signal.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#fail = reject;
    this.#response.write(chunk, (cause) => {
      if (cause) reject(new WriteError('Cannot write', { cause }));
      else resolve();
    });
    await promise;
  }

  [Symbol.dispose](): void {
    this.#signal.removeEventListener('abort', this.#leave);
  }
}
