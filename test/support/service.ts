/**
 * The service in this process: put together as `serve` does it, on a port of its own, its log in memory.
 */

import { mkdtemp, readdir, readlink, rm } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadConfig } from '../../src/config.ts';
import { ChecksumMemory } from '../../src/http/delivery.ts';
import { startService } from '../../src/http/service.ts';
import { StartedDownloads } from '../../src/http/started-downloads.ts';
import { Admission } from '../../src/pull/admission.ts';
import { openRegistryAccess } from '../../src/registry/open-registry.ts';
import type { RetryPolicy } from '../../src/registry/retry.ts';
import type { TemporaryFile } from '../../src/storage/temporary-file.ts';
import { Workspace } from '../../src/storage/workspace.ts';
import { createLogger } from '../../src/telemetry/log.ts';
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
  /** Files that are held open in the workspace now. */
  openFiles(): Promise<number>;
  /** @returns how many requests were cut off */
  stop(): Promise<number>;
}

/** What may differ from the service as it is. */
export interface TestServiceOptions {
  /** How its registry client tries again; {@link QUICK_RETRY} unless said. */
  readonly retry?: RetryPolicy | undefined;
  /** Does something to every file that is created in the workspace: makes it fail. */
  readonly tamper?: ((file: TemporaryFile) => void) | undefined;
}

/**
 * Start a service.
 *
 * @param env its variables; host and port are set here, and the workspace unless it is named
 */
export async function startTestService(
  env: Readonly<Record<string, string>> = {},
  { retry = QUICK_RETRY, tamper = () => undefined }: TestServiceOptions = {},
): Promise<TestService> {
  const workspace = await mkdtemp(join(tmpdir(), 'workspace-'));
  const config = loadConfig({
    HTTP_HOST: '127.0.0.1',
    HTTP_PORT: '0',
    WORKSPACE_DIR: workspace,
    // A test that fails with a download under way does not wait for it long.
    SHUTDOWN_TIMEOUT: '5',
    ...env,
  });
  const access = openRegistryAccess({ ...config.registry, userAgent: 'test', retry });
  const log = new MemoryLog();
  const folder = await Workspace.open(config.workspaceDirectory);
  const tools = {
    config,
    workspace: {
      directory: folder.directory,
      probe: () => folder.probe(),
      createFile: async () => {
        const file = await folder.createFile();
        tamper(file);
        return file;
      },
    },
    admission: new Admission(config.admission),
    access,
    checksums: new ChecksumMemory(),
    downloads: new StartedDownloads(),
  };
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
    openFiles: () => openFilesIn(workspace),
    stop,
    [Symbol.asyncDispose]: async () => {
      await stop();
      access.close();
      await rm(workspace, { recursive: true, force: true });
    },
  };
}

/** How many files of a folder this process holds open, those that have no name any more among them. */
export async function openFilesIn(directory: string): Promise<number> {
  const descriptors = await readdir('/proc/self/fd');
  const paths = await Promise.all(
    // A descriptor may be gone by now: that of the reading itself is.
    descriptors.map((descriptor) => readlink(`/proc/self/fd/${descriptor}`).catch(() => '')),
  );
  return paths.filter((path) => path.startsWith(`${directory}/`)).length;
}
