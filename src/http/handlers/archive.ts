import { type Span, trace } from '@opentelemetry/api';
import { PassthroughError } from '../../errors.ts';
import { type Delivery, etagOf, type Reader } from '../../pull/archive-file.ts';
import { obtainDelivery } from '../../pull/archive-files.ts';
import { CachingRepository } from '../../pull/cache/caching-repository.ts';
import { type ResolvedImage, resolvedAttributes } from '../../pull/image-attributes.ts';
import type { ArchiveTools } from '../../pull/image-service.ts';
import type { Progress } from '../../pull/progress.ts';
import { type ArchiveRequest, type PullTools, resolveArchive } from '../../pull/pull-archive.ts';
import type { Credential } from '../../registry/auth/credentials.ts';
import { openRepository } from '../../registry/open-repository.ts';
import type { Lease } from '../../util/single-flight.ts';
import { isMatched } from '../conditional.ts';
import { type CredentialChoice, challengeWhenDenied, extractCredentials } from '../extract-credentials.ts';
import type { RequestContext } from '../request-context.ts';
import { type ArchiveOrder, type ImageOrder, parseOrder } from '../routing/archive-request.ts';
import { bundleReferences } from '../routing/bundle.ts';
import type { ArchiveRoute, BundleRoute, ReferenceRoute } from '../routing/route.ts';
import { sendFile, sendNotModified } from '../send-file.ts';

/** A request for an archive that was read, and what may be used for it. */
export interface ReadRequest {
  readonly order: ArchiveOrder;
  readonly credentials: CredentialChoice;
  /** Span of the whole request. */
  readonly span: Span | undefined;
}

/** How a read request is pulled. */
export interface PullOptions {
  /** Stops it. */
  readonly signal: AbortSignal;
  /** Is told of the manifest's digest, where the order is of one image. */
  readonly resolved?: (image: ResolvedImage) => void;
  /** Says whether somebody has the archive of an entity tag already, so that nothing is prepared. */
  readonly isKnown?: (etag: string) => boolean;
  readonly onProgress?: (progress: Progress) => void;
}

/** What came of a pull. */
export interface Pulled {
  readonly etag: string;
  /** To be released; absent where it is known already. */
  readonly share?: Lease<Delivery>;
  readonly reader: Reader;
}

/**
 * Answers one request for an archive, from top to bottom: read the request, resolve it, prepare, send. Everything that can be
 * told without the registry is told before it is asked; the 200 goes out when all bytes are here.
 *
 * @throws PassthroughError what reading the request and the pull throw; once the 200 is out, whatever broke
 */
export async function handleArchive(
  exchange: RequestContext,
  route: ArchiveRoute | ReferenceRoute | BundleRoute,
  tools: ArchiveTools,
): Promise<void> {
  const request = await readRequest(exchange, route, tools);
  try {
    await answer(exchange, request, tools);
  } catch (error) {
    const targets = request.order.images.map(({ target }) => target);
    throw route.kind === 'archive'
      ? error
      : challengeWhenDenied(error, request.credentials, targets, tools.config);
  }
}

/**
 * Reads a request for an archive, its body included, and chooses its credentials.
 *
 * @throws PassthroughError what `parseOrder` and `extractCredentials` throw
 */
export async function readRequest(
  exchange: RequestContext,
  route: ArchiveRoute | ReferenceRoute | BundleRoute,
  { config }: ArchiveTools,
): Promise<ReadRequest> {
  const span = trace.getActiveSpan();
  const references = route.kind === 'bundle' ? await bundleReferences(exchange, route) : [];
  const order = await parseOrder(exchange, route, references, config, span);
  const targets = order.images.map(({ target }) => target);
  const isRequired = route.kind === 'archive' && route.requiresCredentials;
  const credentials = await extractCredentials(exchange, isRequired, targets, config);
  return { order, credentials, span };
}

/**
 * Resolves what a request asks for, with its own credentials, and prepares it, within the time that this may take.
 *
 * @throws PassthroughError what resolving and preparing throw; `REGISTRY_TIMEOUT`
 */
