/** What applies to an image: the answers to an operator's first questions. No registry is asked, and no helper program is run. */

import { isPassthroughError } from '../../errors.ts';
import { formatPlatform, type Platform } from '../../image/platform.ts';
import { formatReference, parseReference } from '../../image/reference.ts';
import { certainOwnerOf, chooseCredential, ownerOf } from '../../registry/auth/credentials.ts';
import { matchesHost } from '../../registry/host-pattern.ts';
import type { MirrorSnapshot } from '../../registry/mirrors/mirror-health.ts';
import { mirrorsOf, repositoryAt } from '../../registry/mirrors/mirror-rules.ts';
import { credentialAt, isTrusted, type MirrorOptions } from '../../registry/mirrors/mirrors.ts';
import { namespaceFor } from '../../registry/mirrors/namespace.ts';
import { DOCKER_HUB } from '../../registry/registry-host.ts';
import { type HostPolicy, isLoopback } from '../../registry/select-host.ts';
import { type MirrorState, mirrorState } from '../mirrors/mirror-state.ts';
import { type ImageRequest, imageRequest } from '../request.ts';
import { sourceOf } from '../signatures/key-ring.ts';
import { isRequired, namesOf } from '../signatures/repositories.ts';
import type { SignatureOptions } from '../signatures/verifier.ts';
import {
  type CredentialSettings,
  explainCredentials,
  type PolicyCredentials,
  type PolicySource,
} from './credentials.ts';
import { explainTls, type PolicyTls, type TlsSettings } from './tls.ts';

/** An image whose registry may be refused. */
export interface ExplainedImage extends ImageRequest {
  /** Whether the reference names its registry. */
  readonly isNamed: boolean;
  /** Whether its registry may be asked. */
  readonly isAllowed: boolean;
  /** Whether the default namespace stands before the name that was given. */
  readonly isPrefixed: boolean;
  /** Whether the caller chose http or https. */
  readonly isSchemeAsked: boolean;
}

/** What {@link explainImage} reads. */
export interface ExplainSettings {
  readonly policy: HostPolicy;
  readonly credentials: CredentialSettings;
  readonly mirrors: Pick<MirrorOptions, 'mirrors' | 'mirrorAccounts'>;
  /** What is known of each mirror; left out where no service runs. */
  readonly states?: readonly MirrorSnapshot[] | undefined;
  /** The registry that the named one is a mirror of. */
  readonly namespace?: string | undefined;
  readonly tls: TlsSettings;
  readonly signatures: SignatureOptions;
  readonly platform: Platform | 'all';
  readonly isPlatformAsked: boolean;
}

/** A mirror, in the order in which they are asked. */
export interface PolicyMirror {
  readonly url: string;
  /** Which credentials it would get, in their order; none: it is asked anonymously. */
  readonly sources: readonly PolicySource[];
  /** Whether its answers count for a request without credentials of the client; else it gives confirmed layers only. */
  readonly isTrusted: boolean;
  /** `undefined` where no service runs. */
  readonly state: MirrorState | undefined;
}

/** What applies to an image. */
export interface PolicyFacts {
  readonly reference: string;
  readonly registry: {
    readonly name: string;
    readonly origin: string;
    readonly scheme: 'http' | 'https';
    /** Why this scheme: it was asked for, or is that of the configured registry, of Docker Hub, of this machine, of a listed host. */
    readonly reason: 'asked' | 'configured' | 'docker-hub' | 'loopback' | 'plain-http-hosts' | 'usual';
  };
  readonly allowed: boolean;
  readonly allowedReason: 'default' | 'all' | 'listed' | 'not-listed';
  readonly platform: { readonly platform: string; readonly isAsked: boolean };
  /** Prefix of names that have one component; `isApplied`: of this one. */
  readonly namespace: { readonly default: string; readonly isApplied: boolean };
  readonly credentials: PolicyCredentials;
  /** Where bearer tokens come from: a URL without its query, the challenge of the registry, or from nowhere. */
  readonly tokenEndpoint: string;
  readonly mirrors: readonly PolicyMirror[];
  /** Why there are no mirrors although some may be configured: the registry is a mirror itself. */
  readonly namespaceAsked: string | undefined;
  readonly tls: PolicyTls;
  readonly signature: {
    readonly policy: 'none' | 'enforce' | 'warn';
    /** The pattern that the repository fits. */
    readonly pattern: string | undefined;
    /** Names of the keys of which one must have signed. */
    readonly keys: readonly string[];
    readonly matchesRepository: boolean;
  };
}

/**
 * Reads an image to explain, also one whose registry is not allowed.
 *
 * @throws PassthroughError `INVALID_REFERENCE`, `INVALID_REGISTRY`
 */
