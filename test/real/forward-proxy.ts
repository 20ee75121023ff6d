/**
 * A forward proxy as companies have one: absolute-form requests for http, CONNECT tunnels for https (RFC 9110
 * section 9.3.6, RFC 9112 section 3.2.2). It keeps a list of what went through.
 */
import { once } from 'node:events';
import http, { type IncomingMessage } from 'node:http';
import net, { type AddressInfo, type Socket } from 'node:net';

/** A running proxy. */
export interface ForwardProxy {
  readonly origin: string;
  /** Each request as `METHOD authority`, in the order in which they came. */
  readonly seen: string[];
}

/** Host and port of a request's target; the host is looked up in `names` first, as a proxy's own DNS would. */
function addressOf(authority: URL, names: Readonly<Record<string, string>>): { host: string; port: number } {
  const fallback = authority.protocol === 'https:' ? 443 : 80;
  return { host: names[authority.hostname] ?? authority.hostname, port: Number(authority.port) || fallback };
}

/** Starts a proxy on loopback that alone knows the addresses of `names`. */
export async function startForwardProxy(
  stack: AsyncDisposableStack,
  names: Readonly<Record<string, string>> = {},
): Promise<ForwardProxy> {
  const seen: string[] = [];
  const sockets = new Set<Socket>();
  const server = http.createServer((request, response) => {
    const target = new URL(request.url ?? '');
    seen.push(`${request.method} ${target.host}`);
    const headers = { ...request.headers };
    delete headers['proxy-connection'];
    const options = { ...addressOf(target, names), method: request.method, headers, agent: false };
    const upstream = http.request({ ...options, path: target.pathname + target.search }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    });
    upstream.once('error', () => response.destroy());
    request.pipe(upstream);
  });
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  server.on('connect', (request: IncomingMessage, client: Socket, head: Buffer) => {
    seen.push(`CONNECT ${request.url}`);
    const upstream = net.connect(addressOf(new URL(`https://${request.url}`), names), () => {
      client.write('HTTP/1.1 200 Connection Established\r\n\r\n');
      upstream.write(head);
      upstream.pipe(client).pipe(upstream);
    });
    for (const [one, other] of [[client, upstream] as const, [upstream, client] as const]) {
      one.on('error', () => other.destroy());
      one.on('close', () => other.destroy());
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  stack.defer(async () => {
    server.close();
    for (const socket of sockets) {
      socket.destroy();
    }
    await once(server, 'close');
  });
  return { origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, seen };
}
