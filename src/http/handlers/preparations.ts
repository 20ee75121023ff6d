import { PassthroughError } from '../../errors.ts';
import { type Preparation, stopping } from '../../pull/preparations.ts';
import type { Application } from '../application.ts';
import { clientOf } from '../client-limit.ts';
import { logPreparation } from '../observe/request-log.ts';
import { problemOf } from '../problem.ts';
import type { RequestContext } from '../request-context.ts';
import { sendJson, sendNothing } from '../respond.ts';
import { mayHoldCredentials } from '../routing/path.ts';
import type { PreparationRoute, PrepareRoute } from '../routing/route.ts';
import { addressOf, parseRequest } from './archive.ts';

/** Longest path and query that are kept of a preparation, in characters. The query of a tracked URL may have 30 KB. */
const MAX_TARGET_LENGTH = 4096;

/** `Retry-After` of a preparation that runs, in seconds: when to look it up again. */
const LOOK_AGAIN_S = 1;

/**
 * Starts to prepare an archive, and answers at once with the address of the preparation. Checks that need no registry are made
 * before the answer; later failures are part of the preparation.
 *
 * @throws PassthroughError what parsing the request throws; `NOT_FOUND` if nothing is kept; `BUSY`
 */
export async function handlePrepare(
  context: RequestContext,
  route: PrepareRoute,
  app: Application,
): Promise<void> {
  if (app.isStopping) throw stopping('begin a preparation');
  if (!app.images.keepsArchives) {
    const why = 'CACHE_MAX_BYTES is 0, so that nothing would be kept of it';
    throw new PassthroughError('NOT_FOUND', `Cannot prepare an archive beforehand: ${why}`);
  }
  const { request, client } = await parseRequest(context, route.archive, app);
  const target = (context.request.url ?? '').replace(/^.*?\/prepare(?=\/)/, '');
  const path = mayHoldCredentials(target) ? '/REDACTED' : target.slice(0, MAX_TARGET_LENGTH);
  const address = addressOf(context);
  // It counts until the preparation ends, although the answer goes out now.
  const leave = app.clients.enter(address, 'preparation');
  const { preparation, ended } = startOrLeave(leave, () =>
    app.images.prepare(request, { ...client, path, client: clientOf(address) }),
  );
  void ended.then((result) => {
    leave();
    logPreparation(result, app.logger);
  });
  sendJson(context, 202, describe(preparation), {
    Location: `/preparations/${preparation.id}`,
    'Retry-After': String(LOOK_AGAIN_S),
  });
}

/**
 * Answers with the state of a preparation, or cancels it.
 *
 * @throws PassthroughError `NOT_FOUND`
 */
export async function handlePreparation(
  context: RequestContext,
  { id }: PreparationRoute,
  { images }: Application,
): Promise<void> {
  if (context.request.method === 'DELETE') {
    if (!(await images.cancelPreparation(id))) throw unknown();
    return sendNothing(context);
  }
  const preparation = images.findPreparation(id);
  if (preparation === undefined) throw unknown();
  const headers = preparation.endedAt === undefined ? { 'Retry-After': String(LOOK_AGAIN_S) } : {};
  sendJson(context, 200, describe(preparation), headers);
}

/** Starts work that was counted. Where it cannot start, the count ends. */
function startOrLeave<T>(leave: () => void, start: () => T): T {
  try {
    return start();
  } catch (error) {
    leave();
    throw error;
  }
}

/** A preparation as JSON shows it. */
function describe({ id, subject, state, progress, startedAt, endedAt, error }: Preparation) {
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
