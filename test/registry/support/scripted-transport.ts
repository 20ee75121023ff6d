/** A transport without a network: it records requests and answers by script, so that hosts need not exist. */

import type { IncomingHttpHeaders } from 'node:http';
import type {
  Transport,
  TransportRequest,
  TransportResponse,
} from '../../../src/registry/transport/transport.ts';

/** A response. */
export interface ScriptedAnswer {
  /** 200 by default. */
  readonly status?: number;
  readonly headers?: IncomingHttpHeaders;
  /** Empty by default; an iterable is passed through. */
  readonly body?: string | Uint8Array | AsyncIterable<Uint8Array>;
  readonly secrets?: readonly string[];
}

/** Answers the nth request, counted from 0. `send` rejects with what the script throws. */
export type Script = (request: TransportRequest, index: number) => ScriptedAnswer | Promise<ScriptedAnswer>;

/** A {@link Transport} that plays a script. */
export class ScriptedTransport implements Transport {
  readonly requests: TransportRequest[] = [];
  /** Statuses of the discarded responses, in order. */
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
      body: typeof body === 'string' || body instanceof Uint8Array ? oneChunk(body) : body,
      discard: () => this.discarded.push(status),
      secrets,
    };
  }

  /** URLs of the requests. */
  urls(): string[] {
    return this.requests.map(({ url }) => url.href);
  }

  /** Values of a header of the requests. */
  sent(header: string): (string | undefined)[] {
    return this.requests.map(({ headers }) => headers[header]);
  }
}

/** @returns a request for a manifest, with the given fields replaced */
export function requestTo(url: string, fields: Partial<TransportRequest> = {}): TransportRequest {
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

/** @returns a response, for functions that read one */
export function responseOf(answer: ScriptedAnswer): Promise<TransportResponse> {
  return new ScriptedTransport(() => answer).send(requestTo('https://registry.example.com/'));
}

async function* oneChunk(body: string | Uint8Array): AsyncGenerator<Uint8Array, void, undefined> {
  yield Buffer.from(body);
}
