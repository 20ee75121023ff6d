import { once } from 'node:events';
import http, { type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { PassthroughError } from '../errors.ts';

/** Largest request line and header, in bytes: twice Node's own limit, for the long tokens that some clients send along. */
const MAX_HEADER_BYTES = 32 * 1024;

/** What is left for handlers that were aborted to end in, in milliseconds. They only close files. */
const ABORT_GRACE_MS = 2_000;

/** What a client has left, in milliseconds, to read why it was refused and to close its side. */
const LINGER_MS = 1_000;

/**
 * What a request's body has left to arrive in once its header is here, in milliseconds. Bodies are lists of images, 32 KiB at
 * the most, which takes a line of 9600 baud 34 s.
 */
const BODY_TIMEOUT_MS = 60_000;

/** How often the limits above are looked after, in milliseconds: more often where a limit is less than four times this. */
const CHECK_INTERVAL_MS = 1_000;

/**
 * What a kept connection is left beyond the time that its client was told, in milliseconds. Whoever sends at the last moment
 * must not meet the close: proxies pass that on as an error.
 */
const IDLE_GRACE_MS = 1_000;

/** Most connections beyond the allowed that are held for {@link LINGER_MS}; any further are closed at once. */
const MAX_TURNED_AWAY = 32;

/** Seconds after which a client that found all connections taken is told to come back: the idle ones have ended by then. */
const RETRY_AFTER_FULL_S = 60;

/** Seconds after which a client that met a stopping service is told to come back: its successor is up by then. */
const RETRY_AFTER_STOP_S = 5;

/** Where a {@link HttpServer} listens, and what it puts up with. No limit holds for an answer, however long it takes. */
export interface HttpServerSettings {
  readonly host: string;
  /** 0 for any free one. */
  readonly port: number;
  /** Longest wait for a whole header, in milliseconds: from the connection's beginning, on a kept one from its first byte. */
  readonly headerTimeoutMs: number;
  /** How long a connection is kept for its next request, in milliseconds. */
  readonly idleTimeoutMs: number;
  /** Most connections at once. */
  readonly maxConnections: number;
}

/** Settings of {@link HttpServer}, and what is done with its requests. */
export interface HttpServerOptions extends HttpServerSettings {
  /** Longest wait for a body once the header is here, in milliseconds; {@link BODY_TIMEOUT_MS} unless said. */
  readonly bodyTimeoutMs?: number;
  /**
   * Answers a request; settles when the answer is out. Must not reject.
   *
   * @param signal aborts when the client leaves before its answer is complete, or the listener gives up waiting
   */
  readonly handle: (request: IncomingMessage, response: ServerResponse, signal: AbortSignal) => Promise<void>;
}

/** Takes requests from sockets, tells their handlers when the client has left, and ends without cutting anybody off. */
export class HttpServer {
  readonly #options: HttpServerOptions;
  readonly #server: Server;
  /** Requests that are being answered. */
  readonly #active = new Map<AbortController, Active>();
  /** Sockets that end as soon as what is being answered on them is out. */
  readonly #ending = new WeakSet<Duplex>();
  #connections = 0;
  #turnedAway = 0;

  private constructor(options: HttpServerOptions) {
    this.#options = options;
    this.#server = http.createServer(serverOptions(options), (request, response) =>
      this.#accept(request, response),
    );
    this.#server.on('connection', (socket) => this.#count(socket));
    this.#server.on('clientError', (error, socket) => this.#refuse(error, socket));
  }

  /**
   * Begins to listen.
   *
   * @throws the system's error when the address cannot be had
   */
  static async start(options: HttpServerOptions): Promise<HttpServer> {
    const listener = new HttpServer(options);
    listener.#server.listen(options.port, options.host);
    await once(listener.#server, 'listening');
    return listener;
  }

  /** The port that is listened on. */
  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /**
   * Ends: waits until the requests under way are answered, then closes. Goes on to accept meanwhile, so that whoever asks
   * can be told. After the limit, what is left is aborted.
   *
   * @param limitMs longest wait
   * @returns how many requests had to be aborted
   */
  async stop(limitMs: number): Promise<number> {
    await atMost(limitMs, this.#idle());

    const left = [...this.#active.values()];
    this.#server.close();
    for (const controller of this.#active.keys()) controller.abort(stopping('go on'));
    await atMost(ABORT_GRACE_MS, Promise.all(left.map(({ done }) => done)));
    this.#server.closeAllConnections();
    return left.length;
  }

  /** Resolves as soon as nothing is being answered. */
  async #idle(): Promise<void> {
    while (this.#active.size > 0) await Promise.all([...this.#active.values()].map(({ done }) => done));
  }

  /**
   * Turns away whoever is too many. Node would, too (`maxConnections`), but by a reset, which tells nobody why or when to
   * come back.
   */
  #count(socket: Socket): void {
    const { maxConnections } = this.#options;
    if (this.#connections < maxConnections) {
      this.#connections += 1;
      socket.once('close', () => {
        this.#connections -= 1;
      });
      return;
    }
    const why = `there are ${maxConnections} already, and MAX_CONNECTIONS is ${maxConnections}`;
    const text = plainAnswer('503 Busy', `Busy: Cannot take another connection: ${why}`, RETRY_AFTER_FULL_S);
    if (this.#turnedAway >= MAX_TURNED_AWAY) {
      socket.end(text);
      socket.destroySoon();
      return;
    }
    this.#turnedAway += 1;
    socket.once('close', () => {
      this.#turnedAway -= 1;
    });
    endGently(socket, text);
  }

  #accept(request: IncomingMessage, response: ServerResponse): void {
    const { socket } = request;
    // Whoever was refused may go on all the same: nothing could be answered.
    if (!socket.writable || this.#ending.has(socket)) return;
    const controller = new AbortController();
    response.once('close', () => {
      if (!response.writableFinished)
        controller.abort(new PassthroughError('ABORTED', 'Stopped: the client has left'));
    });
    // A connection may break at any time; the response's close tells it.
    request.on('error', () => undefined);
    response.on('error', () => undefined);
    // Before Node begins to wait for the next one: a limit that was set for this answer must not hold for one that came early.
    response.prependListener('finish', () => socket.setTimeout(0));
    const done = this.#options
      .handle(request, response, controller.signal)
      .finally(() => this.#active.delete(controller));
    this.#active.set(controller, { request, response, done });
  }

  /** Answers what is not HTTP, or not in time, in plain text; a connection that is answering already is cut instead. */
  #refuse(error: ClientError, socket: Duplex): void {
    const answering = [...this.#active.values()].filter(({ request }) => request.socket === socket);
    const isLate = error.code === 'ERR_HTTP_REQUEST_TIMEOUT';
    if (isLate && this.#endAfterAnswers(answering, socket)) return;
    const isAnswering = answering.length > 0 && !isLate;
    if (isAnswering || !socket.writable || error.code === 'ECONNRESET') {
      socket.destroy();
      return;
    }
    // Who has said nothing is told nothing: a proxy that opens connections ahead would take it for the answer to what it
    // sends just now.
    const isSilent = isLate && (socket as Socket).bytesRead === 0;
    endGently(socket, isSilent ? '' : plainAnswer(...refusal(error, answering.length > 0)));
  }

  /**
   * Lets the answers that are under way go out when something behind them is late: the beginning of a next request, or a body
   * that the answer did not wait for. Nothing more is taken then.
   *
   * @returns whether there are any
   */
  #endAfterAnswers(answering: readonly Active[], socket: Duplex): boolean {
    const under = answering.filter(({ request, response }) => request.complete || response.headersSent);
    if (under.length === 0) return false;
    this.#ending.add(socket);
    void Promise.all(under.map(({ done }) => done)).then(() => endGently(socket, ''));
    return true;
  }
}

/** A request that is being answered. */
interface Active {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly done: Promise<void>;
}

/** What Node says of a connection that it cannot go on with. */
type ClientError = Error & { code?: string; rawPacket?: Buffer; reason?: string };

/** The limits in Node's words. All of them end where a request is complete: none holds for its answer. */
function serverOptions(options: HttpServerOptions): http.ServerOptions {
  const { headerTimeoutMs, idleTimeoutMs, bodyTimeoutMs = BODY_TIMEOUT_MS } = options;
  return {
    maxHeaderSize: MAX_HEADER_BYTES,
    headersTimeout: headerTimeoutMs,
    requestTimeout: headerTimeoutMs + bodyTimeoutMs,
    connectionsCheckingInterval: Math.min(CHECK_INTERVAL_MS, Math.ceil(headerTimeoutMs / 4)),
    keepAliveTimeout: idleTimeoutMs,
    keepAliveTimeoutBuffer: IDLE_GRACE_MS,
  };
}

/** A whole answer in plain text, for where there is no request to answer. */
function plainAnswer(status: string, text: string, retryAfterSeconds?: number): string {
  const retryAfter = retryAfterSeconds === undefined ? '' : `Retry-After: ${retryAfterSeconds}\r\n`;
  return (
    `HTTP/1.1 ${status}\r\nConnection: close\r\n${retryAfter}Content-Type: text/plain; charset=utf-8\r\n` +
    `Content-Length: ${Buffer.byteLength(text) + 1}\r\n\r\n${text}\n`
  );
}

/** Says a last word, and closes: not at once, for bytes that still come in would take it back; and not never. */
function endGently(socket: Duplex, text: string): void {
  socket.end(text);
  // No other limit holds here.
  setTimeout(() => socket.destroy(), LINGER_MS).unref();
}

/** The error of whoever meets a service that stops: what it cannot do any more, and when to come back. */
export function stopping(what: string): PassthroughError {
  return new PassthroughError('BUSY', `Cannot ${what}: the service is stopping`, {
    retryAfterSeconds: RETRY_AFTER_STOP_S,
  });
}

/** Waits until a promise is settled, but no longer than a limit, and leaves no timer behind. */
async function atMost(limitMs: number, promise: Promise<unknown>): Promise<void> {
  const isOver = new AbortController();
  await Promise.race([promise, delay(limitMs, undefined, { signal: isOver.signal }).catch(() => undefined)]);
  isOver.abort();
}

/** @param hasHeader whether the request has begun to be answered: what is missing is of its body */
function refusal(error: ClientError, hasHeader: boolean): [status: string, text: string] {
  if (error.code === 'ERR_HTTP_REQUEST_TIMEOUT') {
    const what = hasHeader ? 'body' : 'header';
    return ['408 Request Timeout', `Request timed out: its ${what} did not arrive in time`];
  }
  if (error.code === 'HPE_HEADER_OVERFLOW') {
    const endOfFirstLine = error.rawPacket?.indexOf('\r\n') ?? -1;
    return endOfFirstLine === -1 || endOfFirstLine > MAX_HEADER_BYTES
      ? [
          '400 Bad Request',
          `Invalid image reference: Cannot parse path: it is longer than ${MAX_HEADER_BYTES} bytes`,
        ]
      : [
          '431 Request Header Fields Too Large',
          `Invalid request: its header is longer than ${MAX_HEADER_BYTES} bytes`,
        ];
  }
  return [
    '400 Bad Request',
    `Invalid request: Cannot parse it as HTTP: ${error.reason ?? error.code ?? 'unknown'}`,
  ];
}
