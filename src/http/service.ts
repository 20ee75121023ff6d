import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { finished } from 'node:stream/promises';
import { context } from '@opentelemetry/api';
import { PassthroughError } from '../errors.ts';
import type { ArchiveTools } from '../pull/image-service.ts';
import { PreparationJobs } from '../pull/preparations.ts';
import type { Logger } from '../telemetry/log.ts';
import { ClientLimit } from './client-limit.ts';
import { handleArchive } from './handlers/archive.ts';
import { handleManifest, handleTags } from './handlers/inspection.ts';
import { handlePreparation, handlePrepare } from './handlers/preparations.ts';
import { logPreparation, logRequest } from './observe/request-log.ts';
import { recordRequest } from './observe/request-metrics.ts';
import { withServerSpan } from './observe/server-span.ts';
import { problemOf } from './problem.ts';
import type { RequestContext } from './request-context.ts';
import { sendProblem, sendText } from './respond.ts';
import { parseRoute } from './routing/parse-route.ts';
import type { Route } from './routing/route.ts';
import { usageText } from './routing/usage.ts';
import { HttpServer, stopping } from './server.ts';

/** Methods of most routes. */
const METHODS = ['GET', 'HEAD'];

/** Those of the others. Bundles take their list in a POST, too. */
const OTHER_METHODS: { readonly [kind in Route['kind']]?: readonly string[] } = {
  bundle: [...METHODS, 'POST'],
  prepare: ['POST'],
  preparation: [...METHODS, 'DELETE'],
};

/** What requests are for that ask for an image. */
const PULLS: ReadonlySet<string | undefined> = new Set(['archive', 'reference', 'bundle']);

/** A service that answers. */
export interface Service {
  readonly port: number;
  /**
   * Stops: `/ready` turns 503 and no archive is begun any more; running ones finish within the configured bound.
   *
   * @returns how many requests had to be cut off
   */
  stop(): Promise<number>;
}

/**
 * Starts the HTTP service.
 *
 * @throws the system's error when the address cannot be listened on
 */
export async function startService(tools: ArchiveTools, logger: Logger): Promise<Service> {
  const { config } = tools;
  const state = { isStopping: false };
  const clients = new ClientLimit(config.requestsPerClient);
  const jobs = new PreparationJobs((job) => logPreparation(job, logger));
  const listener = await HttpServer.start({
    ...config.http,
    handle: (request, response, signal) =>
      handle(request, response, signal, { tools, logger, state, clients, jobs }),
  });
  return {
    port: listener.port,
    stop: async () => {
      state.isStopping = true;
      const [cutOff] = await Promise.all([listener.stop(config.shutdownMs), jobs.stop()]);
      return cutOff;
    },
  };
}

interface Surroundings {
  readonly tools: ArchiveTools;
  readonly logger: Logger;
  readonly state: { readonly isStopping: boolean };
  readonly clients: ClientLimit;
  readonly jobs: PreparationJobs;
}

/** One request, from its header to its line in the log. */
async function handle(
  request: IncomingMessage,
  response: ServerResponse,
  signal: AbortSignal,
  surroundings: Surroundings,
): Promise<void> {
  const begun = performance.now();
  const exchange: RequestContext = { id: randomUUID(), request, response, signal, facts: {} };
  response.setHeader('X-Request-Id', exchange.id);
  if (surroundings.state.isStopping) response.setHeader('Connection', 'close');
  const route = readRoute(exchange);
  const kind = route instanceof PassthroughError ? undefined : route.kind;
  const isProbe = kind === 'health' || kind === 'ready';
  const answered = async () => {
    try {
      await answer(exchange, route, surroundings);
    } catch (error) {
      fail(exchange, error, surroundings.logger);
    }
    await ended(exchange, surroundings.tools.config.sendStallMs);
  };
  let within = context.active();
  if (isProbe) await answered();
  else within = await withServerSpan(exchange, answered);

  const ms = performance.now() - begun;
  recordRequest(exchange, PULLS.has(kind), ms / 1000);
  context.with(within, () => logRequest(exchange, isProbe, Math.round(ms), surroundings.logger));
}

/** The route of a request, or why it names none. */
function readRoute({ request, facts }: RequestContext): Route | PassthroughError {
  try {
    const route = parseRoute(request.url ?? '/');
    facts.route = route.template;
    return route;
  } catch (error) {
    return problemOf(error).error;
  }
}

async function answer(
  exchange: RequestContext,
  route: Route | PassthroughError,
  surroundings: Surroundings,
): Promise<void> {
  const { tools, state, clients, jobs } = surroundings;
  const { method, headers } = exchange.request;
  if (route instanceof PassthroughError) throw route;
  const methods = OTHER_METHODS[route.kind] ?? METHODS;
  if (!methods.includes(method ?? '')) {
    const why = `Cannot ${method} here: use ${methods.join(' or ')}`;
    throw new PassthroughError('METHOD_NOT_ALLOWED', why, { allow: methods });
  }
  switch (route.kind) {
    case 'usage':
      return sendText(exchange, 200, usageText(headers.host ?? `localhost:${tools.config.http.port}`));
    case 'health':
      return sendText(exchange, 200, 'ok\n');
    case 'ready':
      return await sendReadiness(exchange, surroundings);
    case 'archive':
    case 'reference':
    case 'bundle':
      if (state.isStopping) throw stopping('begin a download');
      return await limited(exchange, clients, () => handleArchive(exchange, route, tools));
    case 'prepare':
      if (state.isStopping) throw stopping('begin a preparation');
      return await handlePrepare(exchange, route, jobs, tools);
    case 'preparation':
      return await handlePreparation(exchange, route, jobs);
    case 'manifest':
      return await handleManifest(exchange, route, tools);
    case 'tags':
      return await handleTags(exchange, route, tools);
  }
}

/** Does something that one client may do so many times at once, until it is over. */
async function limited(
  { request }: RequestContext,
  clients: ClientLimit,
  work: () => Promise<void>,
): Promise<void> {
  const leave = clients.enter(request.socket.remoteAddress ?? '');
  try {
    await work();
  } finally {
    leave();
  }
}

/** Waits until the last byte of an answer is out, or its connection is gone: cut, where the client takes no byte for long. */
async function ended({ response, facts }: RequestContext, stallMs: number): Promise<void> {
  const cut = () => {
    facts.error ??= 'ABORTED';
    facts.message ??= `Stopped: the client took no byte for ${stallMs / 1000} s`;
    response.destroy();
  };
  if (!response.writableFinished) response.setTimeout(stallMs, cut);
  await finished(response).catch(() => undefined);
}

async function sendReadiness(exchange: RequestContext, { tools, state }: Surroundings): Promise<void> {
  if (state.isStopping) return sendText(exchange, 503, 'not ready: stopping\n');
  try {
    await tools.layers.store.probe();
    sendText(exchange, 200, 'ready\n');
  } catch (error) {
    sendText(exchange, 503, `not ready: ${error instanceof Error ? error.message : String(error)}\n`);
  }
}

/** Answers a failure; a fault of this program goes into the log with its stack. */
function fail(exchange: RequestContext, error: unknown, logger: Logger): void {
  const problem = problemOf(error);
  exchange.facts.error = problem.error.code;
  exchange.facts.message = problem.detail;
  if (problem.error.code === 'INTERNAL') {
    const cause = problem.error.cause ?? error;
    logger.log('error', 'internal_error', {
      id: exchange.id,
      stack: cause instanceof Error ? cause.stack : String(cause),
    });
  }
  sendProblem(exchange, problem);
}
