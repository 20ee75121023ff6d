/** The service in this process, assembled as `serve` assembles it, on a free port, with its log in memory. */

import { mkdtemp, readdir, readlink, rm } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadConfig } from '../../src/config/config.ts';
import { logMirror } from '../../src/http/observe/mirror-log.ts';
import { signatureLog } from '../../src/http/observe/signature-log.ts';
import { HttpService } from '../../src/http/service.ts';
import { sharedFiles } from '../../src/pull/archive-files.ts';
import { sharedManifestRequests } from '../../src/pull/cache/caching-repository.ts';
import type { ReplaceableParts } from '../../src/pull/cache/open-storage.ts';
import { ImageService } from '../../src/pull/image-service.ts';
import type { LayerReport } from '../../src/pull/progress.ts';
import type { ListedCredentials } from '../../src/registry/auth/credentials.ts';
import type { MirrorReport } from '../../src/registry/mirrors/mirror-health.ts';
import type { RetryPolicy } from '../../src/registry/transport/retry.ts';
import { type Draft, Store, type Stored } from '../../src/storage/store.ts';
import { textOf } from '../../src/storage/store-key.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import type { SingleFlight } from '../../src/util/single-flight.ts';
import { Conditions } from './conditions.ts';
import { open, type Reply, type RequestOptions, request } from './http-request.ts';
import { type LogEvent, MemoryLog } from './memory-log.ts';
import { within } from './within.ts';

export { type LogEvent, type Reply, type RequestOptions, request };

/** The retries of the product, without the waits. */
export const QUICK_RETRY: RetryPolicy = { attempts: 2, baseMs: 1, maxMs: 50 };

/** A running service. Disposing of it stops it and removes its workspace. */
export interface TestService extends AsyncDisposable {
  readonly port: number;
  /** Port of https; 0 without TLS. */
  readonly httpsPort: number;
  readonly workspace: string;
  /** Every line of the log so far, at all levels. */
  logs(): readonly LogEvent[];
  /** The log as it was written. */
  logText(): string;
  /**
   * Resolves with a log event.
   *
   * @param fields what the event must contain
   * @param nth which of the matching events since the start of the service, counted from 1
   */
  waitForLog(fields: LogEvent, nth?: number): Promise<LogEvent>;
  /** Sends a request on its own connection and reads the answer to its end. */
  request(path: string, options?: RequestOptions): Promise<Reply>;
  /** Sends a request and resolves with the header; the body is not read. */
  open(path: string, options?: RequestOptions): Promise<IncomingMessage>;
  /**
   * Resolves when this many requests since the start of the service have requested a manifest or file, alone or together.
   *
   * @param what `manifests`, requested without the client's own credentials, or `files` of resolved archives
   */
  waitForCallers(what: 'manifests' | 'files', count: number): Promise<void>;
  /** Number of prepared files that are open now. */
  openFiles(): Promise<number>;
  /** Stops the service; resolves with the number of requests that were cut. */
  stop(): Promise<number>;
}

/** How a test service differs from the product. */
export interface TestServiceOptions {
  /** Retries of the registry client; {@link QUICK_RETRY} unless given. */
  readonly retry?: RetryPolicy | undefined;
  /** Replaces a file that the store returns, for example by one that fails. */
  readonly tamper?: ((file: Stored, key: string) => Stored) | undefined;
  /** Replaces a draft that the store passes to be written, for example by one that fails. */
  readonly tamperDraft?: ((draft: Draft, key: string) => Draft) | undefined;
  /** Receives the name of each prepared file that was damaged on the disk. */
  readonly onDamage?: ((name: string) => void) | undefined;
  /** Entries of an auth file. */
  readonly listed?: readonly ListedCredentials[] | undefined;
}

/**
 * Starts a service.
 *
 * @param env its variables; host, port and a workspace are set here
 */