export function readExplained(text: string, policy: HostPolicy, scheme?: string): ExplainedImage {
  const { host, repository } = parseReference(text);
  const describe = (image: ImageRequest, isAllowed: boolean): ExplainedImage => ({
    ...image,
    isNamed: host !== undefined,
    isAllowed,
    isPrefixed: image.reference.repository !== repository,
    isSchemeAsked: scheme !== undefined && host !== undefined,
  });
  try {
    return describe(imageRequest(text, policy, scheme), true);
  } catch (error) {
    if (!isPassthroughError(error, 'REGISTRY_NOT_ALLOWED')) throw error;
    return describe(imageRequest(text, { ...policy, allowedHosts: undefined }, scheme), false);
  }
}

/**
 * Tells what applies to an image. The answer has no secret in it.
 *
 * @throws PassthroughError `INVALID_CONFIGURATION` for an auth file that cannot be used
 */
export async function explainImage(
  explained: ExplainedImage,
  settings: ExplainSettings,
): Promise<PolicyFacts> {
  const { host, reference } = explained;
  const { policy, platform, isPlatformAsked, namespace } = settings;
  const credentials = await explainCredentials(host, reference.repository, settings.credentials);
  return {
    reference: formatReference(reference),
    registry: { name: host.name, origin: host.origin, ...schemeOf(explained, policy) },
    allowed: explained.isAllowed,
    allowedReason: allowedReason(explained, policy),
    platform: {
      platform: platform === 'all' ? platform : formatPlatform(platform),
      isAsked: isPlatformAsked,
    },
    namespace: { default: host.defaultNamespace, isApplied: explained.isPrefixed },
    credentials,
    tokenEndpoint: tokenOf(host.tokenEndpoint),
    mirrors: namespace === undefined ? await explainMirrors(explained, settings) : [],
    namespaceAsked: namespace,
    tls: await explainTls(host, settings.tls, credentials.client === 'required'),
    signature: explainSignature(explained, settings),
  };
}

function schemeOf(
  { host, isSchemeAsked }: ExplainedImage,
  { defaultHost }: HostPolicy,
): Pick<PolicyFacts['registry'], 'scheme' | 'reason'> {
  const { protocol, hostname } = new URL(host.origin);
  const scheme = protocol === 'http:' ? 'http' : 'https';
  if (host.origin === DOCKER_HUB.origin) return { scheme, reason: 'docker-hub' };
  if (isSchemeAsked) return { scheme, reason: 'asked' };
  if (host.origin === defaultHost.origin) return { scheme, reason: 'configured' };
  if (scheme === 'https') return { scheme, reason: 'usual' };
  return { scheme, reason: isLoopback(hostname) ? 'loopback' : 'plain-http-hosts' };
}

function allowedReason(
  { host, isNamed, isAllowed }: ExplainedImage,
  { allowedHosts }: HostPolicy,
): PolicyFacts['allowedReason'] {
  if (!isAllowed) return 'not-listed';
  if (allowedHosts === undefined) return 'all';
  const url = new URL(host.origin);
  return isNamed && allowedHosts.some((pattern) => matchesHost(pattern, url)) ? 'listed' : 'default';
}

/** A query may hold a secret. */
function tokenOf(endpoint: URL | 'discover' | 'none'): string {
  return endpoint instanceof URL ? `${endpoint.origin}${endpoint.pathname}` : endpoint;
}

async function explainMirrors(
  { host, reference: { repository } }: ImageRequest,
  { mirrors: { mirrors = [], mirrorAccounts }, credentials, states }: ExplainSettings,
): Promise<readonly PolicyMirror[]> {
  const { client, fixed, placesOf } = credentials;
  const requiresClient = client === 'required' || client === 'sent';
  const owner = certainOwnerOf(chooseCredential(host, undefined, fixed, { requiresClient, repository }));
  const stateOf = (url: string) => {
    const known = states?.find(({ mirror }) => mirror === url);
    return known && mirrorState(known);
  };
  return await Promise.all(
    mirrorsOf(mirrors, host).map(async (mirror) => {
      const name = repositoryAt(mirror, repository);
      const account = ownerOf(credentialAt(mirror, name, fixed));
      return {
        url: mirror.url,
        sources: await placesOf(mirror.host, name),
        isTrusted: isTrusted(account, { owner, requiresClient }, mirrorAccounts),
        state: stateOf(mirror.url),
      };
    }),
  );
}

function explainSignature(
  { host, reference: { repository } }: ImageRequest,
  { signatures, namespace }: ExplainSettings,
): PolicyFacts['signature'] {
  const { keys, requiredFor, policy, matchRepository: matchesRepository } = signatures;
  const names = namesOf({ host, repository, namespace: namespaceFor(repository, namespace) });
  const pattern = keys.length === 0 ? undefined : requiredFor.find((one) => isRequired([one], names));
  return {
    policy: pattern === undefined ? 'none' : policy,
    pattern,
    keys: keys.map(sourceOf).map(({ path, name }) => path ?? name),
    matchesRepository,
  };
}
