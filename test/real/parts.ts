/**
 * The real parts that this folder's tests are made of: where each comes from, how one is run with a time limit,
 * and how nothing of it stays behind.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, constants, readFileSync, rmSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import type { TestContext } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';

/** The Debian package that gives each command. */
const PACKAGES = {
  '7z': 'p7zip-full',
  aria2c: 'aria2',
  bsdtar: 'libarchive-tools',
  catatonit: 'catatonit',
  chromium: 'chromium',
  buildah: 'buildah',
  busybox: 'busybox-static',
  ctr: 'containerd',
  curl: 'curl',
  docker: 'docker.io',
  'docker-registry': 'docker-registry',
  dockerd: 'docker.io',
  haproxy: 'haproxy',
  htpasswd: 'apache2-utils',
  nginx: 'nginx-light',
  mandoc: 'mandoc',
  openssl: 'openssl',
  prometheus: 'prometheus',
  promtool: 'prometheus',
  pigz: 'pigz',
  podman: 'podman',
  python3: 'python3',
  runc: 'runc',
  skopeo: 'skopeo',
  strip: 'binutils',
  'systemd-analyze': 'systemd',
  'systemd-notify': 'systemd',
  'systemd-socket-activate': 'systemd',
  tar: 'tar',
  umoci: 'umoci',
  wget: 'wget',
} as const;

/** A command that a test may ask for. */
export type Part = keyof typeof PACKAGES;

/** Daemons live in sbin, which a user's PATH often leaves out. */
const SEARCH_PATH = [process.env['PATH'] ?? '', '/usr/sbin', '/sbin', '/usr/libexec/podman'].join(delimiter);

/** Longest that a command runs unless the caller says otherwise, in milliseconds. */
const COMMAND_TIMEOUT = 180_000;

/** How much of a command's output an error message shows, in characters. */
const SHOWN_OUTPUT = 2_000;

/** Longest wait for a child when the test process itself ends, in milliseconds. */
const EXIT_GRACE = 10_000;

/** Milliseconds between two looks at a condition. */
const POLL_INTERVAL = 25;

/** Whether a command can be found, sbin included. */
export function isInstalled(command: string): boolean {
  return SEARCH_PATH.split(delimiter).some((directory) => {
    try {
      accessSync(join(directory, command), constants.X_OK);
      return directory !== '';
    } catch {
      return false;
    }
  });
}

/** Skips the test for `reason`, or fails it where `CI` is set: there, nothing may be left out in silence. */
export function refuse(t: TestContext, reason: string): false {
  if ((process.env['CI'] ?? '') !== '') {
    throw new Error(`Cannot run "${t.name}": ${reason}`);
  }
  t.skip(reason);
  return false;
}

/**
 * Whether all of `commands` are installed. Where one is not, the test is skipped with the name of the Debian
 * package to install; under `CI` this throws instead.
 */
export function requireParts(t: TestContext, ...commands: readonly Part[]): boolean {
  const missing = commands.filter((command) => !isInstalled(command));
  if (missing.length === 0) {
    return true;
  }
  const packages = [...new Set(missing.map((command) => PACKAGES[command]))].join(' ');
  return refuse(t, `${missing.join(', ')} not found: apt-get install ${packages}`);
}

/** Whether the test runs as root, as which engines and builders need no setting up. Skips or fails as {@link requireParts} does. */
export function requireRoot(t: TestContext): boolean {
  return process.getuid?.() === 0 || refuse(t, 'engines and builders are run as root');
}

/**
 * What a test has to undo, undone in the opposite order when the test ends, also when it fails or times out.
 * (`t.after` alone would run its hooks first to last: directories before the processes that live in them.)
 */
export function cleanup(t: TestContext): AsyncDisposableStack {
  const stack = new AsyncDisposableStack();
  t.after(() => stack.disposeAsync());
  return stack;
}

/** A new empty directory, removed with everything in it when `stack` is undone. */
export async function temporaryDirectory(stack: AsyncDisposableStack, name: string): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), `passthrough-${name}-`));
  directories.add(directory);
  stack.defer(async () => {
    await rm(directory, { recursive: true, force: true, maxRetries: 5 });
    directories.delete(directory);
  });
  return directory;
}

/** The environment of every child: what a program needs to run at all, and `extra`. No proxy, no CA, no token. */
export function cleanEnvironment(extra: Readonly<Record<string, string>> = {}): Record<string, string> {
  const env: Record<string, string> = { PATH: SEARCH_PATH };
  for (const name of ['HOME', 'TMPDIR', 'CI']) {
    const value = process.env[name];
    if (value !== undefined) {
      env[name] = value;
    }
  }
  return { ...env, ...extra };
}

const children = new Set<ChildProcess>();
const directories = new Set<string>();

