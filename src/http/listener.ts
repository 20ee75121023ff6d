import { once } from 'node:events';
import http, { type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { PassthroughError } from '../errors.ts';

/** Largest request line and header, in bytes: twice Node's own limit, for the long tokens that some clients send along. */
const MAX_HEADER_BYTES = 32 * 1024;

/** What is left for handlers that were aborted to end in, in milliseconds. They only close files. */
const ABORT_GRACE_MS = 2_000;

/** What a client has left, in milliseconds, to read why it was refused and to close its side. */
const LINGER_MS = 1_000;

/** Seconds after which a client that met a stopping service is told to come back: its successor is up by then. */
const RETRY_AFTER_STOP_S = 5;

/** Settings of {@link Listener}. */
export interface ListenerOptions {
  readonly host: string;
  /** 0 for any free one. */
  readonly port: number;
  /**
   * Answers a request; settles when the answer is out. Must not reject.
   *
   * @param signal aborts when the client leaves before its answer is complete, or the listener gives up waiting
   */
  readonly handle: (request: IncomingMessage, response: ServerResponse, signal: AbortSignal) => Promise<void>;
}

/** Takes requests from sockets, tells their handlers when the client has left, and ends without cutting anybody off. */
export class Listener {
  readonly #options: ListenerOptions;
  readonly #server: Server;
  /** Requests that are being answered, and the sockets that they came on. */
  readonly #active = new Map<AbortController, { readonly socket: Duplex; readonly done: Promise<void> }>();

  private constructor(options: ListenerOptions) {
    this.#options = options;
    this.#server = http.createServer({ maxHeaderSize: MAX_HEADER_BYTES }, (request, response) =>
      this.#accept(request, response),
    );
    this.#server.on('clientError', (error, socket) => this.#refuse(error, socket));
  }

  /**
   * Begins to listen.
   *
   * @throws the system's error when the address cannot be had
   */
  static async start(options: ListenerOptions): Promise<Listener> {
    const listener = new Listener(options);
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

  #accept(request: IncomingMessage, response: ServerResponse): void {
    const controller = new AbortController();
    response.once('close', () => {
      if (!response.writableFinished)
        controller.abort(new PassthroughError('ABORTED', 'Stopped: the client has left'));
    });
    // A connection may break at any time; the response's close tells it.
    request.on('error', () => undefined);
    response.on('error', () => undefined);
    const done = this.#options
      .handle(request, response, controller.signal)
      .finally(() => this.#active.delete(controller));
    this.#active.set(controller, { socket: request.socket, done });
  }

  /** Answers what is not HTTP, or not in time, in plain text; a connection that is answering already is cut instead. */
  #refuse(error: Error & { code?: string; rawPacket?: Buffer; reason?: string }, socket: Duplex): void {
    const isAnswering = [...this.#active.values()].some((active) => active.socket === socket);
    if (isAnswering || !socket.writable || error.code === 'ECONNRESET') {
      socket.destroy();
      return;
    }
    const [status, text] = refusal(error);
    socket.end(
      `HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\n` +
        `Content-Length: ${Buffer.byteLength(text) + 1}\r\n\r\n${text}\n`,
    );
    // Not at once, for bytes that still come in would take the answer back; and not never, for no other limit holds here.
    setTimeout(() => socket.destroy(), LINGER_MS).unref();
  }
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

function refusal(error: {
  code?: string;
  rawPacket?: Buffer;
  reason?: string;
}): [status: string, text: string] {
  if (error.code === 'ERR_HTTP_REQUEST_TIMEOUT') {
    return ['408 Request Timeout', 'Request timed out: its header did not arrive in time'];
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
