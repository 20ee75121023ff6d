/** An `HttpServer` with handlers for tests. */

import type { ServerResponse } from 'node:http';
import { loadConfig } from '../../src/config/config.ts';
import { HttpServer, type HttpServerOptions } from '../../src/http/connections/server.ts';

export type Handle = HttpServerOptions['handle'];

/** Settings of a server on a free port, with the limits of the product. */
export const SERVER_SETTINGS = { ...loadConfig({}).http, host: '127.0.0.1', port: 0 };

/** Starts a server on a free port. Disposing of it stops it at once. */
export async function startServer(
  handle: Handle,
  options: Partial<HttpServerOptions> = {},
): Promise<{ readonly server: HttpServer; readonly port: number } & AsyncDisposable> {
  const server = await HttpServer.start({ ...SERVER_SETTINGS, ...options, handle });
  return {
    server,
    port: server.port,
    [Symbol.asyncDispose]: async () => {
      await server.stop(1);
    },
  };
}

/** Answers `ok`. */
export async function answerOk(_: unknown, response: ServerResponse): Promise<void> {
  response.end('ok');
}
