import type { Config } from '../config.ts';
import { PassthroughError } from '../errors.ts';
import { matchesHost } from '../registry/host-pattern.ts';
import { DOCKER_HUB, type RegistryTarget, registryTarget } from '../registry/target.ts';
import type { ArchiveRoute } from './route.ts';

/**
 * The registry of a request: the configured one, or the one that the path names where policy allows it. Named by its
 * address, the configured registry is that same one, with all that is configured for it.
 *
 * @throws PassthroughError `INVALID_REGISTRY`, `REGISTRY_NOT_ALLOWED`
 */
export function selectRegistry(
  named: ArchiveRoute['registry'],
  config: Pick<Config['registry'], 'target' | 'defaultNamespace' | 'allowedHosts'>,
): RegistryTarget {
  if (named === undefined) return config.target;
  const target = registryTarget(named.scheme, named.host);
  const { allowedHosts } = config;
  if (allowedHosts !== undefined && !allowedHosts.some((host) => matchesHost(host, new URL(target.origin)))) {
    throw new PassthroughError(
      'REGISTRY_NOT_ALLOWED',
      `Cannot use registry ${JSON.stringify(target.name)}: REGISTRY_ALLOWED_HOSTS does not list it`,
    );
  }
  if (target.origin === config.target.origin) return config.target;
  if (target.origin === DOCKER_HUB.origin) return target;
  return { ...target, defaultNamespace: config.defaultNamespace ?? '' };
}
