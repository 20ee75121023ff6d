import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { finished } from 'node:stream/promises';
import { context as otel } from '@opentelemetry/api';
import { type Config, DEFAULT_MAX_CONNECTIONS } from '../config/config.ts';
import { PassthroughError } from '../errors.ts';
import type { ImageService } from '../pull/image-service.ts';
import type { Preparation } from '../pull/preparations.ts';
import type { Logger } from '../telemetry/log.ts';
import { printableJson, printableLines } from '../util/printable.ts';
import type { Application } from './application.ts';
import { ClientLimit, clientOf } from './client-limit.ts';
import type { Peer } from './connections/peer.ts';
import { HttpServer } from './connections/server.ts';
import { refuseCrossSite } from './cross-site.ts';
import { describePreparation } from './events/describe-preparation.ts';
import { Listeners } from './events/listeners.ts';
import { PreparationFeeds } from './events/preparation-feeds.ts';
import { StartedDownloads } from './handlers/started-downloads.ts';
import type { PassedSocket } from './listeners/listeners.ts';
import { refuseClient } from './networks/admission.ts';
import { refuseOtherHost } from './networks/allowed-hosts.ts';
import { type Client, directClient, findClient } from './networks/client.ts';
import { affordableConnections, DescriptorWatch, descriptorWarning } from './observe/descriptor-watch.ts';
import { reportFiles } from './observe/file-reports.ts';
import { causeOf, logRequest } from './observe/request-log.ts';
import { recordRequest } from './observe/request-metrics.ts';
import { withServerSpan } from './observe/server-span.ts';
import { admitPage } from './page-origins.ts';
import { problemOf } from './problem.ts';
import type { RequestContext } from './request-context.ts';
import { sendProblem } from './respond.ts';
import { findRoute, PROBE_PATHS } from './routes.ts';
import { refuseInvalidHost } from './routing/host.ts';
import { Activity } from './status/activity.ts';
import { RecentFailures } from './status/recent-failures.ts';

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
  readonly feeds: PreparationFeeds;
  readonly listeners: Listeners;
  readonly activity = new Activity();
  readonly failures = new RecentFailures();
  readonly connections: { open: number; readonly max: number };
  readonly startedAt = new Date();
  #isStopping = false;
  #httpsPort: number | undefined;

  private constructor(images: ImageService, config: Config, logger: Logger) {
    this.images = images;
    this.config = config;
    this.logger = logger;
    this.clients = new ClientLimit(config.requestsPerClient);
    const encode = (preparation: Preparation) => printableJson(describePreparation(preparation));
    this.feeds = new PreparationFeeds({ preparations: images.preparations, encode });
    const max = affordableConnections(config.http.maxConnections);
    this.connections = { open: 0, max };
    this.listeners = new Listeners(max);
  }

  /**
   * Starts to serve.
   *
   * @param images stays the caller's, who closes it after the service has stopped
   * @param passed sockets to listen on in place of the ports
   * @returns the ports, and the way to stop
   * @throws the system's error if an address cannot be listened on; PassthroughError `INVALID_CONFIGURATION` for a certificate, a passed
   *   socket or the path of a Unix socket that cannot be used
   */
  static async start(
    images: ImageService,
    config: Config,
    logger: Logger,
    passed: readonly PassedSocket[] = [],
  ): Promise<RunningService> {
    const service = new HttpService(images, config, logger);
    const descriptors = new DescriptorWatch(logger);
    const { maxConnections } = config.http;
    const { tls: files, httpsPort, socketPath, socketMode } = config.listener;
    const message = descriptorWarning(maxConnections, maxConnections === DEFAULT_MAX_CONNECTIONS);
    if (message !== undefined) logger.log('warn', 'open_files', { message });
    const endReports = await reportFiles(config.registry, logger);
    const server = await HttpServer.start({
      ...config.http,
      maxConnections: service.connections.max,
      ...(files !== undefined && { httpsPort, tls: { files, logger } }),
      ...(socketPath !== undefined && { unix: { path: socketPath, mode: socketMode } }),
      passed,
      urgentPaths: PROBE_PATHS,
      onConnection: (socket) => {
        descriptors.check();
        service.#count(socket);
      },
      isShort: () => descriptors.isShort,
      handle: (...call) => service.#handle(...call),
    });
    service.#httpsPort = server.httpsPort;
    const stop = async () => {
      service.#isStopping = true;
      endReports();
      const [cutOff] = await Promise.all([server.stop(config.shutdownMs), images.preparations.stop()]);
      return cutOff;
    };
    return { port: server.port, httpsPort: server.httpsPort, stop };
  }

  get isStopping(): boolean {
    return this.#isStopping;
  }

  /** Counts a connection until it closes, also one that is refused. */
  #count(socket: Socket): void {
    this.connections.open += 1;
    socket.once('close', () => {
      this.connections.open -= 1;
    });
  }

  /** Handles one request, from its header to its line in the log. */
  async #handle(
    request: IncomingMessage,
    response: ServerResponse,
    signal: AbortSignal,
    peer: Peer,
  ): Promise<void> {
    const startedAt = performance.now();
    const { client, fault } = this.#clientOf(request, peer);
    const context: RequestContext = { id: randomUUID(), request, response, client, signal, facts: {} };
    response.setHeader('X-Request-Id', context.id);
    // Answers have texts of registries, which no browser may take for another type.
    response.setHeader('X-Content-Type-Options', 'nosniff');
    this.downloads.confirm(request.socket);
    if (this.#isStopping) response.setHeader('Connection', 'close');
    const found = routeOf(context);
    const { isProbe = false, isPull = false } = 'row' in found ? found.row : {};
    const end = this.activity.begin(context, isPull);
    const answer = async () => {
      try {
        if (!isProbe) this.#admit(context, fault);
        await this.#answer(context, found);
      } catch (error) {
        this.#fail(context, error);
      }
      await untilEnd(context, this.config.sendStallMs);
    };
    let within = otel.active();
    if (isProbe) await answer();
    else within = await withServerSpan(context, answer);

    end();
    const ms = performance.now() - startedAt;
    recordRequest(context, isPull, ms / 1000);
    otel.with(within, () => logRequest(context, isProbe, Math.round(ms), this.logger));
  }

  /** The client of a request, or the peer and what is wrong with the word of its proxy. */
  #clientOf({ headers }: IncomingMessage, peer: Peer): { readonly client: Client; readonly fault?: unknown } {
    try {
      return { client: findClient(peer, headers, this.config.listener.trustedProxies) };
    } catch (fault) {
      return { client: directClient(peer), fault };
    }
  }

  /** Refuses a client before anything of its request is looked at. It keeps no connection. */
  #admit({ client, request, response }: RequestContext, fault: unknown): void {
    try {
      if (fault !== undefined) throw fault;
      refuseClient(client, this.config.listener, this.#httpsPort, request.headers.host);
    } catch (error) {
      response.setHeader('Connection', 'close');
      throw error;
    }
  }

  async #answer(context: RequestContext, found: ReturnType<typeof routeOf>): Promise<void> {
    const { request, response } = context;
    const { hosts, pageOrigins } = this.config.access;
    refuseInvalidHost(request);
    // Probes ask by address.
    if (!('row' in found && found.row.isProbe)) refuseOtherHost(request, hosts);
    const page = admitPage(request, response, pageOrigins);
    if (page === 'preflight') return;
    if (page === undefined) refuseCrossSite(request);
    if (!('row' in found)) throw found.error;
    const { method = '' } = request;
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
    // Errors of clients would displace those that an operator looks for.
    if (problem.error.code !== 'ABORTED' && (problem.status >= 500 || context.response.headersSent)) {
      const client = clientOf(context.client.address);
      this.failures.add(problem, { route: context.facts.route, requestId: context.id, client });
    }
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
  /** The port of plain http; 0 if there is none. */
  readonly port: number;
  /** The port of https; `undefined` if there is none. */
  readonly httpsPort: number | undefined;
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
