import type { Config } from '../../config/config.ts';
import { PassthroughError } from '../../errors.ts';
import { matchesHost } from '../../registry/host-pattern.ts';
import { DOCKER_HUB, type RegistryHost, registryHost } from '../../registry/registry-host.ts';
import { registryHostOfName } from '../../registry/select-host.ts';
import type { ArchiveRoute } from './route.ts';

type Policy = Pick<Config['registry'], 'target' | 'defaultNamespace' | 'allowedHosts'>;

/**
 * The registry of a request: the configured one, or the one that the path names where policy allows it. Named by its
 * address, the configured registry is that same one, with all that is configured for it.
 *
 * @throws PassthroughError `INVALID_REGISTRY`, `REGISTRY_NOT_ALLOWED`
 */
export function selectRegistry(named: ArchiveRoute['registry'], config: Policy): RegistryHost {
  if (named === undefined) return config.target;
  return allowed(registryHost(named.scheme, named.host), config);
}

/**
 * The registry of a reference, in the same way. A reference says nothing of http or https: the configured registry is spoken
 * to as it is configured, any other over https unless it is on loopback or listed.
 *
 * @param host as the reference has it; `undefined` for the configured one
 * @throws PassthroughError `INVALID_REGISTRY`, `REGISTRY_NOT_ALLOWED`
 */
export function registryOfReference(
  host: string | undefined,
  config: Policy & Pick<Config['registry'], 'plainHttpHosts'>,
): RegistryHost {
  if (host === undefined) return config.target;
  const target = registryHostOfName(host, config.plainHttpHosts);
  const isConfigured = new URL(target.origin).host === new URL(config.target.origin).host;
  return allowed(isConfigured ? config.target : target, config);
}

function allowed(target: RegistryHost, config: Policy): RegistryHost {
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
