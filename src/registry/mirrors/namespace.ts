/** The namespace of a request: the registry whose images a mirror is asked for, `?ns=`. */

import { PassthroughError } from '../../errors.ts';
import { quoted } from '../../util/printable.ts';
import { parseHost, type RegistryHost } from '../registry-host.ts';
import type { RepositoryLocation } from '../repository.ts';

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
export function namespaceFor(repository: string, namespace: string | undefined): string | undefined {
  const [first = '', ...rest] = repository.split('/');
  return rest.length > 0 && first.includes('.') ? undefined : namespace;
}

/** @throws PassthroughError `INVALID_CONFIGURATION` for a text that is no host */
export function checkNamespace(text: string): void {
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
