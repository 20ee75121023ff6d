import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { finished } from 'node:stream/promises';
import { context as otel } from '@opentelemetry/api';
import { type Config, DEFAULT_MAX_CONNECTIONS } from '../config/config.ts';
import { PassthroughError } from '../errors.ts';
import type { ImageService } from '../pull/image-service.ts';
import type { Logger } from '../telemetry/log.ts';
import { printableLines } from '../util/printable.ts';
import type { Application } from './application.ts';
import { ClientLimit } from './client-limit.ts';
import { HttpServer } from './connections/server.ts';
import { refuseCrossSite } from './cross-site.ts';
import { StartedDownloads } from './handlers/started-downloads.ts';
import { affordableConnections, DescriptorWatch, descriptorWarning } from './observe/descriptor-watch.ts';
import { reportFiles } from './observe/file-reports.ts';
import { causeOf, logRequest } from './observe/request-log.ts';
import { recordRequest } from './observe/request-metrics.ts';
import { withServerSpan } from './observe/server-span.ts';
import { problemOf } from './problem.ts';
import type { RequestContext } from './request-context.ts';
import { sendProblem } from './respond.ts';
import { findRoute, PROBE_PATHS } from './routes.ts';
import { refuseInvalidHost } from './routing/host.ts';

/** Longest line of a stack in the log, in characters: its first line may quote a document. */
const MAX_STACK_LINE_LENGTH = 1000;

/** Most lines of a stack in the log: Node's have ten below the message. */
const MAX_STACK_LINES = 40;

/** The HTTP face of an {@link ImageService}: routes requests to their handlers, and traces, measures and logs them. */
export class HttpService implements Application {
  readonly images: ImageService;
  readonly config: Config;
  readonly logger: Logger;
  readonly clients: ClientLimit;
  readonly downloads = new StartedDownloads();
  #isStopping = false;

  private constructor(images: ImageService, config: Config, logger: Logger) {
    this.images = images;
    this.config = config;
    this.logger = logger;
    this.clients = new ClientLimit(config.requestsPerClient);
  }

  /**
   * Starts to serve.
   *
   * @param images stays the caller's, who closes it after the service has stopped
   * @returns the port, and the way to stop
   * @throws the system's error if the address cannot be listened on; PassthroughError `INVALID_CONFIGURATION` for certificates that
   *   cannot be used
   */
  static async start(images: ImageService, config: Config, logger: Logger): Promise<RunningService> {
    const service = new HttpService(images, config, logger);
    const descriptors = new DescriptorWatch(logger);
    const { maxConnections } = config.http;
    const message = descriptorWarning(maxConnections, maxConnections === DEFAULT_MAX_CONNECTIONS);
    if (message !== undefined) logger.log('warn', 'open_files', { message });
    const endReports = await reportFiles(config.registry, logger);
    const server = await HttpServer.start({
      ...config.http,
      maxConnections: affordableConnections(maxConnections),
      urgentPaths: PROBE_PATHS,
      onConnection: () => descriptors.check(),
      isShort: () => descriptors.isShort,
      handle: (request, response, signal) => service.#handle(request, response, signal),
    });
    const stop = async () => {
      service.#isStopping = true;
      endReports();
      const [cutOff] = await Promise.all([server.stop(config.shutdownMs), images.stopPreparations()]);
      return cutOff;
    };
    return { port: server.port, stop };
  }

  get isStopping(): boolean {
    return this.#isStopping;
  }

  /** Handles one request, from its header to its line in the log. */
  async #handle(request: IncomingMessage, response: ServerResponse, signal: AbortSignal): Promise<void> {
    const startedAt = performance.now();
    const context: RequestContext = { id: randomUUID(), request, response, signal, facts: {} };
    response.setHeader('X-Request-Id', context.id);
    this.downloads.confirm(request.socket);
    if (this.#isStopping) response.setHeader('Connection', 'close');
    const found = routeOf(context);
    const { isProbe = false, isPull = false } = 'row' in found ? found.row : {};
    const answer = async () => {
      try {
        await this.#answer(context, found);
      } catch (error) {
        this.#fail(context, error);
      }
      await untilEnd(context, this.config.sendStallMs);
    };
    let within = otel.active();
    if (isProbe) await answer();
    else within = await withServerSpan(context, answer);

    const ms = performance.now() - startedAt;
    recordRequest(context, isPull, ms / 1000);
    otel.with(within, () => logRequest(context, isProbe, Math.round(ms), this.logger));
  }

  async #answer(context: RequestContext, found: ReturnType<typeof routeOf>): Promise<void> {
    refuseInvalidHost(context.request);
    refuseCrossSite(context.request);
    if (!('row' in found)) throw found.error;
    const { method = '' } = context.request;
    const { methods } = found.row;
    if (!methods.includes(method)) {
      const why = `Cannot ${method} here: use ${methods.join(' or ')}`;
      throw new PassthroughError('METHOD_NOT_ALLOWED', why, { allow: methods });
    }
    await found.answer(context, this);
  }

  /** Answers a failure. The stack of an internal error goes into the log. */
  #fail(context: RequestContext, error: unknown): void {
    const problem = problemOf(error);
    context.facts.error = problem.error.code;
    context.facts.message = problem.detail;
    const cause = causeOf(problem.error);
    if (cause !== undefined) context.facts.cause = cause;
    if (problem.error.code === 'INTERNAL') {
      const fault = problem.error.cause ?? error;
      this.logger.log('error', 'internal_error', {
        id: context.id,
        stack: printableLines(stackOf(fault), MAX_STACK_LINE_LENGTH, MAX_STACK_LINES),
      });
    }
    sendProblem(context, problem);
  }
}

function stackOf(fault: unknown): string {
  return fault instanceof Error ? (fault.stack ?? fault.message) : String(fault);
}

/** A service that answers. */
export interface RunningService {
  readonly port: number;
  /**
   * Stops: `/ready` answers 503, and no archive is begun. Running downloads end within the configured time.
   *
   * @returns number of requests that were cut off
   */
  stop(): Promise<number>;
}

/** The route of a request, or the error that says why there is none. */
function routeOf({ request, facts }: RequestContext) {
  try {
    const found = findRoute(request.url ?? '/');
    facts.route = found.route.template;
    return found;
  } catch (error) {
    return { error: problemOf(error).error };
  }
}

/** Waits until the last byte of an answer is out. Cuts the connection if the client takes no byte for too long. */
async function untilEnd({ response, facts }: RequestContext, stallMs: number): Promise<void> {
  const cut = () => {
    facts.error ??= 'ABORTED';
    facts.message ??= `Stopped: the client took no byte for ${stallMs / 1000} s`;
    response.destroy();
  };
  if (!response.writableFinished) response.setTimeout(stallMs, cut);
  await finished(response).catch(() => undefined);
}
