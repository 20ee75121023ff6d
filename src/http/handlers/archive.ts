import { createHash } from 'node:crypto';
import { type Span, trace } from '@opentelemetry/api';
import { formatReference } from '../../image/reference.ts';
import type { ArchiveFile } from '../../pull/archive-file.ts';
import type { EarlyFile } from '../../pull/direct/early-archives.ts';
import { digestAttributes } from '../../pull/image-attributes.ts';
import { stopping } from '../../pull/preparations.ts';
import type { Progress } from '../../pull/progress.ts';
import type { ArchiveRequest } from '../../pull/request.ts';
import type { ResolvedArchive } from '../../pull/resolve-archive.ts';
import { digestsOf } from '../../pull/resolve-manifest.ts';
import { instruments } from '../../telemetry/metrics.ts';
import type { Application } from '../application.ts';
import { type ClientAccess, challengeWhenDenied, extractCredentials } from '../client-credentials.ts';
import { clientOf } from '../client-limit.ts';
import { checkConditions } from '../conditional.ts';
import type { RequestContext } from '../request-context.ts';
import { parseArchiveRequest } from '../routing/archive-request.ts';
import { withFilenameHint } from '../routing/filename-hint.ts';
import type { PullRoute } from '../routing/route.ts';
import { mayBeEarly, sendEarly } from '../send-early.ts';
import { sendFile, sendNotModified } from '../send-file.ts';
import { bundleReferences } from './bundle-references.ts';

/** A request for an archive, and what came with it for its registry. */
export interface ParsedRequest {
  readonly request: ArchiveRequest;
  readonly client: ClientAccess;
}

/**
 * Answers a request for an archive: parse, resolve, pull, send. All checks that need no registry come first. The 200 goes out when
 * all bytes are stored and verified.
 *
 * @throws PassthroughError what parsing, resolving and pulling throw; once the 200 is out, what broke the answer
 */
export async function handleArchive(
  context: RequestContext,
  route: PullRoute,
  app: Application,
): Promise<void> {
  if (app.isStopping) throw stopping('begin a download');
  const parsed = await parseRequest(context, route, app);
  app.activity.describe(context, { layout: parsed.request.layout });
  const leave = app.clients.enter(addressOf(context), 'download', workOf(context, parsed));
  let prepared: PreparedArchive | undefined;
  try {
    prepared = await prepare(context, route, parsed, app);
  } catch (error) {
    const hosts = parsed.request.images.map(({ host }) => host);
    throw route.kind === 'archive'
      ? withFilenameHint(error, route.filename)
      : challengeWhenDenied(error, hosts, parsed.client, app);
  } finally {
    if (prepared !== undefined && 'fetched' in prepared.file) void prepared.file.fetched.then(leave);
    else leave();
  }
  await send(context, prepared, app);
}

/** The address of the client, also behind a trusted proxy. */
export function addressOf({ client }: RequestContext): string {
  return client.address;
}

/** Names the work of a request: requests of equal names ask for the same file with the same rights. */
function workOf({ request: { url, headers } }: RequestContext, { request }: ParsedRequest): string {
  const images = request.images.flatMap(({ reference, base }) =>
    [reference, base].map((one) => one && formatReference(one)),
  );
  const facts = JSON.stringify([url, headers.authorization, images]);
  // Hashed: a URL may be long, and the credentials must not stay in memory.
  return createHash('sha256').update(facts).digest('base64');
}

/**
 * Parses a request for an archive, its body included, and extracts its credentials.
 *
 * @throws PassthroughError what `parseArchiveRequest` and `extractCredentials` throw
 */
export async function parseRequest(
  context: RequestContext,
  route: PullRoute,
  app: Application,
): Promise<ParsedRequest> {
  const written = route.kind === 'bundle' ? await bundleReferences(context, route) : [];
  const request = await parseArchiveRequest(context, route, written, app.config);
  const hosts = request.images.map(({ host }) => host);
  const isRequired = route.kind === 'archive' && route.requiresCredentials;
  return { request, client: await extractCredentials(context, isRequired, hosts, app) };
}

/** An archive that is ready to be sent; in place of the file, its entity tag if the client has it already. */
interface PreparedArchive {
  readonly resolved: ResolvedArchive;
  readonly file: ArchiveFile | EarlyFile | { readonly knownEtag: string };
}

