import { isPassthroughError } from '../errors.ts';
import { formatReference, parseReference, type Reference, repoTag } from '../image/reference.ts';
import { DOCKER_HUB } from '../registry/registry-host.ts';
import { registryHostOfName } from '../registry/select-host.ts';

/**
 * The image that a name means, by Docker's rules: `nginx` is `docker.io/library/nginx:latest`.
 *
 * @throws PassthroughError `INVALID_REFERENCE`, `INVALID_REGISTRY`
 */
export function referenceOf(name: string): Reference {
  const { host, repository, tag, digest } = parseReference(name);
  const { name: registryName, defaultNamespace } =
    host === undefined ? DOCKER_HUB : registryHostOfName(host, []);
  const isBare = !repository.includes('/') && defaultNamespace !== '';
  return {
    registryName,
    repository: isBare ? `${defaultNamespace}/${repository}` : repository,
    ...(tag !== undefined && { tag }),
    ...(digest !== undefined && { digest }),
  };
}

/** The form in which names are compared. A name that cannot be read is equal to itself only. */
export function comparedName(name: string): string {
  try {
    return formatReference(referenceOf(name));
  } catch (error) {
    if (!isPassthroughError(error)) throw error;
    return name;
  }
}

/** The name that `docker images` shows: `docker.io/library/nginx:1` → `nginx:1`. A name that cannot be read stays as it is. */
export function shownName(name: string): string {
  try {
    const { name: short, tag } = repoTag(referenceOf(name));
    return `${short}:${tag}`;
  } catch (error) {
    if (!isPassthroughError(error)) throw error;
    return name;
  }
}
