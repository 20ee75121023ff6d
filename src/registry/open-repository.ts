import type { AgentOptions } from 'node:http';
import { AuthorizedTransport } from './auth/authorize.ts';
import type { Credential } from './auth/credentials.ts';
import { TokenSource } from './auth/token.ts';
import type { HostPattern } from './host-pattern.ts';
import type { RegistryHost } from './registry-host.ts';
import type { Repository } from './repository.ts';
import { type BodyLimits, RepositoryClient } from './repository-client.ts';
import { HttpTransport } from './transport/http-transport.ts';
import { RedirectTransport } from './transport/redirect.ts';
import { DEFAULT_RETRY, type RetryPolicy, RetryTransport } from './transport/retry.ts';
import { type PropagationPolicy, TracedTransport } from './transport/traced.ts';
import type { Timeouts, Transport } from './transport/transport.ts';

/** What all pulls of a process share. */
export interface RegistryAccess {
  /** Carries single exchanges. */
  readonly wire: Transport;
  /** Tokens of the operator's credentials and anonymous ones; a client's own are kept apart, for one pull. */
  readonly tokens: TokenSource;
  readonly trustedRealms: readonly HostPattern[];
  /** Hosts that addresses of foreign layers may name; any where it is left out. */
  readonly allowedHosts?: readonly HostPattern[] | undefined;
  readonly limits: BodyLimits;
  readonly userAgent: string;
  readonly propagation: PropagationPolicy;
  readonly retry?: RetryPolicy;
}

/** What {@link openRegistryAccess} is made from; a service's registry configuration has all but the name. */
export interface RegistryAccessOptions {
  readonly timeouts: Timeouts;
  /** Proxy variables, as Node's agents take them. */
  readonly proxyEnv: AgentOptions['proxyEnv'];
  readonly trustedRealms: readonly HostPattern[];
  /** Registries that a request may name; `undefined` for any. Foreign layers may come from these alone. */
  readonly allowedHosts: readonly HostPattern[] | undefined;
  readonly bodyLimits: BodyLimits;
  readonly userAgent: string;
  readonly propagation: PropagationPolicy;
  readonly retry?: RetryPolicy;
}

/**
 * Opens what all pulls of a process share: connections and tokens.
 *
 * @returns the access, and `close`, which frees the connections; exchanges under way break off
 */
export function openRegistryAccess(options: RegistryAccessOptions): RegistryAccess & { close(): void } {
  const { bodyLimits: limits, trustedRealms, allowedHosts, userAgent, propagation, retry } = options;
  const wire = new HttpTransport(options);
  return {
    wire,
    tokens: new TokenSource(limits),
    trustedRealms,
    allowedHosts,
    limits,
    userAgent,
    propagation,
    ...(retry !== undefined && { retry }),
    close: () => wire.close(),
  };
}

/** What one pull opens. */
export interface OpenRepositoryOptions {
  readonly target: RegistryHost;
  readonly repository: string;
  readonly credential: Credential;
}

/**
 * Opens a repository for one pull: the one place where the layers of the client are put together. From the outside in:
 *
 *     client → authorize → retry → redirect → traced → wire
 *
 * Authorization stands outside of redirects, so that it is added for the registry and taken off on the way
 * elsewhere; a retry begins at the registry again, for a signed address may have expired; token requests
 * follow no redirect. Foreign layers take the same way without authorization, which then cannot go there.
 */
export function openRepository(access: RegistryAccess, options: OpenRepositoryOptions): Repository {
  const { target, repository, credential } = options;
  const { limits, trustedRealms, allowedHosts, userAgent, propagation, retry = DEFAULT_RETRY } = access;
  const isAuthConfigured = target.tokenEndpoint instanceof URL;
  const traced = new TracedTransport(access.wire, { isAuthConfigured, userAgent, propagation });
  const isClients = credential.type === 'basic' && credential.source === 'client';
  const anonymous = new RetryTransport(new RedirectTransport(traced), retry);
  const transport = new AuthorizedTransport(anonymous, {
    target,
    repository,
    credential,
    trustedRealms,
    tokens: isClients ? new TokenSource(limits) : access.tokens,
    tokenTransport: new RetryTransport(traced, retry),
  });
  return new RepositoryClient(transport, {
    target,
    repository,
    limits,
    retry,
    foreign: { transport: anonymous, allowedHosts },
  });
}
