import { type Digest, digestHex } from './digest.ts';

/** The name by which Docker Hub goes in references, tags and telemetry. */
export const DOCKER_HUB_NAME = 'docker.io';

/** An image in a registry: its repository, and a tag or a digest. */
export interface Reference {
  /** Registry name as references show it: `docker.io`, `ghcr.io`, `10.0.0.5:5000`. */
  readonly registryName: string;
  readonly repository: string;
  readonly tag?: string;
  readonly digest?: Digest;
}

/** Longest repository name that registries and clients agree to take. */
const MAX_REPOSITORY_LENGTH = 255;

/** Longest tag: one character and up to 127 more, as in {@link TAG}. */
const MAX_TAG_LENGTH = 128;

/** One path component of a repository: `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`. */
const COMPONENT = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;

/** A tag: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`. */
const TAG = /^[a-zA-Z0-9_][a-zA-Z0-9._-]*$/;

/**
 * Says which rule of the distribution grammar a repository name breaks.
 *
 * @returns `undefined` for a good name, else the reason, to be put behind a colon
 * @see https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pulling-manifests
 */
export function repositoryFault(repository: string): string | undefined {
  if (repository === '') return 'repository is empty';
  if (repository.length > MAX_REPOSITORY_LENGTH) {
    return `repository is longer than ${MAX_REPOSITORY_LENGTH} characters`;
  }
  for (const component of repository.split('/')) {
    if (component === '') return 'repository has an empty component';
    if (/[A-Z]/.test(component)) return `repository component ${JSON.stringify(component)} is not lower case`;
    if (!COMPONENT.test(component)) {
      return `repository component ${JSON.stringify(component)} must be a-z and 0-9, joined by ".", "_", "__" or "-"`;
    }
  }
  return undefined;
}

/**
 * Says which rule of the distribution grammar a tag breaks.
 *
 * @returns `undefined` for a good tag, else the reason, to be put behind a colon
 * @see https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pulling-manifests
 */
export function tagFault(tag: string): string | undefined {
  if (tag === '') return 'tag is empty';
  if (tag.length > MAX_TAG_LENGTH) return `tag is longer than ${MAX_TAG_LENGTH} characters`;
  if (!TAG.test(tag)) {
    return `tag ${JSON.stringify(tag)} must be letters, digits, "_", "." and "-", and start with neither "." nor "-"`;
  }
  return undefined;
}

/**
 * The reference in full, `registry/repository[:tag][@digest]`: what logs and errors call the image.
 */
export function formatReference(reference: Reference): string {
  const { registryName, repository, tag, digest } = reference;
  return `${registryName}/${repository}${tag === undefined ? '' : `:${tag}`}${digest === undefined ? '' : `@${digest}`}`;
}

/**
 * The name and tag that `docker images` shows after `docker pull` of the reference: Docker Hub's host and
 * `library/` are left out. A reference by digest alone gets a tag made from the digest's first twelve digits, so
 * that the loaded image has a name.
 */
export function repoTag(reference: Reference): { readonly name: string; readonly tag: string } {
  const { registryName, repository, tag, digest } = reference;
  const name =
    registryName === DOCKER_HUB_NAME
      ? repository.replace(/^library\/(?=[^/]+$)/, '')
      : `${registryName}/${repository}`;
  return { name, tag: tag ?? (digest === undefined ? 'latest' : digestHex(digest).slice(0, 12)) };
}
