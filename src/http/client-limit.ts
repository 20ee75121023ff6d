import { PassthroughError } from '../errors.ts';

/** Seconds after which a client that has enough is told to come back: a small image is through by then. */
const RETRY_AFTER_S = 15;

/** Bounds how much one client has under way at once, so that no single one takes all that there is. */
export class ClientLimit {
  readonly #most: number;
  /** How many each client has now. Those that have none are not here. */
  readonly #counts = new Map<string, number>();

  /** @param most that one client may have at once; 0 for any number */
  constructor(most: number) {
    this.#most = most;
  }

  /** How many clients have something under way; none are counted where there is no limit. */
  get clients(): number {
    return this.#counts.size;
  }

  /**
   * Counts one more of a client.
   *
   * @param address what the connection came from. Never what `X-Forwarded-For` says: anybody can write that, and be somebody
   *   else each time. Behind a proxy all are one client here; whoever runs it limits there
   * @returns counts it off again; calling it twice does nothing
   * @throws PassthroughError `BUSY` when the client has as many as it may
   */
  enter(address: string): () => void {
    if (this.#most === 0) return () => undefined;
    const client = clientOf(address);
    const count = this.#counts.get(client) ?? 0;
    if (count >= this.#most) {
      throw new PassthroughError(
        'BUSY',
        `Cannot begin another download for "${client}": it has ${count} already, and MAX_REQUESTS_PER_CLIENT is ${this.#most}`,
        { retryAfterSeconds: RETRY_AFTER_S },
      );
    }
    this.#counts.set(client, count + 1);
    let isLeft = false;
    return () => {
      if (isLeft) return;
      isLeft = true;
      this.#leave(client);
    };
  }

  #leave(client: string): void {
    const left = (this.#counts.get(client) ?? 0) - 1;
    if (left > 0) this.#counts.set(client, left);
    else this.#counts.delete(client);
  }
}

/**
 * Whom an address stands for: an IPv4 address for itself, however it is written; an IPv6 address for its network of 64 bits,
 * for that is the least that one machine is given, to take addresses from as it likes. Loopback and link-local ones, which all
 * machines have in the same network, stand for themselves.
 *
 * @param address as the socket has it, with or without a zone
 * @returns `10.0.0.7`, `2001:db8:1:2::/64`; what is no address stays as it is
 * @see https://www.rfc-editor.org/rfc/rfc4291#section-2.5.4
 */
export function clientOf(address: string): string {
  if (!address.includes(':')) return address;
  const groups = groupsOf(address.replace(/%.*/, ''));
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

/** The eight groups of an IPv6 address; the URL parser knows all the ways to write one. */
function groupsOf(address: string): readonly number[] | undefined {
  const text = URL.parse(`http://[${address}]/`)?.hostname.slice(1, -1);
  if (text === undefined) return undefined;
  const [start = [], end = []] = text.split('::').map((half) => (half === '' ? [] : half.split(':')));
  const zeros = Array<string>(8 - start.length - end.length).fill('0');
  return [...start, ...zeros, ...end].map((group) => Number.parseInt(group, 16));
}
