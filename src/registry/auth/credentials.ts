import { createHmac, randomBytes } from 'node:crypto';
import { type HostPattern, matchesHost } from '../host-pattern.ts';
import type { RegistryHost } from '../registry-host.ts';
import { isSameOwner } from './registrable-domain.ts';

/** User name and password for HTTP Basic. */
export interface BasicCredentials {
  readonly username: string;
  readonly password: string;
  /** How the two become bytes; UTF-8 unless given. With `latin1` each character stands for one byte. */
  readonly encoding?: 'utf8' | 'latin1' | undefined;
}

/** A refresh token that a login has left: https://distribution.github.io/distribution/spec/auth/oauth/ */
export interface IdentityToken {
  readonly identityToken: string;
}

/** Credentials that a file or a helper program has for a registry. */
export interface ListedCredentials {
  /** Origin of the registry. */
  readonly origin: string;
  /** The repository that they were looked up for, such as `library/nginx`. */
  readonly repository: string;
  readonly credentials: BasicCredentials | IdentityToken;
}

/** The operator's credentials, and the registries that may receive them. */
export interface StaticCredentials {
  readonly bearerToken: string | undefined;
  readonly basic: BasicCredentials | undefined;
  /** Origin of the registry that they belong to. */
  readonly boundTo: string | undefined;
  /** Further hosts that may receive them. Without hosts and `boundTo`, every registry may. */
  readonly hosts: readonly HostPattern[];
  /** Credentials from files, each for one registry. They come before `basic`. */
  readonly listed?: readonly ListedCredentials[] | undefined;
}

/**
 * The credential of a pull. Requests may share a token that was fetched with a credential whose `source` is
 * `environment`.
 */
export type Credential =
  | { readonly type: 'none' }
  | { readonly type: 'bearer'; readonly token: string }
  /** The operator's; a realm gives bearer tokens for it. */
  | { readonly type: 'identity'; readonly identity: IdentityToken }
  | { readonly type: 'basic'; readonly basic: BasicCredentials; readonly source: 'client' | 'environment' };

/**
 * A source of credentials.
 *
 * @returns the credential for the registry; `undefined` if the source has none that the registry may receive
 */
type CredentialSource = (
  host: RegistryHost,
  client: BasicCredentials | undefined,
  fixed: StaticCredentials,
  repository: string | undefined,
) => Credential | undefined;

/** The sources, in their order: the first that has a credential decides. */
const SOURCES: readonly CredentialSource[] = [staticBearer, clientBasic, listedInFile, staticBasic];

/** The sources where the client's right is what counts. The operator's credentials would give every client the operator's right. */
const CLIENT_SOURCES: readonly CredentialSource[] = [clientBasic];

/** Settings of {@link chooseCredential}. */
export interface CredentialChoice {
  /** Whether the request must bring credentials of its own, so that the operator's are not used, of whatever kind. */
  readonly requiresClient?: boolean | undefined;
  /** Name of the repository; of listed credentials, those for it. Without it those for any repository of the registry. */
  readonly repository?: string | undefined;
  /**
   * All registries of the request. Credentials in a request that names several do not say for which of them they are, so they are
   * not used.
   */
  readonly hosts?: readonly RegistryHost[] | undefined;
}

/**
 * Chooses the credential of one pull: that of the first source that has one, else none.
 *
 * @param client the client's credentials, if the request has them and may use them
 * @param fixed the operator's static credentials
 */
export function chooseCredential(
  host: RegistryHost,
  client: BasicCredentials | undefined,
  fixed: StaticCredentials,
  { requiresClient = false, repository, hosts = [] }: CredentialChoice = {},
): Credential {
  const isSingle = hosts.every(({ origin }) => origin === host.origin);
  for (const source of requiresClient ? CLIENT_SOURCES : SOURCES) {
    const credential = source(host, isSingle ? client : undefined, fixed, repository);
    if (credential !== undefined) return credential;
  }
  return { type: 'none' };
}

function staticBearer(host: RegistryHost, _: unknown, fixed: StaticCredentials): Credential | undefined {
  const { bearerToken: token } = fixed;
  return token !== undefined && belongsTo(fixed, new URL(host.origin))
    ? { type: 'bearer', token }
    : undefined;
}

function clientBasic(_: unknown, client: BasicCredentials | undefined): Credential | undefined {
  return client && { type: 'basic', basic: client, source: 'client' };
}

