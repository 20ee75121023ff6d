import { once } from 'node:events';
import http, { type IncomingMessage, type Server, ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import type { HttpSettings } from '../../config/config.ts';
import { PassthroughError } from '../../errors.ts';
import { stopping } from '../../pull/preparations.ts';
import { Connections } from './connections.ts';
import { RequestGate } from './request-gate.ts';
import { RequestTurns } from './request-turns.ts';

/** Largest request line and header, in bytes: twice Node's default, for clients that send long tokens. */
const MAX_HEADER_BYTES = 32 * 1024;

/** Time for aborted handlers to end, in milliseconds. They only close files. */
const ABORT_GRACE_MS = 2_000;

/** Time for a refused client to read the reason and to close its side, in milliseconds. */
const LINGER_MS = 1_000;

/**
 * Time for a request body to arrive after the header, in milliseconds. Bodies are lists of images of at most 32 KiB, which take
 * 34 s on a serial line of 9600 baud.
 */
const BODY_TIMEOUT_MS = 60_000;

/** Interval of the checks of these limits, in milliseconds; shorter if a limit is less than four times this. */
const CHECK_INTERVAL_MS = 1_000;

/**
 * Time that a kept connection has beyond the announced one, in milliseconds. A request that is sent at the last moment must not
 * meet the close, which proxies pass on as an error.
 */
const IDLE_GRACE_MS = 1_000;

/**
 * Connections that the system holds until they are accepted; at most its own limit (`net.core.somaxconn`). A client that finds the
 * queue full tries again after a second.
 */
const ACCEPT_QUEUE = 4096;

/** Most refused connections that are held for {@link LINGER_MS}. Further ones are closed at once. */
const MAX_LINGERING = 32;

/** `Retry-After` when all connections are in use, in seconds: idle ones have ended by then. */
const RETRY_AFTER_FULL_S = 60;

/** Settings of {@link HttpServer}, and what handles its requests. */
export interface HttpServerOptions extends HttpSettings {
  /** Longest wait for a body after the header, in milliseconds; {@link BODY_TIMEOUT_MS} unless given. */
  readonly bodyTimeoutMs?: number;
  /** Paths of probes, whose requests are taken before all others; none unless given. */
  readonly urgentPaths?: readonly string[];
  /** Is called for each new connection. */
  readonly onConnection?: (socket: Socket) => void;
  /** Whether file descriptors are short, so that a new connection is refused. */
  readonly isShort?: () => boolean;
  /**
   * Answers a request, and settles when the answer is out. Must not reject.
   *
   * @param signal aborts when the client leaves before its answer is complete, or the server stops waiting for it
   */
  readonly handle: (request: IncomingMessage, response: ServerResponse, signal: AbortSignal) => Promise<void>;
}

/** Takes requests from sockets, aborts a handler when its client leaves, and stops after the answers under way. */
export class HttpServer {
  readonly #options: HttpServerOptions;
  readonly #server: Server;
  /** Requests that are being answered. */
  readonly #active = new Map<AbortController, Active>();
  /** Sockets that end after the answers under way on them. */
  readonly #ending = new WeakSet<Duplex>();
  readonly #turns: RequestTurns;
  readonly #connections: Connections;
  #lingering = 0;

  private constructor(options: HttpServerOptions) {
    this.#options = options;
    this.#connections = new Connections(options.maxConnections);
    this.#turns = new RequestTurns(options.urgentPaths);
    const gates = new WeakMap<Socket, RequestGate>();
    /** Counts each request that is parsed, also those that Node answers itself: 400 without `Host`, 417. */
    class CountedResponse extends ServerResponse {
      constructor(...parameters: ConstructorParameters<typeof ServerResponse>) {
        super(...parameters);
        const [request] = parameters;
        gates.get(request.socket)?.enter(request, this);
      }
    }
    const settings = { ...serverOptions(options), ServerResponse: CountedResponse };
    this.#server = http.createServer(settings, (request, response) => this.#accept(request, response));
    // Node's own listener attaches a parser, which a refused connection does not need.
    const attach = this.#server.listeners('connection');
    this.#server.removeAllListeners('connection');
    this.#server.on('connection', (socket: Socket) => {
      this.#turns.arrive();
      if (!this.#admit(socket)) return;
      for (const listener of attach) listener.call(this.#server, socket);
      gates.set(socket, new RequestGate(socket, this.#turns));
    });
    this.#server.on('clientError', (error, socket) => this.#refuse(error, socket));
  }

  /**
   * Starts to listen.
   *
   * @throws the system's error if it cannot listen on the address
   */
  static async start(options: HttpServerOptions): Promise<HttpServer> {
    const server = new HttpServer(options);
    server.#server.listen({ port: options.port, host: options.host, backlog: ACCEPT_QUEUE });
    await once(server.#server, 'listening');
    return server;
  }

  /** The port that the server listens on. */
  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /**
   * Stops: waits for the answers under way, then closes. Meanwhile it accepts requests, so that clients get a refusal that they
   * can read. After the limit, it aborts what is left.
   *
   * @param limitMs longest wait
   * @returns number of requests that were aborted
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

  /** Resolves when no request is being answered. */
  async #idle(): Promise<void> {
    while (this.#active.size > 0) await Promise.all([...this.#active.values()].map(({ done }) => done));
  }

  /**
   * Counts a new connection, or answers 503 when there is no place for it. Node's own `maxConnections` resets the connection, so
   * the client sees no reason and no `Retry-After`.
   */
  #admit(socket: Socket): boolean {
    const { maxConnections, onConnection, isShort } = this.#options;
    onConnection?.(socket);
    const areFilesShort = isShort?.() === true;
    if (!areFilesShort && this.#connections.admit(socket)) return true;
    const why = areFilesShort
      ? 'nearly all file descriptors of the process are in use'
      : `there are ${maxConnections} already, and MAX_CONNECTIONS is ${maxConnections}`;
    const text = plainAnswer('503 Busy', `Busy: Cannot take another connection: ${why}`, RETRY_AFTER_FULL_S);
    socket.on('error', () => undefined);
    if (this.#lingering >= MAX_LINGERING) {
      socket.end(text);
      socket.destroySoon();
      return false;
    }
    this.#lingering += 1;
    socket.once('close', () => {
      this.#lingering -= 1;
    });
    socket.resume();
    endLater(socket, text);
    return false;
  }

  #accept(request: IncomingMessage, response: ServerResponse): void {
    const { socket } = request;
    // A refused client may send on. Nothing could be answered.
    if (!socket.writable || this.#ending.has(socket)) return;
    const controller = new AbortController();
    response.once('close', () => {
      if (!response.writableFinished)
        controller.abort(new PassthroughError('ABORTED', 'Stopped: the client has left'));
    });
    // A connection may break at any time. The response reports it by `close`.
    request.on('error', () => undefined);
    response.on('error', () => undefined);
    // Before Node starts to wait for the next request: the limit of this answer must not apply to a pipelined one.
    response.prependListener('finish', () => socket.setTimeout(0));
    this.#connections.work(socket, true);
    const done = this.#options.handle(request, response, controller.signal).finally(() => {
      this.#active.delete(controller);
      this.#connections.work(socket, false);
    });
    this.#active.set(controller, { request, response, done });
  }

  /** Answers malformed or late requests in plain text. Cuts a connection on which an answer is under way. */
  #refuse(error: ClientError, socket: Duplex): void {
    const answering = [...this.#active.values()].filter(({ request }) => request.socket === socket);
    const isLate = error.code === 'ERR_HTTP_REQUEST_TIMEOUT';
    if (isLate && this.#endAfterAnswers(answering, socket)) return;
    const isAnswering = answering.length > 0 && !isLate;
    if (isAnswering || !socket.writable || error.code === 'ECONNRESET') {
      socket.destroy();
      return;
    }
    // A silent client gets no text: a proxy that opens connections ahead would take it for the answer to its next request.
    const isSilent = isLate && (socket as Socket).bytesRead === 0;
    endLater(socket, isSilent ? '' : plainAnswer(...refusal(error, answering.length > 0)));
  }

  /**
   * Lets the answers under way go out when something behind them is late: the start of a next request, or a body that the answer
   * does not wait for. No further request is taken.
   *
   * @returns whether there are such answers
   */
  #endAfterAnswers(answering: readonly Active[], socket: Duplex): boolean {
    const under = answering.filter(({ request, response }) => request.complete || response.headersSent);
    if (under.length === 0) return false;
    this.#ending.add(socket);
    void Promise.all(under.map(({ done }) => done)).then(() => endLater(socket, ''));
    return true;
  }
}

/** A request that is being answered. */
interface Active {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly done: Promise<void>;
}

/** Node's error for a connection that it cannot parse. */
type ClientError = Error & { code?: string; rawPacket?: Buffer; reason?: string };

/** The limits as Node's options. All of them end with the request: none limits the answer. */
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

/** A complete answer in plain text, for a connection without a parsed request. */
function plainAnswer(status: string, text: string, retryAfterSeconds?: number): string {
  const retryAfter = retryAfterSeconds === undefined ? '' : `Retry-After: ${retryAfterSeconds}\r\n`;
  return (
    `HTTP/1.1 ${status}\r\nConnection: close\r\n${retryAfter}Content-Type: text/plain; charset=utf-8\r\n` +
    `Content-Length: ${Buffer.byteLength(text) + 1}\r\n\r\n${text}\n`
  );
}

/**
 * Sends a last text and closes the connection later. Closing while the client still sends would reset the connection and lose the
 * text.
 */
function endLater(socket: Duplex, text: string): void {
  socket.end(text);
  // No other limit applies here.
  setTimeout(() => socket.destroy(), LINGER_MS).unref();
}

/** Waits for a promise, but no longer than a limit, and leaves no timer behind. */
async function atMost(limitMs: number, promise: Promise<unknown>): Promise<void> {
  const isOver = new AbortController();
  await Promise.race([promise, delay(limitMs, undefined, { signal: isOver.signal }).catch(() => undefined)]);
  isOver.abort();
}

/** @param hasHeader whether the header has arrived, so that the body is late */
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
