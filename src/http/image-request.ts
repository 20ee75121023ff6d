import type { Span } from '@opentelemetry/api';
import type { Config } from '../config.ts';
import { PassthroughError } from '../errors.ts';
import { parseFilename } from '../image/filename.ts';
import { formatPlatform, parsePlatform } from '../image/platform.ts';
import { formatReference } from '../image/reference.ts';
import { referenceAttributes } from '../pull/image-attributes.ts';
import type { PullRequest } from '../pull/pull-image.ts';
import { type Credential, chooseCredential } from '../registry/credentials.ts';
import type { RegistryTarget } from '../registry/target.ts';
import { withSpan } from '../telemetry/span.ts';
import { parseBasicCredentials } from './client-credentials.ts';
import type { Exchange } from './exchange.ts';
import { problemOf } from './problem.ts';
import type { ArchiveRoute } from './route.ts';
import { selectRegistry } from './select-registry.ts';

/**
 * Reads which image is asked for, of which registry and for which platform, and notes it for log and telemetry.
 *
 * @param requestSpan gets what is known of registry and image
 * @throws PassthroughError `INVALID_FILENAME`, `INVALID_PLATFORM`, `INVALID_REGISTRY`, `REGISTRY_NOT_ALLOWED`
 */
export function parseImageRequest(
  { facts }: Exchange,
  route: ArchiveRoute,
  config: Config,
  requestSpan: Span | undefined,
) {
  return withSpan(
    'parse_image_request',
    { isFailure },
    (span): { target: RegistryTarget; pull: PullRequest } => {
      const target = selectRegistry(route.registry, config.registry);
      facts.registry = target.name;
      requestSpan?.setAttributes({
        'registry.name': target.name,
        'registry.url': target.origin,
        'registry.target.source': route.registry === undefined ? 'environment' : 'request',
        'registry.default_namespace': target.defaultNamespace,
      });
      const { repository, tag } = parseFilename(route.filename, target.defaultNamespace);
      const platform = route.platform === undefined ? config.defaultPlatform : parsePlatform(route.platform);
      const reference = { registryName: target.name, repository, tag };
      facts.image = formatReference(reference);
      facts.platform = formatPlatform(platform);
      span.setAttributes(referenceAttributes(reference));
      requestSpan?.setAttributes(referenceAttributes(reference));
      return { target, pull: { reference, platform, isPlatformAsked: route.platform !== undefined } };
    },
  );
}

/**
 * What the pull is authorized with: the client's registry credentials, where it sent any and they may be used, else the
 * operator's.
 *
 * @throws PassthroughError `CREDENTIALS_REQUIRED` where the client must send some, or sent what cannot be read
 */
export function extractCredential(
  { request }: Exchange,
  route: ArchiveRoute,
  target: RegistryTarget,
  { registry: { clientAuth, credentials } }: Config,
): Promise<Credential> {
  const mode = route.requiresCredentials ? 'required' : clientAuth;
  const { authorization } = request.headers;
  const attributes = {
    'registry.client_auth.mode': mode,
    'registry.client_auth.credentials_present': authorization !== undefined,
    'registry.client_auth.credentials_used': false,
    'registry.client_auth.challenge_sent': false,
  };
  return withSpan('extract_registry_client_credentials', { attributes, isFailure }, (span) => {
    try {
      const client = mode === 'off' ? undefined : parseBasicCredentials(authorization);
      if (client === undefined && mode === 'required') {
        throw new PassthroughError(
          'CREDENTIALS_REQUIRED',
          'Send them as HTTP Basic: user name and password of the registry',
        );
      }
      const credential = chooseCredential(target, client, credentials);
      const isClients = credential.type === 'basic' && credential.source === 'client';
      span.setAttribute('registry.client_auth.credentials_used', isClients);
      return credential;
    } catch (error) {
      span.setAttribute('registry.client_auth.challenge_sent', true);
      throw error;
    }
  });
}

/** Whether an error is this side's or the registry's: the client's own leave the status of its spans unset. */
function isFailure(error: unknown): boolean {
  return problemOf(error).status >= 500;
}
