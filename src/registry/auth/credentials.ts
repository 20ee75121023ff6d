import type { CredentialOrigin } from '../../errors.ts';
import { type HostPattern, matchesHost } from '../host-pattern.ts';
import type { RegistryHost } from '../registry-host.ts';

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

/** A bearer token for the registry, sent as it is. */
export interface RegistryToken {
  readonly registryToken: string;
}

/** What an auth file may have for a repository. */
export type FileCredentials = BasicCredentials | IdentityToken | RegistryToken;

/** Credentials that an auth file has for a repository, itself or by a helper program. */
export interface FoundCredentials {
  readonly credentials: FileCredentials;
  readonly source: 'file' | 'helper';
}

/** Files of the operator that change while the service runs. */
export interface CredentialFiles {
  /**
   * Reads files again that have changed. Does not throw: a file that cannot be used keeps its last content.
   *
   * @param now whether to look also if the last look was just now
   */
  refresh(now: boolean): Promise<void>;
  /**
   * Whether the auth file may have credentials of a repository: in an entry, or from a helper program that it names for it.
   *
   * @param repository `undefined` for any repository of the registry
   */
  lists(host: RegistryHost, repository: string | undefined): boolean;
  /** Whether it surely has some: a helper program may have none until it has given some. Default: what is listed is there. */
  has?(host: RegistryHost, repository: string | undefined): boolean;
  /**
   * Looks a repository up in the auth file.
   *
   * @param isRefused whether a registry has refused what was found before, so that a helper program is asked anew
   * @throws PassthroughError `INVALID_CONFIGURATION` if a helper program fails, `ABORTED`
   */
  find(
    host: RegistryHost,
    repository: string,
    signal: AbortSignal,
    isRefused: boolean,
  ): Promise<FoundCredentials | undefined>;
}

/** Credentials that a file or a helper program has for a registry. */
export interface ListedCredentials {
  /** Origin of the registry. */
  readonly origin: string;
  /** The repository that they were looked up for, such as `library/nginx`. */
  readonly repository: string;
  readonly credentials: FileCredentials;
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
  /**
   * Files that change while the service runs: an auth file, which comes before `basic`, and those behind `bearerToken` and `basic`,
   * which are then read at each use.
   */
  readonly files?: CredentialFiles | undefined;
}

/** Where credentials come from: the client's request, variables of the operator, an auth file, or a helper program that it names. */
export type CredentialSource = 'client' | 'environment' | 'file' | 'helper';

/** A credential as it is sent. Requests may share a token that was fetched with one whose `source` is not `client`. */
export type SettledCredential =
  | { readonly type: 'none' }
  | { readonly type: 'bearer'; readonly token: string; readonly source?: 'file' }
  /** The operator's; a realm gives bearer tokens for it. */
  | { readonly type: 'identity'; readonly identity: IdentityToken; readonly source?: 'file' | 'helper' }
  | { readonly type: 'basic'; readonly basic: BasicCredentials; readonly source: CredentialSource };

/** The operator's credential from files, which may change while a pull lasts. */
export interface ChangingCredential {
  readonly type: 'changing';
  /** Whether there surely is one, as the files are now: see `CredentialFiles.has`. */
  readonly isCertain: boolean;
  /**
   * The credential now.
   *
   * @param refused one that a registry has refused: files are looked at and helper programs asked before the answer
   * @throws PassthroughError `INVALID_CONFIGURATION` if a helper program fails, `ABORTED`
   */
  readonly settle: (signal: AbortSignal, refused?: SettledCredential) => Promise<SettledCredential>;
}

/** The credential of a pull. */
export type Credential = SettledCredential | ChangingCredential;

/**
 * A source of credentials.
 *
 * @returns the credential for the registry; `undefined` if the source has none that the registry may receive
 */
type Source = (
  host: RegistryHost,
  client: BasicCredentials | undefined,
  fixed: StaticCredentials,
  repository: string | undefined,
) => SettledCredential | undefined;

/** The sources, in their order: the first that has a credential decides. A live auth file stands where {@link listedInFile} does. */
const SOURCES: readonly Source[] = [staticBearer, clientBasic, listedInFile, staticBasic];

