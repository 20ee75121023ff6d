/** What stands between the service and a registry, counts the blobs that are fetched, and can hold one in the middle. */

import { once } from 'node:events';
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { pipeline } from 'node:stream/promises';

/** A blob that is held. */
export interface HeldBlob {
  /** Resolves when the proxy has passed on as much as it was to. */
  readonly reached: Promise<void>;
  /** Lets the rest pass, and the next one as a whole. */
  release(): void;
}

/** A running proxy. */
export interface RegistryProxy {
  readonly origin: string;
  /** How often each blob was asked for by GET, by its digest. */
  readonly fetched: ReadonlyMap<string, number>;
  /** Forgets what was counted. */
  reset(): void;
  /** Closes the connections that the service keeps for its next request. */
  closeIdle(): void;
  /** Passes `bytes` of a blob on, and then waits. */
  hold(digest: string, bytes: number): HeldBlob;
}

interface Hold {
  readonly bytes: number;
  readonly reached: () => void;
  readonly released: Promise<void>;
}

/** Starts a proxy to the registry on `port` of loopback. */
export async function startRegistryProxy(stack: AsyncDisposableStack, port: number): Promise<RegistryProxy> {
  const fetched = new Map<string, number>();
  const holds = new Map<string, Hold>();
  const pass = async (incoming: IncomingMessage, response: ServerResponse): Promise<void> => {
    const { method, url, headers } = incoming;
    const digest = /\/blobs\/([^/?]+)$/.exec(url ?? '')?.[1];
    const isFetch = digest !== undefined && method === 'GET';
    if (isFetch) fetched.set(digest, (fetched.get(digest) ?? 0) + 1);
    const upstream = request({ host: '127.0.0.1', port, method, path: url, headers, agent: false });
    response.once('close', () => upstream.destroy());
    upstream.end();
    const [answer] = (await once(upstream, 'response')) as [IncomingMessage];
    response.writeHead(answer.statusCode ?? 502, answer.headers);
    const hold = isFetch ? holds.get(digest) : undefined;
    await pipeline(answer, (source: AsyncIterable<Buffer>) => held(source, hold), response);
  };
  const server = createServer((incoming, response) => {
    // The service may leave, and be killed, at any moment.
    pass(incoming, response).catch(() => response.destroy());
  });
  // An idle connection stays: one that is closed at the wrong moment is a failure that has nothing to do with the test.
  server.keepAliveTimeout = 0;
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  stack.defer(async () => {
    const closed = once(server, 'close');
    server.close();
    server.closeAllConnections();
    await closed;
  });
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    fetched,
    reset: () => fetched.clear(),
    closeIdle: () => server.closeIdleConnections(),
    hold: (digest, bytes) => {
      const reached = Promise.withResolvers<void>();
      const released = Promise.withResolvers<void>();
      holds.set(digest, { bytes, reached: reached.resolve, released: released.promise });
      const release = () => {
        holds.delete(digest);
        released.resolve();
      };
      stack.defer(release);
      return { reached: reached.promise, release };
    },
  };
}

async function* held(source: AsyncIterable<Buffer>, hold: Hold | undefined): AsyncGenerator<Buffer> {
  let left = hold?.bytes ?? Number.POSITIVE_INFINITY;
  for await (const piece of source) {
    if (piece.length < left) {
      left -= piece.length;
      yield piece;
      continue;
    }
    yield piece.subarray(0, left);
    hold?.reached();
    await hold?.released;
    yield piece.subarray(left);
    left = Number.POSITIVE_INFINITY;
  }
}
