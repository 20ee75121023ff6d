/**
 * An HTTP server that answers by script and remembers what reached it: any origin that is not the registry,
 * and the ground that the fake registry stands on.
 */

import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { Conditions } from './conditions.ts';
import { type Listening, listen, serverTlsOptions, type TlsSettings } from './listening.ts';

/** One request as it arrived. */
export interface RecordedRequest {
  readonly method: string;
  /** Path and query, not decoded. */
  readonly path: string;
  /** Names in lower case. */
  readonly headers: Readonly<IncomingHttpHeaders>;
}

/** Answers a request; may do so later. What it throws comes out of `close()`. */
export type ScriptedHandler = (
  request: IncomingMessage,
  response: ServerResponse,
  recorded: RecordedRequest,
) => void | Promise<void>;

/** A running server. Patterns are matched against `{METHOD} {path and query}`. */
export interface ScriptedServer extends Listening {
  /** Every request so far, in the order of arrival. */
  readonly requests: readonly RecordedRequest[];
  /** @returns how many requests so far match */
  countRequests(pattern: RegExp): number;
  /**
   * @param pattern what to wait for
   * @param nth which one of those that match, counted from 1 and from the start of the server
   * @returns the request as soon as it has arrived, even if that was before the call
   * @throws Error when the server is closed first
   */
  waitForRequest(pattern: RegExp, nth?: number): Promise<RecordedRequest>;
  /** Requests whose answer has neither ended nor been cut off. */
  activeRequests(): number;
  /** @returns when no answer is under way: all have ended, or the client has left */
  waitForNoActiveRequests(): Promise<void>;
}

/** Requests after which a double cuts every connection: a client that loops must not loop for ever. */
const MAX_REQUESTS = 10_000;

/** @returns whether a request matches; flags such as `g` that make a pattern remember do no harm */
export function matches(pattern: RegExp, request: RecordedRequest): boolean {
  return `${request.method} ${request.path}`.search(pattern) !== -1;
}

/**
 * Start a server on a free port of 127.0.0.1.
 *
 * @param handler answers every request
 * @param options `tls` to speak https
 */
export async function startScriptedServer(
  handler: ScriptedHandler,
  options: { readonly tls?: TlsSettings | undefined } = {},
): Promise<ScriptedServer> {
  const events = new Conditions();
  const requests: RecordedRequest[] = [];
  const failures: unknown[] = [];
  let active = 0;
  const listener = (request: IncomingMessage, response: ServerResponse): void => {
    if (requests.length >= MAX_REQUESTS) {
      request.socket.destroy();
      return;
    }
    const { method = '', url = '', headers } = request;
    const recorded = Object.freeze({ method, path: url, headers: Object.freeze({ ...headers }) });
    active += 1;
    response.on('error', () => {}); // the client has left
    response.on('close', () => {
      active -= 1;
      events.changed();
    });
    requests.push(recorded);
    Promise.try(handler, request, response, recorded).catch((error: unknown) => {
      failures.push(error);
      request.socket.destroy();
    });
    events.changed();
  };
  const server = options.tls
    ? createTlsServer(serverTlsOptions(options.tls), listener)
    : createServer(listener);
  // An idle connection stays: a server that closes it at the wrong moment is a test that fails now and then.
  server.keepAliveTimeout = 0;
  const listening = await listen(server, options.tls ? 'https' : 'http');
  const close = async (): Promise<void> => {
    await listening.close();
    events.close(new Error(`Cannot wait for ${listening.origin}: the server is closed`));
    if (failures.length > 0) {
      throw new AggregateError(failures.splice(0), `Cannot answer by script: the handler failed`);
    }
  };
  return {
    ...listening,
    requests,
    countRequests: (pattern) => requests.filter((request) => matches(pattern, request)).length,
    waitForRequest: (pattern, nth = 1) =>
      events.when(() => requests.filter((request) => matches(pattern, request))[nth - 1]),
    activeRequests: () => active,
    waitForNoActiveRequests: async () => {
      await events.when(() => (active === 0 ? true : undefined));
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}
