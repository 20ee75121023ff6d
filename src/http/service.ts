import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { context, propagation, type Span, SpanKind } from '@opentelemetry/api';
import { PassthroughError } from '../errors.ts';
import type { Logger, LogLevel } from '../telemetry/log.ts';
import { recordFailure, withSpan } from '../telemetry/span.ts';
import { type ArchiveTools, handleArchive } from './archive-handler.ts';
import type { Exchange, RequestFacts } from './exchange.ts';
import { Listener } from './listener.ts';
import { problemOf } from './problem.ts';
import { parseRoute, type Route } from './route.ts';
import { sendProblem, sendText } from './send.ts';
import { usageText } from './usage.ts';

/** Methods of every route. */
const METHODS = ['GET', 'HEAD'];

/** Seconds after which a client that met a stopping service is told to come back: its successor is up by then. */
const RETRY_AFTER_STOP_S = 5;

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
  const listener = await Listener.start({
    ...config.http,
    handle: (request, response, signal) => handle(request, response, signal, { tools, logger, state }),
  });
  return {
    port: listener.port,
    stop: () => {
      state.isStopping = true;
      return listener.stop(config.shutdownMs);
    },
  };
}

interface Surroundings {
  readonly tools: ArchiveTools;
  readonly logger: Logger;
  readonly state: { readonly isStopping: boolean };
}

/** One request, from its header to its line in the log. */
async function handle(
  request: IncomingMessage,
  response: ServerResponse,
  signal: AbortSignal,
  surroundings: Surroundings,
): Promise<void> {
  const begun = performance.now();
  const facts: RequestFacts = {};
  const exchange: Exchange = { id: randomUUID(), request, response, signal, facts };
  response.setHeader('X-Request-Id', exchange.id);
  if (surroundings.state.isStopping) response.setHeader('Connection', 'close');
  try {
    const route = parseRoute(request.url ?? '/');
    facts.route = route.template;
    if (!METHODS.includes(request.method ?? '')) {
      throw new PassthroughError(
        'METHOD_NOT_ALLOWED',
        `Cannot ${request.method} here: use ${METHODS.join(' or ')}`,
        {
          allow: METHODS,
        },
      );
    }
    await answer(exchange, route, surroundings);
  } catch (error) {
    fail(exchange, error, surroundings.logger);
  }
  logRequest(exchange, Math.round(performance.now() - begun), surroundings.logger);
}

async function answer(exchange: Exchange, route: Route, surroundings: Surroundings): Promise<void> {
  const { tools, state, logger } = surroundings;
  switch (route.kind) {
    case 'usage':
      return sendText(
        exchange,
        200,
        usageText(exchange.request.headers.host ?? `localhost:${tools.config.http.port}`),
      );
    case 'health':
      return sendText(exchange, 200, 'ok\n');
    case 'ready':
      return await sendReadiness(exchange, surroundings);
    case 'archive': {
      if (state.isStopping) throw stopping();
      const parent = propagation.extract(context.active(), exchange.request.headers);
      return await context.with(parent, () =>
        withSpan(
          `${exchange.request.method} ${route.template}`,
          serverSpan(exchange, route),
          async (span) => {
            // The failure is answered inside the span, which lasts until the last byte is out and knows the status.
            await handleArchive(exchange, route, tools).catch((error: unknown) => {
              fail(exchange, error, logger);
              const isServerFault = exchange.response.statusCode >= 500 || exchange.response.destroyed;
              if (isServerFault) recordFailure(span, error);
            });
            describeOutcome(span, exchange);
          },
        ),
      );
    }
  }
}

async function sendReadiness(exchange: Exchange, { tools, state }: Surroundings): Promise<void> {
  if (state.isStopping) return sendText(exchange, 503, 'not ready: stopping\n');
  try {
    await tools.workspace.probe();
    sendText(exchange, 200, 'ready\n');
  } catch (error) {
    sendText(exchange, 503, `not ready: ${error instanceof Error ? error.message : String(error)}\n`);
  }
}

/** Answers a failure; a fault of this program goes into the log with its stack. */
function fail(exchange: Exchange, error: unknown, logger: Logger): void {
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

function logRequest(exchange: Exchange, ms: number, logger: Logger): void {
  const { id, request, response, facts } = exchange;
  const outcome = outcomeOf(exchange);
  const isProbe = facts.route === '/health' || facts.route === '/ready';
  const level: LogLevel = isProbe ? 'debug' : outcome === 'failed' || outcome === 'broken' ? 'warn' : 'info';
  logger.log(level, 'request', {
    id,
    client: request.socket.remoteAddress,
    method: request.method,
    ...facts,
    status: response.headersSent ? response.statusCode : undefined,
    ms,
    outcome,
  });
}

/** How a request ended: `aborted` by its client, `broken` on this side with the 200 already out, else by its status. */
function outcomeOf({ response, facts }: Exchange): 'ok' | 'refused' | 'failed' | 'aborted' | 'broken' {
  if (facts.error === 'ABORTED') return 'aborted';
  const status = response.headersSent ? response.statusCode : 500;
  if (status < 400) return facts.error === undefined ? 'ok' : 'broken';
  return status < 500 ? 'refused' : 'failed';
}

function stopping(): PassthroughError {
  return new PassthroughError('BUSY', 'Cannot begin a download: the service is stopping', {
    retryAfterSeconds: RETRY_AFTER_STOP_S,
  });
}

/** @see https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-server-span */
function serverSpan({ request }: Exchange, route: Route) {
  const { remoteAddress, remotePort, localPort } = request.socket;
  const userAgent = request.headers['user-agent'];
  return {
    kind: SpanKind.SERVER,
    attributes: {
      'http.request.method': request.method ?? '',
      'http.route': route.template,
      'url.scheme': 'http',
      'network.protocol.name': 'http',
      'network.transport': 'tcp',
      ...(localPort !== undefined && { 'server.port': localPort }),
      ...(remoteAddress !== undefined && {
        'client.address': remoteAddress,
        'network.peer.address': remoteAddress,
      }),
      ...(remotePort !== undefined && { 'network.peer.port': remotePort }),
      ...(userAgent !== undefined && { 'user_agent.original': userAgent }),
    },
  };
}

function describeOutcome(span: Span, { response, facts }: Exchange): void {
  if (response.headersSent) span.setAttribute('http.response.status_code', response.statusCode);
  if (facts.bytes !== undefined) span.setAttribute('http.response.body.size', facts.bytes);
  if (facts.digest !== undefined) span.setAttribute('oci.manifest.digest', facts.digest);
}
