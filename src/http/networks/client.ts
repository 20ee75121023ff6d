import type { IncomingHttpHeaders } from 'node:http';
import type { TrustedProxies } from '../../config/listener.ts';
import { VARIABLES } from '../../config/variables.ts';
import { PassthroughError } from '../../errors.ts';
import { type Peer, UNIX_ADDRESS } from '../connections/peer.ts';
import { type Hop, type LegacyFields, parseForwarded, parseForwardedFor } from './forwarded.ts';

/** Who has made a request, as far as trusted proxies say it. */
export interface Client {
  /**
   * What limits, log and lists of networks take for the client: the address of the connection, or what the last trusted proxy says:
   * an IP address, a name that it has made up, or `unknown`.
   */
  readonly address: string;
  /** The scheme that the client has used. */
  readonly scheme: 'http' | 'https';
  /** The host that the client has asked a proxy for. */
  readonly host: string | undefined;
  /** The other end of the connection. */
  readonly peer: Peer;
}

/** Most proxies that are believed one after the other. A CDN, a balancer, an ingress and a sidecar are four. */
const MAX_PROXIES = 32;

/** The client without a word of any proxy. */
export function directClient(peer: Peer): Client {
  return {
    address: peer.address,
    scheme: peer.entrance === 'https' ? 'https' : 'http',
    host: undefined,
    peer,
  };
}

/**
 * Finds the client of a request. If the peer is a trusted proxy, its word counts: the last hop of `Forwarded` or `X-Forwarded-For`.
 * If that names a trusted proxy, too, the hop before it counts, and so on. What stands before the first address that is not trusted
 * has been written by that client, and counts for nothing.
 *
 * Most proxies set one of the two fields and pass the other on as the client has sent it. So where a request has both, they must
 * name the same client by the same scheme.
 *
 * @param trusted `undefined` for none, so that the fields mean nothing
 * @throws PassthroughError `INVALID_REQUEST` for fields of a trusted proxy that cannot be parsed, contradict each other, or name too
 *   many proxies
 */
export function findClient(
  peer: Peer,
  headers: IncomingHttpHeaders,
  trusted: TrustedProxies | undefined,
): Client {
  const direct = directClient(peer);
  const isTrusted =
    peer.address === UNIX_ADDRESS ? trusted?.includesUnix : trusted?.networks.contains(peer.address);
  if (trusted === undefined || isTrusted !== true) return direct;
  const standard = hopsOfForwarded(headers);
  const legacy = parseForwardedFor(legacyFields(headers));
  const found = [standard, legacy].flatMap((hops) => outermost(hops, trusted) ?? []);
  const [one, other] = found;
  if (one === undefined) {
    // A proxy may tell the scheme alone.
    const [hop] = parseForwardedFor({ ...legacyFields(headers), addresses: peer.address });
    return { ...direct, scheme: hop?.scheme ?? direct.scheme, host: hop?.host };
  }
  if (other !== undefined && (one.client !== other.client || differs(one.scheme, other.scheme))) {
    throw invalid(
      `Forwarded and X-Forwarded-For name different clients or schemes; let the proxy set one and remove the other`,
    );
  }
  return {
    address: one.client,
    scheme: one.scheme ?? other?.scheme ?? direct.scheme,
    host: one.host ?? other?.host,
    peer,
  };
}

function hopsOfForwarded({ forwarded }: IncomingHttpHeaders): readonly Hop[] {
  const hops = parseForwarded(forwarded ?? '');
  if (hops === undefined) throw invalid('Forwarded cannot be parsed');
  return hops;
}

function legacyFields(headers: IncomingHttpHeaders): LegacyFields {
  return {
    addresses: textOf(headers['x-forwarded-for']) ?? '',
    schemes: textOf(headers['x-forwarded-proto']),
    hosts: textOf(headers['x-forwarded-host']),
  };
}

/** The hop of the client: the last one that names no trusted proxy. If each names one, the first one. */
function outermost(hops: readonly Hop[], { networks }: TrustedProxies): Hop | undefined {
  for (let count = 1; count <= MAX_PROXIES; count += 1) {
    const hop = hops.at(-count);
    if (hop === undefined) return hops[0];
    if (!networks.contains(hop.client)) return hop;
  }
  throw invalid(`it has passed more than ${MAX_PROXIES} proxies of ${VARIABLES.trustedProxies}`);
}

function differs(one: string | undefined, other: string | undefined): boolean {
  return one !== undefined && other !== undefined && one !== other;
}

function textOf(field: string | string[] | undefined): string | undefined {
  return field === undefined ? undefined : String(field);
}

function invalid(why: string): PassthroughError {
  return new PassthroughError('INVALID_REQUEST', `Cannot answer the request: ${why}`);
}
