import http, { type AgentOptions, type ClientRequest, type IncomingMessage } from 'node:http';
import https from 'node:https';
import type { Duplex } from 'node:stream';
import type { PassthroughError } from '../../errors.ts';
import { ownChunk } from '../../streams/chunk.ts';
import { abortedError, connectionError, timeoutError } from './connection-error.ts';
import { guardedLookup, refuseForbiddenLiteral } from './forbidden-address.ts';
import type { Timeouts, Transport, TransportRequest, TransportResponse } from './transport.ts';

/** How many idle connections to keep per host: as many as one image's layers are fetched at once, and some. */
const MAX_IDLE_SOCKETS = 16;

/**
 * Largest body that is read to its end only to keep its connection. Beyond it, a new connection costs less than the bytes.
 */
const MAX_DRAIN_BYTES = 64 * 1024;

/** Settings of {@link HttpTransport}. */
export interface HttpTransportOptions {
  readonly timeouts: Timeouts;
  /** `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`, in either case, as Node's agents take them. */
  readonly proxyEnv: AgentOptions['proxyEnv'];
  /** Sent as `User-Agent`. */
  readonly userAgent: string;
}

/**
 * One exchange on `node:http` or `node:https`: connections are kept alive and shared by all pulls, addresses are checked
 * as they are dialled, and each phase has a time limit. Follows nothing and repeats nothing: that is for decorators.
 */
export class HttpTransport implements Transport {
  readonly #options: HttpTransportOptions;
  readonly #agents: { readonly 'http:': http.Agent; readonly 'https:': https.Agent };

  constructor(options: HttpTransportOptions) {
    this.#options = options;
    const agentOptions: AgentOptions = {
      keepAlive: true,
      maxFreeSockets: MAX_IDLE_SOCKETS,
      // An idle connection is closed once it has been silent as long as a busy one may be. Of busy ones the agent only tells.
      timeout: options.timeouts.stallMs,
      ...(options.proxyEnv !== undefined && { proxyEnv: options.proxyEnv }),
    };
    this.#agents = { 'http:': new http.Agent(agentOptions), 'https:': new DiallingAgent(agentOptions) };
  }

  async send(request: TransportRequest): Promise<TransportResponse> {
    const { url, signal } = request;
    if (signal.aborted) throw abortedError(signal);
    refuseForbiddenLiteral(url);
    const incoming = await this.#responseTo(request);
    // A connection that breaks while nobody reads must not end the process; the reader, once there, is told all the same.
    incoming.on('error', () => undefined);
    const { stallMs } = this.#options.timeouts;
    return {
      status: incoming.statusCode ?? 0,
      headers: incoming.headers,
      url,
      peer: peerOf(incoming),
      protocolVersion: incoming.httpVersion,
      body: readBody(incoming, request, stallMs),
      discard: () => discard(incoming, stallMs),
      secrets: [],
    };
  }

  /** Frees all connections. Exchanges under way break off. */
  close(): void {
    this.#agents['http:'].destroy();
    this.#agents['https:'].destroy();
  }

