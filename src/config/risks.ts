/** Settings that are allowed and risky. The log of the start has one line for each, which names the variable that ends the risk. */

import { areBound } from '../registry/auth/credentials.ts';
import type { HostPattern } from '../registry/host-pattern.ts';
import { hasEveryAddress, type ListenerSettings } from './listener.ts';
import { mirrorWarnings } from './mirrors.ts';
import type { RegistryConfig } from './registry.ts';
import { VARIABLES } from './variables.ts';

/** The part of the configuration that can be a risk. */
export interface RiskyConfig {
  readonly http: { readonly host: string };
  /** `undefined`: every client is served. */
  readonly listener?: Pick<ListenerSettings, 'allowedNetworks' | 'tls'> | undefined;
  readonly registry: RegistryConfig;
}

/** Finds the risks of one kind; returns one sentence for each. */
type Risk = (config: RiskyConfig) => readonly string[];

/** Add a function here for a further kind of risk. */
const RISKS: readonly Risk[] = [unboundCredentials, insecureHosts, plainMirrors, anyRegistry];

/**
 * Finds what is risky in a configuration.
 *
 * @returns one line for the log for each risk
 */
export function riskWarnings(config: RiskyConfig): readonly string[] {
  return RISKS.flatMap((risk) => risk(config));
}

function unboundCredentials({ registry: { credentials } }: RiskyConfig): readonly string[] {
  const { bearerToken, basic } = credentials;
  if ((bearerToken === undefined && basic === undefined) || areBound(credentials)) return [];
  return [
    'REGISTRY_URL and REGISTRY_CREDENTIALS_HOSTS are not set, so the configured credentials are sent to whichever registry a ' +
      'request names; set one of them, or both, to bind them',
  ];
}

function insecureHosts({ registry: { tls } }: RiskyConfig): readonly string[] {
  const hosts = tls?.insecureHosts ?? [];
  return hosts.map(
    (host) =>
      `The certificate of ${shown(host)} is not verified, so another server can take its place and receive credentials; put its ` +
      `authority into ${VARIABLES.certificates}, and take it from ${VARIABLES.insecureHosts}`,
  );
}

function plainMirrors({ registry: { mirrors } }: RiskyConfig): readonly string[] {
  return mirrorWarnings(mirrors);
}

/** A service for a network, whose clients can have it connect to any host. */
function anyRegistry({
  http: { host },
  listener,
  registry: { allowedHosts },
}: RiskyConfig): readonly string[] {
  const { allowedNetworks, tls } = listener ?? {};
  const areClientsKnown =
    tls?.clientAuthorities !== undefined ||
    (allowedNetworks !== undefined && !hasEveryAddress(allowedNetworks));
  if (allowedHosts !== undefined || areClientsKnown || !isEveryAddress(host)) return [];
  return [
    `${VARIABLES.allowedHosts} is not set and ${VARIABLES.host} is ${host}, so every client of every network can have the service ` +
      `ask any registry, also internal ones; list the registries in ${VARIABLES.allowedHosts}, or the clients in ` +
      `${VARIABLES.allowedNetworks}`,
  ];
}

/** Whether an address, in any way to write it, is the one that stands for all: `0.0.0.0`, `0`, `::`, `::0`. */
function isEveryAddress(host: string): boolean {
  const url = URL.parse(`http://${host.includes(':') ? `[${host}]` : host}`);
  return ['0.0.0.0', '[::]', '[::ffff:0:0]'].includes(url?.hostname ?? '');
}

function shown({ hostname, isWildcard, port }: HostPattern): string {
  return `${isWildcard ? '*.' : ''}${hostname}${port === undefined ? '' : `:${port}`}`;
}
