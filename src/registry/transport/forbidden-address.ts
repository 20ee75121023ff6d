import { lookup as dnsLookup, type LookupAddress } from 'node:dns';
import { BlockList, isIP, type LookupFunction } from 'node:net';
import { PassthroughError } from '../../errors.ts';
import { ipv6Groups } from '../../util/ip-address.ts';
import { quoted } from '../../util/printable.ts';

/**
 * Addresses that no registry has and that a request must not reach through this service. Link-local addresses are those of most
 * metadata services, unspecified addresses mean this host, and multicast and broadcast addresses mean many hosts. Site-local
 * addresses are deprecated and some systems route them like link-local ones. Private and loopback addresses are allowed, because
 * on-premises registries use them.
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
FORBIDDEN.addSubnet('fec0::', 10, 'ipv6');
FORBIDDEN.addSubnet('ff00::', 8, 'ipv6');

/** Addresses outside of the link-local ranges under which clouds give credentials and settings to their machines. */
const METADATA_SERVICES: readonly [address: string, family: 'ipv4' | 'ipv6'][] = [
  // Alibaba Cloud
  ['100.100.100.200', 'ipv4'],
  // Azure: https://learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16
  ['168.63.129.16', 'ipv4'],
  // Oracle Cloud
  ['192.0.0.192', 'ipv4'],
  ['fd00:c1::a9fe:a9fe', 'ipv6'],
  // AWS: machines, and pods of EKS
  ['fd00:ec2::254', 'ipv6'],
  ['fd00:ec2::23', 'ipv6'],
  // Google Cloud
  ['fd20:ce::254', 'ipv6'],
  // Linode
  ['fd00:a9fe:a9fe::1', 'ipv6'],
  // Scaleway
  ['fd00:42::42', 'ipv6'],
];
for (const [address, family] of METADATA_SERVICES) FORBIDDEN.addAddress(address, family);

/** `0.0.0.0/8`, which an address that embeds nothing at a position seems to embed there. */
const NOTHING = new BlockList();
NOTHING.addSubnet('0.0.0.0', 8, 'ipv4');

/**
 * Whether an address must not be dialled. An IPv6 address that embeds an IPv4 address is judged as that IPv4 address too: a
 * gateway may send what is dialled there.
 *
 * @param address IPv4 or IPv6, without brackets
 */
export function isForbiddenAddress(address: string): boolean {
  const family = isIP(address);
  if (family === 4) return FORBIDDEN.check(address, 'ipv4');
  const groups = family === 6 ? ipv6Groups(address) : undefined;
  if (groups === undefined) return false;
  const plain = groups.map((group) => group.toString(16)).join(':');
  return FORBIDDEN.check(plain, 'ipv6') || embeddedIn(groups).some((ipv4) => FORBIDDEN.check(ipv4, 'ipv4'));
}

/**
 * The IPv4 addresses that an IPv6 address embeds by its prefix or its interface identifier.
 *
 * @param groups the eight groups of the address
 */
function embeddedIn(groups: readonly number[]): readonly string[] {
  const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0] = groups;
  const last = dotted(g, h);
  // 6to4: https://www.rfc-editor.org/rfc/rfc3056#section-2
  if (a === 0x2002) return [dotted(b, c)];
  // Teredo, the server and the inverted client: https://www.rfc-editor.org/rfc/rfc4380#section-4
  if (a === 0x2001 && b === 0) return [dotted(c, d), dotted(g ^ 0xffff, h ^ 0xffff)];
  // ISATAP in any network: https://www.rfc-editor.org/rfc/rfc5214#section-6.1
  if (f === 0x5efe && (e === 0 || e === 0x200)) return [last];
  if (a === 0x64 && b === 0xff9b) {
    // NAT64's own prefix: https://www.rfc-editor.org/rfc/rfc6052#section-2.1
    if (c === 0) return [last];
    if (c === 1) return embeddedInLocalNat64(groups);
  }
  const isZero = (...some: readonly number[]) => some.every((group) => group === 0);
  // The loopback address is no IPv4-compatible one.
  if (isZero(a, b, c, d, e, f, g) && h === 1) return [];
  // IPv4-compatible (::a.b.c.d), mapped (::ffff:a.b.c.d) and translated (::ffff:0:a.b.c.d): RFC 4291, 2.5.5; RFC 2765, 2.1.
  const isIPv4 = isZero(a, b, c, d) && ((e === 0 && (f === 0 || f === 0xffff)) || (e === 0xffff && f === 0));
  return isIPv4 ? [last] : [];
}

/**
 * Inside of the prefix for local use, the network chooses how long its own prefix is, and with it where the IPv4 address stands.
 * Bits 64 to 71 are always left out. An address that is read at the wrong position begins with a zero octet as a rule.
 *
 * @see https://www.rfc-editor.org/rfc/rfc8215#section-3
 * @see https://www.rfc-editor.org/rfc/rfc6052#section-2.2
 */
function embeddedInLocalNat64(groups: readonly number[]): readonly string[] {
  const octets = groups.flatMap((group) => [group >> 8, group & 0xff]);
  // Prefixes of 48, 56, 64 and 96 bits.
  const positions = [
    [6, 7, 9, 10],
    [7, 9, 10, 11],
    [9, 10, 11, 12],
    [12, 13, 14, 15],
  ];
  const read = positions.map((position) => position.map((at) => octets[at] ?? 0).join('.'));
  const found = read.filter((ipv4) => !NOTHING.check(ipv4, 'ipv4'));
  return found.length === 0 ? read : found;
}

function dotted(high: number, low: number): string {
  return [high >> 8, high & 0xff, low >> 8, low & 0xff].join('.');
}

/**
 * Refuses a URL whose host is a forbidden IP address. {@link guardedLookup} checks names when they are resolved; it is
 * not called for IP addresses.
 *
 * @throws PassthroughError `REGISTRY_NOT_ALLOWED`
 */
export function refuseForbiddenLiteral(url: URL): void {
  const host = url.hostname.replace(/^\[|\]$/g, '');
  if (isForbiddenAddress(host)) throw notAllowed(url.hostname, host);
}

/**
 * `dns.lookup` without forbidden addresses. The socket calls it when it is dialled and connects to the returned
 * address. So a name server cannot give an allowed address for the check and a forbidden one for the connection (DNS
 * rebinding).
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
    `Cannot connect to ${quoted(host)}: it${what} is a link-local, unspecified, multicast or metadata address`,
  );
}
