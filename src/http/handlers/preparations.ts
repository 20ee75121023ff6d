import { PassthroughError } from '../../errors.ts';
import { formatReference } from '../../image/reference.ts';
import type { ArchiveTools } from '../../pull/image-service.ts';
import type { Job, PreparationJobs } from '../../pull/preparations.ts';
import { problemOf } from '../problem.ts';
import type { RequestContext } from '../request-context.ts';
import { sendJson, sendNothing } from '../respond.ts';
import { mayHoldCredentials } from '../routing/path.ts';
import type { PreparationRoute, PrepareRoute } from '../routing/route.ts';
import { pull, readRequest } from './archive.ts';

/** Seconds after which it makes sense to ask again how far a preparation is. */
const ASK_AGAIN_S = 1;

/**
 * Begins to prepare an archive and answers at once with where to ask how far it is. What can be told without the registry is
 * refused here; whatever comes later, the preparation tells.
 *
 * @throws PassthroughError what reading the request throws; `NOT_FOUND` where nothing is kept; `BUSY`
 */
export async function handlePrepare(
  exchange: RequestContext,
  route: PrepareRoute,
  jobs: PreparationJobs,
  tools: ArchiveTools,
): Promise<void> {
  if (tools.config.cache.maxBytes === 0) {
    const why = 'CACHE_MAX_BYTES is 0, so that nothing would be kept of it';
    throw new PassthroughError('NOT_FOUND', `Cannot prepare an archive beforehand: ${why}`);
  }
  const read = await readRequest(exchange, route.archive, tools);
  const target = (exchange.request.url ?? '').replace(/^.*?\/prepare(?=\/)/, '');
  const subject = {
    path: mayHoldCredentials(target) ? '/REDACTED' : target,
    images: read.order.images.map(({ reference }) => formatReference(reference)),
  };
  const job = jobs.start(subject, async (signal, onProgress) => {
    const { share } = await pull(read, { signal, onProgress }, tools);
    share?.release();
  });
  const location = `/preparations/${job.id}`;
  sendJson(exchange, 202, describe(job), { Location: location, 'Retry-After': String(ASK_AGAIN_S) });
}

/**
 * Tells how far a preparation is, or cancels it.
 *
 * @throws PassthroughError `NOT_FOUND`
 */
export async function handlePreparation(
  exchange: RequestContext,
  { id }: PreparationRoute,
  jobs: PreparationJobs,
): Promise<void> {
  if (exchange.request.method === 'DELETE') {
    if (!(await jobs.cancel(id))) throw unknown();
    return sendNothing(exchange);
  }
  const job = jobs.find(id);
  if (job === undefined) throw unknown();
  sendJson(
    exchange,
    200,
    describe(job),
    job.endedAt === undefined ? { 'Retry-After': String(ASK_AGAIN_S) } : {},
  );
}

/** What is told of a preparation, in JSON. */
function describe({ id, subject, state, progress, startedAt, endedAt, error }: Job) {
  return {
    id,
    ...subject,
    state,
    ...progress,
    startedAt: startedAt.toISOString(),
    endedAt: endedAt?.toISOString(),
    error: error === undefined ? undefined : describeError(error),
  };
}

function describeError(cause: unknown) {
  const { status, title, detail, error } = problemOf(cause);
  return { status, title, detail, code: error.code };
}

function unknown(): PassthroughError {
  return new PassthroughError(
    'NOT_FOUND',
    'No preparation has this id: it has never been, or ended long ago',
  );
}