export async function pull(
  { order, credentials, span }: ReadRequest,
  { signal, resolved, isKnown, onProgress }: PullOptions,
  { config, layers, ...tools }: ArchiveTools,
): Promise<Pulled> {
  const limit = timeLimit(config.prepareTimeoutMs);
  try {
    const own: PullTools = {
      ...layers,
      limits: config.imageLimits,
      signal: AbortSignal.any([signal, limit.signal]),
      resolved: (image) => {
        if (order.images.length > 1) return;
        span?.setAttributes(resolvedAttributes(image));
        resolved?.(image);
      },
    };
    const archive = await resolveArchive(pullRequest(order, credentials, { config, layers, ...tools }), own);
    const etag = etagOf(archive.etag, order);
    // What is read later on has no limit but the reader's patience.
    const reader = { archive, tools: { ...own, signal } };
    if (isKnown?.(etag) === true) return { etag, reader };
    return { etag, reader, share: await obtainDelivery({ archive, order, pull: own, onProgress }, tools) };
  } finally {
    limit.clear();
  }
}

async function answer(exchange: RequestContext, read: ReadRequest, tools: ArchiveTools): Promise<void> {
  const { request, facts, signal } = exchange;
  const begun = performance.now();
  const resolved = ({ manifestDigest }: ResolvedImage) => {
    facts.digest = manifestDigest;
  };
  const isKnown = (etag: string) => isMatched(request.headers['if-none-match'], etag);
  const { etag, share, reader } = await pull(read, { signal, resolved, isKnown }, tools).finally(() => {
    facts.prepareMs = Math.round(performance.now() - begun);
  });
  const { staleMs } = reader.archive;
  if (staleMs !== undefined) facts.staleSeconds = Math.floor(staleMs / 1000);
  const about = { manifestDigest: facts.digest, staleMs };
  if (share === undefined) return sendNotModified(exchange, etag, about);
  try {
    const client = request.socket.remoteAddress ?? '';
    const address = request.url ?? '';
    const mayContinue = tools.downloads.mayContinue(client, address, etag);
    // Who asked for the rest of another file still has its beginning: it may leave, and ask for that rest once more.
    const isAnew = request.headers.range === undefined;
    if (request.method === 'GET' && (isAnew || mayContinue)) tools.downloads.note(client, address, etag);
    const { checksum, filename } = read.order;
    const file = {
      ...share.value,
      filename: checksum === undefined ? filename : `${filename}.${checksum}`,
    };
    await sendFile(exchange, file, {
      ...about,
      mayContinue,
      reader,
      stallMs: tools.config.sendStallMs,
    });
  } finally {
    share.release();
  }
}

function pullRequest(
  { images, layout, platform, isPlatformAsked }: ArchiveOrder,
  credentials: CredentialChoice,
  tools: ArchiveTools,
): ArchiveRequest {
  return {
    layout,
    fetchesForeignLayers: tools.config.registry.foreignLayers === 'fetch',
    images: images.map((image) => ({
      reference: image.reference,
      name: image.name,
      platform,
      isPlatformAsked,
      ...openRegistryOf(image, credentials, tools),
    })),
  };
}

function openRegistryOf({ target, reference }: ImageOrder, choose: CredentialChoice, tools: ArchiveTools) {
  const { access, memory, flights, manifestSlots } = tools;
  const credential = choose(target);
  const repository = { origin: target.origin, name: reference.repository };
  const registry = openRepository(access, { target, repository: reference.repository, credential });
  const credentials = ownerOf(credential);
  return {
    repository,
    registry: new CachingRepository(registry, {
      repository,
      memory,
      flights,
      manifestSlots,
      credentials,
    }),
  };
}

function ownerOf(credential: Credential): 'none' | 'operator' | 'client' {
  if (credential.type === 'none') return 'none';
  return credential.type === 'basic' && credential.source === 'client' ? 'client' : 'operator';
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
