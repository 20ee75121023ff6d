/**
 * A client for HTTP that no HTTP library would send, and for connections that are held in odd ways.
 */

import { connect, type Socket } from 'node:net';
import { Conditions } from './conditions.ts';
import { within } from './within.ts';

/** One connection. Destroyed when it is disposed of. */
export interface RawClient extends Disposable {
  readonly socket: Socket;
  /** Send bytes as they are; text is taken as latin1, one byte a character. */
  send(bytes: string | Uint8Array): void;
  /** Everything that has come so far. */
  received(): Buffer;
  /** @returns as soon as what has come, read as latin1, matches */
  waitFor(pattern: RegExp): Promise<void>;
  /** @returns all that came, as soon as the server has closed or cut the connection */
  untilClosed(): Promise<Buffer>;
}

/**
 * Connect to a port of 127.0.0.1.
 *
 * @param options `stayOpen`: keep this side open when the server has closed its own
 */
export async function connectRaw(port: number, options: { stayOpen?: boolean } = {}): Promise<RawClient> {
  const events = new Conditions();
  const chunks: Buffer[] = [];
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: options.stayOpen === true });
  const connected = Promise.withResolvers<void>();
  const closed = Promise.withResolvers<void>();
  const received = (): Buffer => Buffer.concat(chunks);
  socket.once('connect', connected.resolve);
  socket.on('error', connected.reject); // Later on it says what `close` says.
  socket.on('data', (chunk: Buffer) => {
    chunks.push(chunk);
    events.changed();
  });
  socket.once('close', () => {
    closed.resolve();
    events.close(new Error(`Cannot wait for bytes: the connection is closed after ${received().length}`));
  });
  await within(connected.promise, `a connection to port ${port}`);
  return {
    socket,
    send: (bytes) => {
      socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes);
    },
    received,
    waitFor: async (pattern) => {
      const found = events.when(() => (pattern.test(received().toString('latin1')) ? true : undefined));
      await within(found, `${pattern} on a raw connection`);
    },
    untilClosed: async () => {
      await within(closed.promise, 'the end of a raw connection');
      return received();
    },
    [Symbol.dispose]: () => {
      socket.destroy();
    },
  };
}
