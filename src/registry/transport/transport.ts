import type { IncomingHttpHeaders } from 'node:http';

/** What an exchange is for. */
export type Operation = 'manifest' | 'token' | 'config' | 'layer' | 'tags';

/** One request to a registry, a token endpoint, or wherever they redirect to. */
export interface TransportRequest {
  readonly method: 'GET' | 'HEAD';
  readonly url: URL;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  readonly operation: Operation;
  /** Path with its variable parts as placeholders, for telemetry: `/v2/{repository}/blobs/{digest}`. */
  readonly template: string;
  /** What its token is asked for with, or was; left out where no token endpoint is involved. For telemetry. */
  readonly auth?: { readonly service: string; readonly scope: string };
  /** Aborts the exchange, its body included. */
  readonly signal: AbortSignal;
  /**
   * Counts the attempts that went out for one logical request. Whoever repeats a request, for a retry, a redirect, new
   * credentials or the rest of a body, passes the same counter on.
   */
  readonly attempts: { count: number };
}

/** The answer, once its header is here. Its body must be read to the end or given up with `discard`. */
export interface TransportResponse {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** Where the answer came from: another address than the request's after a redirect. */
  readonly url: URL;
  /** Who sent it: a proxy, where one is between. Unknown once the connection is gone. */
  readonly peer: { readonly address: string; readonly port: number } | undefined;
  /** `1.1` */
  readonly protocolVersion: string;
  /**
   * The body, to be read once.
   *
   * @throws PassthroughError while reading: `REGISTRY_UNREACHABLE` when it breaks off, `REGISTRY_TIMEOUT` when it stalls,
   *   `ABORTED`
   */
  readonly body: AsyncIterable<Uint8Array>;
  /** Gives the body up and frees the connection. */
  discard(): void;
  /** What the request carried that must not be repeated to anybody: a server may echo it in an error. */
  readonly secrets: readonly string[];
}

/**
 * Carries one exchange. Decorators add redirects, retries and authorization to it; `openRepository` stacks them.
 */
export interface Transport {
  /**
   * @returns the answer, whatever its status
   * @throws PassthroughError `REGISTRY_UNREACHABLE`, `REGISTRY_TIMEOUT`, `REGISTRY_NOT_ALLOWED` for an address that must
   *   not be dialled, `REGISTRY_FAILED` for a redirect that must not be followed, `REGISTRY_DENIED` and `REGISTRY_FAILED`
   *   when a token is refused, `ABORTED`
   */
  send(request: TransportRequest): Promise<TransportResponse>;
}

/** How long a server may take, in milliseconds. */
export interface Timeouts {
  /** Name, TCP and TLS. */
  readonly connectMs: number;
  /** From the request to the header of the answer. */
  readonly responseMs: number;
  /** Between two pieces of a body. */
  readonly stallMs: number;
}
