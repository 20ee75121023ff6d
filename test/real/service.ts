/** The service as its users run it: a process of its own, configured by its environment alone. */
import { mkdir, readdir, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Exit, end, type Running, start, temporaryDirectory, until } from './parts.ts';

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url));

/** Milliseconds that the service has to listen, and to end after SIGTERM when nothing is under way. */
const START_TIMEOUT = 60_000;
const STOP_TIMEOUT = 60_000;

/** One line of the service's log. */
export interface LogLine {
  readonly event?: string;
  readonly level?: string;
  readonly port?: number;
  readonly [field: string]: unknown;
}

/** A running service. */
export interface Service {
  readonly origin: string;
  readonly port: number;
  /** The directory in which it prepares archives. */
  readonly workspace: string;
  readonly running: Running;
  readonly logs: () => readonly LogLine[];
  /** All that it has written to standard output and standard error. */
  readonly said: () => string;
  /** SIGTERM, and exit code 0 within a bound. Does nothing where it has ended with 0, or was killed. */
  readonly stop: () => Promise<void>;
  /** SIGKILL: no chance to tidy up. */
  readonly kill: () => Promise<void>;
}

function readLogs(stdout: string): LogLine[] {
  // The last line may be half written.
  const lines = stdout.slice(0, stdout.lastIndexOf('\n') + 1).split('\n');
  return lines.flatMap((line) => {
    try {
      return line.startsWith('{') ? [JSON.parse(line) as LogLine] : [];
    } catch {
      throw new Error(`Cannot read a log line of the service: ${line}`);
    }
  });
}

/**
 * What the service holds on disk: files in the folders of its store, its own and those that a killed one has left, and files
 * that it has open there without a name (`/proc/{pid}/fd`, where Linux marks them as deleted).
 */
export async function filesHeld(service: Service): Promise<string[]> {
  const isFile = (path: string) => /(?:^|\/)(?:incoming|prepared)\/./.test(path);
  const named = await readdir(service.workspace, { recursive: true });
  const descriptors = `/proc/${service.running.child.pid}/fd`;
  const open = (await readdir(descriptors).catch(() => [])).map((descriptor) =>
    readlink(join(descriptors, descriptor)).catch(() => ''),
  );
  const unnamed = (await Promise.all(open)).filter((path) => path.startsWith(`${service.workspace}/`));
  return [...named, ...unnamed].filter(isFile);
}

/** Waits until nothing is left of any preparation. */
export async function untilNothingHeld(service: Service): Promise<void> {
  let held: string[] = [];
  await until('empty workspace', async () => {
    held = await filesHeld(service);
    return held.length === 0 ? true : undefined;
  }).catch((cause) => {
    throw new Error(`Cannot find the workspace empty: ${held.join(', ')}`, { cause });
  });
}

/**
 * Starts the service on a free port of 127.0.0.1; it is stopped, and must then end well, when `stack` is undone.
 * @param env what to configure; nothing of the test's own environment reaches it but PATH, HOME, TMPDIR and CI
 */
export async function startService(
  stack: AsyncDisposableStack,
  env: Readonly<Record<string, string>>,
): Promise<Service> {
  const directory = await temporaryDirectory(stack, 'service');
  const workspace = env['WORKSPACE_DIR'] ?? join(directory, 'workspace');
  await mkdir(workspace, { recursive: true });
  const running = start(process.execPath, [MAIN, 'serve'], {
    // Not the repository: a developer's `.env` there is not part of the test.
    cwd: directory,
    // Nothing is kept, so that what a request leaves behind shows.
    env: { HTTP_HOST: '127.0.0.1', HTTP_PORT: '0', WORKSPACE_DIR: workspace, CACHE_MAX_BYTES: '0', ...env },
  });
  const said = () => running.stdout() + running.stderr();
  let isKilled = false;
  const assertEndedWell = (exit: Exit): void => {
    if (exit.code !== 0 && !isKilled) {
      throw new Error(`Cannot stop the service: it ended with ${exit.code ?? exit.signal}\n${said()}`);
    }
  };
  const stop = async (): Promise<void> => {
    assertEndedWell(await end(running, STOP_TIMEOUT));
  };
  // Also where it has ended already: then it may have ended by a fault of its own.
  stack.defer(stop);

  const port = await until(
    'port of the service',
    () => {
      if (!running.isRunning()) {
        throw new Error(`Cannot start the service: it ended with\n${said()}`);
      }
      return readLogs(running.stdout()).find(({ event }) => event === 'listening')?.port;
    },
    START_TIMEOUT,
  );
  return {
    ...{ origin: `http://127.0.0.1:${port}`, port, workspace, running, said, stop },
    logs: () => readLogs(running.stdout()),
    kill: async () => {
      isKilled = true;
      running.child.kill('SIGKILL');
      await running.exited;
    },
  };
}
