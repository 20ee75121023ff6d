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

const EMPTY_COMPONENT = /^\/|\/\/|\/$/;

/** Longest pattern, in characters. */
const MAX_PATTERN_LENGTH = 512;

/**
 * All names of a repository: `host/repository`, with every host that means the same registry, and the name that the operator has
 * given to it. A rule that names one of them holds for the repository, so that no spelling goes past it.
 */
export function namesOf({ host, repository, namespace }: NamedRepository): readonly string[] {
  const names = [host.name, ...(namespace === undefined ? [] : [namespace])];
  const given = names.flatMap((name) => URL.parse(`https://${name}`) ?? []);
  const others = given.filter((url) => url.host !== new URL(host.origin).host);
  const hosts = new Set([host.origin, ...others.map(({ origin }) => origin)].flatMap(hostsOf));
  const isOfHub = hosts.has('docker.io') && repository.startsWith(OFFICIAL);
  const repositories = isOfHub ? [repository, repository.slice(OFFICIAL.length)] : [repository];
  return [...hosts].flatMap((one) => repositories.map((name) => `${one}/${name}`));
}

function hostsOf(origin: string): readonly string[] {
  const { protocol, host, port } = new URL(origin);
  if (DOCKER_HUB_HOSTS.includes(host) || origin === DOCKER_HUB.origin) return DOCKER_HUB_HOSTS;
  return port === '' ? [host, `${host}:${protocol === 'https:' ? 443 : 80}`] : [host];
}

/**
 * Checks a pattern. One that no repository could fit is refused: it looks as if it protected something.
 *
 *     pattern ::= [ host "/" ] repository        ; "*" stands for any text, also with slashes
 *
 * @returns the pattern in lower case
 * @throws Error saying what is expected
 */
export function parseRepositoryPattern(text: string): string {
  const pattern = text.toLowerCase();
  const refuse = (why: string) =>
    new Error(`expected host/repository${why}, such as ghcr.io/org/app or docker.io/*`);
  if (pattern.includes('://')) throw refuse(' without a scheme');
  if (pattern.includes('@')) throw refuse(' without a digest');
  const slash = pattern.indexOf('/');
  const isComplete = slash !== -1 || pattern.includes('*');
  if (!isComplete || pattern.length > MAX_PATTERN_LENGTH || !PATTERN.test(pattern)) throw refuse('');
  if (EMPTY_COMPONENT.test(pattern)) throw refuse(' without empty parts');
  if (mayHaveTag(pattern, slash)) throw refuse(' without a tag');
  return pattern;
}

/** Whether a pattern has a colon that begins a tag: behind the host, or before an end that has no repository. */
function mayHaveTag(pattern: string, slash: number): boolean {
  if (slash !== -1) return pattern.includes(':', slash);
  const colon = pattern.lastIndexOf(':');
  return colon !== -1 && !pattern.includes('*', colon);
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
