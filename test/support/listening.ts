/**
 * A server on a free port of 127.0.0.1 that knows its sockets, so that it can really be stopped.
 */

import type { AddressInfo, Server, Socket } from 'node:net';
import type { SecureVersion } from 'node:tls';

/** How a double speaks TLS. */
export interface TlsSettings {
  /** PEM. */
  readonly key: string;
  readonly cert: string;
  /** When given, clients must show a certificate of this authority (PEM). */
  readonly clientCa?: string;
  /** Whether clients without a certificate are served, too. */
  readonly isClientCertOptional?: boolean;
  /** Newest version of the protocol; the newest that Node has unless given. */
  readonly maxVersion?: SecureVersion | undefined;
}

/** What all doubles that listen have in common. */
export interface Listening extends AsyncDisposable {
  /** `http://127.0.0.1:{port}`, or `https` with TLS. */
  readonly origin: string;
  /** The same as {@link origin}: what one would write into `REGISTRY_URL`. */
  readonly url: string;
  /** `127.0.0.1:{port}` */
  readonly host: string;
  readonly port: number;
  /** Sockets that are open now, idle ones among them. */
  openConnections(): number;
  /** Destroys all sockets and stops. A second call does nothing more. */
  close(): Promise<void>;
}

/** @returns the options of `tls.createServer` and `https.createServer` that `settings` stand for */
export function serverTlsOptions(settings: TlsSettings): {
  key: string;
  cert: string;
  ca?: string;
  requestCert?: boolean;
  rejectUnauthorized?: boolean;
  maxVersion?: SecureVersion;
} {
  const { key, cert, clientCa, isClientCertOptional = false, maxVersion } = settings;
  const own = { key, cert, ...(maxVersion !== undefined && { maxVersion }) };
  if (clientCa === undefined) return own;
  return { ...own, ca: clientCa, requestCert: true, rejectUnauthorized: !isClientCertOptional };
}

/**
 * Start `server` on a free port of 127.0.0.1.
 *
 * @param server a TCP, TLS, HTTP or HTTPS server that does not listen yet
 * @param scheme the scheme of its origin
 */
export async function listen(server: Server, scheme: 'http' | 'https'): Promise<Listening> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('error', () => {}); // a client that leaves is no failure of the double
    socket.on('close', () => sockets.delete(socket));
  });
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once('error', reject);
  server.listen(0, '127.0.0.1', resolve);
  await promise;
  server.off('error', reject);
  const { port } = server.address() as AddressInfo;
  const origin = `${scheme}://127.0.0.1:${port}`;
  let closed: Promise<void> | undefined;
  const close = (): Promise<void> => {
    closed ??= new Promise((done) => {
      server.close(() => done());
      for (const socket of sockets) {
        socket.destroy();
      }
    });
    return closed;
  };
  return {
    origin,
    url: origin,
    host: `127.0.0.1:${port}`,
    port,
    openConnections: () => sockets.size,
    close,
    [Symbol.asyncDispose]: close,
  };
}
