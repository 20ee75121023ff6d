/**
 * The service in this process: put together as `serve` does it, on a port of its own, its log in memory.
 */

import { mkdtemp, readdir, readlink, rm } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadConfig } from '../../src/config/config.ts';
import { startService } from '../../src/http/service.ts';
import { openArchiveTools } from '../../src/pull/image-service.ts';
import type { RetryPolicy } from '../../src/registry/transport/retry.ts';
import type { Draft, Stored } from '../../src/storage/store.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import type { SingleFlight } from '../../src/util/single-flight.ts';
import { Conditions } from './conditions.ts';
import { open, type Reply, type RequestOptions, request } from './http-request.ts';
import { type LogEvent, MemoryLog } from './memory-log.ts';
import { within } from './within.ts';

export { type LogEvent, type Reply, type RequestOptions, request };

/** Tries again as the product does, without the waits. */
export const QUICK_RETRY: RetryPolicy = { attempts: 2, baseMs: 1, maxMs: 50 };

/** A running service. Disposing of it stops it and removes its workspace. */
export interface TestService extends AsyncDisposable {
  readonly port: number;
  readonly workspace: string;
  /** Every line of the log so far, at all levels. */
  logs(): readonly LogEvent[];
  /** The log as it was written. */
  logText(): string;
  /**
   * @param fields what an event must have, to the letter
   * @param nth which one of those that do, counted from 1 and from the start of the service
   */
  waitForLog(fields: LogEvent, nth?: number): Promise<LogEvent>;
  /** One request on a connection of its own, with whatever comes of it. */
  request(path: string, options?: RequestOptions): Promise<Reply>;
  /** The same, resolved with the header; nothing of the body is read yet. */
  open(path: string, options?: RequestOptions): Promise<IncomingMessage>;
  /**
   * @param what `flights`: a manifest, without credentials of the client's; `deliveries`: an archive, its manifest being here
   * @returns once so many requests have asked for one since the start of the service, each alone or together with others
   */
  waitForAskers(what: 'flights' | 'deliveries', count: number): Promise<void>;
  /** Prepared files that are held open now. */
  openFiles(): Promise<number>;
  /** @returns how many requests were cut off */
  stop(): Promise<number>;
}

/** What may differ from the service as it is. */
export interface TestServiceOptions {
  /** How its registry client tries again; {@link QUICK_RETRY} unless said. */
  readonly retry?: RetryPolicy | undefined;
  /** Puts another file in the place of one that the store gives: one that fails. */
  readonly tamper?: ((file: Stored, key: string) => Stored) | undefined;
  /** Puts another draft in the place of one that the store gives to be written: one that fails. */
  readonly tamperDraft?: ((draft: Draft, key: string) => Draft) | undefined;
  /** Is told of a prepared file that was damaged on the disk. */
  readonly onDamage?: ((name: string) => void) | undefined;
}

/**
 * Start a service.
 *
 * @param env its variables; host and port are set here, and the workspace unless it is named
 */
export async function startTestService(
  env: Readonly<Record<string, string>> = {},
  {
    retry = QUICK_RETRY,
    tamper = (file) => file,
    tamperDraft = (draft) => draft,
    onDamage,
  }: TestServiceOptions = {},
): Promise<TestService> {
  const workspace = await mkdtemp(join(tmpdir(), 'workspace-'));
  const config = loadConfig({
    HTTP_HOST: '127.0.0.1',
    HTTP_PORT: '0',
    WORKSPACE_DIR: workspace,
    // Nothing is kept, so that a test sees each request do all of its work: those of the store turn it on.
    CACHE_MAX_BYTES: '0',
    // A test that fails with a download under way does not wait for it long.
    SHUTDOWN_TIMEOUT: '5',
    ...env,
  });
  const log = new MemoryLog();
  const tools = await openArchiveTools(config, { retry, onDamage });
  const { store } = tools.layers;
  const obtain = store.obtain.bind(store);
  store.obtain = async (key, options) => {
    const produce: typeof options.produce = (draft, ...rest) =>
      options.produce(tamperDraft(draft, key), ...rest);
    return tamper(await obtain(key, { ...options, produce }), key);
  };
  const askers = { flights: countJoins(tools.flights), deliveries: countJoins(tools.deliveries) };
  let logText = '';
  const logger = createLogger({
    level: 'trace',
    isTerminal: false,
    write: (line) => {
      logText += line;
      log.add(JSON.parse(line) as LogEvent);
    },
  });
  const service = await startService(tools, logger);
  let stopped: Promise<number> | undefined;
  const stop = (): Promise<number> => {
    stopped ??= service.stop();
    return within(stopped, 'the end of the service', 2 * config.shutdownMs + 10_000);
  };
  return {
    port: service.port,
    workspace,
    logs: () => log.events,
    logText: () => logText,
    waitForLog: (fields, nth) => log.waitFor(fields, nth),
    request: (path, options) => request(service.port, path, options),
    open: (path, options) => open(service.port, path, options),
    waitForAskers: (what, count) => within(askers[what](count), `${count} requests that ask for ${what}`),
    openFiles: async () => {
      await store.settled();
      return await openFilesIn(workspace);
    },
    stop,
    [Symbol.asyncDispose]: async () => {
      await stop();
      await tools.close();
      await rm(workspace, { recursive: true, force: true });
    },
  };
}

/** Counts who joins in, from now on. */
function countJoins<Key, Value, Report>(
  shared: SingleFlight<Key, Value, Report>,
): (count: number) => Promise<void> {
  const events = new Conditions();
  const join = shared.join.bind(shared);
  let joins = 0;
  shared.join = (key, options) => {
    const share = join(key, options);
    joins += 1;
    events.changed();
    return share;
  };
  return async (count) => {
    await events.when(() => (joins >= count ? true : undefined));
  };
}

/** How many files below a folder this process holds open, those that have no name any more among them. Folders are none. */
export async function openFilesIn(directory: string): Promise<number> {
  const descriptors = await readdir('/proc/self/fd');
  const paths = await Promise.all(
    // A descriptor may be gone by now: that of the reading itself is.
    descriptors.map((descriptor) => readlink(`/proc/self/fd/${descriptor}`).catch(() => '')),
  );
  return paths.filter((path) => path.startsWith(`${directory}/`) && /\/(?:incoming|prepared)\//.test(path))
    .length;
}
