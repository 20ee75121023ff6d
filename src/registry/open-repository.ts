import type { AgentOptions } from 'node:http';
import type { Documents } from '../util/documents.ts';
import { AuthorizedTransport } from './auth/authorize.ts';
import {
  type Credential,
  type CredentialOwner,
  certainOwnerOf,
  ownerOf,
  type StaticCredentials,
} from './auth/credentials.ts';
import { TokenSource } from './auth/token.ts';
import type { HostPattern } from './host-pattern.ts';
import { GuardedRepository } from './mirrors/guarded-repository.ts';
import { MirroredRepository } from './mirrors/mirrored-repository.ts';
import {
  credentialAt,
  isTrusted,
  MIRROR_CONNECT_MS,
  MIRROR_RETRY,
  type MirrorOptions,
  Mirrors,
  placeAt,
  showsCertificate,
} from './mirrors/mirrors.ts';
import { checkNamespace, locationOf, namespaceFor } from './mirrors/namespace.ts';
import type { RegistryHost } from './registry-host.ts';
import type { Repository, RepositoryLocation } from './repository.ts';
import { type BodyLimits, RepositoryClient } from './repository-client.ts';
import { HealthTransport, type ServerHealth } from './transport/health.ts';
import { HttpTransport } from './transport/http-transport.ts';
import { RedirectTransport } from './transport/redirect.ts';
import { DEFAULT_RETRY, type RetryPolicy, RetryTransport } from './transport/retry.ts';
import type { RegistryTls } from './transport/tls.ts';
import { type PropagationPolicy, TracedTransport } from './transport/traced.ts';
import type { Timeouts, Transport } from './transport/transport.ts';

/** Services and settings that all pulls of a process share. */
export interface RegistryAccess {
  /** Sends single requests over the network. */
  readonly wire: Transport;
  /** Anonymous tokens and tokens of the operator's credentials. Tokens of client credentials live in one pull. */
  readonly tokens: TokenSource;
  readonly trustedRealms: readonly HostPattern[];
  /** Hosts that URLs of foreign layers may name; all if left out. */
  readonly allowedHosts?: readonly HostPattern[] | undefined;
  /** Registry whose images a mirror is asked for; see `RepositoryPlace`. */
  readonly namespace?: string | undefined;
  readonly limits: BodyLimits;
  /** Holds manifests, configs and tag lists. */
  readonly documents: Documents;
  readonly userAgent: string;
  readonly propagation: PropagationPolicy;
  readonly retry?: RetryPolicy;
  /** Mirrors of registries; absent if there are none. */
  readonly mirrors?: MirrorAccess | undefined;
}

/** Mirrors, and the way to them. They share neither connections nor tokens with registries. */
interface MirrorAccess
  extends Pick<RegistryAccess, 'wire' | 'tokens'>,
    Pick<MirrorOptions, 'mirrorAccounts' | 'onSource'> {
  readonly all: Mirrors;
}

/** Settings of {@link openRegistryAccess}. */
export interface RegistryAccessOptions extends MirrorOptions {
  readonly timeouts: Timeouts;
  /** Proxy variables in the form that Node's agents take. */
  readonly proxyEnv: AgentOptions['proxyEnv'];
  /** Trust and client certificate for https, for all registries. */
  readonly tls?: RegistryTls | undefined;
  /** Registry whose images a mirror is asked for; see `RepositoryPlace`. */
  readonly namespace?: string | undefined;
  readonly trustedRealms: readonly HostPattern[];
  /** Hosts that URLs of foreign layers may name; `undefined` allows all. */
  readonly allowedHosts: readonly HostPattern[] | undefined;
  readonly bodyLimits: BodyLimits;
  readonly documents: Documents;
  readonly userAgent: string;
  readonly propagation: PropagationPolicy;
  readonly retry?: RetryPolicy;
}

