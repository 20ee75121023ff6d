import { BoundedMap } from '../../util/bounded-map.ts';
import {
  type Credential,
  type CredentialOwner,
  chooseCredential,
  type StaticCredentials,
} from '../auth/credentials.ts';
import type { RegistryHost } from '../registry-host.ts';
import { Circuit } from './circuit.ts';
import { MirrorHealth, type MirrorPlace, type MirrorSnapshot, type MirrorWatch } from './mirror-health.ts';
import { type Mirror, type MirrorRule, mirrorsOf, namespaceOf, repositoryAt } from './mirror-rules.ts';

/** Settings for mirrors. */
export interface MirrorOptions {
  /** The mirrors of registries; none unless given. */
  readonly mirrors?: readonly MirrorRule[] | undefined;
  /**
   * What the accounts of mirrors are used for in requests that bring no credentials, and have none of the operator's at the registry:
   * `layers` alone, each after the registry has confirmed it; or `all`, where no client has rights of its own. Default: `layers`.
   */
  readonly mirrorAccounts?: 'layers' | 'all' | undefined;
  /** Receives how each mirror answered. */
  readonly onMirror?: MirrorWatch | undefined;
  /** Receives who has answered, a mirror or the origin of the registry, in the step that asked; must not throw. */
  readonly onSource?: ((source: string) => void) | undefined;
}

/** Longest wait for a connection to a mirror, in milliseconds: another source is there to be asked. */
export const MIRROR_CONNECT_MS = 3_000;

/**
 * A second attempt, since a kept connection that the mirror has just closed is no failure. After that, and where a body breaks off,
 * the next source is asked.
 */
export const MIRROR_RETRY = Object.freeze({ attempts: 2, baseMs: 100, maxMs: 100, bodyFailures: 1 });

/** Most registries whose failures are remembered: clients name them. */
const MAX_REGISTRIES = 1000;

/** The mirrors of a process, and what is known of them. */
export class Mirrors {
  readonly #rules: readonly MirrorRule[];
  readonly #health: ReadonlyMap<string, MirrorHealth>;
  readonly #registries = new BoundedMap<string, Circuit>({ maxCost: MAX_REGISTRIES });

  constructor(rules: readonly MirrorRule[], watch: MirrorWatch = () => undefined) {
    this.#rules = rules;
    const urls = new Set(rules.flatMap(({ mirrors }) => mirrors.map(({ url }) => url)));
    this.#health = new Map(Array.from(urls, (url) => [url, new MirrorHealth(url, watch)] as const));
  }

  /** The mirrors of a registry, in the order in which they are asked. */
  of(host: RegistryHost): readonly (Mirror & { readonly health: MirrorHealth })[] {
    return mirrorsOf(this.#rules, host).flatMap((mirror) => {
      const health = this.#health.get(mirror.url);
      return health === undefined ? [] : { ...mirror, health };
    });
  }

  /** The circuit of a registry that has mirrors. */
  circuitOf({ origin }: RegistryHost): Circuit {
    const circuit = this.#registries.get(origin) ?? new Circuit();
    this.#registries.set(origin, circuit);
    return circuit;
  }

  /**
   * What is known of each mirror, in the order of the configuration.
   *
   * @param place for its mirrors only, in the order in which they are asked
   */
  snapshot(place?: { readonly host: RegistryHost; readonly repository: string }): readonly MirrorSnapshot[] {
    if (place === undefined) return Array.from(this.#health.values(), (health) => health.snapshot());
    const { host, repository } = place;
    return this.of(host).map((mirror) => mirror.health.snapshot(placeAt(mirror, host, repository)));
  }
}

/** The place of a repository of a registry at a mirror. */
export function placeAt(mirror: Mirror, host: RegistryHost, repository: string): MirrorPlace {
  return { repository: repositoryAt(mirror, repository), namespace: namespaceOf(host) };
}

/**
 * The credential for a mirror: the entry of the operator's auth file that names it. Those of registries are for registries.
 *
 * @param repository its name at the mirror, the prefix included
 * @param fixed the operator's credentials
 */
export function credentialAt(
  { host }: Mirror,
  repository: string,
  fixed: StaticCredentials | undefined,
): Credential {
  if (fixed === undefined) return { type: 'none' };
  const listed = { ...fixed, bearerToken: undefined, basic: undefined };
  return chooseCredential(host, undefined, listed, { repository });
}

/** Whose rights a request has at the registry. */
export interface RequestRights {
  /** Owner of its credential for the registry, see `certainOwnerOf`. */
  readonly owner: CredentialOwner;
  /** Whether the client's right is what counts. */
  readonly requiresClient: boolean;
}

/**
 * Whether the answers of a mirror count for a request. A request that brings or needs credentials of the client asks the registry
 * itself, and so does one without any where the mirror would answer to the operator's account: otherwise every client could pull what
 * that account may.
 *
 * @param account owner of the credential for the mirror
 */
export function isTrusted(
  account: CredentialOwner,
  rights: RequestRights,
  accounts: MirrorOptions['mirrorAccounts'],
): boolean {
  if (isClients(rights)) return false;
  return account === 'none' || servesAll(rights, accounts);
}

/**
 * Whether a mirror gets its client certificate, which is an account, too: not where its answers count for a request that has no
 * rights of the operator.
 */
export function showsCertificate(rights: RequestRights, accounts: MirrorOptions['mirrorAccounts']): boolean {
  return isClients(rights) || servesAll(rights, accounts);
}

function isClients({ owner, requiresClient }: RequestRights): boolean {
  return requiresClient || owner === 'client';
}

/** Whether the operator's rights at the registry serve the request, or no client has any. */
function servesAll({ owner }: RequestRights, accounts: MirrorOptions['mirrorAccounts']): boolean {
  return owner === 'operator' || accounts === 'all';
}
