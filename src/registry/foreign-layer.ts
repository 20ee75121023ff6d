import { isPassthroughError, PassthroughError } from '../errors.ts';
import { type HostPattern, matchesHost } from './host-pattern.ts';
import type { RegistryHost } from './registry-host.ts';

/**
 * Most addresses of one layer that are tried. Real manifests name one or two; each may take as long as a time
 * limit.
 */
export const MAX_FOREIGN_URLS = 8;

/** Where foreign layers may be fetched from. */
export interface ForeignPolicy {
  /** The registry that named them. */
  readonly target: RegistryHost;
  /** Hosts that a request may reach at all; `undefined` for any. */
  readonly allowedHosts: readonly HostPattern[] | undefined;
}

/**
 * Reads an address of a foreign layer. It comes from whoever made the image, so it may lead only where a
 * request may:
 *
 * - https; http only where the registry is http itself, or on the registry's own host
 * - no credentials in it, for foreign layers are fetched without any
 * - a host of `REGISTRY_ALLOWED_HOSTS` where that is set; the registry's own origin needs no entry
 *
 * What answers there may redirect as a registry may: every address is checked as it is dialled.
 *
 * @param text one of the descriptor's `urls`
 * @throws PassthroughError `UNSUPPORTED_IMAGE` for what is no such address, `REGISTRY_NOT_ALLOWED` where
 *   policy forbids it
 * @see https://github.com/opencontainers/image-spec/blob/v1.1.1/descriptor.md#properties
 */
export function foreignUrl(text: string, { target, allowedHosts }: ForeignPolicy): URL {
  const url = URL.parse(text);
  if (url === null || !/^https?:$/.test(url.protocol)) {
    throw new PassthroughError(
      'UNSUPPORTED_IMAGE',
      'Cannot use the address of a foreign layer: it is not an http or https URL',
    );
  }
  const refusal = (why: string) =>
    new PassthroughError(
      'REGISTRY_NOT_ALLOWED',
      `Cannot fetch a foreign layer from ${JSON.stringify(url.origin)}: ${why}`,
    );
  if (url.username !== '' || url.password !== '') throw refusal('its address has credentials in it');
  const registry = new URL(target.origin);
  if (url.protocol === 'http:' && registry.protocol === 'https:' && url.hostname !== registry.hostname) {
    throw refusal('it is http, and the registry is https');
  }
  const isAllowed =
    allowedHosts === undefined ||
    url.origin === registry.origin ||
    allowedHosts.some((host) => matchesHost(host, url));
  if (!isAllowed) throw refusal('REGISTRY_ALLOWED_HOSTS does not list it');
  url.hash = '';
  return url;
}

/**
 * Opens the first of several sources that can be opened, one after the other.
 *
 * @param signal once it aborts, no further source is tried
 * @returns what the source gives
 * @throws PassthroughError what the last source threw, with what the others did as hints
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
