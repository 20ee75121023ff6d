import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { clientOf } from '../client-limit.ts';
import type { RequestTurns } from './request-turns.ts';

/**
 * Most requests of a connection that are answered at once. Clients that pipeline send the next one or two ahead, and each request
 * in work may hold documents and files.
 */
const MAX_IN_WORK = 4;

/**
 * Bound where the newest request still lacks its body: the bytes that complete it may contain the start of the next one, which
 * then counts, too.
 */
const MAX_IN_WORK_WITH_BODY = 2 * MAX_IN_WORK;

/**
 * Bytes that are read ahead of the parser, so that a client that leaves while its requests wait is noticed. A read brings up to
 * 64 KiB more.
 */
const READ_AHEAD_BYTES = 16 * 1024;

/** Bytes that a connection may hold back also when all together hold too much: tens of requests. */
const FREE_BYTES = 4 * 1024;

/** Ends the header of a request: https://www.rfc-editor.org/rfc/rfc9112#section-2.1 */
const HEADER_END = Buffer.from('\r\n\r\n');

/**
 * Limits the requests of one connection that are in work. Node parses all of a read at once: 64 KiB hold 2,500 pipelined requests,
 * and the objects of each take kilobytes. So the bytes are passed to Node's parser header by header, and only while fewer than
 * {@link MAX_IN_WORK} requests are being answered. Of what the client sends ahead only {@link READ_AHEAD_BYTES} are read.
 *
 * Node hands over what it reads by `push` of the socket, and asks for more by `_read`. Both are replaced here.
 */
export class RequestGate {
  readonly #socket: Socket;
  readonly #turns: RequestTurns;
  readonly #client: string;
  readonly #push: Socket['push'];
  readonly #read: Socket['_read'];
  readonly #passOne = () => this.#pass();
  /** Bytes that the parser has not got yet. */
  #held: Buffer = Buffer.alloc(0);
  #inWork = 0;
  #newest: IncomingMessage | undefined;

  /** @param socket to which Node's parser is attached already; nothing of it has been read */
  constructor(socket: Socket, turns: RequestTurns) {
    this.#socket = socket;
    this.#turns = turns;
    this.#client = clientOf(socket.remoteAddress ?? '');
    this.#push = socket.push.bind(socket);
    this.#read = socket._read.bind(socket);
    socket.push = (chunk: Buffer | null) => this.#take(chunk);
    socket._read = (size) => this.#more(size);
    // Without another listener Node's parser takes the bytes from the system by itself.
    socket.on('data', () => undefined);
    socket.on('resume', () => this.#passSoon());
    socket.once('close', () => this.#hold(Buffer.alloc(0)));
  }

  /** Counts a request of the connection until its response is closed. Must be called for each request that Node parses. */
  enter(request: IncomingMessage, response: ServerResponse): void {
    this.#inWork += 1;
    this.#newest = request;
    response.once('close', () => {
      this.#inWork -= 1;
      this.#passSoon();
    });
  }

  /** @returns whether to read on, as `push` of a stream does */
  #take(chunk: Buffer | null): boolean {
    if (chunk === null) {
      // As without a gate, a client that closes its side gets no further answers.
      this.#hold(Buffer.alloc(0));
      return this.#push(null);
    }
    if (!this.#socket.writable) return true;
    const isFirst = this.#held.length === 0;
    this.#hold(isFirst ? chunk : Buffer.concat([this.#held, chunk]));
    if (isFirst && this.#turns.isUrgent(chunk)) this.#pass();
    else if (isFirst) this.#passSoon();
    if (this.#turns.isFull && this.#held.length > FREE_BYTES) this.#socket.destroy();
    return this.#held.length < READ_AHEAD_BYTES;
  }

  #more(size: number): void {
    if (this.#held.length < READ_AHEAD_BYTES) this.#read(size);
    this.#passSoon();
  }

  /** Passes one header, or a piece of a body, if it may be parsed now. */
  #pass(): void {
    const wasFull = this.#held.length >= READ_AHEAD_BYTES;
    if (this.#held.length > 0 && this.#mayPass) {
      const end = this.#held.indexOf(HEADER_END);
      const length = end === -1 ? this.#held.length : end + HEADER_END.length;
      const chunk = this.#held.subarray(0, length);
      this.#hold(this.#held.subarray(length));
      this.#push(chunk);
    }
    // Nothing is answered any more. Bytes that stay unread would reset the connection, and the client would lose the last answer.
    if (!this.#socket.writable) this.#hold(Buffer.alloc(0));
    if (wasFull && this.#held.length < READ_AHEAD_BYTES && !this.#socket.destroyed) this.#read(0);
    this.#passSoon();
  }

  #passSoon(): void {
    if (this.#held.length > 0 && this.#mayPass) this.#turns.next(this.#client, this.#passOne);
  }

  get #mayPass(): boolean {
    const { writable } = this.#socket;
    const most = this.#newest?.complete === false ? MAX_IN_WORK_WITH_BODY : MAX_IN_WORK;
    // Node pauses the socket while a body or an answer is not taken.
    return writable && this.#inWork < most && !this.#socket.isPaused();
  }

  #hold(bytes: Buffer): void {
    this.#turns.hold(bytes.length - this.#held.length);
    this.#held = bytes;
  }
}
