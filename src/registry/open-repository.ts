import type { AgentOptions } from 'node:http';
import { PassthroughError } from '../errors.ts';
import type { Documents } from '../util/documents.ts';
import { quoted } from '../util/printable.ts';
import { AuthorizedTransport } from './auth/authorize.ts';
import type { Credential } from './auth/credentials.ts';
import { TokenSource } from './auth/token.ts';
import type { HostPattern } from './host-pattern.ts';
import { parseHost, type RegistryHost } from './registry-host.ts';
import type { Repository, RepositoryLocation } from './repository.ts';
import { type BodyLimits, RepositoryClient } from './repository-client.ts';
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
}

/** Settings of {@link openRegistryAccess}. */
export interface RegistryAccessOptions {
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

/**
 * Creates what all pulls of a process share: the connection pool and the token cache.
 *
 * @returns `close` closes all connections; requests in flight fail
 * @throws PassthroughError `INVALID_CONFIGURATION` for TLS settings or a namespace that cannot be used
 */
export function openRegistryAccess(options: RegistryAccessOptions): RegistryAccess & { close(): void } {
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
  const wire = new HttpTransport(options);
  return {
    wire,
    tokens: new TokenSource(limits),
    trustedRealms,
    allowedHosts,
    namespace,
    limits,
    documents,
    userAgent,
    propagation,
    ...(retry !== undefined && { retry }),
    close: () => wire.close(),
  };
}

/** The repository and credential of one pull. */
export interface OpenRepositoryOptions {
  readonly host: RegistryHost;
  readonly repository: string;
  readonly credential: Credential;
  /**
   * Whether the client's right alone counts, so that no client certificate of the operator is shown: a registry could take it for the
   * right to pull.
   */
  readonly requiresClient?: boolean | undefined;
}

/**
 * Opens a repository for one pull. All decorators of the transport are stacked here, from the outside in:
 *
 *     client → authorize → retry → redirect → traced → wire
 *
 * - Authorization is outside of redirects: it is added for the registry, and a redirect to another origin drops it.
 * - Retry is outside of redirects: it starts at the registry again, because a signed URL may have expired.
 * - Token requests follow no redirect.
 * - Foreign layers use the stack without authorization, so that no credential can reach them.
 */
export function openRepository(access: RegistryAccess, options: OpenRepositoryOptions): Repository {
  const { host, repository, credential, requiresClient = false } = options;
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
    namespace: namespaceFor(repository, access.namespace),
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

/** The location of a repository. Mirrors have other images under one name for each namespace. */
export function locationOf(
  { origin }: RegistryHost,
  repository: string,
  namespace: string | undefined,
): RepositoryLocation {
  const applied = namespaceFor(repository, namespace);
  return { origin, name: applied === undefined ? repository : `${repository}?ns=${applied}` };
}

/**
 * The namespace for the requests of one repository.
 *
 * @param repository a first component with a dot is the namespace in the path, as some mirrors have it: it stands in place of `ns`
 * @returns `undefined` for requests without `ns`
 */
function namespaceFor(repository: string, namespace: string | undefined): string | undefined {
  const [first = '', ...rest] = repository.split('/');
  return rest.length > 0 && first.includes('.') ? undefined : namespace;
}

function checkNamespace(text: string): void {
  try {
    parseHost(text);
  } catch (cause) {
    throw new PassthroughError(
      'INVALID_CONFIGURATION',
      `Cannot use namespace ${quoted(text)}: expected the host of a registry, such as docker.io`,
      { cause },
    );
  }
}
