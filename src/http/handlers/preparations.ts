import { PassthroughError } from '../../errors.ts';
import { type Preparation, stopping } from '../../pull/preparations.ts';
import type { Application } from '../application.ts';
import { clientOf } from '../client-limit.ts';
import { describePreparation } from '../events/describe-preparation.ts';
import { sendEvents, sendEventsHead } from '../events/event-stream.ts';
import { logPreparation } from '../observe/request-log.ts';
import { problemOf } from '../problem.ts';
import type { RequestContext } from '../request-context.ts';
import { sendJson, sendNothing, varyBy } from '../respond.ts';
import { isPreferred } from '../routing/accept.ts';
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
    if (result.error === undefined) return;
    const client = clientOf(address);
    app.failures.add(problemOf(result.error), { route: route.template, requestId: undefined, client });
  });
  sendJson(context, 202, describePreparation(preparation), {
    Location: `/preparations/${preparation.id}`,
    'Retry-After': String(LOOK_AGAIN_S),
  });
}

/**
 * Answers with the state of a preparation, as JSON or as events until its end, or cancels it.
 *
 * @throws PassthroughError `NOT_FOUND`; `BUSY` when too many clients listen
 */
export async function handlePreparation(
  context: RequestContext,
  route: PreparationRoute,
  app: Application,
): Promise<void> {
  const { preparations } = app.images;
  const { method, headers } = context.request;
  if (method === 'DELETE') {
    if (!(await preparations.cancel(route.id))) throw unknown();
    return sendNothing(context);
  }
  varyBy(context.response, 'Accept');
  const preparation = preparations.find(route.id);
  if (preparation === undefined) throw unknown();
  if (isPreferred(headers.accept, 'text/event-stream')) {
    if (hasSeenEnd(headers['last-event-id'], preparation)) return sendNothing(context);
    if (method === 'HEAD') return sendEventsHead(context);
    // Not awaited: this call would keep the preparation in memory as it is now.
    return listen(context, route, app);
  }
  const retry = preparation.endedAt === undefined ? { 'Retry-After': String(LOOK_AGAIN_S) } : {};
  sendJson(context, 200, describePreparation(preparation), retry);
}

/** Whether a browser has had the last event. It connects again after that, and stops at 204. */
function hasSeenEnd(lastId: string | string[] | undefined, { endedAt, revision }: Preparation): boolean {
  return endedAt !== undefined && /^\d{1,15}$/.test(String(lastId)) && Number(lastId) >= revision;
}

async function listen(
  context: RequestContext,
  { id }: PreparationRoute,
  { feeds, listeners, config }: Application,
): Promise<void> {
  const leave = listeners.enter(addressOf(context));
  try {
    if (!(await sendEvents(context, feeds, id, config.sendStallMs))) throw unknown();
  } finally {
    leave();
  }
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

function unknown(): PassthroughError {
  return new PassthroughError(
    'NOT_FOUND',
    'No preparation has this id: it has never been, or ended long ago',
  );
}
