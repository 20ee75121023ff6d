import { lookup as dnsLookup, type LookupAddress } from 'node:dns';
import { BlockList, isIP, type LookupFunction } from 'node:net';
import { PassthroughError } from '../../errors.ts';

/**
 * Addresses that no registry has and that a request must not reach through this service: link-local ones hold the
 * metadata services of clouds, unspecified ones mean this host itself, multicast and broadcast ones mean many. Private
 * and loopback addresses are allowed: registries on the premises live there.
 *
 * @see https://www.iana.org/assignments/iana-ipv4-special-registry
 * @see https://www.iana.org/assignments/iana-ipv6-special-registry
 */
const FORBIDDEN = new BlockList();
FORBIDDEN.addSubnet('0.0.0.0', 8, 'ipv4');
FORBIDDEN.addSubnet('169.254.0.0', 16, 'ipv4');
FORBIDDEN.addSubnet('224.0.0.0', 4, 'ipv4');
FORBIDDEN.addAddress('255.255.255.255', 'ipv4');
FORBIDDEN.addAddress('::', 'ipv6');
FORBIDDEN.addSubnet('fe80::', 10, 'ipv6');
FORBIDDEN.addSubnet('ff00::', 8, 'ipv6');

/** IPv6 prefixes that carry an IPv4 address in their last 32 bits: NAT64 (RFC 6052) and IPv4-compatible (RFC 4291). */
const EMBEDDING = new BlockList();
EMBEDDING.addSubnet('64:ff9b::', 96, 'ipv6');
EMBEDDING.addSubnet('::', 96, 'ipv6');

/**
 * Whether an address must not be dialled. An IPv4 address inside an IPv6 one counts as that IPv4 address.
 *
 * @param address IPv4 or IPv6, without brackets
 */
export function isForbiddenAddress(address: string): boolean {
  const family = isIP(address);
  if (family === 4) return FORBIDDEN.check(address, 'ipv4');
  if (family !== 6) return false;
  // BlockList itself sees an IPv4-mapped address (::ffff:0:0/96) as its IPv4 one.
  if (FORBIDDEN.check(address, 'ipv6')) return true;
  return EMBEDDING.check(address, 'ipv6') && address !== '::1' && FORBIDDEN.check(embedded(address), 'ipv4');
}

/** The last 32 bits of an IPv6 address in dotted form. */
function embedded(address: string): string {
  // A URL writes an address in its shortest form without dots, so that the last two groups are the 32 bits.
  const groups = new URL(`http://[${address}]`).hostname.slice(1, -1).split('::').at(-1)?.split(':') ?? [];
  const [high = '0', low = '0'] = ['0', '0', ...groups].slice(-2).map((group) => group || '0');
  const bits = (Number.parseInt(high, 16) << 16) | Number.parseInt(low, 16);
  return [24, 16, 8, 0].map((shift) => (bits >>> shift) & 0xff).join('.');
}

/**
 * Refuses a URL whose host is a forbidden address as it stands. Names are checked by {@link guardedLookup} when they are
 * resolved: a literal never gets there.
 *
 * @throws PassthroughError `REGISTRY_NOT_ALLOWED`
 */
export function refuseForbiddenLiteral(url: URL): void {
  const host = url.hostname.replace(/^\[|\]$/g, '');
  if (isForbiddenAddress(host)) throw notAllowed(url.hostname, host);
}

/**
 * `dns.lookup` that leaves forbidden addresses out. It runs when a socket is dialled, and the socket connects to what it
 * returned: a name cannot be good when it is looked at and bad when it is used.
 */
export const guardedLookup: LookupFunction = (hostname, options, callback) => {
  dnsLookup(hostname, { ...options, all: true }, (error, found: LookupAddress[]) => {
    if (error !== null) return callback(error, [], undefined);
    const allowed = found.filter(({ address }) => !isForbiddenAddress(address));
    const [first] = allowed;
    if (first === undefined) return callback(notAllowed(hostname, found[0]?.address ?? ''), [], undefined);
    if (options.all === true) return callback(null, allowed);
    return callback(null, first.address, first.family);
  });
};

function notAllowed(host: string, address: string): PassthroughError {
  const what = host === address || host === `[${address}]` ? '' : ` resolves to ${address}, which`;
  return new PassthroughError(
    'REGISTRY_NOT_ALLOWED',
    `Cannot connect to ${JSON.stringify(host)}: it${what} is a link-local, unspecified or multicast address`,
  );
}