/** Waits for the end of a child without giving way to other code. A child whose exit status was not read is a zombie. */
function waitForEnd(child: ChildProcess): void {
  const deadline = performance.now() + EXIT_GRACE;
  const isAlive = () => {
    try {
      return !/\) Z /.test(readFileSync(`/proc/${child.pid}/stat`, 'utf8'));
    } catch {
      return false;
    }
  };
  while (isAlive() && performance.now() < deadline) {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, POLL_INTERVAL);
  }
}

// The last net, for tests that are interrupted: their stacks are not undone, and nothing asynchronous runs any more.
process.once('exit', () => {
  for (const child of children) {
    child.kill('SIGTERM');
  }
  children.forEach(waitForEnd);
  for (const directory of directories) {
    try {
      rmSync(directory, { recursive: true, force: true });
    } catch {
      // What is left lies where the system tidies up.
    }
  }
});
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => process.exit(1));
}

/** How a process ended. */
export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A process that runs, what it has said so far, and how it ends. */
export interface Running {
  readonly child: ChildProcess;
  readonly stdout: () => string;
  readonly stderr: () => string;
  /** Settles when the process has ended and its output is read; rejects when it could not be started. */
  readonly exited: Promise<Exit>;
  readonly isRunning: () => boolean;
}

/** What {@link start} and {@link run} take beside the command. */
export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Standard input; empty when absent. */
  readonly input?: string;
}

/** Starts a command with a clean environment and gathers its output. */
export function start(command: string, args: readonly string[], options: RunOptions = {}): Running {
  const child = spawn(command, args, {
    env: cleanEnvironment(options.env),
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    stdio: 'pipe',
  });
  children.add(child);
  let stdout = '';
  let stderr = '';
  let running = true;
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    stdout += chunk;
  });
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    stderr += chunk;
  });
  // A command that does not read its input may end before the input is written.
  child.stdin.on('error', () => {});
  child.stdin.end(options.input ?? '');
  const exited = new Promise<Exit>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve({ code, signal }));
  }).finally(() => {
    running = false;
    children.delete(child);
  });
  exited.catch(() => {});
  return { child, stdout: () => stdout, stderr: () => stderr, exited, isRunning: () => running };
}

/** Waits for the end of a process, at most `timeout` ms; undefined when it still runs then. */
export async function exitWithin(running: Running, timeout: number): Promise<Exit | undefined> {
  const timer = new AbortController();
  const late = delay(timeout, undefined, { signal: timer.signal }).catch(() => undefined);
  try {
    return await Promise.race([running.exited, late]);
  } finally {
    timer.abort();
  }
}

/** Asks a process to end with SIGTERM, and ends it with SIGKILL when it has not within `grace` ms. */
export async function end(running: Running, grace: number): Promise<Exit> {
  running.child.kill('SIGTERM');
  const exit = await exitWithin(running, grace);
  if (exit !== undefined) {
    return exit;
  }
  running.child.kill('SIGKILL');
  return running.exited;
}

/** What a finished command has said. */
export interface Finished extends Exit {
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command to its end, at most `timeout` ms, whatever its exit code. */
export async function attempt(
  command: string,
  args: readonly string[],
  options: RunOptions & { readonly timeout?: number } = {},
): Promise<Finished> {
  const timeout = options.timeout ?? COMMAND_TIMEOUT;
  const running = start(command, args, options);
  const exit = await exitWithin(running, timeout);
  if (exit === undefined) {
    await end(running, 1_000);
    throw new Error(`Cannot finish "${command} ${args.join(' ')}": still running after ${timeout} ms`);
  }
  return { ...exit, stdout: running.stdout(), stderr: running.stderr() };
}

/** Runs a command that must succeed; gives its standard output. */
export async function run(
  command: string,
  args: readonly string[],
  options: RunOptions & { readonly timeout?: number } = {},
): Promise<string> {
  const { code, signal, stdout, stderr } = await attempt(command, args, options);
  if (code !== 0) {
    const said = `${stdout}\n${stderr}`.trim().slice(-SHOWN_OUTPUT);
    throw new Error(`Cannot run "${command} ${args.join(' ')}": exit ${code ?? signal}\n${said}`);
  }
  return stdout;
}

/**
 * Looks at `condition` again and again until it gives a value, at most `timeout` ms: many times what it takes on a busy machine.
 * @throws Error that names `what` when it never did
 */
export async function until<T>(
  what: string,
  condition: () => Promise<T | undefined> | T | undefined,
  timeout = 60_000,
): Promise<T> {
  const deadline = performance.now() + timeout;
  for (;;) {
    const value = await condition();
    if (value !== undefined) {
      return value;
    }
    if (performance.now() > deadline) {
      throw new Error(`Cannot go on: no ${what} within ${timeout} ms`);
    }
    await delay(POLL_INTERVAL);
  }
}
