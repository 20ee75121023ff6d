import { type ErrorDetails, isPassthroughError, PassthroughError } from '../errors.ts';
import { quoted } from '../util/printable.ts';
import { type HostPattern, matchesHost } from './host-pattern.ts';
import type { RegistryHost } from './registry-host.ts';

/** Most URLs of one layer to try. Real manifests have one or two, and each may take a whole time limit. */
export const MAX_FOREIGN_URLS = 8;

/** Which URLs of foreign layers are allowed. */
export interface ForeignPolicy {
  /** The registry of the image. */
  readonly host: RegistryHost;
  /** Hosts that a URL may name; `undefined` allows all. */
  readonly allowedHosts: readonly HostPattern[] | undefined;
}

/**
 * Parses a URL of a foreign layer. The author of the image has chosen it, so it may name only what a request may name:
 *
 * - https; http only if the registry itself uses http, or on the registry's own host
 * - no credentials in the URL, because foreign layers are fetched without credentials
 * - a host in the list of allowed registries, if there is a list; the registry's own origin needs no entry
 *
 * The server may redirect as a registry may. Each IP address is checked when it is dialled.
 *
 * @param text one of the descriptor's `urls`
 * @returns the URL without its fragment
 * @throws PassthroughError `UNSUPPORTED_IMAGE` for text that is no http or https URL, `REGISTRY_NOT_ALLOWED` for a URL
 *   that breaks a rule above
 * @see https://github.com/opencontainers/image-spec/blob/v1.1.1/descriptor.md#properties
 */
export function foreignUrl(text: string, { host, allowedHosts }: ForeignPolicy): URL {
  const url = URL.parse(text);
  if (url === null || !/^https?:$/.test(url.protocol)) {
    throw new PassthroughError(
      'UNSUPPORTED_IMAGE',
      'Cannot use the address of a foreign layer: it is not an http or https URL',
    );
  }
  const refusal = (why: string, details: ErrorDetails = {}) =>
    new PassthroughError(
      'REGISTRY_NOT_ALLOWED',
      `Cannot fetch a foreign layer from ${quoted(url.origin)}: ${why}`,
      details,
    );
  if (url.username !== '' || url.password !== '') throw refusal('its address has credentials in it');
  const registry = new URL(host.origin);
  if (url.protocol === 'http:' && registry.protocol === 'https:' && url.hostname !== registry.hostname) {
    throw refusal('it is http, and the registry is https');
  }
  const isAllowed =
    allowedHosts === undefined ||
    url.origin === registry.origin ||
    allowedHosts.some((pattern) => matchesHost(pattern, url));
  if (!isAllowed) {
    throw refusal('it is not in the list of allowed registries', { setting: 'allowedHosts' });
  }
  url.hash = '';
  return url;
}

/**
 * Tries to open sources in their order.
 *
 * @param signal stops after the current source
 * @returns the result of the first source that opens
 * @throws PassthroughError the error of the last source, with the messages of the earlier errors as hints; any other
 *   error at once
 */
export async function firstToOpen<T>(
  sources: readonly [() => Promise<T>, ...(() => Promise<T>)[]],
  signal: AbortSignal,
): Promise<T> {
  const failures: PassthroughError[] = [];
  for (const open of sources) {
    try {
      return await open();
    } catch (error) {
      if (signal.aborted || !isPassthroughError(error)) throw error;
      failures.push(error);
    }
  }
  const last = failures.pop();
  if (last === undefined || failures.length === 0) throw last;
  throw new PassthroughError(last.code, last.message, {
    ...last.details,
    cause: last,
    hints: [...failures.map(({ message }) => message), ...(last.details.hints ?? [])],
  });
}
