import http, { type IncomingMessage, type Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import type { HttpSettings } from '../../config/config.ts';
import { PassthroughError } from '../../errors.ts';
import { stopping } from '../../pull/preparations.ts';
import { clientOf } from '../client-limit.ts';
import { Listeners, type ListenOptions } from '../listeners/listeners.ts';
import { TlsHandshakes, type TlsOptions } from '../listeners/tls-handshakes.ts';
import { Connections } from './connections.ts';
import {
  type ClientError,
  endLater,
  MAX_HEADER_BYTES,
  plainAnswer,
  Refusals,
  refusal,
} from './last-answer.ts';
import { type Entrance, type Peer, UNIX_ADDRESS } from './peer.ts';
import { RequestGate } from './request-gate.ts';
import { RequestTurns } from './request-turns.ts';

/** Time for aborted handlers to end, in milliseconds. They only close files. */
const ABORT_GRACE_MS = 2_000;

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

/** `Retry-After` when all connections are in use, in seconds: idle ones have ended by then. */
const RETRY_AFTER_FULL_S = 60;

/** Settings of {@link HttpServer}, and what handles its requests. */
export interface HttpServerOptions extends HttpSettings, ListenOptions {
  /** Of the port of https, which needs it. */
  readonly tls?: TlsOptions | undefined;
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
  readonly handle: (
    request: IncomingMessage,
    response: ServerResponse,
    signal: AbortSignal,
    peer: Peer,
  ) => Promise<void>;
}

/** Takes requests from sockets, aborts a handler when its client leaves, and stops after the answers under way. */
export class HttpServer {
  readonly #options: HttpServerOptions;
  /** Parses requests of connections that it is given. It does not listen. */
  readonly #parser: Server;
  /** Requests that are being answered. */
  readonly #active = new Map<AbortController, Active>();
  /** Sockets that end after the answers under way on them. */
  readonly #ending = new WeakSet<Duplex>();
  readonly #turns: RequestTurns;
  readonly #connections: Connections;
  readonly #refusals = new Refusals();
  /** Connections whose requests are parsed. */
  readonly #accepted = new WeakMap<Socket, Accepted>();
  #listeners: Listeners | undefined;
  #handshakes: TlsHandshakes | undefined;

  private constructor(options: HttpServerOptions) {
    this.#options = options;
    this.#connections = new Connections(options.maxConnections);
    this.#turns = new RequestTurns(options.urgentPaths);
    const accepted = this.#accepted;
    /** Counts each request that is parsed, also those that Node answers itself: 400 without `Host`, 417. */
    class CountedResponse extends ServerResponse {
      constructor(...parameters: ConstructorParameters<typeof ServerResponse>) {
        super(...parameters);
        const [request] = parameters;
        accepted.get(request.socket)?.gate.enter(request, this);
      }
    }
    const settings = { ...serverOptions(options), ServerResponse: CountedResponse };
    this.#parser = http.createServer(settings, (request, response) => this.#accept(request, response));
    // Node would drop fields behind the 1,000th, and with them what a proxy has appended. `MAX_HEADER_BYTES` limits them.
    this.#parser.maxHeadersCount = 0;
    this.#parser.on('clientError', (error, socket) => this.#refuse(error, socket));
    // Begins the checks of the time limits.
    this.#parser.emit('listening');
  }

  /**
   * Starts to listen.
   *
   * @throws the system's error if it cannot listen on an address; PassthroughError `INVALID_CONFIGURATION` for files of TLS, a passed
   *   socket or the path of a Unix socket that cannot be used
   */
  static async start(options: HttpServerOptions): Promise<HttpServer> {
    const server = new HttpServer(options);
    const { tls, headerTimeoutMs } = options;
    try {
      if (tls !== undefined) server.#handshakes = await TlsHandshakes.start(tls, headerTimeoutMs);
      server.#listeners = await Listeners.open(options, (...connection) => server.#connect(...connection));
    } catch (error) {
      server.#close();
      throw error;
    }
    return server;
  }

  /** The port of plain http; 0 if there is none. */
  get port(): number {
    return this.#listeners?.port ?? 0;
  }

  /** The port of https; `undefined` if there is none. */
  get httpsPort(): number | undefined {
    return this.#listeners?.httpsPort;
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
    const closed = this.#listeners?.close();
    this.#close();
    for (const controller of this.#active.keys()) controller.abort(stopping('go on'));
    await atMost(ABORT_GRACE_MS, Promise.all(left.map(({ done }) => done)));
    this.#connections.closeAll();
    await closed;
    return left.length;
  }

  /** Takes no further requests: ends idle connections, and the checks of time limits and files. */
  #close(): void {
    this.#handshakes?.stop();
    this.#parser.close();
  }

  /** Resolves when no request is being answered. */
  async #idle(): Promise<void> {
    while (this.#active.size > 0) await Promise.all([...this.#active.values()].map(({ done }) => done));
  }

  /** Begins a new connection: encrypts it, if it has come by https, and then reads its requests. */
  #connect(socket: Socket, entrance: Entrance): void {
    const address = entrance === 'unix' ? UNIX_ADDRESS : (socket.remoteAddress ?? '');
    const peer: Peer = { entrance, address, port: socket.remotePort, certificate: undefined };
    this.#turns.arrive();
    const why = this.#whyNot(socket);
    if (entrance !== 'https') {
      if (why === undefined) this.#read(socket, socket, peer);
      else this.#refusals.answer(socket, busy(why));
      return;
    }
    // The reason can only be read after a handshake.
    if (why !== undefined && !this.#refusals.hold(socket)) return void socket.destroy();
    this.#handshakes?.begin(socket, {
      turn: (begin) => this.#turns.next(clientOf(address), begin),
      secured: (secure, certificate) => {
        if (why === undefined) this.#read(secure, socket, { ...peer, certificate });
        else this.#refusals.end(secure, busy(why));
      },
    });
  }

  /**
   * Counts a new connection, unless there is no place for it. Node's own `maxConnections` resets the connection, so the client sees
   * no reason and no `Retry-After`.
   *
   * @returns why there is no place
   */
  #whyNot(socket: Socket): string | undefined {
    const { maxConnections, onConnection, isShort } = this.#options;
    onConnection?.(socket);
    if (isShort?.() === true) return 'nearly all file descriptors of the process are in use';
    if (this.#connections.admit(socket)) return undefined;
    return `there are ${maxConnections} already, and MAX_CONNECTIONS is ${maxConnections}`;
  }

  /** Reads the requests of a connection. */
  #read(socket: Socket, counted: Socket, peer: Peer): void {
    this.#parser.emit('connection', socket);
    this.#accepted.set(socket, { peer, counted, gate: new RequestGate(socket, this.#turns) });
  }

  #accept(request: IncomingMessage, response: ServerResponse): void {
    const { socket } = request;
    const accepted = this.#accepted.get(socket);
    // A refused client may send on. Nothing could be answered.
    if (!socket.writable || this.#ending.has(socket) || accepted === undefined) return;
    const { peer, counted } = accepted;
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
    this.#connections.work(counted, true);
    const done = this.#options.handle(request, response, controller.signal, peer).finally(() => {
      this.#active.delete(controller);
      this.#connections.work(counted, false);
    });
    this.#active.set(controller, { request, response, done });
  }

  /** Answers malformed or late requests in plain text. Cuts a connection on which an answer is under way. */
  #refuse(error: ClientError, socket: Duplex): void {
    const answering = [...this.#active.values()].filter(({ request }) => request.socket === socket);
    const isLate = error.code === 'ERR_HTTP_REQUEST_TIMEOUT';
    if (isLate && this.#endAfterAnswers(answering, socket)) return;
    const isAnswering = answering.length > 0 && !isLate;
    if (isAnswering || !socket.writable || error.code === 'ECONNRESET') return void socket.destroy();
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

/** A connection whose requests are parsed. */
interface Accepted {
  readonly peer: Peer;
  /** The connection as it is counted: without its encryption. */
  readonly counted: Socket;
  readonly gate: RequestGate;
}

/** A request that is being answered. */
interface Active {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly done: Promise<void>;
}

function busy(why: string): string {
  return plainAnswer('503 Busy', `Busy: Cannot take another connection: ${why}`, RETRY_AFTER_FULL_S);
}

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

/** Waits for a promise, but no longer than a limit, and leaves no timer behind. */
async function atMost(limitMs: number, promise: Promise<unknown>): Promise<void> {
  const isOver = new AbortController();
  await Promise.race([promise, delay(limitMs, undefined, { signal: isOver.signal }).catch(() => undefined)]);
  isOver.abort();
}
