import { hash } from 'node:crypto';
import type { Socket } from 'node:net';
import { clientOf } from '../client-limit.ts';

/** Most URLs of all clients that are remembered. With four files each, they take less than 10 MB. */
const MAX_DOWNLOADS = 10_000;

/** Most URLs of one client, so that no client can make the service forget the downloads of the others. */
const MAX_DOWNLOADS_PER_CLIENT = 1_000;

/** Most files that are remembered for one client and URL. A tag that moves more often within a day is rare. */
const MAX_FILES = 4;

/** How long a begun download is remembered, in milliseconds: a day. */
const MAX_AGE_MS = 86_400_000;

/** aria2 continues at the start of a block of this many bytes: https://aria2.github.io/manual/en/html/technical-notes.html */
const BLOCK_BYTES = 16 * 1024;

/**
 * Time for a client to close a connection after the last byte of an answer, in milliseconds. The bytes may still be on their way:
 * 4 MB of buffers take this long at 1 MBit/s.
 */
const LINGER_MS = 30_000;

/** A file that a client address was given. */
interface BegunFile {
  readonly etag: string;
  readonly size: number;
  /** Whether a client has received its last byte. */
  isFinished: boolean;
  /** When it was last given, in milliseconds of {@link performance.now}. */
  at: number;
}

/** What is remembered of one client and URL. */
interface Begun {
  readonly client: string;
  readonly files: readonly BegunFile[];
}

/** A file as a client asks for it. */
export interface Download {
  /** Address of the connection. */
  readonly address: string;
  /** The request target, with its query. */
  readonly url: string;
  readonly etag: string;
  /** Bytes of the whole file. */
  readonly size: number;
}

/**
 * Remembers which files each client address was given under a URL, within a day. curl and wget ask for the rest of a file by
 * `Range` alone, without saying which file. If the tag has moved meanwhile, they would append the rest of the new file to the
 * beginning of the old one. Several clients may have one address, so all files count that one of them has begun and not finished.
 */
export class StartedDownloads {
  readonly #now: () => number;
  /** By the hash of address and URL, which may have 30 KB; from the least to the most recently used. */
  readonly #begun = new Map<string, Begun>();
  /** Keys of each client, in the same order. */
  readonly #keys = new Map<string, Set<string>>();
  /** Connections whose end is listened to: one listener for all answers on them. */
  readonly #watched = new WeakSet<Socket>();
  /** The download whose last byte is on its way, by its connection. */
  readonly #unconfirmed = new WeakMap<Socket, Download>();

  /** @param now milliseconds since any moment */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** Number of clients and URLs that are remembered. */
  get size(): number {
    return this.#begun.size;
  }

  /** Records that a client is given a file, whole or in part. */
  begin(download: Download): void {
    const { etag, size } = download;
    const others = this.#files(download).filter((file) => file.etag !== etag);
    this.#set(download, [...others, { etag, size, isFinished: false, at: this.#now() }].slice(-MAX_FILES));
  }

  /** Records that the client has received the last byte of a file. */
  finish(download: Download): void {
    for (const file of this.#files(download)) file.isFinished ||= file.etag === download.etag;
  }

  /**
   * Whether the rest of a file may belong to another one: a client of this address has begun another file under this URL and not
   * finished it, or has finished another one that ends where the rest begins.
   *
   * @param position where the rest begins
   */
  mayBelongToAnother(download: Download, position: number): boolean {
    return this.#files(download).some(
      ({ etag, size, isFinished }) => etag !== download.etag && (!isFinished || isEnd(size, position)),
    );
  }

  /**
   * Calls {@link finish} when the client has received the last byte, which was handed to the system: the client sends its next
   * request on the connection, or closes it in order. A client that leaves with unread bytes resets the connection.
   *
   * Must be called before the answer ends. Node would close the connection behind a last answer, and not see how the client
   * closes it.
   *
   * @returns call it when all bytes are handed over
   */
  watch(socket: Socket, download: Download): () => unknown {
    if (!this.#watched.has(socket)) {
      this.#watched.add(socket);
      socket.destroySoon = () => linger(socket);
      socket.once('end', () => this.confirm(socket));
    }
    return () => this.#unconfirmed.set(socket, download);
  }

  /** Records that a client goes on using a connection, so that it has received all answers on it. */
  confirm(socket: Socket): void {
    const download = this.#unconfirmed.get(socket);
    if (download === undefined) return;
    this.#unconfirmed.delete(socket);
    this.finish(download);
  }

  #files(download: Download): readonly BegunFile[] {
    const since = this.#now() - MAX_AGE_MS;
    return (this.#begun.get(keyOf(download))?.files ?? []).filter(({ at }) => at > since);
  }

  #set(download: Download, files: readonly BegunFile[]): void {
    const key = keyOf(download);
    const client = hashOf(clientOf(download.address));
    this.#delete(key);
    this.#begun.set(key, { client, files });
    const keys = this.#keys.get(client) ?? new Set();
    this.#keys.set(client, keys.add(key));
    const [ownOldest = key] = keys;
    if (keys.size > MAX_DOWNLOADS_PER_CLIENT) this.#delete(ownOldest);
    const [oldest = key] = this.#begun.keys();
    if (this.#begun.size > MAX_DOWNLOADS) this.#delete(oldest);
  }

  #delete(key: string): void {
    const begun = this.#begun.get(key);
    if (begun === undefined) return;
    this.#begun.delete(key);
    const keys = this.#keys.get(begun.client);
    keys?.delete(key);
    if (keys?.size === 0) this.#keys.delete(begun.client);
  }
}

/** Whether a client that has a whole file would ask for the rest from this position on. */
function isEnd(size: number, position: number): boolean {
  const isLastBlock = position % BLOCK_BYTES === 0 && position < size && size - position < BLOCK_BYTES;
  return position === size || isLastBlock;
}

function keyOf({ address, url }: Download): string {
  return hashOf(`${address} ${url}`);
}

function hashOf(text: string): string {
  return hash('sha256', text, 'base64url');
}

/** Ends the side of the service, and waits for the client to end its own. */
function linger(socket: Socket): void {
  socket.end(() => {
    const timer = setTimeout(() => socket.destroy(), LINGER_MS).unref();
    socket.once('close', () => clearTimeout(timer));
  });
}
