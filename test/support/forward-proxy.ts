/**
 * A forward proxy: requests in absolute form for http, tunnels by CONNECT for https.
 */

import { createServer, request as httpRequest, type IncomingMessage } from 'node:http';
import { connect, type Socket } from 'node:net';
import { pipeline } from 'node:stream';
import { type Listening, listen } from './listening.ts';

/** A running proxy. */
export interface ForwardProxy extends Listening {
  /** What was asked of it: method, target as it stood in the request line, headers. */
  readonly requests: readonly {
    readonly method: string;
    readonly target: string;
    readonly headers: IncomingMessage['headers'];
  }[];
}

/** Where a name and port really lead. */
export type Route = (hostname: string, port: number) => { readonly host: string; readonly port: number };

/**
 * Start a proxy on a free port of 127.0.0.1.
 *
 * @param route as a proxy's own name server would have it; to where it is asked for unless said
 * @see https://www.rfc-editor.org/rfc/rfc9110#name-connect
 * @see https://www.rfc-editor.org/rfc/rfc9112#name-absolute-form
 */
export async function startForwardProxy(
  route: Route = (host, port) => ({ host, port }),
): Promise<ForwardProxy> {
  const requests: ForwardProxy['requests'][number][] = [];
  const record = ({ method = '', url = '', headers }: IncomingMessage): void => {
    requests.push({ method, target: url, headers });
  };
  const server = createServer((request, response) => {
    record(request);
    const { method, headers } = request;
    const { hostname, port, pathname, search } = new URL(request.url ?? '');
    const options = { ...route(hostname, Number(port) || 80), path: `${pathname}${search}`, method, headers };
    const onward = httpRequest({ ...options, agent: false }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      pipeline(answer, response, () => undefined);
    });
    onward.on('error', () => response.destroy());
    onward.end();
  });
  server.on('connect', (request: IncomingMessage, socket: Socket) => {
    record(request);
    const { hostname, port } = new URL(`https://${request.url}`);
    const onward = connect(route(hostname, Number(port) || 443), () => {
      socket.write('HTTP/1.1 200 Connection Established\r\n\r\n');
      pipeline(onward, socket, () => undefined);
      pipeline(socket, onward, () => undefined);
    });
    onward.on('error', () => socket.destroy());
  });
  return { ...(await listen(server, 'http')), requests };
}