/** The sources where the client's right is what counts. The operator's credentials would give every client the operator's right. */
const CLIENT_SOURCES: readonly Source[] = [clientBasic];

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
  const own = isSingle ? client : undefined;
  const first = (sources: readonly Source[]): SettledCredential => {
    for (const source of sources) {
      const credential = source(host, own, fixed, repository);
      if (credential !== undefined) return credential;
    }
    return { type: 'none' };
  };
  if (requiresClient) return first(CLIENT_SOURCES);
  const { files } = fixed;
  const chosen = first(SOURCES);
  if (files === undefined || ownerOf(chosen) === 'client') return chosen;
  // A pull that begins without credentials ends without: what it gets is shared with all clients, and mirrors are chosen for it.
  if (chosen.type === 'none' && !files.lists(host, repository)) return chosen;
  return {
    type: 'changing',
    isCertain: chosen.type !== 'none' || (files.has?.(host, repository) ?? true),
    settle: async (signal, refused) => {
      await files.refresh(refused !== undefined);
      const before = first([staticBearer, listedInFile]);
      if (before.type !== 'none' || repository === undefined) return before;
      const found = await files.find(host, repository, signal, refused !== undefined);
      return found === undefined ? first([staticBasic]) : foundCredential(found);
    },
  };
}

/** Whether two credentials are sent in the same way. */
export function isSameCredential(a: SettledCredential, b: SettledCredential): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

function foundCredential({ credentials, source }: FoundCredentials): SettledCredential {
  if ('registryToken' in credentials)
    return { type: 'bearer', token: credentials.registryToken, source: 'file' };
  return 'identityToken' in credentials
    ? { type: 'identity', identity: credentials, source }
    : { type: 'basic', basic: credentials, source };
}

function staticBearer(
  host: RegistryHost,
  _: unknown,
  fixed: StaticCredentials,
): SettledCredential | undefined {
  const { bearerToken: token } = fixed;
  return token !== undefined && belongsTo(fixed, new URL(host.origin))
    ? { type: 'bearer', token }
    : undefined;
}

function clientBasic(_: unknown, client: BasicCredentials | undefined): SettledCredential | undefined {
  return client && { type: 'basic', basic: client, source: 'client' };
}

function listedInFile(
  { origin }: RegistryHost,
  _: unknown,
  { listed = [] }: StaticCredentials,
  repository: string | undefined,
): SettledCredential | undefined {
  const found = listed.find(
    (entry) => entry.origin === origin && (repository === undefined || entry.repository === repository),
  );
  return found && foundCredential({ credentials: found.credentials, source: 'file' });
}

function staticBasic(
  host: RegistryHost,
  _: unknown,
  fixed: StaticCredentials,
): SettledCredential | undefined {
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

/** The value of an `Authorization` header for Basic: https://www.rfc-editor.org/rfc/rfc7617#section-2 */
export function basicAuthorization({ username, password, encoding = 'utf8' }: BasicCredentials): string {
  return `Basic ${Buffer.from(`${username}:${password}`, encoding).toString('base64')}`;
}

/** Where a credential comes from, for messages and telemetry. */
export function originOf(credential: SettledCredential): CredentialOrigin {
  if (credential.type === 'basic') return credential.source;
  if (credential.type === 'identity') return credential.source ?? 'file';
  return credential.type === 'bearer' ? (credential.source ?? 'token') : 'none';
}

/** Who owns the credentials of a request: `none` for an anonymous one. */
export type CredentialOwner = 'none' | 'operator' | 'client';

/** The owner of a credential. Answers to the operator's may be shared between clients, those to a client's may not. */
export function ownerOf(credential: Credential): CredentialOwner {
  if (credential.type === 'none') return 'none';
  return credential.type === 'basic' && credential.source === 'client' ? 'client' : 'operator';
}

/** The owner of a credential that is surely there: `none` while a helper program may have none. */
export function certainOwnerOf(credential: Credential): CredentialOwner {
  return credential.type === 'changing' && !credential.isCertain ? 'none' : ownerOf(credential);
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
