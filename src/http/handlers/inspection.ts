import { parseSizing } from '../../archive/iox/settings.ts';
import { PassthroughError } from '../../errors.ts';
import { parseNamedPlatform } from '../../image/device.ts';
import type { Platform } from '../../image/platform.ts';
import { formatReference } from '../../image/reference.ts';
import {
  type ArchiveRequest,
  archiveRequest,
  checkPackage,
  type ImageRequest,
  imageRequest,
  updateOf,
} from '../../pull/request.ts';
import type { ManifestChoice } from '../../pull/resolve-manifest.ts';
import type { HostPolicy } from '../../registry/select-host.ts';
import { printableJson, quoted } from '../../util/printable.ts';
import type { Application } from '../application.ts';
import { type ClientAccess, challengeWhenDenied, extractCredentials } from '../client-credentials.ts';
import { clientOf } from '../client-limit.ts';
import { checkConditions } from '../conditional.ts';
import type { RequestContext } from '../request-context.ts';
import { sendDocument, sendJson } from '../respond.ts';
import { parseImage } from '../routing/archive-request.ts';
import type { ManifestRoute, TagsRoute } from '../routing/route.ts';
import { sendContent, sendNotModified } from '../send-file.ts';
import { addressOf, nameLeftOut } from './archive.ts';

/**
 * Answers with a manifest, byte for byte as the registry has it: the one that the reference names; with `?type=` the index, that of
 * one platform, or the config of this platform.
 *
 * @throws PassthroughError what parsing the request and `ImageService.manifest` throw
 */
export async function handleManifest(
  context: RequestContext,
  route: ManifestRoute,
  app: Application,
): Promise<void> {
  if (route.layout === 'iox') {
    await handleDescriptor(context, route, app);
    return;
  }
  if (route.sizing !== undefined) {
    const why = 'only layout=iox has a profile';
    throw new PassthroughError('INVALID_REFERENCE', `Cannot size the application: ${why}`);
  }
  const image = await parseImage(context, () => imageRequest(route.reference, app.config.registry));
  if (route.comparison !== undefined) return await compare(context, image, route, app);
  const choice = manifestChoice(route, app.config.defaultPlatform);
  await withCredentials(context, image, app, async (access) => {
    const { signal, facts, request } = context;
    const address = addressOf(context);
    const { digest, content, mediaType } = await counted(context, app, () =>
      app.images.manifest(image, choice, { signal, client: clientOf(address), ...access }),
    );
    try {
      facts.digest = digest;
      if (checkConditions(request, `"${digest}"`)) {
        sendNotModified(context, `"${digest}"`, { manifestDigest: digest });
        return;
      }
      const headers = {
        'Content-Type': mediaType,
        'Docker-Content-Digest': digest,
        ETag: `"${digest}"`,
        'Cache-Control': 'no-cache',
      };
      await sendContent(context, content, headers, app.config.sendStallMs);
    } finally {
      content.release();
    }
  });
}

/** Answers with what an update archive of an image would have. */
async function compare(
  context: RequestContext,
  whole: ImageRequest,
  { comparison, platform: text }: ManifestRoute,
  app: Application,
): Promise<void> {
  const { since = '', layout = 'docker' } = comparison ?? {};
  const image = updateOf(whole, since);
  if (image.base !== undefined) context.facts.since = formatReference(image.base);
  const platform = text === undefined ? app.config.defaultPlatform : parseNamedPlatform(text);
  if (platform === 'all')
    throw new PassthroughError('INVALID_PLATFORM', 'Cannot compare all platforms: name one of them');
  const request = { ...archiveRequest([image], { platform, layout }), isPlatformAsked: text !== undefined };
  await withCredentials(context, image, app, async (access) => {
    const { signal } = context;
    const client = clientOf(addressOf(context));
    const { layers, ...compared } = await counted(context, app, () =>
      app.images.compare(request, { signal, client, ...access }),
    );
    sendJson(context, 200, {
      ...{ image: compared.image, base: compared.base },
      layers: layers.map(({ isShared, ...layer }) => ({ ...layer, shared: isShared })),
      ...{ bytes: compared.bytes, updateBytes: compared.updateBytes },
    });
  });
}

