/**
 * A forward proxy: requests in absolute form for http, tunnels by CONNECT for https.
 */

import { createServer, request as httpRequest, type IncomingMessage } from 'node:http';
import { connect, type Socket } from 'node:net';
import { pipeline } from 'node:stream';
import { type Listening, listen } from '../support/listening.ts';

/** A running proxy. */
export interface ForwardProxy extends Listening {
  /** What was asked of it: method, target as it stood in the request line, headers. */
  readonly requests: readonly {
    readonly method: string;
    readonly target: string;
    readonly headers: IncomingMessage['headers'];
  }[];
}

/**
 * Start a proxy on a free port of 127.0.0.1.
 *
 * @param divert the port of 127.0.0.1 to which tunnels really lead; to where they are asked for unless said
 */
export async function startForwardProxy(divert?: () => number): Promise<ForwardProxy> {
  const requests: ForwardProxy['requests'][number][] = [];
  const record = ({ method = '', url = '', headers }: IncomingMessage): void => {
    requests.push({ method, target: url, headers });
  };
  const server = createServer((request, response) => {
    record(request);
    const { method, headers } = request;
    const onward = httpRequest(request.url ?? '', { method, headers, agent: false }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      pipeline(answer, response, () => undefined);
    });
    onward.on('error', () => response.destroy());
    onward.end();
  });
  server.on('connect', (request: IncomingMessage, socket: Socket) => {
    record(request);
    const { hostname, port } = new URL(`http://${request.url}`);
    const [to, at] = divert === undefined ? [Number(port), hostname] : [divert(), '127.0.0.1'];
    const onward = connect(to, at, () => {
      socket.write('HTTP/1.1 200 Connection Established\r\n\r\n');
      pipeline(onward, socket, () => undefined);
      pipeline(socket, onward, () => undefined);
    });
    onward.on('error', () => socket.destroy());
  });
  return { ...(await listen(server, 'http')), requests };
}
