import http, { type AgentOptions, type ClientRequest, type IncomingMessage } from 'node:http';
import https from 'node:https';
import type { Duplex } from 'node:stream';
import { type DetailedPeerCertificate, TLSSocket } from 'node:tls';
import type { PassthroughError } from '../../errors.ts';
import { ownChunk } from '../../streams/chunk.ts';
import { abortedError, connectionError, timeoutError } from './connection-error.ts';
import { guardedLookup, refuseForbiddenLiteral } from './forbidden-address.ts';
import { HttpsAgents, hasIdentity } from './https-agents.ts';
import type { RegistryTls } from './tls.ts';
import type { Timeouts, Transport, TransportRequest, TransportResponse } from './transport.ts';

/** Most idle connections per host: twice the default number of concurrent downloads from one registry. */
const MAX_IDLE_SOCKETS = 16;

/** Largest body to read only to keep its connection, in bytes. For a larger body a new connection costs less. */
const MAX_DRAIN_BYTES = 64 * 1024;

/** Settings of {@link HttpTransport}. */
export interface HttpTransportOptions {
  readonly timeouts: Timeouts;
  /** `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`, in upper or lower case, in the form that Node's agents take. */
  readonly proxyEnv: AgentOptions['proxyEnv'];
  /** Sent as `User-Agent`. */
  readonly userAgent: string;
  /** Trust and client certificate for https. */
  readonly tls?: RegistryTls | undefined;
}

/**
 * Sends requests with `node:http` and `node:https`. All pulls share its keep-alive connections. Addresses are checked
 * when they are dialled, and each phase of a request has a time limit. Decorators add redirects and retries.
 */
export class HttpTransport implements Transport {
  readonly #options: HttpTransportOptions;
  readonly #http: http.Agent;
  readonly #https: HttpsAgents;

  /** @throws PassthroughError `INVALID_CONFIGURATION`, see `tlsAgentSettings` */
  constructor(options: HttpTransportOptions) {
    this.#options = options;
    const agentOptions: AgentOptions = {
      keepAlive: true,
      maxFreeSockets: MAX_IDLE_SOCKETS,
      // The agent closes idle connections after this time. For busy connections it only emits an event.
      timeout: options.timeouts.stallMs,
      ...(options.proxyEnv !== undefined && { proxyEnv: options.proxyEnv }),
    };
    this.#http = new http.Agent(agentOptions);
    this.#https = new HttpsAgents(agentOptions, options.tls);
  }

  async send(request: TransportRequest): Promise<TransportResponse> {
    const { url, signal } = request;
    if (signal.aborted) throw abortedError(signal);
    refuseForbiddenLiteral(url);
    const incoming = await this.#responseTo(request);
    // Without a listener, a connection that breaks before the body is read would end the process. The reader still gets
    // the error.
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

  /** Closes all connections. Requests in flight fail with `REGISTRY_UNREACHABLE`. */
  close(): void {
    this.#http.destroy();
    this.#https.close();
  }

  async #responseTo({
    method,
    url,
    headers,
    body,
    isForeign = false,
    signal,
  }: TransportRequest): Promise<IncomingMessage> {
    const { userAgent, timeouts } = this.#options;
    const isHttps = url.protocol === 'https:';
    const agent = isHttps ? await this.#https.agentFor(url, isForeign) : this.#http;
    if (signal.aborted) throw abortedError(signal);
    let dialledSocket: Duplex | undefined;
    const options = {
      method,
      headers: { 'user-agent': userAgent, ...headers },
      lookup: guardedLookup,
      signal,
      agent,
      onDial: (socket: Duplex) => {
        dialledSocket = socket;
      },
    };
    const outgoing = isHttps ? https.request(url, options) : http.request(url, options);
    const certificate = isHttps ? peerCertificateOf(outgoing) : () => undefined;
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    const fail = (error: PassthroughError) => {
      reject(error);
      outgoing.destroy(error);
      // Until a proxy has opened the tunnel, the request has no socket, and destroying the request leaves the
      // connection open.
      if (outgoing.socket === null) dialledSocket?.destroy();
    };
    const abort = () => fail(abortedError(signal));
    const limits = limitPhases(outgoing, url, timeouts, fail);
    signal.addEventListener('abort', abort, { once: true });
    try {
      outgoing.once('response', resolve).on('error', reject);
      // A connection may close without an error, for example after an unsolicited 101.
      outgoing.once('close', () => reject(new Error('the connection ended without an answer')));
      outgoing.end(body);
      return await promise;
    } catch (error) {
      if (signal.aborted) throw abortedError(signal);
      const isSilent = outgoing.socket?.bytesRead === 0;
      throw connectionError(url, error, {
        certificate: certificate(),
        hasIdentity: hasIdentity(agent),
        isSilent,
      });
    } finally {
      limits.clear();
      signal.removeEventListener('abort', abort);
    }
  }
}

