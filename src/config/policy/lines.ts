/** What applies to an image, in words: one line for each fact, for the service and for the command line. */

import type { MirrorState } from '../../pull/mirrors/mirror-state.ts';
import type { PolicyCredentials, PolicySource } from '../../pull/policy/credentials.ts';
import type { PolicyFacts, PolicyMirror } from '../../pull/policy/explain.ts';
import type { PolicyCertificate, PolicyTls } from '../../pull/policy/tls.ts';
import { printable, quoted } from '../../util/printable.ts';
import type { Face } from '../hints.ts';
import { VARIABLES } from '../variables.ts';

/** Columns of the names. */
const NAME_WIDTH = 13;

/** Longest fact, in characters: a few paths. */
const MAX_FACT_LENGTH = 2000;

/** Longest path in a fact, in characters. */
const MAX_PATH_LENGTH = 400;

/** Writes what applies to an image, one line for each fact. */
export function policyLines(facts: PolicyFacts, face: Face): readonly string[] {
  const { reference, registry, credentials, mirrors, namespaceAsked } = facts;
  const rows: readonly (readonly [name: string, fact: string])[] = [
    ['reference', reference],
    ['registry', `${registry.name}: ${registry.origin}, ${SCHEMES[registry.reason]}`],
    ['allowed', ALLOWED[facts.allowedReason]],
    ['platform', `${facts.platform.platform}${facts.platform.isAsked ? '' : ` (${PLATFORMS[face]})`}`],
    ['namespace', namespaceText(facts.namespace)],
    ['credentials', credentialsText(credentials, face)],
    ['token', tokenText(facts.tokenEndpoint)],
    ...(mirrors.length === 0
      ? [['mirrors', namespaceAsked === undefined ? 'none' : 'none: --ns'] as const]
      : mirrors.map((mirror, at) => [`mirror ${at + 1}`, mirrorText(mirror)] as const)),
    ['tls', tlsText(facts.tls, face)],
    ['signature', signatureText(facts.signature)],
  ];
  return rows.map(([name, fact]) => `${name.padEnd(NAME_WIDTH)}${printable(fact, MAX_FACT_LENGTH)}`);
}

const SCHEMES: Readonly<Record<PolicyFacts['registry']['reason'], string>> = {
  asked: 'as --scheme says',
  configured: 'as REGISTRY_URL says',
  'docker-hub': 'Docker Hub',
  loopback: 'http because the address is of this machine',
  'plain-http-hosts': `http because ${VARIABLES.plainHttpHosts} lists it`,
  usual: 'https because nothing says otherwise',
};

const ALLOWED: Readonly<Record<PolicyFacts['allowedReason'], string>> = {
  all: `yes: ${VARIABLES.allowedHosts} is not set, so every registry is`,
  default: 'yes: the reference names no registry, and the configured one needs no entry',
  listed: `yes: ${VARIABLES.allowedHosts} lists it`,
  'not-listed': `no: ${VARIABLES.allowedHosts} does not list it`,
};

const PLATFORMS: Readonly<Record<Face, string>> = {
  service: 'DEFAULT_PLATFORM',
  commandLine: 'this machine',
};

function namespaceText({ default: prefix, isApplied }: PolicyFacts['namespace']): string {
  if (prefix === '') return 'none';
  return `${prefix}: ${isApplied ? 'added to this name' : 'not added: this name has several components'}`;
}

function credentialsText({ client, sources, withheld, isUnbound }: PolicyCredentials, face: Face): string {
  if (client === 'required')
    return "the client's alone: it must send them, as REGISTRY_CLIENT_AUTH=required says; without them 401";
  if (client === 'sent') return '--user';
  const notes = [
    ...(isUnbound ? ['they go to every registry'] : []),
    ...withheld.map((name) => `this registry may not receive those of ${name}`),
    ...(client === 'ignored' && face === 'service'
      ? ["the client's are ignored: REGISTRY_CLIENT_AUTH=off"]
      : []),
  ];
  return [sourcesText(sources), ...notes].join('; ');
}

