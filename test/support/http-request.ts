/** Requests to a service under test on 127.0.0.1, each on its own connection. */

import { type IncomingHttpHeaders, type IncomingMessage, request as send } from 'node:http';
import { request as sendSecurely } from 'node:https';
import type { SecureContextOptions } from 'node:tls';
import { within } from './within.ts';

/** The parts of a request. */
export interface RequestOptions {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** The local address to connect from. */
  readonly localAddress?: string;
  /** For https: the authority that is trusted as `ca`, and the client's own certificate. */
  readonly tls?: SecureContextOptions;
  /** Path of a Unix socket in place of the port. */
  readonly socketPath?: string;
  /** Aborts the request, as a client that leaves does. */
  readonly signal?: AbortSignal;
}

/** An answer, read to its end. */
export interface Reply {
  readonly status: number;
  /** Reason phrase of the status line. */
  readonly reason: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  /** Whether the connection broke before the end. */
  readonly isCut: boolean;
}

/** Sends a request and reads the answer to its end. */
export async function request(port: number, path: string, options?: RequestOptions): Promise<Reply> {
  return await within(read(await open(port, path, options)), `the body of ${path}`);
}

/** Sends a request and resolves with the header; the body is not read. */
export function open(port: number, path: string, options: RequestOptions = {}): Promise<IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const { method = 'GET', headers = {}, signal, body, localAddress, tls, socketPath } = options;
  const outgoing = (tls === undefined ? send : sendSecurely)(
    {
      ...(socketPath === undefined ? { host: '127.0.0.1', port } : { socketPath }),
      ...tls,
      path,
      method,
      headers,
      agent: false,
      ...(signal && { signal }),
      ...(localAddress !== undefined && { localAddress }),
    },
    resolve,
  );
  outgoing.on('error', reject);
  outgoing.end(body);
  return within(promise, `the header of ${path}`);
}

async function read(response: IncomingMessage): Promise<Reply> {
  const chunks: Buffer[] = [];
  let isCut = false;
  try {
    for await (const chunk of response) chunks.push(chunk as Buffer);
  } catch {
    isCut = true;
  }
  const { statusCode: status = 0, statusMessage: reason = '', headers } = response;
  return { status, reason, headers, body: Buffer.concat(chunks), isCut };
}
