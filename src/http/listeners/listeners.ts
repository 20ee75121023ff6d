import { once } from 'node:events';
import { createServer, type Server, type ServerOpts, type Socket } from 'node:net';
import { PassthroughError } from '../../errors.ts';
import { systemErrorCode } from '../../util/system-error.ts';
import type { Entrance } from '../connections/peer.ts';
import { listenOnPath, type SocketFile } from './unix-socket.ts';

/**
 * Connections that the system holds until they are accepted; at most its own limit (`net.core.somaxconn`). A client that finds the
 * queue full tries again after a second.
 */
const ACCEPT_QUEUE = 4096;

/** A listening socket that the parent of this process has passed. */
export interface PassedSocket {
  readonly fd: number;
  /** Whether connections to it speak TLS. */
  readonly isTls: boolean;
}

/** Where to listen. */
export interface ListenOptions {
  /** Address of the ports. */
  readonly host: string;
  /** Port of plain http; 0 for any free one. */
  readonly port: number;
  /** Port of https; 0 for any free one; none unless given. */
  readonly httpsPort?: number | undefined;
  /** A Unix socket; none unless given. */
  readonly unix?: { readonly path: string; readonly mode: number } | undefined;
  /** Sockets in place of both ports; none unless given. */
  readonly passed?: readonly PassedSocket[] | undefined;
}

/** A socket that accepts. */
interface Listener {
  readonly entrance: Entrance;
  readonly server: Server;
  readonly file?: SocketFile;
}

/** All sockets on which a service accepts connections. They share nothing but what is done with their connections. */
export class Listeners {
  readonly #connect: (socket: Socket, entrance: Entrance) => void;
  readonly #listeners: Listener[] = [];

  private constructor(connect: (socket: Socket, entrance: Entrance) => void) {
    this.#connect = connect;
  }

  /**
   * Listens everywhere, or nowhere.
   *
   * @param connect receives each new connection
   * @throws the system's error if an address cannot be listened on; PassthroughError `INVALID_CONFIGURATION` for a passed socket or
   *   a path that cannot be used
   */
  static async open(
    options: ListenOptions,
    connect: (socket: Socket, entrance: Entrance) => void,
  ): Promise<Listeners> {
    const listeners = new Listeners(connect);
    try {
      await listeners.#open(options);
    } catch (error) {
      await listeners.close();
      throw error;
    }
    return listeners;
  }

  /** The port of plain http; 0 if there is none. */
  get port(): number {
    return this.#portOf('http') ?? 0;
  }

  /** The port of https; `undefined` if there is none. */
  get httpsPort(): number | undefined {
    return this.#portOf('https');
  }

  /** Accepts no further connection. Those that are open stay open. */
  async close(): Promise<void> {
    const open = this.#listeners.splice(0);
    for (const { server } of open) server.close();
    await Promise.all(open.map(({ file }) => file?.remove()));
  }

  async #open({ host, port, httpsPort, unix, passed = [] }: ListenOptions): Promise<void> {
    for (const socket of passed) await this.#take(socket);
    if (passed.length === 0) {
      await this.#listen('http', host, port);
      if (httpsPort !== undefined) await this.#listen('https', host, httpsPort);
    }
    if (unix === undefined) return;
    const server = this.#create('unix');
    const file = await listenOnPath(server, unix.path, unix.mode, ACCEPT_QUEUE);
    this.#listeners.push({ entrance: 'unix', server, file });
  }

  async #listen(entrance: Entrance, host: string, port: number): Promise<void> {
    const server = this.#create(entrance);
    server.listen({ host, port, backlog: ACCEPT_QUEUE });
    await once(server, 'listening');
    this.#listeners.push({ entrance, server });
  }

  /** Takes over a socket. Node says of the address of a Unix socket that it is none. */
  async #take({ fd, isTls }: PassedSocket): Promise<void> {
    let entrance: Entrance = isTls ? 'https' : 'http';
    const server = createServer(optionsOf(entrance));
    server.on('connection', (socket) => this.#connect(socket, entrance));
    try {
      server.listen({ fd, backlog: ACCEPT_QUEUE });
      await once(server, 'listening');
    } catch (cause) {
      const why = systemErrorCode(cause) ?? String(cause);
      throw invalidSocket(fd, `it is no listening stream socket (${why}); a unit needs Accept=no`, cause);
    }
    this.#listeners.push({ entrance, server });
    const address = server.address();
    if (address !== null && typeof address === 'object') return;
    if (isTls) throw invalidSocket(fd, 'TLS needs a TCP socket, and this is a Unix socket');
    entrance = 'unix';
    this.#listeners.splice(-1, 1, { entrance, server });
  }

  #create(entrance: Entrance): Server {
    const server = createServer(optionsOf(entrance));
    return server.on('connection', (socket) => this.#connect(socket, entrance));
  }

  #portOf(entrance: Entrance): number | undefined {
    const server = this.#listeners.find((listener) => listener.entrance === entrance)?.server;
    const address = server?.address();
    return address !== null && typeof address === 'object' ? address.port : undefined;
  }
}

/**
 * As the servers of `node:http` and `node:https` have them. A client that ends its side in the middle of a handshake would otherwise
 * stay until the limit.
 */
function optionsOf(entrance: Entrance): ServerOpts {
  return { allowHalfOpen: entrance !== 'https', noDelay: true };
}

function invalidSocket(fd: number, why: string, cause?: unknown): PassthroughError {
  return new PassthroughError('INVALID_CONFIGURATION', `Cannot use the passed socket ${fd}: ${why}`, {
    cause,
  });
}
