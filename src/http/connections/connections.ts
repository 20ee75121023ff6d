import type { Socket } from 'node:net';
import { clientOf } from '../client-limit.ts';

/** The connections of one client. */
interface Client {
  readonly name: string;
  count: number;
  /** Those without a request in work: idle ones, and those whose header has not arrived. The one that waits longest is first. */
  readonly waiting: Set<Socket>;
}

/** A counted connection. */
interface Connection {
  readonly client: Client;
  requests: number;
}

/**
 * Counts connections against `MAX_CONNECTIONS`. When all are taken, a client that has fewer than another one gets the place of a
 * connection on which the other one has no request in work. So a client that only opens connections keeps no other client out.
 */
export class Connections {
  readonly #max: number;
  readonly #clients = new Map<string, Client>();
  readonly #connections = new Map<Socket, Connection>();

  /** @param max most connections */
  constructor(max: number) {
    this.#max = max;
  }

  /**
   * Counts a new connection until it closes.
   *
   * @returns whether there is a place for it
   */
  admit(socket: Socket): boolean {
    const name = clientOf(socket.remoteAddress ?? '');
    const client = this.#clients.get(name) ?? { name, count: 0, waiting: new Set() };
    if (this.#connections.size >= this.#max && !this.#makeRoom(client)) return false;
    this.#clients.set(name, client);
    client.count += 1;
    client.waiting.add(socket);
    this.#connections.set(socket, { client, requests: 0 });
    socket.once('close', () => this.#remove(socket));
    return true;
  }

  /** Records that a request of a connection is in work, or is not any more. */
  work(socket: Socket, isBegun: boolean): void {
    const connection = this.#connections.get(socket);
    if (connection === undefined) return;
    connection.requests += isBegun ? 1 : -1;
    if (connection.requests === 0) connection.client.waiting.add(socket);
    else connection.client.waiting.delete(socket);
  }

  /** Closes all connections. */
  closeAll(): void {
    for (const socket of this.#connections.keys()) socket.destroy();
  }

  /** Closes a waiting connection of the client that has most, if that is more than the newcomer would have. */
  #makeRoom(newcomer: Client): boolean {
    let busiest = newcomer;
    for (const client of this.#clients.values())
      if (client.waiting.size > 0 && client.count > busiest.count) busiest = client;
    const [oldest] = busiest.waiting;
    if (oldest === undefined || busiest.count <= newcomer.count + 1) return false;
    oldest.destroy();
    this.#remove(oldest);
    return true;
  }

  #remove(socket: Socket): void {
    const client = this.#connections.get(socket)?.client;
    if (client === undefined) return;
    this.#connections.delete(socket);
    client.waiting.delete(socket);
    client.count -= 1;
    if (client.count === 0) this.#clients.delete(client.name);
  }
}
