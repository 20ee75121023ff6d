/**
 * A TCP server for HTTP that no HTTP library would send.
 */

import { createServer, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { Conditions } from './conditions.ts';
import { type Listening, listen, serverTlsOptions, type TlsSettings } from './listening.ts';

/** Called for each connection; `index` counts them from 0. */
export type ConnectionHandler = (socket: Socket, index: number) => void;

/** A running server. */
export interface RawServer extends Listening {
  /** How many connections have come so far, closed ones among them. */
  connectionCount(): number;
  /** @returns as soon as `count` connections have come since the start of the server */
  waitForConnections(count: number): Promise<void>;
}

/** Head of a request that {@link answerRaw} reads at most, four times what HTTP clients send at the utmost. */
const MAX_HEAD_BYTES = 64 * 1024;

/**
 * Start a server on a free port of 127.0.0.1.
 *
 * @param onConnection does with the socket whatever the test needs; errors of the socket are already listened to
 * @param options `tls` to speak TLS first
 */
export async function startRawServer(
  onConnection: ConnectionHandler,
  options: { readonly tls?: TlsSettings } = {},
): Promise<RawServer> {
  const events = new Conditions();
  let count = 0;
  const accept = (socket: Socket): void => {
    socket.on('error', () => {}); // the client has left
    onConnection(socket, count);
    count += 1;
    events.changed();
  };
  const server = options.tls ? createTlsServer(serverTlsOptions(options.tls), accept) : createServer(accept);
  const listening = await listen(server, options.tls ? 'https' : 'http');
  const close = async (): Promise<void> => {
    await listening.close();
    events.close(new Error(`Cannot wait for ${listening.origin}: the server is closed`));
  };
  return {
    ...listening,
    connectionCount: () => count,
    waitForConnections: async (wanted) => {
      await events.when(() => (count >= wanted ? true : undefined));
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}

/**
 * Make a handler that reads the head of one request and answers with fixed bytes.
 *
 * @param bytes all that is sent, status line and headers included
 * @param then `end` closes the connection in good order, `reset` cuts it, `keep` leaves it open
 */
export function answerRaw(
  bytes: string | Uint8Array,
  then: 'end' | 'reset' | 'keep' = 'end',
): ConnectionHandler {
  return (socket) => {
    let head = '';
    const read = (chunk: Buffer): void => {
      head += chunk.toString('latin1');
      if (head.length > MAX_HEAD_BYTES) {
        socket.destroy();
      } else if (head.includes('\r\n\r\n')) {
        socket.off('data', read).resume();
        socket.write(bytes, () => {
          if (then === 'end') {
            socket.end();
          } else if (then === 'reset') {
            cutConnection(socket);
          }
        });
      }
    };
    socket.on('data', read);
  };
}

/** Cut a connection with a TCP reset; where TLS is in between, by closing it without a word. */
export function cutConnection(socket: Socket): void {
  if ('encrypted' in socket) {
    socket.destroy();
  } else {
    socket.resetAndDestroy();
  }
}
