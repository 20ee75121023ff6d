/**
 * A wire without a network: what is sent is remembered and answered by script, so that hosts need not exist.
 */

import type { IncomingHttpHeaders } from 'node:http';
import type {
  Transport,
  TransportRequest,
  TransportResponse,
} from '../../../src/registry/transport/transport.ts';

/** What to answer. */
export interface ScriptedAnswer {
  /** 200 unless said. */
  readonly status?: number;
  readonly headers?: IncomingHttpHeaders;
  /** Empty unless said; an iterable is passed on as it is. */
  readonly body?: string | Uint8Array | AsyncIterable<Uint8Array>;
  readonly secrets?: readonly string[];
}

/** Answers the nth request, counted from 0. What it throws is what `send` rejects with. */
export type Script = (request: TransportRequest, index: number) => ScriptedAnswer | Promise<ScriptedAnswer>;

/** A {@link Transport} that plays a script. */
export class ScriptedTransport implements Transport {
  readonly requests: TransportRequest[] = [];
  /** Statuses of the answers that were given up, in order. */
  readonly discarded: number[] = [];
  readonly #script: Script;

  constructor(script: Script) {
    this.#script = script;
  }

  async send(request: TransportRequest): Promise<TransportResponse> {
    this.requests.push(request);
    const answer = await this.#script(request, this.requests.length - 1);
    const { status = 200, headers = {}, body = '', secrets = [] } = answer;
    return {
      status,
      headers,
      url: request.url,
      peer: { address: '192.0.2.1', port: 443 },
      protocolVersion: '1.1',
      body: typeof body === 'string' || body instanceof Uint8Array ? pieces(body) : body,
      discard: () => this.discarded.push(status),
      secrets,
    };
  }

  /** Where the requests went. */
  urls(): string[] {
    return this.requests.map(({ url }) => url.href);
  }

  /** One header of each request. */
  sent(header: string): (string | undefined)[] {
    return this.requests.map(({ headers }) => headers[header]);
  }
}

/** @returns a request for a manifest, with whatever is to differ */
export function exchange(url: string, fields: Partial<TransportRequest> = {}): TransportRequest {
  return {
    method: 'GET',
    url: new URL(url),
    headers: {},
    operation: 'manifest',
    template: '/v2/{repository}/manifests/{reference}',
    signal: new AbortController().signal,
    attempts: { count: 0 },
    ...fields,
  };
}

/** @returns an answer as a transport gives it, for functions that read one */
export function response(
  answer: ScriptedAnswer,
  url = 'https://registry.example.com/',
): Promise<TransportResponse> {
  return new ScriptedTransport(() => answer).send(exchange(url));
}

async function* pieces(body: string | Uint8Array): AsyncGenerator<Uint8Array, void, undefined> {
  yield Buffer.from(body);
}
