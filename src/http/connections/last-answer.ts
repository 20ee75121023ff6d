/** Answers for connections without a parsed request. */

import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';

/** Largest request line and header, in bytes: twice Node's default, for clients that send long tokens. */
export const MAX_HEADER_BYTES = 32 * 1024;

/** Time for a refused client to read the reason and to close its side, in milliseconds. */
const LINGER_MS = 1_000;

/** Node's error for a connection that it cannot parse. */
export type ClientError = Error & { code?: string; rawPacket?: Buffer; reason?: string };

/** A complete answer in plain text. */
export function plainAnswer(status: string, text: string, retryAfterSeconds?: number): string {
  const retryAfter = retryAfterSeconds === undefined ? '' : `Retry-After: ${retryAfterSeconds}\r\n`;
  return (
    `HTTP/1.1 ${status}\r\nConnection: close\r\n${retryAfter}Content-Type: text/plain; charset=utf-8\r\n` +
    `Content-Length: ${Buffer.byteLength(text) + 1}\r\n\r\n${text}\n`
  );
}

/**
 * Sends a last text and closes the connection later. Closing while the client still sends would reset the connection and lose the
 * text.
 */
export function endLater(socket: Duplex, text: string): void {
  socket.end(text);
  // No other limit applies here.
  setTimeout(() => socket.destroy(), LINGER_MS).unref();
}

/**
 * The answer to bytes that are no request.
 *
 * @param hasHeader whether the header has arrived, so that the body is late
 */
export function refusal(error: ClientError, hasHeader: boolean): [status: string, text: string] {
  if (error.code === 'ERR_HTTP_REQUEST_TIMEOUT') {
    const what = hasHeader ? 'body' : 'header';
    return ['408 Request Timeout', `Request timed out: its ${what} did not arrive in time`];
  }
  if (error.code === 'HPE_HEADER_OVERFLOW') {
    const endOfFirstLine = error.rawPacket?.indexOf('\r\n') ?? -1;
    return endOfFirstLine === -1 || endOfFirstLine > MAX_HEADER_BYTES
      ? [
          '400 Bad Request',
          `Invalid image reference: Cannot parse path: it is longer than ${MAX_HEADER_BYTES} bytes`,
        ]
      : [
          '431 Request Header Fields Too Large',
          `Invalid request: its header is longer than ${MAX_HEADER_BYTES} bytes`,
        ];
  }
  return [
    '400 Bad Request',
    `Invalid request: Cannot parse it as HTTP: ${error.reason ?? error.code ?? 'unknown'}`,
  ];
}

/** Most refused connections that are held until they have read why. Further ones are closed at once. */
const MAX_LINGERING = 32;

/** Connections that are refused before they are parsed. */
export class Refusals {
  #lingering = 0;

  /**
   * Counts a connection until it closes.
   *
   * @returns whether there is room for it
   */
  hold(socket: Socket): boolean {
    if (this.#lingering >= MAX_LINGERING) return false;
    this.#lingering += 1;
    socket.once('close', () => {
      this.#lingering -= 1;
    });
    return true;
  }

  /** Answers a new connection and closes it: later, if there is room for it. */
  answer(socket: Socket, text: string): void {
    if (this.hold(socket)) {
      this.end(socket, text);
      return;
    }
    socket.on('error', () => undefined);
    socket.end(text);
    socket.destroySoon();
  }

  /** Answers a connection that is held already. */
  end(socket: Socket, text: string): void {
    socket.on('error', () => undefined);
    socket.resume();
    endLater(socket, text);
  }
}
