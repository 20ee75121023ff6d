import { PassthroughError } from '../../errors.ts';
import { repositoryFault } from '../../image/reference.ts';
import { quoted } from '../../util/printable.ts';
import { type HostPattern, matchesHost, parseHostPattern } from '../host-pattern.ts';
import { DOCKER_HUB, type RegistryHost, registryHost } from '../registry-host.ts';

/** A server that has images of another registry. */
export interface Mirror {
  /** Where it is; the prefix is not part of it. */
  readonly host: RegistryHost;
  /** Path before the name of each repository, such as `dockerhub-proxy`; empty for none. */
  readonly prefix: string;
  /** Its address as it is configured, for logs and telemetry: origin and prefix. */
  readonly url: string;
}

/** The mirrors of one registry, or of all that have no rule of their own. */
export interface MirrorRule {
  /** The registry; `*` for all others. */
  readonly registry: HostPattern | '*';
  /** In the order in which they are asked; none for a registry that is exempt from `*`. */
  readonly mirrors: readonly Mirror[];
}

/** Most mirrors of a registry. Each that is down may take a time-out before it is left alone. */
export const MAX_MIRRORS = 8;

/**
 * Parses the mirrors of registries.
 *
 *     list   ::= [ rule *( "," rule ) ]
 *     rule   ::= ( "*" | host pattern ) "=" [ mirror *( "|" mirror ) ]
 *     mirror ::= ( "http" | "https" ) "://" host [ ":" port ] [ "/v2" ] [ "/" prefix ] [ "/" ]
 *
 * @returns one rule for each registry, in the order of the text
 * @throws PassthroughError `INVALID_CONFIGURATION`, `INVALID_REGISTRY`, naming the part that is wrong
 * @see https://github.com/containerd/containerd/blob/v2.0.0/docs/hosts.md
 */
export function parseMirrorRules(text: string): readonly MirrorRule[] {
  const rules = text
    .split(',')
    .map((rule) => rule.trim())
    .filter((rule) => rule !== '')
    .map(parseRule);
  const seen = new Set<string>();
  for (const { registry } of rules) {
    const name = formatRegistry(registry);
    if (seen.has(name)) throw invalid(`registry ${quoted(name)} has two rules; put its mirrors into one`);
    seen.add(name);
  }
  return rules;
}

function parseRule(text: string): MirrorRule {
  const equals = text.indexOf('=');
  if (equals === -1) throw invalid(`expected REGISTRY=MIRROR, got ${quoted(text)}`);
  const name = text.slice(0, equals).trim();
  const registry = name === '*' ? name : parseHostPattern(name);
  const mirrors = text
    .slice(equals + 1)
    .split('|')
    .map((mirror) => mirror.trim());
  if (mirrors.length === 1 && mirrors[0] === '') return { registry, mirrors: [] };
  if (mirrors.length > MAX_MIRRORS) throw invalid(`${quoted(name)} has more than ${MAX_MIRRORS} mirrors`);
  const parsed = mirrors.map(parseMirror);
  const twice = parsed.find(({ url }, index) => parsed.findIndex((other) => other.url === url) !== index);
  if (twice !== undefined) throw invalid(`${quoted(name)} has mirror ${quoted(twice.url)} twice`);
  return { registry, mirrors: parsed };
}

/** Parses the address of a mirror. containerd's form has the path of the API in it, which stands before the prefix. */
function parseMirror(text: string): Mirror {
  const {
    scheme,
    host = '',
    path = '',
  } = /^(?<scheme>https?):\/\/(?<host>[^/?#]*)(?:\/(?<path>[^?#]*))?$/i.exec(text)?.groups ?? {};
  if (scheme === undefined) {
    throw invalid(`mirror ${quoted(text)}: expected http:// or https://, host, optional port and path`);
  }
  const address = registryHost(scheme.toLowerCase(), host);
  const prefix = path.replace(/^v2(?:\/|$)/, '').replace(/\/$/, '');
  const fault = prefix === '' ? undefined : repositoryFault(prefix);
  if (fault !== undefined) throw invalid(`mirror ${quoted(text)}: ${fault}`);
  return Object.freeze({
    host: address,
    prefix,
    url: prefix === '' ? address.origin : `${address.origin}/${prefix}`,
  });
}

/** The text that {@link parseMirrorRules} reads. */
export function formatMirrorRules(rules: readonly MirrorRule[]): string {
  return rules
    .map(({ registry, mirrors }) => `${formatRegistry(registry)}=${mirrors.map(({ url }) => url).join('|')}`)
    .join(',');
}

function formatRegistry(registry: MirrorRule['registry']): string {
  if (registry === '*') return registry;
  const { scheme, isWildcard, hostname, port } = registry;
  const start = `${scheme === undefined ? '' : `${scheme}//`}${isWildcard ? '*.' : ''}`;
  return `${start}${hostname}${port === undefined ? '' : `:${port}`}`;
}

/**
 * The mirrors of a registry, in the order in which they are asked: those of the first rule that names it, else those of `*`. A
 * registry is no mirror of its own.
 */
export function mirrorsOf(rules: readonly MirrorRule[], { origin }: RegistryHost): readonly Mirror[] {
  const url = new URL(origin);
  const own = rules.find(({ registry }) => registry !== '*' && matchesHost(registry, url));
  const { mirrors } = own ?? rules.find(({ registry }) => registry === '*') ?? { mirrors: [] };
  return mirrors.filter(({ host, prefix }) => host.origin !== origin || prefix !== '');
}

/** Name of a repository at a mirror. */
export function repositoryAt({ prefix }: Mirror, repository: string): string {
  return prefix === '' ? repository : `${prefix}/${repository}`;
}

/** What a mirror is asked for as `ns`: the host of the registry, as references have it. */
export function namespaceOf({ origin }: RegistryHost): string {
  return origin === DOCKER_HUB.origin ? DOCKER_HUB.name : new URL(origin).host;
}

function invalid(why: string): PassthroughError {
  return new PassthroughError('INVALID_CONFIGURATION', why);
}
