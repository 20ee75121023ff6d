import { trace } from '@opentelemetry/api';
import type { Config } from '../../config/config.ts';
import { PassthroughError } from '../../errors.ts';
import { devicePlatform } from '../../image/device.ts';
import { parseManifest } from '../../image/manifest.ts';
import { type Platform, parsePlatform } from '../../image/platform.ts';
import { formatReference, type Reference } from '../../image/reference.ts';
import { referenceAttributes } from '../../pull/image-attributes.ts';
import type { ArchiveTools } from '../../pull/image-service.ts';
import { resolveManifest } from '../../pull/resolve-manifest.ts';
import { openRepository } from '../../registry/open-repository.ts';
import type { RegistryHost } from '../../registry/registry-host.ts';
import type { Repository } from '../../registry/repository.ts';
import { withSpan } from '../../telemetry/span.ts';
import { isMatched } from '../conditional.ts';
import { challengeWhenDenied, extractCredentials } from '../extract-credentials.ts';
import { isFailure } from '../problem.ts';
import type { RequestContext } from '../request-context.ts';
import { sendDocument } from '../respond.ts';
import { imageOf } from '../routing/archive-request.ts';
import type { ManifestRoute, TagsRoute } from '../routing/route.ts';
import { sendNotModified } from '../send-file.ts';

/** What an inspection looks at. */
interface Subject {
  readonly target: RegistryHost;
  readonly reference: Reference;
}

/**
 * Answers with a manifest, byte for byte as the registry has it: the one that the reference names, or with `?type=` the index
 * or an image's.
 *
 * @throws PassthroughError what reading the request and the registry throw
 */
export async function handleManifest(
  exchange: RequestContext,
  route: ManifestRoute,
  tools: ArchiveTools,
): Promise<void> {
  const subject = await parseSubject(exchange, () => imageOf(route.reference, tools.config));
  const platform = readPlatform(route, tools);
  await withRegistry(exchange, subject, tools, async (registry) => {
    const { digest, bytes, mediaType } = await fetchManifest(
      registry,
      subject.reference,
      route,
      platform,
      exchange,
    );
    exchange.facts.digest = digest;
    if (isMatched(exchange.request.headers['if-none-match'], `"${digest}"`)) {
      sendNotModified(exchange, `"${digest}"`, { manifestDigest: digest });
      return;
    }
    sendDocument(exchange, bytes, {
      'Content-Type': mediaType,
      'Docker-Content-Digest': digest,
      ETag: `"${digest}"`,
      'Cache-Control': 'no-cache',
    });
  });
}

/**
 * Answers with the tags of a repository, all pages of them, as `{ "name", "tags" }`.
 *
 * @throws PassthroughError what reading the request and the registry throw
 */
export async function handleTags(
  exchange: RequestContext,
  route: TagsRoute,
  tools: ArchiveTools,
): Promise<void> {
  const subject = await parseSubject(exchange, () => repositoryOf(route.repository, tools.config));
  await withRegistry(exchange, subject, tools, async (registry) => {
    const tags = await registry.listTags(exchange.signal);
    const { registryName, repository } = subject.reference;
    const document = { name: `${registryName}/${repository}`, tags };
    sendDocument(exchange, Buffer.from(`${JSON.stringify(document)}\n`), {
      'Content-Type': 'application/json',
      'Cache-Control': 'no-cache',
    });
  });
}

/** A repository is written as a reference that names neither tag nor digest. */
function repositoryOf(text: string, config: Config): Subject {
  if (/[:@][^/]*$/.test(text)) {
    throw new PassthroughError(
      'INVALID_REFERENCE',
      `Cannot list the tags of ${JSON.stringify(text)}: expected a repository without tag and digest`,
    );
  }
  const { target, reference } = imageOf(text, config);
  const { registryName, repository } = reference;
  return { target, reference: { registryName, repository } };
}

function parseSubject({ facts }: RequestContext, parse: () => Subject): Promise<Subject> {
  const requestSpan = trace.getActiveSpan();
  return withSpan('parse_image_request', { isFailure }, (span): Subject => {
    const { target, reference } = parse();
    facts.registry = target.name;
    facts.image = formatReference(reference);
    for (const one of [span, requestSpan]) one?.setAttributes(referenceAttributes(reference));
    requestSpan?.setAttributes({ 'registry.name': target.name, 'registry.url': target.origin });
    return { target, reference };
  });
}

/** Opens the registry with whatever credentials there are, and asks the client for some where it wants them. */
async function withRegistry(
  exchange: RequestContext,
  { target, reference: { repository } }: Subject,
  { config, access }: ArchiveTools,
  inspect: (registry: Repository) => Promise<void>,
): Promise<void> {
  const choose = await extractCredentials(exchange, false, [target], config);
  try {
    await inspect(openRepository(access, { target, repository, credential: choose(target) }));
  } catch (error) {
    throw challengeWhenDenied(error, choose, [target], config);
  }
}

async function fetchManifest(
  registry: Repository,
  reference: Reference,
  { type }: ManifestRoute,
  platform: Platform | undefined,
  { signal }: RequestContext,
) {
  const name = reference.digest ?? reference.tag ?? 'latest';
  return await withSpan('resolve_manifest', { attributes: referenceAttributes(reference) }, async () => {
    if (platform !== undefined) {
      const { digest, bytes, manifest } = await resolveManifest(registry, name, platform, signal, {
        artifacts: true,
      });
      return { digest, bytes, mediaType: manifest.mediaType };
    }
    const { digest, bytes, contentType } = await registry.getManifest(name, signal);
    const manifest = parseManifest(bytes, contentType, { artifacts: true });
    if (type === 'index' && manifest.kind !== 'index') {
      throw new PassthroughError(
        'PLATFORM_NOT_FOUND',
        `Cannot show the index of ${JSON.stringify(formatReference(reference))}: it is for a single platform and has none`,
      );
    }
    return { digest, bytes, mediaType: manifest.mediaType };
  });
}

/** The platform whose manifest is wanted; `undefined` for whatever the reference names. */
function readPlatform({ type, platform }: ManifestRoute, { config }: ArchiveTools): Platform | undefined {
  if (type === 'index') return undefined;
  if (platform !== undefined) return devicePlatform(platform) ?? parsePlatform(platform);
  return type === 'image' ? config.defaultPlatform : undefined;
}
