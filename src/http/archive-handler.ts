import { type Span, trace } from '@opentelemetry/api';
import type { Config } from '../config.ts';
import { PassthroughError } from '../errors.ts';
import type { Admission } from '../pull/admission.ts';
import { type ResolvedImage, resolvedAttributes } from '../pull/image-attributes.ts';
import { type ArchiveRequest, type PullTools, prepareArchive, resolveArchive } from '../pull/pull-archive.ts';
import { openRegistry, type RegistryAccess } from '../registry/open-registry.ts';
import type { Workspace } from '../storage/workspace.ts';
import { instruments } from '../telemetry/metrics.ts';
import { errorType } from '../telemetry/span.ts';
import { type ArchiveOrder, parseOrder } from './archive-order.ts';
import { bundleReferences } from './bundle.ts';
import { isMatched } from './conditions.ts';
import { type ChecksumMemory, type Delivery, deliver, etagOf } from './delivery.ts';
import type { Exchange } from './exchange.ts';
import { type CredentialChoice, challengeWhenDenied, extractCredentials } from './extract-credentials.ts';
import type { ArchiveRoute, BundleRoute, ReferenceRoute } from './route.ts';
import { sendFile, sendNotModified } from './send-file.ts';
import type { StartedDownloads } from './started-downloads.ts';

/** What all archive requests of a service share. */
export interface ArchiveTools {
  readonly config: Config;
  readonly access: RegistryAccess;
  readonly workspace: Pick<Workspace, 'createFile' | 'probe'>;
  readonly admission: Admission;
  readonly checksums: ChecksumMemory;
  readonly downloads: StartedDownloads;
}

/**
 * Answers one request for an archive, from top to bottom: read the request, wait for a place, pull, send. Everything that
 * can be told without the registry is told before it is asked; the 200 goes out when all bytes are here.
 *
 * @throws PassthroughError what reading the request, admission and the pull throw; once the 200 is out, whatever broke
 */
export async function handleArchive(
  exchange: Exchange,
  route: ArchiveRoute | ReferenceRoute | BundleRoute,
  tools: ArchiveTools,
): Promise<void> {
  const span = trace.getActiveSpan();
  const references = route.kind === 'bundle' ? await bundleReferences(exchange, route) : [];
  const order = await parseOrder(exchange, route, references, tools.config, span);
  const targets = order.images.map(({ target }) => target);
  const isRequired = route.kind === 'archive' && route.requiresCredentials;
  const credentials = await extractCredentials(exchange, isRequired, targets, tools.config);

  try {
    await answer(exchange, order, credentials, span, tools);
  } catch (error) {
    throw route.kind === 'archive' ? error : challengeWhenDenied(error, credentials, targets, tools.config);
  }
}

async function answer(
  exchange: Exchange,
  order: ArchiveOrder,
  credentials: CredentialChoice,
  span: Span | undefined,
  tools: ArchiveTools,
): Promise<void> {
  const { request, facts } = exchange;
  const prepared = await prepare(exchange, order, credentials, span, tools);
  const manifestDigest = order.images.length === 1 ? facts.digest : undefined;
  if (prepared.file === undefined) return sendNotModified(exchange, prepared.etag, manifestDigest);
  const { file } = prepared;
  try {
    const client = request.socket.remoteAddress ?? '';
    const address = request.url ?? '';
    const mayContinue = tools.downloads.mayContinue(client, address, file.etag);
    // Who asked for the rest of another file still has its beginning: it may leave, and ask for that rest once more.
    const isAnew = request.headers.range === undefined;
    if (request.method === 'GET' && (isAnew || mayContinue)) {
      tools.downloads.note(client, address, file.etag);
    }
    await sendFile(exchange, file, { manifestDigest, mayContinue, stallMs: tools.config.sendStallMs });
  } finally {
    await file.close();
  }
}

/**
 * Pulls what is asked for in a place of its own, within the time that a preparation may take.
 *
 * @returns the file; none where the client has it already
 */
async function prepare(
  exchange: Exchange,
  order: ArchiveOrder,
  credentials: CredentialChoice,
  span: Span | undefined,
  { config, access, workspace, admission, checksums }: ArchiveTools,
): Promise<{ readonly etag: string; readonly file?: Delivery }> {
  const begun = performance.now();
  const leave = await admission.enter(exchange.signal);
  const stopwatch = startPreparation();
  const limit = timeLimit(config.prepareTimeoutMs);
  try {
    const signal = AbortSignal.any([exchange.signal, limit.signal]);
    const resolved = (image: ResolvedImage) => {
      if (order.images.length > 1) return;
      exchange.facts.digest = image.manifestDigest;
      span?.setAttributes(resolvedAttributes(image));
    };
    const tools: PullTools = { workspace, limits: config.imageLimits, signal, resolved };
    const archive = await resolveArchive(pullRequest(order, credentials, config, access), tools);
    const etag = etagOf(archive.etag, order);
    if (isMatched(exchange.request.headers['if-none-match'], etag)) {
      stopwatch.stop(undefined);
      return { etag };
    }
    const file = await deliver(await prepareArchive(archive, tools), order, { workspace, checksums, signal });
    stopwatch.stop(undefined);
    return { etag, file };
  } catch (error) {
    stopwatch.stop(error);
    throw error;
  } finally {
    limit.clear();
    leave();
    exchange.facts.prepareMs = Math.round(performance.now() - begun);
  }
}

function pullRequest(
  { images, layout, platform, isPlatformAsked }: ArchiveOrder,
  credentials: CredentialChoice,
  config: Config,
  access: RegistryAccess,
): ArchiveRequest {
  return {
    layout,
    fetchesForeignLayers: config.registry.foreignLayers === 'fetch',
    images: images.map(({ target, reference, name }) => ({
      reference,
      name,
      platform,
      isPlatformAsked,
      registry: openRegistry(access, {
        target,
        repository: reference.repository,
        credential: credentials(target),
      }),
    })),
  };
}

/** Counts a preparation among the active ones until it is stopped, and its time then. */
function startPreparation(): { stop(error: unknown): void } {
  const { activePreparations, preparationDuration } = instruments();
  const begun = performance.now();
  activePreparations.add(1);
  return {
    stop: (error) => {
      activePreparations.add(-1);
      const dimensions = error === undefined ? {} : { 'error.type': errorType(error) };
      preparationDuration.record((performance.now() - begun) / 1000, dimensions);
    },
  };
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