async function prepare(
  context: RequestContext,
  route: PullRoute,
  { request, client: access }: ParsedRequest,
  app: Application,
): Promise<PreparedArchive> {
  const { facts, signal } = context;
  const startedAt = performance.now();
  const span = trace.getActiveSpan();
  try {
    using held = new DisposableStack();
    const resolved = await app.images.resolve(request, { signal, ...access });
    held.defer(() => resolved.release());
    describeResolved(resolved, context, span);
    const file = await openFile(context, route, resolved, app);
    describeSaving(resolved, file, context, span);
    held.move();
    return { resolved, file };
  } finally {
    facts.prepareMs = Math.round(performance.now() - startedAt);
  }
}

/** Opens the file, unless the conditions of the request say that the client has it. */
async function openFile(
  context: RequestContext,
  { start }: PullRoute,
  resolved: ResolvedArchive,
  app: Application,
): Promise<PreparedArchive['file']> {
  const { request, signal } = context;
  const { 'if-match': ifMatch = '', 'if-none-match': ifNoneMatch = '' } = request.headers;
  const isDeflatedNamed = `${ifMatch} ${ifNoneMatch}`.includes(resolved.deflatedEtag);
  const expected = isDeflatedNamed ? resolved.deflatedEtag : resolved.etag;
  if (checkConditions(request, expected)) return { knownEtag: expected };
  const onProgress = (progress: Progress) => app.activity.describe(context, { progress });
  const options = { signal, client: clientOf(addressOf(context)), onProgress };
  const isEarly = (start ?? app.config.start) === 'early' && mayBeEarly(context);
  const early = isEarly ? await app.images.pullEarly(resolved, options) : undefined;
  const isHeadOnly = request.method === 'HEAD';
  const file = early ?? (await app.images.pull(resolved, { ...options, isHeadOnly }));
  try {
    if (file.etag === expected || !checkConditions(request, file.etag)) return file;
  } catch (error) {
    await file.close();
    throw error;
  }
  await file.close();
  return { knownEtag: file.etag };
}

async function send(
  context: RequestContext,
  { resolved, file }: PreparedArchive,
  app: Application,
): Promise<void> {
  const [image, ...more] = resolved.images;
  const baseDigest = more.length === 0 ? image?.base?.manifest.digest : undefined;
  const about = { manifestDigest: context.facts.digest, baseDigest, staleMs: resolved.staleMs };
  if ('leftOut' in file) nameLeftOut(context, file.leftOut);
  try {
    if ('knownEtag' in file) return sendNotModified(context, file.knownEtag, about);
    const { downloads, config } = app;
    const options = { ...about, downloads, stallMs: config.sendStallMs };
    if ('fetched' in file) await sendEarly(context, file, options);
    else await sendFile(context, file, options);
  } finally {
    if (!('knownEtag' in file)) await file.close();
    resolved.release();
  }
}

/** Tells, in the answer and in the log, which labels a descriptor does not have. */
export function nameLeftOut({ response, facts }: RequestContext, labels: readonly string[]): void {
  if (labels.length === 0) return;
  facts.leftOut = labels.join(', ');
  response.setHeader('IOx-Labels-Left-Out', facts.leftOut);
}

/** Records what the references resolved to, for log and telemetry. */
function describeResolved(
  { images, staleMs }: ResolvedArchive,
  { facts }: RequestContext,
  span: Span | undefined,
): void {
  if (staleMs !== undefined) facts.staleSeconds = Math.floor(staleMs / 1000);
  const [image] = images;
  if (image === undefined || images.length > 1) return;
  facts.digest = image.manifest.digest;
  span?.setAttributes(digestAttributes(image.request.reference, digestsOf(image.manifest)));
  if (image.base !== undefined)
    span?.setAttribute('passthrough.since.manifest.digest', image.base.manifest.digest);
}

/** Records what an update leaves out. The metric counts whole downloads: a client that continues one has saved nothing more. */
function describeSaving(
  { images, layers }: ResolvedArchive,
  file: PreparedArchive['file'],
  { request, facts }: RequestContext,
  span: Span | undefined,
): void {
  if (images.every(({ base }) => base === undefined) || 'knownEtag' in file) return;
  if (file.layers === undefined) return;
  const saved = layers.bytes - file.layers.bytes;
  facts.savedBytes = saved;
  span?.setAttributes({
    'passthrough.since.layers': layers.count - file.layers.count,
    'passthrough.since.bytes': saved,
  });
  if (request.method === 'GET' && request.headers.range === undefined) instruments().saved.add(saved);
}
