import { isAbsolute } from 'node:path';
import { type Networks, parseNetworks } from '../util/network/networks.ts';
import { type EnvironmentReader, invalidVariable } from './environment.ts';
import { VARIABLES } from './variables.ts';

/** The files of the HTTPS port, all of them PEM. */
export interface TlsFiles {
  /** The certificate of the service, then those of its chain. */
  readonly certificate: string;
  readonly key: string;
  /** Authorities of clients. If it is given, each client needs a certificate of one of them. */
  readonly clientAuthorities: string | undefined;
}

/** Proxies whose word about the client counts. */
export interface TrustedProxies {
  readonly networks: Networks;
  /** Whether a peer of a Unix socket is one. */
  readonly includesUnix: boolean;
}

/** Who may connect, and where besides `HTTP_PORT`. */
export interface ListenerSettings {
  /** `undefined` without HTTPS. */
  readonly tls: TlsFiles | undefined;
  readonly httpsPort: number;
  /** Whether plain http is for probes alone. */
  readonly isHttpsOnly: boolean;
  /** Path of a Unix socket. */
  readonly socketPath: string | undefined;
  /** Mode of its file. */
  readonly socketMode: number;
  /** Networks of clients that are served; `undefined` for all. */
  readonly allowedNetworks: Networks | undefined;
  /** `undefined` for none. */
  readonly trustedProxies: TrustedProxies | undefined;
}

/** Longest path of a Unix socket in bytes, in Linux, less what the name has beyond it until it is in place. */
const MAX_SOCKET_PATH_BYTES = 107 - '.12345678'.length;

/** The word for peers of Unix sockets in a list of proxies. */
const UNIX = 'unix';

/**
 * Reads who may connect, and where.
 *
 * @throws PassthroughError `INVALID_CONFIGURATION`, also for a variable that needs another one
 */
export function readListenerSettings(read: EnvironmentReader): ListenerSettings {
  const tls = readTlsFiles(read);
  const httpsPort = read.integer(VARIABLES.httpsPort, 8443, 0, 65_535);
  if (tls !== undefined && httpsPort !== 0 && httpsPort === read.integer(VARIABLES.port, 8080, 0, 65_535))
    throw invalidVariable(VARIABLES.httpsPort, String(httpsPort), `${VARIABLES.port} is the same port`);
  const isHttpsOnly = read.choice('HTTPS_ONLY', ['yes', 'no'] as const, 'no') === 'yes';
  if (isHttpsOnly && tls === undefined)
    throw invalidVariable(
      'HTTPS_ONLY',
      'yes',
      `it needs ${VARIABLES.tlsCertificate} and ${VARIABLES.tlsKey}`,
    );
  return {
    tls,
    httpsPort,
    isHttpsOnly: isHttpsOnly || tls?.clientAuthorities !== undefined,
    socketPath: readSocketPath(read),
    socketMode: read.parsed('HTTP_SOCKET_MODE', '0660', parseMode),
    allowedNetworks:
      read.text(VARIABLES.allowedNetworks) === undefined
        ? undefined
        : read.parsed(VARIABLES.allowedNetworks, '', parseNetworks),
    trustedProxies:
      read.text(VARIABLES.trustedProxies) === undefined
        ? undefined
        : read.parsed(VARIABLES.trustedProxies, '', parseProxies),
  };
}

function readTlsFiles(read: EnvironmentReader): TlsFiles | undefined {
  const { tlsCertificate, tlsKey, tlsClientAuthorities } = VARIABLES;
  const certificate = read.text(tlsCertificate);
  const key = read.text(tlsKey);
  const clientAuthorities = read.text(tlsClientAuthorities);
  if (certificate !== undefined && key !== undefined) return { certificate, key, clientAuthorities };
  const given = [
    [tlsCertificate, certificate],
    [tlsKey, key],
    [tlsClientAuthorities, clientAuthorities],
  ] as const;
  for (const [name, path] of given) {
    if (path === undefined) continue;
    const missing = [tlsCertificate, tlsKey].filter((one) => read.text(one) === undefined);
    throw invalidVariable(name, path, `it needs ${missing.join(' and ')}`);
  }
  return undefined;
}

function readSocketPath(read: EnvironmentReader): string | undefined {
  const path = read.text(VARIABLES.socket);
  if (path === undefined) return undefined;
  // An abstract socket, `@name`, has no mode: every local user could connect.
  if (!isAbsolute(path) || path.endsWith('/') || path.includes('\0'))
    throw invalidVariable(VARIABLES.socket, path, 'expected the absolute path of a file');
  if (Buffer.byteLength(path) > MAX_SOCKET_PATH_BYTES)
    throw invalidVariable(VARIABLES.socket, path, `expected at most ${MAX_SOCKET_PATH_BYTES} bytes`);
  return path;
}

function parseMode(text: string): number {
  if (!/^0?[0-7]{3}$/.test(text)) throw new Error('expected three octal digits, such as 0660');
  return Number.parseInt(text, 8);
}

function parseProxies(text: string): TrustedProxies {
  const entries = text.split(',').map((entry) => entry.trim());
  const networks = entries.filter((entry) => entry.toLowerCase() !== UNIX);
  return {
    networks: parseNetworks(networks.join(',')),
    includesUnix: networks.length < entries.length,
  };
}

/** Addresses of no real host, far apart: a list with both has all addresses of the family. */
const FAR_APART = [
  ['192.0.2.1', '10.255.255.1'],
  ['2001:db8::1', 'fd00::1'],
] as const;

/** Whether a list has all addresses of IPv4, or all of IPv6. */
export function hasEveryAddress(networks: Networks): boolean {
  return FAR_APART.some((addresses) => addresses.every((address) => networks.contains(address)));
}

/** Settings that are allowed but risky, as {@link configWarnings} has them. */
export function listenerWarnings({
  trustedProxies,
}: ListenerSettings): readonly (readonly [isGiven: boolean, message: string])[] {
  return [
    [
      trustedProxies !== undefined && hasEveryAddress(trustedProxies.networks),
      `${VARIABLES.trustedProxies} has every address, so each client can claim any address; list the addresses of the proxies only`,
    ],
  ];
}