/** What all pulls share, and what its opener can ask. */
export interface OpenedRegistryAccess extends RegistryAccess {
  /** How the last requests ended, by server. */
  readonly health: readonly ServerHealth[];
  /** Closes all connections; requests in flight fail. */
  close(): void;
}

/**
 * Creates what all pulls of a process share: the connection pool and the token cache.
 *
 * @throws PassthroughError `INVALID_CONFIGURATION` for TLS settings or a namespace that cannot be used
 */
export function openRegistryAccess(options: RegistryAccessOptions): OpenedRegistryAccess {
  const {
    bodyLimits: limits,
    namespace,
    documents,
    trustedRealms,
    allowedHosts,
    userAgent,
    propagation,
    retry,
  } = options;
  if (namespace !== undefined) checkNamespace(namespace);
  const network = new HttpTransport(options);
  const wire = new HealthTransport(network);
  const mirrors = openMirrors(options);
  return {
    wire,
    get health() {
      return wire.health;
    },
    mirrors,
    tokens: new TokenSource(limits),
    trustedRealms,
    allowedHosts,
    namespace,
    limits,
    documents,
    userAgent,
    propagation,
    ...(retry !== undefined && { retry }),
    close: () => {
      network.close();
      mirrors?.wire.close();
    },
  };
}

/** The client certificate of registries is not for mirrors, and what is accepted unverified is a registry that the user names. */
function openMirrors(
  options: RegistryAccessOptions,
): (MirrorAccess & { readonly wire: HttpTransport }) | undefined {
  const { mirrors: rules = [], mirrorAccounts, onMirror, onSource, timeouts, tls, namespace } = options;
  // With a namespace, the registry that is named is a mirror itself.
  if (rules.length === 0 || namespace !== undefined) return undefined;
  const connectMs = Math.min(timeouts.connectMs, MIRROR_CONNECT_MS);
  const wire = new HttpTransport({
    ...options,
    timeouts: { ...timeouts, connectMs },
    tls: tls && { ...tls, clientCert: undefined, clientKey: undefined, insecure: false },
  });
  const tokens = new TokenSource(options.bodyLimits);
  return { wire, tokens, mirrorAccounts, onSource, all: new Mirrors(rules, onMirror) };
}

/** Where a repository is asked: at its registry, or at a mirror. */
export interface RepositorySource {
  readonly location: RepositoryLocation;
  /** Owner of the credentials that it is asked with. */
  readonly owner: CredentialOwner;
}

/** The repository and credential of one pull. */
export interface OpenRepositoryOptions {
  readonly host: RegistryHost;
  readonly repository: string;
  readonly credential: Credential;
  /**
   * Whether the client's right alone counts, so that mirrors resolve nothing, and no client certificate of the operator is shown: a
   * registry could take it for the right to pull.
   */
  readonly requiresClient?: boolean | undefined;
  /** The operator's credentials, of which mirrors receive those that name them. */
  readonly fixed?: StaticCredentials | undefined;
  /** Decorates the client of each source, so that what one source says is remembered for it alone. */
  readonly around?: ((client: Repository, source: RepositorySource) => Repository) | undefined;
}

/**
 * Opens a repository for one pull: at its registry, and at the mirrors of the registry. All decorators of repositories are stacked
 * here, from the outside in:
 *
 *     mirrored ─┬─► around → client of the registry
 *               └─► around → guarded → client of a mirror
 *
 * Without mirrors, the client of the registry and what is around it are all.
 */
