/** The operator's credentials: variables, files that variables name (`NAME_FILE`), and the auth file. */

import { PassthroughError } from '../errors.ts';
import type { CredentialNames } from '../pull/policy/credentials.ts';
import { OperatorFiles } from '../registry/auth/credential-files.ts';
import type { BasicCredentials, StaticCredentials } from '../registry/auth/credentials.ts';
import type { HostPattern } from '../registry/host-pattern.ts';
import type { RegistryHost } from '../registry/registry-host.ts';
import { WatchedFiles } from '../util/files/watched-files.ts';
import { type EnvironmentReader, invalidVariable } from './environment.ts';

/** Most bytes of a file with one secret: a token of a cloud has some kilobytes. */
const MAX_SECRET_BYTES = 64 * 1024;

/** Files of the configuration that are read again when they change. */
export interface ConfigFiles {
  readonly watched: WatchedFiles;
  readonly operator: OperatorFiles;
}

/** What {@link readCredentials} reads. */
export interface OperatorCredentials {
  readonly credentials: StaticCredentials;
  /** The variables that the credentials come from. */
  readonly credentialNames: CredentialNames;
  /** `undefined` if no variable names a file. */
  readonly files: ConfigFiles | undefined;
}

/** A value now: that of a file may change. */
interface Current {
  /** The variable, or its twin with `_FILE`. */
  readonly name: string;
  readonly value: string | undefined;
}

/**
 * Reads the operator's credentials. What comes from files is read when it is used.
 *
 * @throws PassthroughError `INVALID_CONFIGURATION` naming variable and reason, never a secret
 */
export function readCredentials(read: EnvironmentReader, defaultHost: RegistryHost): OperatorCredentials {
  const watched = new WatchedFiles();
  const username = readSecret(read, 'REGISTRY_USERNAME', watched, checkUsername);
  const password = readSecret(read, 'REGISTRY_PASSWORD', watched);
  const bearer = readSecret(read, 'REGISTRY_BEARER_TOKEN', watched, checkToken);
  const alias = readSecret(read, 'REGISTRY_TOKEN', watched, checkToken);
  const token = bearer.value === undefined ? alias : bearer;
  if (username.value === undefined && password.value !== undefined)
    throw invalidVariable('REGISTRY_USERNAME', '', 'REGISTRY_PASSWORD is set, so a user name must be too');
  const path = read.text('REGISTRY_AUTH_FILE');
  const authFile = path === undefined ? undefined : { name: 'REGISTRY_AUTH_FILE', path };
  const credentialNames = {
    bearerToken: token.name,
    basic: password.value === undefined ? username.name : `${username.name} and ${password.name}`,
  };
  const places = {
    boundTo: read.text('REGISTRY_URL') === undefined ? undefined : defaultHost.origin,
    hosts: readCredentialsHosts(read),
  };
  const basic = (): BasicCredentials | undefined =>
    username.value === undefined ? undefined : { username: username.value, password: password.value ?? '' };
  if (authFile === undefined && watched.isEmpty)
    return {
      credentials: { bearerToken: token.value, basic: basic(), ...places },
      credentialNames,
      files: undefined,
    };
  const operator = new OperatorFiles({ watched, authFile, environment: read.all() });
  const credentials: StaticCredentials = {
    get bearerToken() {
      return token.value;
    },
    get basic() {
      return basic();
    },
    ...places,
    files: operator,
  };
  return { credentials, credentialNames, files: { watched, operator } };
}

/**
 * Reads the secret in a variable, or in the file that the variable with `_FILE` names.
 *
 * @param check throws an error whose message says what is wrong with a value, without the value
 * @throws PassthroughError `INVALID_CONFIGURATION` if both are set, or the value or the file cannot be used
 */
export function readSecret(
  read: EnvironmentReader,
  name: string,
  watched: WatchedFiles,
  check: (value: string) => void = () => undefined,
): Current {
  const value = read.secret(name);
  const path = read.text(`${name}_FILE`);
  if (path === undefined) {
    try {
      if (value !== undefined) check(value);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      throw new PassthroughError(
        'INVALID_CONFIGURATION',
        `Cannot use ${name} (its value is not shown): ${why}`,
      );
    }
    return { name, value };
  }
  if (value !== undefined)
    throw new PassthroughError('INVALID_CONFIGURATION', `Cannot use ${name}_FILE: ${name} is set, too`);
  const file = watched.add({
    name: `${name}_FILE`,
    path,
    maxBytes: MAX_SECRET_BYTES,
    parse: (text) => {
      const secret = parseSecret(text);
      check(secret);
      return secret;
    },
  });
  return {
    name: `${name}_FILE`,
    get value() {
      return file.value;
    },
  };
}

/** The secret in a file: without the line end that editors and `echo` add. */
function parseSecret(text: string): string {
  const secret = text.replace(/\r?\n$/, '');
  if (secret === '') throw new Error('it is empty');
  // Also a private key or a whole .env, whose name was taken for that of a secret.
  if (/\p{Cc}/u.test(secret))
    throw new Error('it has several lines or control characters, and one secret is expected');
  return secret;
}

function checkUsername(value: string): void {
  if (value.includes(':')) throw new Error('expected no colon, at which Basic ends a user name');
}

function checkToken(value: string): void {
  if (!/^[\x21-\x7e]+$/.test(value)) throw new Error('expected printable ASCII without spaces');
}

/** A list without entries is refused: it looks as if it bound the credentials, and binds nothing. */
function readCredentialsHosts(read: EnvironmentReader): readonly HostPattern[] {
  const name = 'REGISTRY_CREDENTIALS_HOSTS';
  const hosts = read.hosts(name);
  const text = read.text(name);
  if (text !== undefined && hosts.length === 0)
    throw invalidVariable(name, text, 'expected at least one host');
  return hosts;
}
