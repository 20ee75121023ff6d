import { PassthroughError } from '../errors.ts';
import { ipv6Groups } from '../util/ip-address.ts';

/** `Retry-After` of a refused client, in seconds: a small image is sent by then. */
const RETRY_AFTER_S = 15;

/** What a request has to do before it can be answered, for the message: `Cannot begin another …`. */
export type WorkKind = 'download' | 'preparation' | 'look-up';

/**
 * Limits the concurrent work of each client, so that one client cannot take all capacity. Sending what is ready does not count:
 * hundreds of devices behind one address may read at the same time. Requests for the same work count once.
 */
export class ClientLimit {
  readonly #most: number;
  /** Work under way by client, and the number of requests for each piece. Clients without any have no entry. */
  readonly #works = new Map<string, Map<string | symbol, number>>();

  /** @param most concurrent pieces of work of one client; 0 for no limit */
  constructor(most: number) {
    this.#most = most;
  }

  /** Number of clients with work under way; 0 without a limit. */
  get clients(): number {
    return this.#works.size;
  }

  /**
   * Counts work of a client.
   *
   * @param address of the connection, or from a proxy in `TRUSTED_PROXIES`. Any client can send `X-Forwarded-For` with a new address
   *   each time. Behind another proxy all clients count as one, so the proxy has to limit them
   * @param kind for the message
   * @param key equal keys of a client mean the same work, which is shared; work without a key is not shared
   * @returns ends the count; further calls do nothing
   * @throws PassthroughError `BUSY` when the client is at the limit
   */
  enter(address: string, kind: WorkKind, key: string | symbol = Symbol('work')): () => void {
    if (this.#most === 0) return () => undefined;
    const client = clientOf(address);
    const works = this.#works.get(client) ?? new Map<string | symbol, number>();
    const count = works.size;
    if (count >= this.#most && !works.has(key)) {
      throw new PassthroughError(
        'BUSY',
        `Cannot begin another ${kind} for "${client}": it has ${count} already, and MAX_REQUESTS_PER_CLIENT is ${this.#most}`,
        { retryAfterSeconds: RETRY_AFTER_S },
      );
    }
    works.set(key, (works.get(key) ?? 0) + 1);
    this.#works.set(client, works);
    let isLeft = false;
    return () => {
      if (isLeft) return;
      isLeft = true;
      this.#leave(client, works, key);
    };
  }

  #leave(client: string, works: Map<string | symbol, number>, key: string | symbol): void {
    const left = (works.get(key) ?? 0) - 1;
    if (left > 0) works.set(key, left);
    else works.delete(key);
    if (works.size === 0) this.#works.delete(client);
  }
}

/**
 * The client behind an address. An IPv4 address, in any notation, is a client. An IPv6 address counts with its network of 64 bits,
 * since a machine gets such a network at least and can use any address in it. Loopback and link-local addresses, whose networks
 * all machines share, are clients themselves.
 *
 * @param address of a socket, with or without a zone
 * @returns such as `10.0.0.7` or `2001:db8:1:2::/64`; the text itself if it is not an address
 * @see https://www.rfc-editor.org/rfc/rfc4291#section-2.5.4
 */
export function clientOf(address: string): string {
  if (!address.includes(':')) return address;
  const groups = ipv6Groups(address);
  if (groups === undefined) return address;
  const [high = 0, low = 0] = groups.slice(6);
  // https://www.rfc-editor.org/rfc/rfc4291#section-2.5.5.2
  const isMapped = groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff;
  if (isMapped) return [high >> 8, high & 0xff, low >> 8, low & 0xff].join('.');
  const isOnLink = groups.slice(0, 4).every((group) => group === 0) || ((groups[0] ?? 0) & 0xffc0) === 0xfe80;
  if (isOnLink) return address;
  return `${groups
    .slice(0, 4)
    .map((group) => group.toString(16))
    .join(':')}::/64`;
}