/** Each source but the last may turn out to have none. */
function sourcesText(sources: readonly PolicySource[]): string {
  const texts = sources.map(sourceText);
  const isCertain = sources.some(({ type }) => type !== 'client' && type !== 'helper');
  return [...texts, ...(isCertain ? [] : ['none: anonymous'])].join(', else ');
}

function sourceText(source: PolicySource): string {
  switch (source.type) {
    case 'client':
      return "the client's if it sends some";
    case 'helper':
      return `program ${source.program}, which ${shownPath(source.path)} names`;
    case 'file':
      return `entry ${quoted(source.entry)} of ${shownPath(source.path)}`;
    default:
      return source.name;
  }
}

function tokenText(endpoint: string): string {
  if (endpoint === 'none') return 'none: credentials go to the registry as Basic';
  return endpoint === 'discover' ? 'where the registry says' : `from ${endpoint}`;
}

function mirrorText({ url, sources, isTrusted, state }: PolicyMirror): string {
  const answers = isTrusted
    ? 'its answers count'
    : 'it gives layers alone, after the registry has confirmed them';
  return [url, sourcesText(sources), answers, ...(state === undefined ? [] : [stateText(state)])].join('; ');
}

function stateText({ state, since, until, lastError }: MirrorState): string {
  if (state === 'asked') return 'it is asked';
  const why = lastError === undefined ? '' : `: ${lastError}`;
  const from = `it fails since ${since ?? 'a while'}`;
  return until === undefined
    ? `${from}, and the next request decides whether it is asked again${why}`
    : `${from}, and is left alone until ${until}${why}`;
}

const FOLDERS: Readonly<Record<Face, string>> = {
  service: VARIABLES.certificates,
  commandLine: `${VARIABLES.certificates} or the folders of podman and Docker`,
};

function tlsText(
  { verification, folder, authorities, clientCertificates, fault, options }: PolicyTls,
  face: Face,
): string {
  if (verification === 'none') return 'none: it is asked over http';
  const list = (what: string, files: readonly PolicyCertificate[]) =>
    files.length === 0 ? [] : [`${what} ${files.map(certificateText).join(', ')}`];
  const ofFolder =
    folder === undefined
      ? [`no files for this registry in ${FOLDERS[face]}`]
      : [
          `files of ${shownPath(folder)}`,
          ...list('authorities', authorities),
          ...list('client certificate', clientCertificates),
        ];
  return [
    verification === 'verified'
      ? 'the certificate is verified'
      : `the certificate is not verified: ${VARIABLES.insecureHosts} or --insecure`,
    ...options,
    ...ofFolder,
    ...(fault === undefined ? [] : [fault]),
  ].join('; ');
}

function certificateText({ file, validTo, isExpired }: PolicyCertificate): string {
  const name = printable(file);
  if (validTo === undefined) return `${name} (cannot be read)`;
  return `${name} (${isExpired ? 'expired on' : 'valid until'} ${validTo.slice(0, 10)})`;
}

function signatureText({ policy, pattern, keys, matchesRepository }: PolicyFacts['signature']): string {
  if (keys.length === 0) return 'none is asked for: SIGNATURE_KEYS is not set';
  if (pattern === undefined) return 'none is asked for: SIGNATURE_REQUIRED_FOR does not list it';
  const what = policy === 'warn' ? 'one is looked for, and its lack is only logged' : 'required';
  const by = keys.map((key) => printable(key, MAX_PATH_LENGTH)).join(' or ');
  const repository = matchesRepository ? ', for this repository' : '';
  return `${what}: by ${by}${repository}; SIGNATURE_REQUIRED_FOR has ${pattern}`;
}

function shownPath(path: string): string {
  return printable(path, MAX_PATH_LENGTH);
}