function peerOf({ socket }: IncomingMessage): TransportResponse['peer'] {
  const { remoteAddress: address, remotePort: port } = socket;
  return address === undefined || port === undefined ? undefined : { address, port };
}

/**
 * Keeps the certificate of the server of a request, for the message of a connection that fails by it: after the failure, Node has
 * it no more. The socket emits `secure` before Node verifies.
 */
function peerCertificateOf(outgoing: ClientRequest): () => DetailedPeerCertificate | undefined {
  let certificate: DetailedPeerCertificate | undefined;
  outgoing.once('socket', (socket) => {
    if (!(socket instanceof TLSSocket) || !socket.connecting) return;
    socket.prependOnceListener('secure', () => {
      certificate = socket.getPeerCertificate(true);
    });
  });
  return () => certificate;
}

/**
 * Fails a request that exceeds the limit on connecting, or then the limit on the response. Connecting ends when the
 * connection is ready for the request: after TLS, after opening a proxy's tunnel, or at once for a connection that was
 * kept alive.
 */
function limitPhases(
  outgoing: ClientRequest,
  url: URL,
  timeouts: Timeouts,
  fail: (error: PassthroughError) => void,
): { clear(): void } {
  const expire = (phase: 'connect' | 'answer', ms: number) =>
    setTimeout(() => fail(timeoutError(url, phase, ms)), ms);
  let isCleared = false;
  let timer = expire('connect', timeouts.connectMs);
  const connected = () => {
    if (isCleared) return;
    clearTimeout(timer);
    timer = expire('answer', timeouts.responseMs);
  };
  outgoing.once('socket', (socket) => {
    if (socket.connecting) socket.once(url.protocol === 'https:' ? 'secureConnect' : 'connect', connected);
    else connected();
  });
  return {
    clear: () => {
      isCleared = true;
      clearTimeout(timer);
    },
  };
}

/** Reads a body with a time limit for each chunk. The time that the reader takes for a chunk does not count. */
async function* readBody(
  incoming: IncomingMessage,
  { url, signal }: TransportRequest,
  stallMs: number,
): AsyncGenerator<Uint8Array, void, undefined> {
  const chunks = incoming[Symbol.asyncIterator]() as AsyncIterator<Uint8Array, undefined>;
  try {
    for (;;) {
      const timer = setTimeout(() => incoming.destroy(timeoutError(url, 'body', stallMs)), stallMs);
      const next = await chunks.next().finally(() => clearTimeout(timer));
      if (next.done === true) return;
      yield isWhole(next.value) ? ownChunk(next.value) : next.value;
    }
  } catch (error) {
    throw signal.aborted ? abortedError(signal) : connectionError(url, error);
  } finally {
    incoming.destroy();
  }
}

/** Whether a chunk fills its buffer. Node's parser allocates a buffer for each chunk, unless the chunk is small. */
function isWhole({ byteLength, buffer }: Uint8Array): boolean {
  return byteLength === buffer.byteLength;
}

/**
 * Reads a small body to its end, so that its connection can be used again. Closes the connection of a large, endless or
 * slow body.
 */
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
