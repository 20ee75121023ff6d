import { PassthroughError } from '../../errors.ts';
import { clientOf } from '../client-limit.ts';

/** Most clients that listen to preparations at once: each takes some 25 KB, and a connection. */
const MAX_LISTENERS = 1000;

/** Most of them from one client. A page has one, and a browser opens six connections to a service at most. */
const MAX_LISTENERS_PER_CLIENT = 100;

/** `Retry-After` of a refused listener, in seconds. It can ask for the state without listening meanwhile. */
const RETRY_AFTER_S = 15;

/** Limits how many clients listen to preparations: each holds a connection for as long as the preparation runs. */
export class Listeners {
  readonly #most: number;
  readonly #counts = new Map<string, number>();
  #total = 0;

  /** @param maxConnections at most half of the connections are for listeners */
  constructor(maxConnections: number) {
    this.#most = Math.min(MAX_LISTENERS, Math.ceil(maxConnections / 2));
  }

  /** Number of listeners. */
  get count(): number {
    return this.#total;
  }

  /**
   * Counts a listener.
   *
   * @param address of the connection
   * @returns ends the count; to be called once
   * @throws PassthroughError `BUSY` when there are too many
   */
  enter(address: string): () => void {
    const client = clientOf(address);
    const count = this.#counts.get(client) ?? 0;
    if (this.#total >= this.#most) throw busy(`${this.#total} clients listen already`);
    if (count >= MAX_LISTENERS_PER_CLIENT) throw busy(`"${client}" has ${count} listeners already`);
    this.#total += 1;
    this.#counts.set(client, count + 1);
    return () => {
      this.#total -= 1;
      const left = (this.#counts.get(client) ?? 0) - 1;
      if (left > 0) this.#counts.set(client, left);
      else this.#counts.delete(client);
    };
  }
}

function busy(why: string): PassthroughError {
  return new PassthroughError('BUSY', `Cannot send events: ${why}; ask without text/event-stream instead`, {
    retryAfterSeconds: RETRY_AFTER_S,
  });
}