export async function startTestService(
  env: Readonly<Record<string, string>> = {},
  {
    retry = QUICK_RETRY,
    tamper = (file) => file,
    tamperDraft = (draft) => draft,
    onDamage,
    listed,
  }: TestServiceOptions = {},
): Promise<TestService> {
  const workspace = await mkdtemp(join(tmpdir(), 'workspace-'));
  const config = loadConfig({
    HTTP_HOST: '127.0.0.1',
    HTTP_PORT: '0',
    WORKSPACE_DIR: workspace,
    // No cache, so that each request does all of its work. Tests of the cache set it.
    CACHE_MAX_BYTES: '0',
    // Bounds the wait of a test that fails during a download. A busy machine takes seconds for a large image.
    SHUTDOWN_TIMEOUT: '30',
    ...env,
  });
  const log = new MemoryLog();
  const { openStore, store } = tamperedStore(tamper, tamperDraft);
  const manifestsInFlight = sharedManifestRequests();
  const filesInFlight = sharedFiles();
  const callers = { manifests: countJoins(manifestsInFlight), files: countJoins(filesInFlight) };
  let logText = '';
  const logger = createLogger({
    level: 'trace',
    isTerminal: false,
    write: (line) => {
      logText += line;
      log.add(JSON.parse(line) as LogEvent);
    },
  });
  const onMirror = (report: MirrorReport) => logMirror(report, logger);
  const { credentials } = config.registry;
  const registry = {
    ...config.registry,
    onMirror,
    // A copy would not follow files that change.
    credentials: listed === undefined ? credentials : { ...credentials, listed },
  };
  const images = await ImageService.open(
    { ...config, registry, onDamage, ...signatureLog(logger) },
    { openStore, manifestsInFlight, filesInFlight, retry },
  );
  const service = await HttpService.start(images, config, logger);
  let stopped: Promise<number> | undefined;
  const stop = (): Promise<number> => {
    stopped ??= service.stop();
    return within(stopped, 'the end of the service', 2 * config.shutdownMs + 10_000);
  };
  return {
    port: service.port,
    httpsPort: service.httpsPort ?? 0,
    workspace,
    logs: () => log.events,
    logText: () => logText,
    waitForLog: (fields, nth) => log.waitFor(fields, nth),
    request: (path, options) => request(service.port, path, options),
    open: (path, options) => open(service.port, path, options),
    waitForCallers: (what, count) => within(callers[what](count), `${count} requests for ${what}`),
    openFiles: async () => {
      await (await store).settled();
      return await openFilesIn(workspace);
    },
    stop,
    [Symbol.asyncDispose]: async () => {
      await stop();
      await images.close();
      await rm(workspace, { recursive: true, force: true });
    },
  };
}

/**
 * A function that opens a store whose files and drafts a test replaces.
 *
 * @returns also the store, once it is open
 */
export function tamperedStore(
  tamper: (file: Stored, key: string) => Stored = (file) => file,
  tamperDraft: (draft: Draft, key: string) => Draft = (draft) => draft,
) {
  const { promise: store, resolve } = Promise.withResolvers<Store<LayerReport>>();
  const openStore: ReplaceableParts['openStore'] = async (options) => {
    const opened = await Store.open<LayerReport>(options);
    const obtain = opened.obtain.bind(opened);
    opened.obtain = async (key, { produce, ...call }) => {
      const tampered: typeof produce = (draft, ...rest) => produce(tamperDraft(draft, textOf(key)), ...rest);
      return tamper(await obtain(key, { ...call, produce: tampered }), textOf(key));
    };
    resolve(opened);
    return opened;
  };
  return { openStore, store };
}

/** Counts the callers that join from now on. */
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

/** Number of files of a store below a folder that this process holds open, including removed ones. */
export async function openFilesIn(directory: string): Promise<number> {
  const descriptors = await readdir('/proc/self/fd');
  const paths = await Promise.all(
    // A descriptor may be closed by now, such as the one that read the folder.
    descriptors.map((descriptor) => readlink(`/proc/self/fd/${descriptor}`).catch(() => '')),
  );
  return paths.filter((path) => path.startsWith(`${directory}/`) && /\/(?:incoming|prepared)\//.test(path))
    .length;
}
