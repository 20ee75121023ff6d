import type { IncomingHttpHeaders } from 'node:http';
import type { CredentialOrigin } from '../../errors.ts';

/** The purpose of a request, for telemetry. */
export type Operation = 'manifest' | 'token' | 'config' | 'layer' | 'tags' | 'referrers';

/** How a request used credentials, for messages and telemetry. */
export interface CredentialUse {
  readonly origin: CredentialOrigin;
  /**
   * `direct`: they were sent. `token`: a token endpoint has taken them, and the request had its token. `withheld`: the token endpoint
   * may not receive them. `unasked`: the registry has not asked for them.
   */
  readonly way: 'direct' | 'token' | 'withheld' | 'unasked';
  /** The token endpoint, without its query. */
  readonly realm?: string;
}

/** One request to a registry, to a token endpoint, or to the target of a redirect. */
export interface TransportRequest {
  readonly method: 'GET' | 'HEAD' | 'POST';
  readonly url: URL;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  /** Body of a POST. */
  readonly body?: string;
  readonly operation: Operation;
  /**
   * Whether the URL is outside of the registry and of the realms that may receive its credentials: the target of a redirect to
   * another origin, a foreign layer, an unknown realm. Such a server does not get the client certificate.
   */
  readonly isForeign?: boolean;
  /** Path with placeholders for its variable parts, for telemetry: `/v2/{repository}/blobs/{digest}`. */
  readonly template: string;
  /** Service and scope of its token; absent without a token endpoint. For telemetry. */
  readonly auth?: { readonly service: string; readonly scope: string };
  /** Where its credentials come from. For telemetry. */
  readonly credentials?: CredentialOrigin;
  /** Aborts the request and the body of its response. */
  readonly signal: AbortSignal;
  /**
   * Counts the attempts of one logical request. A request that is sent again, for a retry, a redirect, new credentials
   * or the rest of a body, has the same counter.
   */
  readonly attempts: { count: number };
}

/** The response after its header has arrived. The caller must read the body to its end, or call `discard`. */
export interface TransportResponse {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** URL that responded: after a redirect, not the URL of the request. */
  readonly url: URL;
  /** The server, or the proxy in front of it. `undefined` if the connection is already closed. */
  readonly peer: { readonly address: string; readonly port: number } | undefined;
  /** HTTP version, such as `1.1`. */
  readonly protocolVersion: string;
  /**
   * The body; can be read once.
   *
   * @throws PassthroughError while reading: `REGISTRY_UNREACHABLE` when it breaks off, `REGISTRY_TIMEOUT` when it stalls,
   *   `ABORTED`
   */
  readonly body: AsyncIterable<Uint8Array>;
  /** Ends the body without reading it, and frees the connection. */
  discard(): void;
  /** Secrets of the request. A server may echo them in an error body, so they are redacted from quotes of it. */
  readonly secrets: readonly string[];
  /** The credentials of the request, if its registry has answered itself. */
  readonly credentials?: CredentialUse;
}

/** Sends one request. Decorators add redirects, retries and authorization; `openRepository` stacks them. */
export interface Transport {
  /**
   * @returns a response of any status
   * @throws PassthroughError `REGISTRY_UNREACHABLE`, `REGISTRY_TIMEOUT`, `REGISTRY_NOT_ALLOWED` for an address that must
   *   not be dialled, `REGISTRY_FAILED` for a redirect that must not be followed, `REGISTRY_DENIED` and `REGISTRY_FAILED`
   *   when a token is refused, `ABORTED`
   */
  send(request: TransportRequest): Promise<TransportResponse>;
}

/** Time limits of one request, in milliseconds. */
export interface Timeouts {
  /** For the name lookup, TCP and TLS. */
  readonly connectMs: number;
  /** From the request to the header of the response. */
  readonly responseMs: number;
  /** Between two chunks of a body. */
  readonly stallMs: number;
}
