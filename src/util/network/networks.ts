import { isIP } from 'node:net';
import { ipv6Groups } from '../ip-address.ts';
import { quoted } from '../printable.ts';

/** Networks of IP addresses, as an operator lists them. */
export interface Networks {
  /** The list as it was written. */
  readonly text: string;
  /**
   * Whether an address is in one of the networks.
   *
   * @param address of a socket: IPv4 or IPv6, with or without a zone. `::ffff:10.0.0.7` is the IPv4 address `10.0.0.7`. Anything
   *   else, such as the empty address of a Unix socket, is in no network
   */
  contains(address: string): boolean;
}

/** An address as a number. The number of bits says of which family it is. */
interface Address {
  readonly bits: 32 | 128;
  readonly value: bigint;
}

/** The addresses whose leading bits are those of `value`. */
interface Network extends Address {
  readonly prefix: number;
}

/** Where the IPv4 addresses lie in IPv6: https://www.rfc-editor.org/rfc/rfc4291#section-2.5.5.2 */
const MAPPED = 0xffffn;

/**
 * Parses a list of networks.
 *
 *     list    ::= [ network ] { "," [ network ] }
 *     network ::= address [ "/" prefix ]
 *
 * Node's `BlockList` is not used: its `::/0` holds all IPv4 addresses too, and it takes `10.1.2.3/8` for `10.0.0.0/8`.
 *
 * @param text such as `10.0.0.0/8, 2001:db8::/32, 192.0.2.7`; an address without a prefix is a network of its own
 * @throws Error that quotes the entry and says what is wrong with it
 * @see https://www.rfc-editor.org/rfc/rfc4632#section-3.1
 */
export function parseNetworks(text: string): Networks {
  const entries = text.split(',').map((entry) => entry.trim());
  return new NetworkList(text, entries.filter((entry) => entry !== '').map(parseNetwork));
}

class NetworkList implements Networks {
  readonly text: string;
  readonly #networks: readonly Network[];

  constructor(text: string, networks: readonly Network[]) {
    this.text = text;
    this.#networks = networks;
  }

  contains(address: string): boolean {
    const found = parseAddress(address);
    return found !== undefined && this.#networks.some((network) => isIn(found, network));
  }
}

function parseNetwork(text: string): Network {
  // An address with a password in front of it, in the wrong place.
  if (text.includes('@')) throw new Error('expected networks without credentials');
  const [host = '', length, ...more] = text.split('/');
  // A zone belongs to one machine's interface, not to a network.
  const address = host.includes('%') ? undefined : parseWritten(host);
  if (address === undefined || more.length > 0)
    throw new Error(`${quoted(text)} is no network, such as 10.0.0.0/8 or 2001:db8::/32`);
  const { bits, value } = address;
  const prefix = length === undefined ? bits : /^(?:0|[1-9]\d{0,2})$/.test(length) ? Number(length) : -1;
  if (prefix < 0 || prefix > bits)
    throw new Error(`${quoted(text)} needs a prefix of 0 to ${bits} bits behind its slash`);
  // The operator may mean this one address, or its whole network.
  const rest = BigInt(bits - prefix);
  if ((value >> rest) << rest !== value)
    throw new Error(`${quoted(text)} has bits behind its prefix: write the first address of the network`);
  const isMapped = bits === 128 && prefix >= 96 && value >> 32n === MAPPED;
  return isMapped ? { ...unmapped(address), prefix: prefix - 96 } : { bits, value, prefix };
}

function isIn({ bits, value }: Address, network: Network): boolean {
  if (bits !== network.bits) return false;
  const rest = BigInt(bits - network.prefix);
  return value >> rest === network.value >> rest;
}

/** The address; an IPv4 address that is written as IPv6 counts as IPv4. */
function parseAddress(text: string): Address | undefined {
  const address = parseWritten(text);
  return address !== undefined && address.bits === 128 && address.value >> 32n === MAPPED
    ? unmapped(address)
    : address;
}

function unmapped({ value }: Address): Address {
  return { bits: 32, value: BigInt.asUintN(32, value) };
}

/** The address in the family in which it is written; `undefined` if the text is none. */
function parseWritten(text: string): Address | undefined {
  const family = isIP(text);
  if (family === 4) return { bits: 32, value: joined(text.split('.').map(Number), 8n) };
  const groups = family === 6 ? ipv6Groups(text) : undefined;
  return groups && { bits: 128, value: joined(groups, 16n) };
}

function joined(parts: readonly number[], bitsEach: bigint): bigint {
  return parts.reduce((value, part) => (value << bitsEach) | BigInt(part), 0n);
}