/** Answers with the descriptor that a package of the image has. */
async function handleDescriptor(
  context: RequestContext,
  route: ManifestRoute,
  app: Application,
): Promise<void> {
  const image = await parseImage(context, () => imageRequest(route.reference, app.config.registry));
  const request = descriptorRequest(route, image, app.config.defaultPlatform);
  await withCredentials(context, image, app, async (access) => {
    const { signal, facts } = context;
    const client = clientOf(addressOf(context));
    const { digest, yaml, leftOut } = await counted(context, app, () =>
      app.images.descriptor(request, { signal, client, ...access }),
    );
    facts.digest = digest;
    nameLeftOut(context, leftOut);
    sendDocument(context, Buffer.from(yaml), {
      'Content-Type': 'application/yaml',
      'Docker-Content-Digest': digest,
      'Cache-Control': 'no-cache',
    });
  });
}

function descriptorRequest(
  { type, platform: text, sizing: texts }: ManifestRoute,
  image: ImageRequest,
  defaultPlatform: Platform,
): ArchiveRequest {
  if (type !== undefined) {
    const why = 'layout=iox asks for a descriptor, which has no type';
    throw new PassthroughError('INVALID_REFERENCE', `Cannot use type=${type}: ${why}`);
  }
  const platform = text === undefined ? defaultPlatform : parseNamedPlatform(text);
  const sizing = texts && parseSizing(texts);
  const request = archiveRequest([image], { platform, layout: 'iox', sizing });
  checkPackage(request);
  return { ...request, isPlatformAsked: text !== undefined };
}

/**
 * Answers with all tags of a repository, as `{ "name", "tags" }`.
 *
 * @throws PassthroughError what parsing the request and `ImageService.tags` throw
 */
export async function handleTags(context: RequestContext, route: TagsRoute, app: Application): Promise<void> {
  const image = await parseImage(context, () => repositoryOf(route.repository, app.config.registry));
  await withCredentials(context, image, app, async (access) => {
    const { signal } = context;
    const client = clientOf(addressOf(context));
    const tags = await counted(context, app, () => app.images.tags(image, { signal, client, ...access }));
    try {
      const { registryName, repository } = image.reference;
      const name = printableJson(`${registryName}/${repository}`);
      const headers = { 'Content-Type': 'application/json', 'Cache-Control': 'no-cache' };
      const around = { before: `{"name":${name},"tags":`, after: '}\n' };
      await sendContent(context, tags, headers, app.config.sendStallMs, around);
    } finally {
      tags.release();
    }
  });
}

/** Runs a look-up, which counts as work of the client until its result is there. */
async function counted<T>(context: RequestContext, app: Application, lookUp: () => Promise<T>): Promise<T> {
  const leave = app.clients.enter(addressOf(context), 'look-up');
  try {
    return await lookUp();
  } finally {
    leave();
  }
}

/** A repository is written as a reference without tag and digest. */
function repositoryOf(text: string, policy: HostPolicy): ImageRequest {
  if (/[:@]/.test(text.slice(text.lastIndexOf('/') + 1))) {
    throw new PassthroughError(
      'INVALID_REFERENCE',
      `Cannot list the tags of ${quoted(text)}: expected a repository without tag and digest`,
    );
  }
  const { host, reference } = imageRequest(text, policy);
  const { registryName, repository } = reference;
  return { host, reference: { registryName, repository }, name: reference };
}

/** Runs an inspection with the client's credentials, and asks the client for some if the registry wants them. */
async function withCredentials(
  context: RequestContext,
  { host }: ImageRequest,
  app: Application,
  inspect: (client: ClientAccess) => Promise<void>,
): Promise<void> {
  const client = await extractCredentials(context, false, [host], app);
  try {
    await inspect(client);
  } catch (error) {
    throw challengeWhenDenied(error, [host], client, app);
  }
}

function manifestChoice({ type, platform: text }: ManifestRoute, defaultPlatform: Platform): ManifestChoice {
  if (type === 'index') return { type, platform: undefined };
  if (text !== undefined) {
    const platform = parseNamedPlatform(text);
    if (platform === 'all') {
      throw new PassthroughError(
        'INVALID_PLATFORM',
        'Cannot show the manifest of all platforms: ask for type=index',
      );
    }
    return { type, platform: { platform, isPlatformAsked: true } };
  }
  const platform = type === undefined ? undefined : { platform: defaultPlatform, isPlatformAsked: false };
  return { type, platform };
}
