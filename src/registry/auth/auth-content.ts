import { quoted } from '../../util/printable.ts';
import { AuthTable } from './auth-key.ts';
import { HELPER_NAME } from './credential-helper.ts';
import type { BasicCredentials, FileCredentials } from './credentials.ts';

/** Makes the error for a fault of a file. */
export type Fail = (why: string) => Error;

/** The content of a file. */
export interface AuthFile {
  readonly auths: AuthTable;
  /** Names of helper programs by key. */
  readonly helpers: AuthTable;
  /** Helper program for all other registries. */
  readonly store: string | undefined;
}

/**
 * Parses the content of a file.
 *
 * @param fail makes the error; what it gets never quotes the content
 */
export function parseAuthFile(text: string, fail: (why: string) => Error): AuthFile {
  let document: unknown;
  try {
    document = JSON.parse(text.replace(/^\uFEFF/, ''));
  } catch {
    // The error of the parser quotes the text.
    throw fail('it is not JSON');
  }
  if (!isFields(document)) throw fail('it is not a JSON object');
  const table = (name: string) => {
    const value = document[name] ?? {};
    if (!isFields(value)) throw fail(`its field ${name} is not an object`);
    return new AuthTable(new Map(Object.entries(value)));
  };
  const store = document['credsStore'] ?? '';
  if (typeof store !== 'string') throw fail('its field credsStore is no text');
  return { auths: table('auths'), helpers: table('credHelpers'), store };
}

/**
 * Checks all entries of a file, also those that no request has needed yet.
 *
 * @throws what `fail` makes
 */
export function checkEntries({ auths, helpers, store }: AuthFile, fail: (why: string) => Error): void {
  for (const [key, entry] of auths.entries) parseEntry(entry, (why) => fail(`entry ${shown(key)} ${why}`));
  for (const [key, name] of [...helpers.entries, ['credsStore', store] as const]) {
    if (typeof name !== 'string') throw fail(`its helper for ${shown(key)} is no text`);
    if (name !== '' && !HELPER_NAME.test(name))
      throw fail(
        `credential helper ${quoted(name)} is no name: expected the part behind "docker-credential-" in the name of a program`,
      );
  }
}

/**
 * Reads an entry of `auths`. One without credentials, as `docker login` leaves it beside a credential store, has none.
 *
 * @param fail makes the error; what it gets never quotes the entry
 * @see https://github.com/docker/cli/blob/v28.0.0/cli/config/types/authconfig.go
 */
export function parseEntry(entry: unknown, fail: Fail): FileCredentials | undefined {
  if (!isFields(entry)) throw fail('is not an object');
  const text = (name: string) => {
    const value = entry[name] ?? '';
    if (typeof value !== 'string') throw fail(`has a field ${name} that is no text`);
    return value;
  };
  const registryToken = text('registrytoken');
  // A line break in a token would end the header early.
  if (!/^[\x21-\x7e]*$/.test(registryToken)) throw fail('has a field registrytoken that is no token');
  if (registryToken !== '') return { registryToken };
  const identityToken = text('identitytoken');
  if (identityToken !== '') return { identityToken };
  const auth = text('auth').trim();
  const decoded = auth === '' ? undefined : decodeAuth(auth, fail);
  const { username, password } = decoded ?? { username: text('username'), password: text('password') };
  if (username === '' && password === '') return undefined;
  if (username.includes(':')) throw fail('has a user name with a colon, at which Basic ends it');
  return { username, password };
}

/** Decodes `auth`: base64 of user name, colon and password. Some tools pad it with zero bytes, and `base64` breaks its lines. */
function decodeAuth(wrapped: string, fail: Fail): BasicCredentials {
  const auth = wrapped.replace(/[\r\n]/g, '');
  if (!/^[a-z0-9+/_-]+={0,2}$/i.test(auth)) throw fail('has a field auth that is not base64');
  const text = Buffer.from(auth, 'base64').toString('utf8');
  const colon = text.indexOf(':');
  if (colon === -1) throw fail('has a field auth without a colon between user name and password');
  return { username: text.slice(0, colon), password: text.slice(colon + 1).split('\0', 1)[0] ?? '' };
}

/** A key in a message. What stands before an @ may be a password, although none belongs there. */
function shown(key: string): string {
  return quoted(key.replace(/^.*@/s, '[redacted]@'));
}

function isFields(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
