import { PassthroughError } from '../errors.ts';
import { quoted } from '../util/printable.ts';
import { type Digest, digestHex, isDigest } from './digest.ts';

/** Name of Docker Hub in references, tags and telemetry. */
export const DOCKER_HUB_NAME = 'docker.io';

/** An image in a registry, with a tag, a digest or both. */
export interface Reference {
  /** Name of the registry: `docker.io`, `ghcr.io`, `10.0.0.5:5000`. */
  readonly registryName: string;
  readonly repository: string;
  readonly tag?: string;
  readonly digest?: Digest;
}

/** A reference as written by a person. The default registry and namespace are not added yet. */
export interface NamedReference {
  /** Registry as written, with its port; `undefined` without one. */
  readonly host: string | undefined;
  /** As written, without a default namespace. */
  readonly repository: string;
  /** `latest` if the text has neither tag nor digest. */
  readonly tag: string | undefined;
  /** If there is a tag too, the digest decides what is pulled. */
  readonly digest: Digest | undefined;
}

/** Longest repository name, in characters: the limit of registries and clients in use. */
const MAX_REPOSITORY_LENGTH = 255;

/** Longest tag, in characters: one and up to 127 more in the grammar of {@link TAG}. */
const MAX_TAG_LENGTH = 128;

/** One path component of a repository: `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`. */
const COMPONENT = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;

/** A tag: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`. */
const TAG = /^[a-zA-Z0-9_][a-zA-Z0-9._-]*$/;

/** Hosts of `docker pull`: names, IPv4, IPv6 in brackets. `registry/` checks them further. */
const HOST = /^(?:\[[0-9a-fA-F:]+\]|[a-zA-Z0-9_-]+(?:\.[a-zA-Z0-9_-]+)*)(?::[0-9]+)?$/;

/**
 * Checks a repository name against the distribution grammar.
 *
 * @returns the broken rule, to follow a colon in a message; `undefined` for a valid name
 * @see https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pulling-manifests
 */
export function repositoryFault(repository: string): string | undefined {
  if (repository === '') return 'repository is empty';
  if (repository.length > MAX_REPOSITORY_LENGTH) {
    return `repository is longer than ${MAX_REPOSITORY_LENGTH} characters`;
  }
  for (const component of repository.split('/')) {
    if (component === '') return 'repository has an empty component';
    if (/[A-Z]/.test(component)) return `repository component ${quoted(component)} is not lower case`;
    if (!COMPONENT.test(component)) {
      return `repository component ${quoted(component)} must be a-z and 0-9, joined by ".", "_", "__" or "-"`;
    }
  }
  return undefined;
}

/**
 * Checks a tag against the distribution grammar.
 *
 * @returns the broken rule, to follow a colon in a message; `undefined` for a valid tag
 * @see https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pulling-manifests
 */
export function tagFault(tag: string): string | undefined {
  if (tag === '') return 'tag is empty';
  if (tag.length > MAX_TAG_LENGTH) return `tag is longer than ${MAX_TAG_LENGTH} characters`;
  if (!TAG.test(tag)) {
    return `tag ${quoted(tag)} must be letters, digits, "_", "." and "-", and start with neither "." nor "-"`;
  }
  return undefined;
}

/**
 * Reads a reference in the form of `docker pull`.
 *
 *     reference ::= [ host "/" ] repository [ ":" tag ] [ "@" digest ]
 *
 * The part before the first slash is a host if it contains a dot, a colon or a capital letter, or is `localhost`. So
 * `localhost:5000` is the tag 5000 of repository `localhost`, and `localhost:5000/app` is in registry `localhost:5000`.
 *
 * @throws PassthroughError `INVALID_REFERENCE` naming the broken rule
 * @see https://github.com/distribution/reference/blob/v0.6.0/normalize.go `splitDockerDomain`
 * @see https://github.com/distribution/reference/blob/v0.6.0/regexp.go
 */
export function parseReference(text: string): NamedReference {
  const [name = '', digest] = cut(text, '@');
  // Not quoted: the text before the @ of a URL may be a password, and errors are logged.
  if (digest?.includes('/')) {
    throw new PassthroughError(
      'INVALID_REFERENCE',
      'Cannot parse reference: credentials do not belong in it',
    );
  }
  const fail = (why: string) =>
    new PassthroughError('INVALID_REFERENCE', `Cannot parse reference ${quoted(text)}: ${why}`);
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(name)) throw fail('it begins with a scheme, and is no URL');
  if (/^[a-f0-9]{64}$/.test(text)) throw fail('64 hex digits are the ID of an image, not the name of one');

  const host = hostOf(name);
  const [repository = '', tag] = cut(host === undefined ? name : name.slice(host.length + 1), ':');
  if (host !== undefined && !HOST.test(host)) {
    throw fail(`host ${quoted(host)} is not a name or address with an optional port`);
  }
  const fault = repositoryFault(repository) ?? (tag === undefined ? undefined : tagFault(tag));
  if (fault !== undefined) throw fail(fault);
  if (digest !== undefined && !isDigest(digest)) {
    throw fail(`digest ${quoted(digest)} must be sha256 or sha512 and lower-case hex`);
  }
  return { host, repository, tag: tag ?? (digest === undefined ? 'latest' : undefined), digest };
}

function hostOf(name: string): string | undefined {
  const [first = '', rest] = cut(name, '/');
  return rest !== undefined && (first === 'localhost' || /[.:A-Z]/.test(first)) ? first : undefined;
}

/** The text before and after the first `separator`. */
function cut(text: string, separator: string): [before: string, after: string | undefined] {
  const at = text.indexOf(separator);
  return at === -1 ? [text, undefined] : [text.slice(0, at), text.slice(at + 1)];
}

/** Writes `registry/repository[:tag][@digest]`, for logs and errors. */
export function formatReference(reference: Reference): string {
  const { registryName, repository, tag, digest } = reference;
  return `${registryName}/${repository}${tag === undefined ? '' : `:${tag}`}${digest === undefined ? '' : `@${digest}`}`;
}

/**
 * The name and tag that `docker images` shows after `docker pull`, without Docker Hub's host and `library/`. A reference by
 * digest alone gets the digest's first twelve digits as its tag, so that the loaded image has a name.
 */
export function repoTag(reference: Reference): { readonly name: string; readonly tag: string } {
  const { registryName, repository, tag, digest } = reference;
  const name =
    registryName === DOCKER_HUB_NAME
      ? repository.replace(/^library\/(?=[^/]+$)/, '')
      : `${registryName}/${repository}`;
  return { name, tag: tag ?? (digest === undefined ? 'latest' : digestHex(digest).slice(0, 12)) };
}
