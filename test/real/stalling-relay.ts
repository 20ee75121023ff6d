/** A TCP relay in front of a registry that falls silent in the middle: a line that hangs, with no end and no error. */
import { once } from 'node:events';
import net, { type AddressInfo, type Socket } from 'node:net';

/** A running relay. */
export interface StallingRelay {
  readonly origin: string;
  /** Whether the relay has fallen silent on some connection. */
  readonly hasStalled: () => boolean;
  /** Whether a connection on which it fell silent is still open. */
  readonly hasStalledConnection: () => boolean;
}

/**
 * Starts a relay to `port` on loopback; each connection carries `bytes` from the registry and then no more.
 *
 * @param isCut whether the connection is reset then, and no further one is accepted: the server has died
 */
export async function startStallingRelay(
  stack: AsyncDisposableStack,
  port: number,
  bytes: number,
  isCut = false,
): Promise<StallingRelay> {
  const clients = new Set<Socket>();
  const silent = new Set<Socket>();
  let hasStalled = false;
  const server = net.createServer((client) => {
    const upstream = net.connect(port, '127.0.0.1');
    clients.add(client);
    let left = bytes;
    upstream.on('data', (chunk: Buffer) => {
      const part = chunk.subarray(0, left);
      left -= part.length;
      client.write(part);
      if (left === 0 && isCut) {
        hasStalled = true;
        server.close();
        for (const one of clients) one.resetAndDestroy();
      } else if (left === 0) {
        hasStalled = true;
        silent.add(client);
        upstream.pause();
      }
    });
    client.pipe(upstream);
    client.on('error', () => client.destroy());
    upstream.on('error', () => client.destroy());
    client.once('close', () => {
      clients.delete(client);
      silent.delete(client);
      upstream.destroy();
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  stack.defer(async () => {
    for (const client of clients) {
      client.destroy();
    }
    if (!server.listening) return;
    server.close();
    await once(server, 'close');
  });
  const { port: own } = server.address() as AddressInfo;
  return {
    origin: `http://127.0.0.1:${own}`,
    hasStalled: () => hasStalled,
    hasStalledConnection: () => silent.size > 0,
  };
}