export function openRepository(access: RegistryAccess, options: OpenRepositoryOptions): Repository {
  const {
    host,
    repository,
    credential,
    requiresClient = false,
    fixed,
    around = (client) => client,
  } = options;
  const namespace = namespaceFor(repository, access.namespace);
  const own = openClient(access, { host, repository, credential, namespace, requiresClient });
  const location = locationOf(host, repository, access.namespace);
  const registry = around(own, { location, owner: ownerOf(credential) });
  const mirrors = access.mirrors?.all.of(host) ?? [];
  if (access.mirrors === undefined || mirrors.length === 0) return registry;
  const { tokens, mirrorAccounts, onSource, all } = access.mirrors;
  const rights = { owner: certainOwnerOf(credential), requiresClient };
  const hasIdentity = showsCertificate(rights, mirrorAccounts);
  const wire = hasIdentity ? access.mirrors.wire : withoutIdentity(access.mirrors.wire);
  const sources = mirrors.map((mirror) => {
    const place = placeAt(mirror, host, repository);
    const { repository: name, namespace } = place;
    const account = credentialAt(mirror, name, fixed);
    const request = { host: mirror.host, repository: name, credential: account, namespace };
    const client = openClient({ ...access, wire, tokens, retry: MIRROR_RETRY }, request);
    const guarded = new GuardedRepository(client, mirror.health, place);
    const at = { origin: mirror.host.origin, name: `${name}?ns=${namespace}` };
    return {
      name: mirror.url,
      repository: around(guarded, { location: at, owner: ownerOf(account) }),
      health: mirror.health,
      isPassable: () => mirror.health.isPassable(place),
      isTrusted: isTrusted(ownerOf(account), rights, mirrorAccounts),
    };
  });
  return new MirroredRepository(
    { name: host.origin, repository: registry, circuit: all.circuitOf(host) },
    sources,
    onSource,
  );
}

/** Opens the repository of a pull at its registry alone; `undefined` where the registry has no mirrors. */
export function openWithoutMirrors(
  access: RegistryAccess,
  options: OpenRepositoryOptions,
): Repository | undefined {
  const mirrors = access.mirrors?.all.of(options.host) ?? [];
  return mirrors.length === 0 ? undefined : openRepository({ ...access, mirrors: undefined }, options);
}

/** What {@link openClient} opens. */
interface ClientOptions
  extends Pick<OpenRepositoryOptions, 'host' | 'repository' | 'credential' | 'requiresClient'> {
  /** See `RepositoryPlace`. */
  readonly namespace: string | undefined;
}

/**
 * Opens the client of one server. All decorators of the transport are stacked here, from the outside in:
 *
 *     client → authorize → retry → redirect → traced → wire (health → network)
 *
 * - Authorization is outside of redirects: it is added for the registry, and a redirect to another origin drops it.
 * - Retry is outside of redirects: it starts at the registry again, because a signed URL may have expired.
 * - Token requests follow no redirect.
 * - Foreign layers use the stack without authorization, so that no credential can reach them.
 */
function openClient(
  access: RegistryAccess,
  { host, repository, credential, namespace, requiresClient = false }: ClientOptions,
): Repository {
  const { limits, documents, trustedRealms, allowedHosts, userAgent, propagation } = access;
  const { retry = DEFAULT_RETRY } = access;
  const isAuthConfigured = host.tokenEndpoint instanceof URL;
  const wire = requiresClient ? withoutIdentity(access.wire) : access.wire;
  const traced = new TracedTransport(wire, { isAuthConfigured, userAgent, propagation });
  const isFromClient = credential.type === 'basic' && credential.source === 'client';
  const anonymous = new RetryTransport(new RedirectTransport(traced), retry);
  const transport = new AuthorizedTransport(anonymous, {
    host,
    repository,
    credential,
    trustedRealms,
    tokens: isFromClient ? new TokenSource(limits) : access.tokens,
    tokenTransport: new RetryTransport(traced, retry),
  });
  return new RepositoryClient(transport, {
    host,
    repository,
    namespace,
    limits,
    documents,
    retry,
    foreign: { transport: anonymous, allowedHosts },
  });
}

/** Sends all requests as to servers that do not get the client certificate. */
function withoutIdentity(wire: Transport): Transport {
  return { send: (request) => wire.send({ ...request, isForeign: true }) };
}
