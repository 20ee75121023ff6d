import type { Config } from '../config.ts';
import { PassthroughError } from '../errors.ts';
import { parseFilename } from '../image/filename.ts';
import { formatPlatform, parsePlatform } from '../image/platform.ts';
import { formatReference } from '../image/reference.ts';
import type { Admission } from '../pull/admission.ts';
import { type PulledImage, type PullRequest, pullImage } from '../pull/pull-image.ts';
import { type BasicCredentials, chooseCredential } from '../registry/credentials.ts';
import { openRegistry, type RegistryAccess } from '../registry/open-registry.ts';
import type { RegistryTarget } from '../registry/target.ts';
import type { Workspace } from '../storage/workspace.ts';
import { withSpan } from '../telemetry/span.ts';
import { parseBasicCredentials } from './client-credentials.ts';
import type { Exchange } from './exchange.ts';
import type { ArchiveRoute } from './route.ts';
import { selectRegistry } from './select-registry.ts';
import { sendArchive } from './send.ts';

/** What all archive requests of a service share. */
export interface ArchiveTools {
  readonly config: Config;
  readonly access: RegistryAccess;
  readonly workspace: Workspace;
  readonly admission: Admission;
}

/**
 * Answers one request for an archive, from top to bottom: read the request, wait for a place, pull, send. Everything that
 * can be told without the registry is told before it is asked; the 200 goes out when all bytes are here.
 *
 * @throws PassthroughError what reading the request, admission and the pull throw; once the 200 is out, whatever broke
 */
export async function handleArchive(
  exchange: Exchange,
  route: ArchiveRoute,
  tools: ArchiveTools,
): Promise<void> {
  const { target, pull } = await parseImageRequest(exchange, route, tools.config);
  const client = await extractClientCredentials(exchange, route, tools.config);

  const image = await prepare(exchange, target, pull, client, tools);
  try {
    await sendArchive(exchange, image, { filename: route.filename, stallMs: tools.config.sendStallMs });
  } finally {
    await image.close();
  }
}

/** Which image, of which registry, for which platform. */
function parseImageRequest({ facts }: Exchange, route: ArchiveRoute, config: Config) {
  return withSpan('parse_image_request', {}, (span): { target: RegistryTarget; pull: PullRequest } => {
    const target = selectRegistry(route.registry, config.registry);
    const { repository, tag } = parseFilename(route.filename, target.defaultNamespace);
    const platform = route.platform === undefined ? config.defaultPlatform : parsePlatform(route.platform);
    const reference = { registryName: target.name, repository, tag };
    facts.image = formatReference(reference);
    facts.platform = formatPlatform(platform);
    span.setAttributes({
      'container.image.name': `${target.name}/${repository}`,
      'container.image.tag': tag,
      'container.image.tags': [tag],
      'oci.image.ref': facts.image,
    });
    return { target, pull: { reference, platform, isPlatformAsked: route.platform !== undefined } };
  });
}

/** The client's registry credentials, where it sent any and they may be used; a challenge where it must send some. */
function extractClientCredentials({ request }: Exchange, route: ArchiveRoute, config: Config) {
  const mode = config.registry.clientAuth;
  const isRequired = route.requiresCredentials || mode === 'required';
  const attributes = {
    'registry.client_auth.mode': mode,
    'registry.client_auth.credentials_present': request.headers.authorization !== undefined,
  };
  return withSpan(
    'extract_registry_client_credentials',
    { attributes },
    (span): BasicCredentials | undefined => {
      const isUsable = isRequired || mode === 'optional';
      try {
        const credentials = isUsable ? parseBasicCredentials(request.headers.authorization) : undefined;
        if (credentials === undefined && isRequired) {
          throw new PassthroughError(
            'CREDENTIALS_REQUIRED',
            'Send them as HTTP Basic: user name and password of the registry',
          );
        }
        span.setAttributes({
          'registry.client_auth.credentials_used': credentials !== undefined,
          'registry.client_auth.challenge_sent': false,
        });
        return credentials;
      } catch (error) {
        span.setAttributes({
          'registry.client_auth.credentials_used': false,
          'registry.client_auth.challenge_sent': true,
        });
        throw error;
      }
    },
  );
}

/** Pulls the image in a place of its own, within the time that a preparation may take. */
async function prepare(
  exchange: Exchange,
  target: RegistryTarget,
  pull: PullRequest,
  client: BasicCredentials | undefined,
  { config, access, workspace, admission }: ArchiveTools,
): Promise<PulledImage> {
  const begun = performance.now();
  const leave = await admission.enter(exchange.signal);
  const limit = timeLimit(config.prepareTimeoutMs);
  try {
    const credential = chooseCredential(target, client, config.registry.credentials);
    const registry = openRegistry(access, { target, repository: pull.reference.repository, credential });
    const signal = AbortSignal.any([exchange.signal, limit.signal]);
    const image = await pullImage(pull, { registry, workspace, limits: config.imageLimits, signal });
    exchange.facts.digest = image.manifestDigest;
    return image;
  } finally {
    limit.clear();
    leave();
    exchange.facts.prepareMs = Math.round(performance.now() - begun);
  }
}

function timeLimit(ms: number): { readonly signal: AbortSignal; clear(): void } {
  const controller = new AbortController();
  const expire = () =>
    controller.abort(
      new PassthroughError('REGISTRY_TIMEOUT', `Cannot prepare the image: it took more than ${ms / 1000} s`),
    );
  const timer = setTimeout(expire, ms);
  return { signal: controller.signal, clear: () => clearTimeout(timer) };
}
