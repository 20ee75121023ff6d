import { once } from 'node:events';
import http, { type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { PassthroughError } from '../../errors.ts';
import { checkConditions, mayBePartial, parseRange } from '../../http/conditional.ts';
import { problemOf } from '../../http/problem.ts';
import { writeBody } from '../../http/send-file.ts';
import { isDigest } from '../../image/digest.ts';
import { OCI_MANIFEST } from '../../image/media-type.ts';
import { isLoopback } from '../../registry/select-host.ts';
import { rebatched } from '../../streams/rebatch.ts';
import { quoted } from '../../util/printable.ts';
import { systemErrorCode } from '../../util/system-error.ts';
import { complain, errorLines } from '../output/error-lines.ts';
import type { ProxiedImage } from './proxied-image.ts';
import { partOf, withHeldEnd } from './verified-body.ts';

/** Most connections at once: more than a program needs to fetch the layers of an image at the same time. */
const MAX_CONNECTIONS = 64;

/** Time that an idle connection of a port is kept, in milliseconds. A program may unpack a layer before it asks for the next. */
const IDLE_MS = 300_000;

/** Bytes of one write to a client. A socket of the registry gives 64 KiB at a time, and each write waits for the system. */
const WRITE_BYTES = 256 * 1024;

/** What a passed socket reports when its other end is gone. */
const GONE = new Set(['ECONNRESET', 'EPIPE']);

/** Answers a request. */
type Handler = (request: IncomingMessage, response: ServerResponse, operand: string) => Promise<void>;

/** A route of the proxy. */
interface Route {
  /** Path; one that ends in a slash has an operand behind it. */
  readonly path: string;
  readonly methods: readonly string[];
  readonly answer: Handler;
}

/**
 * Serves one image over HTTP/1.1: to local programs on a port of 127.0.0.1, or to the other end of one socket. Its answers have no
 * time limit, since a program may take long for a layer.
 */
export class ProxyServer {
  readonly #image: ProxiedImage;
  readonly #server: Server;
  /** Aborts when the server ends. */
  readonly #signal: AbortSignal;
  readonly #stop = new AbortController();
  readonly #quit = Promise.withResolvers<void>();
  readonly #routes: readonly Route[] = [
    {
      path: '/manifest',
      methods: ['GET', 'HEAD'],
      answer: (request, response) => this.#sendManifest(request, response),
    },
    { path: '/blobs/', methods: ['GET', 'HEAD'], answer: (...all) => this.#sendBlob(...all) },
    { path: '/quit', methods: ['POST'], answer: (_, response) => this.#answerQuit(response) },
  ];

  /** @param signal ends the server */
  constructor(image: ProxiedImage, signal: AbortSignal) {
    this.#image = image;
    this.#signal = AbortSignal.any([signal, this.#stop.signal]);
    this.#server = http.createServer({ keepAliveTimeout: IDLE_MS }, (request, response) => {
      void this.#answer(request, response);
    });
    this.#server.maxConnections = MAX_CONNECTIONS;
    signal.addEventListener('abort', () => this.#quit.reject(signal.reason), { once: true });
    // The rejection may come before anything waits for it.
    this.#quit.promise.catch(() => undefined);
  }

  /** The port that the server listens on. */
  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /**
   * Listens on a port of 127.0.0.1.
   *
   * @returns waits for the end: `POST /quit`, or the signal, with whose reason it rejects
   * @throws the system's error if it cannot listen
   */
  async listen(port: number): Promise<() => Promise<void>> {
    this.#server.listen(port, '127.0.0.1');
    await once(this.#server, 'listening');
    return () => this.#untilQuit();
  }

  /**
   * Serves a connection, until `POST /quit` or its end.
   *
   * @throws the signal's reason; the system's error if the socket cannot be used
   */
  async serve(socket: Socket): Promise<void> {
    // Its other end may wait as long as it wants before it asks for something.
    this.#server.keepAliveTimeout = 0;
    this.#server.headersTimeout = 0;
    this.#server.requestTimeout = 0;
    socket.on('error', (error) => {
      if (GONE.has(systemErrorCode(error) ?? '')) return;
      this.#quit.reject(new Error(`Cannot serve the socket: ${error.message}`, { cause: error }));
    });
    socket.once('close', () => this.#quit.resolve());
    this.#server.emit('connection', socket);
    try {
      await this.#untilQuit();
    } finally {
      socket.destroy();
    }
  }

  async #untilQuit(): Promise<void> {
    try {
      await this.#quit.promise;
    } finally {
      this.#stop.abort(new PassthroughError('ABORTED', 'Stopped: the proxy ends'));
      this.#server.close();
      this.#server.closeAllConnections();
    }
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    request.on('error', () => undefined).resume();
    response.on('error', () => undefined);
    try {
      refuseWebPage(request);
      const { route, operand } = this.#find(request);
      await route.answer(request, response, operand);
    } catch (error) {
      await this.#refuse(error, request, response);
    }
  }

  #find({ url = '', method = '' }: IncomingMessage): { readonly route: Route; readonly operand: string } {
    const path = decoded(URL.parse(url, 'http://localhost')?.pathname ?? '');
    for (const route of this.#routes) {
      const isFound = route.path.endsWith('/') ? path.startsWith(route.path) : path === route.path;
      if (!isFound) continue;
      if (route.methods.includes(method)) return { route, operand: path.slice(route.path.length) };
      const allow = route.methods;
      throw new PassthroughError(
        'METHOD_NOT_ALLOWED',
        `Cannot ${quoted(method)} ${route.path}: it takes ${allow.join(' and ')}`,
        { allow },
      );
    }
    throw new PassthroughError(
      'NOT_FOUND',
      `No route has path ${quoted(path)}: expected /manifest, /blobs/{digest} or /quit`,
    );
  }

  async #sendManifest({ method }: IncomingMessage, response: ServerResponse): Promise<void> {
    const { bytes, digest, indexDigest } = await this.#image.manifest();
    response.writeHead(200, {
      'Content-Type': OCI_MANIFEST,
      'Content-Length': bytes.byteLength,
      'Manifest-Digest': digest,
      ...(indexDigest !== undefined && { 'Index-Digest': indexDigest }),
      'Cache-Control': 'no-store',
    });
    response.end(method === 'HEAD' ? undefined : bytes);
  }

  async #sendBlob(request: IncomingMessage, response: ServerResponse, operand: string): Promise<void> {
    if (!isDigest(operand)) {
      const why = `Cannot parse digest ${quoted(operand)}: expected sha256 or sha512 and lower-case hex`;
      throw new PassthroughError('INVALID_REFERENCE', why);
    }
    const blob = await this.#image.blob(operand);
    const { digest, size } = blob;
    const { method, headers } = request;
    const etag = `"${digest}"`;
    const common = { ETag: etag, 'Accept-Ranges': 'bytes', 'Docker-Content-Digest': digest };
    if (checkConditions(request, etag)) {
      response.writeHead(304, common).end();
      return;
    }
    const isPartAsked = method === 'GET' && mayBePartial(headers['if-range']?.toString(), etag);
    const range = isPartAsked ? parseRange(headers.range, size) : undefined;
    if (range === 'unsatisfiable') {
      const header = { ...common, 'Content-Range': `bytes */${size}`, 'Content-Length': 0 };
      response.writeHead(416, header).end();
      return;
    }
    const { start, end } = range ?? { start: 0, end: size };
    const header = {
      ...common,
      'Content-Type': 'application/octet-stream',
      'Content-Length': end - start,
      ...(range !== undefined && { 'Content-Range': `bytes ${start}-${end - 1}/${size}` }),
    };
    const status = range === undefined ? 200 : 206;
    if (method === 'HEAD') {
      response.writeHead(status, header).end();
      return;
    }
    const signal = AbortSignal.any([this.#signal, leaving(response)]);
    const source = rebatched(await this.#image.open(blob, signal), WRITE_BYTES);
    const body = withHeldEnd(partOf(source, { start, end }));
    try {
      // The header goes out with the first chunk: the fault of a blob that arrives in one piece has a status of its own.
      await writeBody(response, body, { signal, writeHead: () => response.writeHead(status, header) });
    } finally {
      await body.return();
    }
  }

  async #answerQuit(response: ServerResponse): Promise<void> {
    response.once('close', () => this.#quit.resolve());
    response.writeHead(200, { Connection: 'close', 'Content-Length': 0 }).end();
  }

  /** Answers with an error, or cuts the connection when a part of the body may be out. */
  async #refuse(error: unknown, { method }: IncomingMessage, response: ServerResponse): Promise<void> {
    const { status, headers, error: known } = problemOf(error);
    const hasLeft = response.destroyed || this.#signal.aborted;
    const isCut = response.headersSent;
    if (isCut) {
      response.destroy();
    } else if (!hasLeft) {
      const body = Buffer.from(errorLines(known));
      response.writeHead(status, {
        'Content-Type': 'text/plain; charset=utf-8',
        'Content-Length': body.byteLength,
        ...headers,
      });
      response.end(method === 'HEAD' ? undefined : body);
    }
    // A client sees no more of a cut connection, and may not show the text of an answer.
    if (known.code !== 'ABORTED' && (isCut || status >= 500)) await complain(error);
  }
}

/** Aborts when the client leaves before its answer is complete. */
function leaving(response: ServerResponse): AbortSignal {
  const left = new AbortController();
  const leave = () => left.abort(new PassthroughError('ABORTED', 'Stopped: the client has left'));
  response.once('close', () => {
    if (!response.writableFinished) leave();
  });
  if (response.destroyed) leave();
  return left.signal;
}

/**
 * Refuses what a web page sends: a browser names the page or its site, or the name that the page has given to 127.0.0.1 at its own name
 * server.
 *
 * @throws PassthroughError `CROSS_SITE`
 */
function refuseWebPage({ headers }: IncomingMessage): void {
  const { origin, host } = headers;
  // `none` is an address that the user has typed.
  const site = headers['sec-fetch-site'];
  const isOfPage = origin !== undefined || (site !== undefined && site !== 'none');
  const why = isOfPage
    ? 'it comes from a web page'
    : host === undefined || isLoopback(URL.parse(`http://${host}`)?.hostname ?? '')
      ? undefined
      : `its Host ${quoted(host)} is not loopback`;
  if (why !== undefined) throw new PassthroughError('CROSS_SITE', `Cannot answer the request: ${why}`);
}

/** @throws PassthroughError `INVALID_REFERENCE` */
function decoded(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    throw new PassthroughError(
      'INVALID_REFERENCE',
      `Cannot parse path ${quoted(path)}: a percent sign is wrong`,
    );
  }
}