function listedInFile(
  { origin }: RegistryHost,
  _: unknown,
  { listed = [] }: StaticCredentials,
  repository: string | undefined,
): Credential | undefined {
  const found = listed.find(
    (entry) => entry.origin === origin && (repository === undefined || entry.repository === repository),
  );
  if (found === undefined) return undefined;
  const { credentials } = found;
  return 'identityToken' in credentials
    ? { type: 'identity', identity: credentials }
    : { type: 'basic', basic: credentials, source: 'environment' };
}

function staticBasic(host: RegistryHost, _: unknown, fixed: StaticCredentials): Credential | undefined {
  const { basic } = fixed;
  if (basic === undefined || !belongsTo(fixed, new URL(host.origin))) return undefined;
  return { type: 'basic', basic, source: 'environment' };
}

/**
 * Whether a registry may receive static credentials. Over plain http only the configured registry may, and hosts whose
 * entry names http or a port. The client chooses the scheme of a request, and must not move a host that the operator
 * listed for https to http.
 */
function belongsTo(fixed: StaticCredentials, registry: URL): boolean {
  if (fixed.boundTo === registry.origin || !areBound(fixed)) return true;
  return fixed.hosts.some(
    (pattern) =>
      matchesHost(pattern, registry) &&
      (registry.protocol === 'https:' || pattern.scheme === 'http:' || pattern.port !== undefined),
  );
}

/** Whether static credentials belong to certain registries. Otherwise they go to whichever registry a request names. */
export function areBound({ boundTo, hosts }: StaticCredentials): boolean {
  return boundTo !== undefined || hosts.length > 0;
}

/**
 * Whether a token realm may receive Basic credentials. A registry's response may name any realm, so the response alone
 * must not decide where a password is sent. The realm must use https, or http if the registry itself does. It must be
 * configured or known, on the registry's host, under the same registrable domain, or in the operator's list.
 *
 * @param realm token endpoint, from the configuration or from a challenge
 * @param trusted the operator's list
 */
export function mayReachRealm(host: RegistryHost, realm: URL, trusted: readonly HostPattern[]): boolean {
  const registry = new URL(host.origin);
  if (realm.protocol !== 'https:' && registry.protocol !== 'http:') return false;
  if (host.tokenEndpoint instanceof URL && host.tokenEndpoint.href === realm.href) return true;
  return (
    isSameOwner(realm.hostname, registry.hostname) || trusted.some((pattern) => matchesHost(pattern, realm))
  );
}

/** The value of an `Authorization` header for Basic: https://www.rfc-editor.org/rfc/rfc7617#section-2 */
export function basicAuthorization({ username, password, encoding = 'utf8' }: BasicCredentials): string {
  return `Basic ${Buffer.from(`${username}:${password}`, encoding).toString('base64')}`;
}

/** Who owns the credentials of a request: `none` for an anonymous one. */
export type CredentialOwner = 'none' | 'operator' | 'client';

/** The owner of a credential. Answers to the operator's may be shared between clients, those to a client's may not. */
export function ownerOf(credential: Credential): CredentialOwner {
  if (credential.type === 'none') return 'none';
  return credential.type === 'basic' && credential.source === 'client' ? 'client' : 'operator';
}

/** Key of {@link accountOf}, so that its result tells nothing about the password. */
const ACCOUNT_KEY = randomBytes(32);

/**
 * The client's account that a credential belongs to: equal credentials give equal names, which hold nothing of them.
 *
 * @returns `undefined` without a client's credentials: such work may be shared by all
 */
export function accountOf(credential: Credential): string | undefined {
  if (credential.type !== 'basic' || credential.source !== 'client') return undefined;
  return createHmac('sha256', ACCOUNT_KEY).update(basicAuthorization(credential.basic)).digest('base64');
}

/** What a server could repeat of Basic credentials: their base64 form, and the password as either encoding shows its bytes. */
export function basicSecrets(credentials: BasicCredentials): readonly string[] {
  const { password, encoding = 'utf8' } = credentials;
  const bytes = Buffer.from(password, encoding);
  return [
    ...new Set([
      basicAuthorization(credentials).slice('Basic '.length),
      password,
      bytes.toString('utf8'),
      bytes.toString('latin1'),
    ]),
  ];
}
