/**
 * The service as it is published: built, and run in a process of its own.
 */

import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from '../../scripts/build.ts';
import { open, type Reply, type RequestOptions, request } from './http-request.ts';
import { disownFolder, ownFolder, ownProcess } from './leave-nothing.ts';
import { type LogEvent, MemoryLog } from './memory-log.ts';
import { BUILT_MAIN, COMPILED } from './shared.ts';
import { START_LIMIT_MS, within } from './within.ts';

/** Milliseconds that the service has to end in: more than its own bound for requests that are under way. */
const STOP_LIMIT_MS = 45_000;

/** How a process ended. */
export interface Stopped {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** Milliseconds from the signal to the end. */
  readonly ms: number;
}

/** The built service in a process of its own. Killed when it is disposed of, if it has not ended by then. */
export interface BuiltService extends AsyncDisposable {
  readonly port: number;
  readonly pid: number;
  readonly workspace: string;
  /** Milliseconds from the start of the process to the line that says that it listens. */
  readonly startMs: number;
  /** Every line of its standard output so far; one that is no JSON object is kept as `{ text }`. */
  logs(): readonly LogEvent[];
  /** Everything that it wrote to standard output and standard error so far. */
  output(): string;
  /**
   * @param fields what an event must have, to the letter
   * @param nth which one of those that do, counted from 1 and from the start of the service
   * @throws Error when the process ends before
   */
  waitForLog(fields: LogEvent, nth?: number): Promise<LogEvent>;
  /** One request on a connection of its own, with whatever comes of it. */
  request(path: string, options?: RequestOptions): Promise<Reply>;
  /** The same, resolved with the header; nothing of the body is read yet. */
  open(path: string, options?: RequestOptions): Promise<IncomingMessage>;
  /** Asks it to stop, with SIGTERM, and waits for the end. */
  stop(): Promise<Stopped>;
  /** Ends it with SIGKILL, which leaves it no chance to tidy up, and waits for the end. */
  kill(): Promise<Stopped>;
}

/** What may differ from the service as it is run. */
export interface BuiltServiceOptions {
  /** Options of Node, before the program. */
  readonly nodeArgs?: readonly string[] | undefined;
  /** Another program than the one that is built for this process. */
  readonly main?: string | undefined;
  /** Limit of open files, as `ulimit -n` sets it. */
  readonly openFiles?: number | undefined;
}

/**
 * Start a service. The first call in a process builds it.
 *
 * @param env its variables beside `PATH` and what Node itself reads; host, port, workspace and log level are set here unless they are named. The log
 *   level must let through the line that the service listens
 */
export async function startBuiltService(
  env: Readonly<Record<string, string>> = {},
  { nodeArgs = [], main, openFiles }: BuiltServiceOptions = {},
): Promise<BuiltService> {
  const program = main ?? (await builtMain());
  await using stack = new AsyncDisposableStack();
  // The working directory, so that no .env but the test's own is found.
  const folder = await temporaryFolder('service-');
  stack.defer(() => removeFolder(folder));
  const variables = {
    PATH: process.env['PATH'] ?? '',
    ...COMPILED,
    HTTP_HOST: '127.0.0.1',
    HTTP_PORT: '0',
    WORKSPACE_DIR: join(folder, 'workspace'),
    LOG_LEVEL: 'debug',
    ...env,
  };

  const begun = performance.now();
  const node = [process.execPath, ...nodeArgs, program, 'serve'];
  const limited = ['/bin/sh', '-c', `ulimit -n ${openFiles} && exec "$0" "$@"`, ...node];
  const [command = '', ...args] = openFiles === undefined ? node : limited;
  const child = spawn(command, args, {
    cwd: folder,
    env: variables,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  ownProcess(child);
  const log = new MemoryLog();
  let output = '';
  let rest = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) log.add(eventOf(line));
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  const { promise: closed, resolve } = Promise.withResolvers<Omit<Stopped, 'ms'>>();
  child.once('error', (error) => log.close(error));
  child.once('close', (code, signal) => {
    if (rest !== '') log.add(eventOf(rest));
    log.close(new Error(`Cannot wait for the service: it has ended with ${code ?? signal}\n${output}`));
    resolve({ code, signal });
  });
  stack.defer(async () => {
    child.kill('SIGKILL');
    await within(closed, 'the end of the service');
  });

  const { port } = await log.waitFor({ event: 'listening' }, 1, START_LIMIT_MS);
  const startMs = performance.now() - begun;
  let stopped: Promise<Stopped> | undefined;
  const end = async (signal: NodeJS.Signals): Promise<Stopped> => {
    const asked = performance.now();
    child.kill(signal);
    const ended = await within(closed, 'the end of the service', STOP_LIMIT_MS);
    return { ...ended, ms: performance.now() - asked };
  };
  const all = stack.move();
  return {
    port: Number(port),
    // It has one: it has written a line.
    pid: child.pid as number,
    workspace: variables.WORKSPACE_DIR,
    startMs,
    logs: () => log.events,
    output: () => output,
    waitForLog: (fields, nth) => log.waitFor(fields, nth),
    request: (path, options) => request(Number(port), path, options),
    open: (path, options) => open(Number(port), path, options),
    stop: () => {
      stopped ??= end('SIGTERM');
      return stopped;
    },
    kill: () => end('SIGKILL'),
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  };
}

let building: Promise<string> | undefined;

/** The program, built once for this process, or for all that `npm test` runs. */
export function builtMain(): Promise<string> {
  building ??= (async () => {
    const built = process.env[BUILT_MAIN];
    if (built !== undefined) return built;
    const folder = await temporaryFolder('built-');
    await build(folder);
    return join(folder, 'main.js');
  })();
  return building;
}

function eventOf(line: string): LogEvent {
  try {
    const event: unknown = JSON.parse(line);
    if (typeof event === 'object' && event !== null && !Array.isArray(event)) return { ...event };
  } catch {
    // Not the service's own log: kept as it is.
  }
  return { text: line };
}

async function temporaryFolder(prefix: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), prefix));
  ownFolder(folder);
  return folder;
}

async function removeFolder(folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true });
  disownFolder(folder);
}
