import { DOCKER_HUB, type RegistryHost } from '../../registry/registry-host.ts';

/** A repository, as a request names it. */
export interface NamedRepository {
  readonly host: RegistryHost;
  /** Such as `library/nginx`. */
  readonly repository: string;
  /** The registry that a mirror is asked for. */
  readonly namespace?: string | undefined;
}

/** Names of Docker Hub. */
const DOCKER_HUB_HOSTS = ['docker.io', 'index.docker.io', 'registry-1.docker.io'];

const OFFICIAL = 'library/';

/** What a pattern may hold: hosts, ports, repositories and wildcards. */
const PATTERN = /^[a-z0-9._:[\]/*-]+$/;

/** Longest pattern, in characters. */
const MAX_PATTERN_LENGTH = 512;

/**
 * All names of a repository: `host/repository`, with every host that means the same registry. A rule that names one of them holds for
 * the repository, so that no spelling goes past it.
 */
export function namesOf({ host: { origin }, repository, namespace }: NamedRepository): readonly string[] {
  const hosts = [...hostsOf(origin), ...(namespace === undefined ? [] : hostsOf(`https://${namespace}`))];
  const isOfHub = hosts.includes('docker.io') && repository.startsWith(OFFICIAL);
  const repositories = isOfHub ? [repository, repository.slice(OFFICIAL.length)] : [repository];
  return hosts.flatMap((host) => repositories.map((name) => `${host}/${name}`));
}

function hostsOf(origin: string): readonly string[] {
  const { protocol, host, port } = new URL(origin);
  if (DOCKER_HUB_HOSTS.includes(host) || origin === DOCKER_HUB.origin) return DOCKER_HUB_HOSTS;
  return port === '' ? [host, `${host}:${protocol === 'https:' ? 443 : 80}`] : [host];
}

/**
 * Checks a pattern.
 *
 *     pattern ::= [ host "/" ] repository        ; "*" stands for any text, also with slashes
 *
 * @returns the pattern in lower case
 * @throws Error saying what is expected
 */
export function parseRepositoryPattern(text: string): string {
  const pattern = text.toLowerCase();
  const isComplete = pattern.includes('/') || pattern.includes('*');
  if (!isComplete || pattern.length > MAX_PATTERN_LENGTH || !PATTERN.test(pattern))
    throw new Error('expected host/repository, such as ghcr.io/org/app or docker.io/*');
  return pattern;
}

/** Whether one of the patterns holds for a repository, by any of its names. */
export function isRequired(patterns: readonly string[], names: readonly string[]): boolean {
  return patterns.some((pattern) => names.some((name) => matchesPattern(pattern, name)));
}

/** Whether a pattern matches a name. Each part between wildcards is looked for once, from left to right. */
export function matchesPattern(pattern: string, name: string): boolean {
  const parts = pattern.split('*');
  const [first = '', last = ''] = [parts[0], parts.at(-1)];
  if (parts.length === 1) return name === pattern;
  if (!name.startsWith(first) || !name.endsWith(last) || name.length < first.length + last.length)
    return false;
  const end = name.length - last.length;
  let at = first.length;
  for (const part of parts.slice(1, -1)) {
    const found = name.indexOf(part, at);
    if (found === -1 || found + part.length > end) return false;
    at = found + part.length;
  }
  return true;
}

/**
 * Whether the identity of a signature is one of a repository's names.
 *
 * @param identity as it was signed: with or without a tag or digest
 */
export function isIdentityOf(identity: string, names: readonly string[]): boolean {
  const [repository = ''] = identity.split('@', 1);
  const slash = repository.lastIndexOf('/');
  const colon = repository.indexOf(':', slash + 1);
  return names.includes(colon === -1 ? repository : repository.slice(0, colon));
}