  async #responseTo({ method, url, headers, signal }: TransportRequest): Promise<IncomingMessage> {
    const { userAgent, timeouts } = this.#options;
    let dialled: Duplex | undefined;
    const options = {
      method,
      headers: { 'user-agent': userAgent, ...headers },
      lookup: guardedLookup,
      signal,
      onDial: (socket: Duplex) => {
        dialled = socket;
      },
    };
    const outgoing =
      url.protocol === 'https:'
        ? https.request(url, { ...options, agent: this.#agents['https:'] })
        : http.request(url, { ...options, agent: this.#agents['http:'] });
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    const giveUp = (error: PassthroughError) => {
      reject(error);
      outgoing.destroy(error);
      // While a proxy's tunnel is dug, the request has no socket yet: it would neither take it along nor tell its end.
      if (outgoing.socket === null) dialled?.destroy();
    };
    const leave = () => giveUp(abortedError(signal));
    const deadline = limitPhases(outgoing, url, timeouts, giveUp);
    signal.addEventListener('abort', leave, { once: true });
    try {
      outgoing.once('response', resolve).on('error', reject);
      // A connection may end without an error too, as after a 101 that nobody asked for.
      outgoing.once('close', () => reject(new Error('the connection ended without an answer')));
      outgoing.end();
      return await promise;
    } catch (error) {
      throw signal.aborted ? abortedError(signal) : connectionError(url, error);
    } finally {
      deadline.clear();
      signal.removeEventListener('abort', leave);
    }
  }
}

function peerOf({ socket }: IncomingMessage): TransportResponse['peer'] {
  const { remoteAddress: address, remotePort: port } = socket;
  return address === undefined || port === undefined ? undefined : { address, port };
}

/** Tells a request of the socket that is dialled for it, also of one to a proxy that is to become a tunnel. */
class DiallingAgent extends https.Agent {
  override createConnection(...[options, callback]: Parameters<https.Agent['createConnection']>) {
    const socket = super.createConnection(options, callback);
    const { onDial }: typeof options & { onDial?: (socket: Duplex) => void } = options;
    if (socket) onDial?.(socket);
    return socket;
  }
}

/**
 * Gives up a request that does not connect, or then does not answer, in time. The connect limit ends when a connection
 * is ready to use: after TLS, after a proxy's tunnel, at once for one that was kept alive.
 */
function limitPhases(
  outgoing: ClientRequest,
  url: URL,
  timeouts: Timeouts,
  giveUp: (error: PassthroughError) => void,
): { clear(): void } {
  const expire = (phase: 'connect' | 'answer', ms: number) =>
    setTimeout(() => giveUp(timeoutError(url, phase, ms)), ms);
  let isOver = false;
  let timer = expire('connect', timeouts.connectMs);
  const connected = () => {
    if (isOver) return;
    clearTimeout(timer);
    timer = expire('answer', timeouts.responseMs);
  };
  outgoing.once('socket', (socket) => {
    if (socket.connecting) socket.once(url.protocol === 'https:' ? 'secureConnect' : 'connect', connected);
    else connected();
  });
  return {
    clear: () => {
      isOver = true;
      clearTimeout(timer);
    },
  };
}

/** Reads a body with a limit on the wait for each piece; the time that the reader takes does not count. */
async function* readBody(
  incoming: IncomingMessage,
  { url, signal }: TransportRequest,
  stallMs: number,
): AsyncGenerator<Uint8Array, void, undefined> {
  const pieces = incoming[Symbol.asyncIterator]() as AsyncIterator<Uint8Array, undefined>;
  try {
    for (;;) {
      const timer = setTimeout(() => incoming.destroy(timeoutError(url, 'body', stallMs)), stallMs);
      const next = await pieces.next().finally(() => clearTimeout(timer));
      if (next.done === true) return;
      yield isWhole(next.value) ? ownChunk(next.value) : next.value;
    }
  } catch (error) {
    throw signal.aborted ? abortedError(signal) : connectionError(url, error);
  } finally {
    incoming.destroy();
  }
}

/** Whether a piece is all of its buffer: the parser makes one for each, unless it is small. */
function isWhole({ byteLength, buffer }: Uint8Array): boolean {
  return byteLength === buffer.byteLength;
}

/** A small body is read on, so that its connection can serve again; a large, endless or slow one is cut. */
function discard(incoming: IncomingMessage, stallMs: number): void {
  const length = Number(incoming.headers['content-length'] ?? Number.NaN);
  if (!(length <= MAX_DRAIN_BYTES)) {
    incoming.destroy();
    return;
  }
  if (incoming.closed) return;
  const timer = setTimeout(() => incoming.destroy(), stallMs);
  incoming.once('close', () => clearTimeout(timer)).resume();
}
