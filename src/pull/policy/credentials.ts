import type { FilePlace } from '../../registry/auth/auth-file.ts';
import { chooseCredential, type StaticCredentials } from '../../registry/auth/credentials.ts';
import type { RegistryHost } from '../../registry/registry-host.ts';

/** The variables that the operator's credentials come from, as messages name them. */
export interface CredentialNames {
  readonly bearerToken: string;
  /** Of user name and password. */
  readonly basic: string;
}

/** A source of credentials. It never has their value. */
export type PolicySource =
  /** Of the request. */
  { readonly type: 'client' } | { readonly type: 'token' | 'environment'; readonly name: string } | FilePlace;

/** Which credentials would be used. */
export interface PolicyCredentials {
  /** Whether the client must send its own, may do so, has them ignored, or has sent them: on a command line. */
  readonly client: 'required' | 'optional' | 'ignored' | 'sent';
  /** In their order: the first that has credentials decides. Without any, the request is anonymous. */
  readonly sources: readonly PolicySource[];
  /** Variables whose credentials this registry may not receive. */
  readonly withheld: readonly string[];
  /** Whether the credentials of variables go to every registry. */
  readonly isUnbound: boolean;
}

/** What {@link explainCredentials} reads. */
export interface CredentialSettings {
  readonly client: PolicyCredentials['client'];
  readonly fixed: StaticCredentials;
  readonly names: CredentialNames;
  /** Places in auth files, in their order. */
  readonly placesOf: (host: RegistryHost, repository: string) => Promise<readonly FilePlace[]>;
}

/**
 * Tells which credentials a repository would be asked with. No helper program is run.
 *
 * @throws PassthroughError `INVALID_CONFIGURATION` for an auth file that cannot be used
 */
export async function explainCredentials(
  host: RegistryHost,
  repository: string,
  { client, fixed, names, placesOf }: CredentialSettings,
): Promise<PolicyCredentials> {
  const none = { bearerToken: undefined, basic: undefined, boundTo: fixed.boundTo, hosts: fixed.hosts };
  const isUnbound = fixed.boundTo === undefined && fixed.hosts.length === 0;
  // What may go to the registry is decided where pulls decide it.
  const isUsed = (only: Partial<StaticCredentials>) =>
    chooseCredential(host, undefined, { ...none, ...only }).type !== 'none';
  const ofVariables = [
    { type: 'token', name: names.bearerToken, only: { bearerToken: fixed.bearerToken } },
    { type: 'environment', name: names.basic, only: { basic: fixed.basic } },
  ] as const;
  const isSet = ({ only }: (typeof ofVariables)[number]) =>
    Object.values(only).some((one) => one !== undefined);
  if (client === 'required' || client === 'sent')
    return { client, sources: [{ type: 'client' }], withheld: [], isUnbound: false };
  const [token, environment] = ofVariables.map((one) =>
    isUsed(one.only) ? [{ type: one.type, name: one.name }] : [],
  );
  const withheld = ofVariables.filter((one) => isSet(one) && !isUsed(one.only)).map(({ name }) => name);
  const ofClient = client === 'optional' ? [{ type: 'client' } as const] : [];
  const all = [...(token ?? []), ...ofClient, ...(await placesOf(host, repository)), ...(environment ?? [])];
  const sources = untilCertain(all);
  const isFromVariable = sources.some(({ type }) => type === 'token' || type === 'environment');
  return { client, sources, withheld, isUnbound: isUnbound && isFromVariable };
}

/** Drops the sources behind the first that surely has credentials. A client may send none, and a helper may have none. */
function untilCertain(sources: readonly PolicySource[]): readonly PolicySource[] {
  const last = sources.findIndex(({ type }) => type !== 'client' && type !== 'helper');
  return last === -1 ? sources : sources.slice(0, last + 1);
}
