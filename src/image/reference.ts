import { PassthroughError } from '../errors.ts';
import { type Digest, digestHex, isDigest } from './digest.ts';

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

/**
 * An image as a person names it: which registry and namespace are meant where none is named is for others to
 * say.
 */
export interface NamedReference {
  /** Registry as it was written, with its port; `undefined` where none was. */
  readonly host: string | undefined;
  /** As it was written: no default namespace stands before it. */
  readonly repository: string;
  /** `latest` where neither tag nor digest was written. */
  readonly tag: string | undefined;
  /** Where a tag stands beside it, the digest decides what is pulled. */
  readonly digest: Digest | undefined;
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
 * What `docker pull` takes for a host: names, IPv4, bracketed IPv6. Whether it can be one is for `registry/`
 * to say.
 */
const HOST = /^(?:\[[0-9a-fA-F:]+\]|[a-zA-Z0-9_-]+(?:\.[a-zA-Z0-9_-]+)*)(?::[0-9]+)?$/;

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
 * Reads a reference as `docker pull` takes it.
 *
 *     reference ::= [ host "/" ] repository [ ":" tag ] [ "@" digest ]
 *
 * What stands before the first slash is a host where it holds a dot, a colon or a capital letter, or is
 * `localhost`; without a slash nothing is. So `localhost:5000` is the tag 5000 of a repository, and
 * `localhost:5000/app` a registry's.
 *
 * @throws PassthroughError `INVALID_REFERENCE` naming the rule that broke
 * @see https://github.com/distribution/reference/blob/v0.6.0/normalize.go `splitDockerDomain`
 * @see https://github.com/distribution/reference/blob/v0.6.0/regexp.go
 */
export function parseReference(text: string): NamedReference {
  const [name = '', digest] = cut(text, '@');
  // Not quoted: what stands before the @ of an address may be a password, and errors are logged.
  if (digest?.includes('/')) {
    throw new PassthroughError(
      'INVALID_REFERENCE',
      'Cannot parse reference: credentials do not belong in it',
    );
  }
  const fail = (why: string) =>
    new PassthroughError('INVALID_REFERENCE', `Cannot parse reference ${JSON.stringify(text)}: ${why}`);
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(name)) throw fail('it begins with a scheme, and is no URL');
  if (/^[a-f0-9]{64}$/.test(text)) throw fail('64 hex digits are the ID of an image, not the name of one');

  const host = hostOf(name);
  const [repository = '', tag] = cut(host === undefined ? name : name.slice(host.length + 1), ':');
  if (host !== undefined && !HOST.test(host)) {
    throw fail(`host ${JSON.stringify(host)} is not a name or address with an optional port`);
  }
  const fault = repositoryFault(repository) ?? (tag === undefined ? undefined : tagFault(tag));
  if (fault !== undefined) throw fail(fault);
  if (digest !== undefined && !isDigest(digest)) {
    throw fail(`digest ${JSON.stringify(digest)} must be sha256 or sha512 and lower-case hex`);
  }
  return { host, repository, tag: tag ?? (digest === undefined ? 'latest' : undefined), digest };
}

function hostOf(name: string): string | undefined {
  const [first = '', rest] = cut(name, '/');
  return rest !== undefined && (first === 'localhost' || /[.:A-Z]/.test(first)) ? first : undefined;
}

/** What stands before and behind the first `separator`; nothing behind it where there is none. */
function cut(text: string, separator: string): [before: string, behind: string | undefined] {
  const at = text.indexOf(separator);
  return at === -1 ? [text, undefined] : [text.slice(0, at), text.slice(at + 1)];
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
