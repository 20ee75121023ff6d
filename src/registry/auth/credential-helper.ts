import { spawn } from 'node:child_process';
import { PassthroughError } from '../../errors.ts';
import { printable, quoted } from '../../util/printable.ts';
import { systemErrorCode } from '../../util/system-error.ts';
import { abortedError } from '../transport/connection-error.ts';
import type { BasicCredentials, IdentityToken } from './credentials.ts';

/** How to run a helper program. */
export interface HelperOptions {
  /** Variables of the program; `PATH` is where it is looked for. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly signal: AbortSignal;
  /** Longest run, in milliseconds. Default: {@link HELPER_TIMEOUT_MS}. */
  readonly timeoutMs?: number | undefined;
  /**
   * Whether no person is there, as for a service. Errors then do not quote what the program says of a failure: a log outlives what a
   * terminal shows. Its children are killed with it: they are its process group, which has no terminal to ask a person on.
   */
  readonly isUnattended?: boolean | undefined;
}

/** Longest run of a helper: one that asks a cloud takes seconds, and a person may have to unlock a key chain. */
const HELPER_TIMEOUT_MS = 60_000;

/** Most output of a helper, in bytes. Tokens of clouds have a few thousand. */
const MAX_OUTPUT_BYTES = 64 * 1024;

/** A name that `PATH` is searched for. With a slash it would be a path. */
export const HELPER_NAME = /^[a-z0-9][a-z0-9._-]*$/i;

/** The user name in place of which a helper has an identity token. */
const TOKEN_USER = '<token>';

/** What a run of a program gave. */
interface Run {
  readonly code: number | null;
  readonly output: string;
  readonly errors: string;
}

/**
 * Asks a credential helper of Docker: runs `docker-credential-{name} get` with the address of the registry as its input.
 *
 * @param name such as `ecr-login`
 * @param server address under which the helper knows the registry
 * @returns `undefined` if the helper has no credentials for the registry; `missing` if there is no such program
 * @throws PassthroughError `INVALID_CONFIGURATION` for a name that is none, and when the program fails, takes too long or gives no
 *   credentials in its form; `ABORTED`
 * @see https://github.com/docker/docker-credential-helpers#development
 */
export async function askHelper(
  name: string,
  server: string,
  options: HelperOptions,
): Promise<BasicCredentials | IdentityToken | 'missing' | undefined> {
  if (!HELPER_NAME.test(name)) {
    throw new PassthroughError(
      'INVALID_CONFIGURATION',
      `Cannot use credential helper ${quoted(name)}: expected the part behind "docker-credential-" in the name of a program`,
    );
  }
  const program = `docker-credential-${name}`;
  const fail = (why: string, cause?: unknown) =>
    new PassthroughError(
      'INVALID_CONFIGURATION',
      `Cannot get credentials of ${quoted(server)} from ${quoted(program)}: ${why}`,
      cause === undefined ? {} : { cause },
    );
  let run: Run;
  try {
    run = await runProgram(program, server, options, fail);
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return 'missing';
    throw error instanceof PassthroughError ? error : fail('it cannot be started', error);
  }
  const { code, output, errors } = run;
  if (code === 0) return parseAnswer(output, fail);
  // Helpers in Go write this on standard output, others on standard error.
  if (/credentials not found/i.test(output + errors)) return undefined;
  const { isUnattended = false } = options;
  throw fail(`it ended with code ${code}${isUnattended ? '' : quoteOf(output, errors)}`);
}

/** Reads `{"ServerURL", "Username", "Secret"}`. Errors do not quote it. */
function parseAnswer(output: string, fail: (why: string) => PassthroughError) {
  let answer: unknown;
  try {
    answer = JSON.parse(output);
  } catch {
    throw fail('its answer is not JSON');
  }
  const fields = typeof answer === 'object' && answer !== null ? answer : {};
  const username: unknown = 'Username' in fields ? fields.Username : undefined;
  const secret: unknown = 'Secret' in fields ? fields.Secret : undefined;
  if (typeof username !== 'string' || typeof secret !== 'string') {
    throw fail('its answer has no Username and Secret');
  }
  if (secret === '') return undefined;
  if (username === TOKEN_USER) return { identityToken: secret };
  if (username.includes(':')) throw fail('its Username has a colon, at which Basic ends a user name');
  return { username, password: secret };
}

/** The first line of an error text; nothing if it may be an answer with a secret in it. */
function quoteOf(output: string, errors: string): string {
  const text = errors.trim() || output.trim();
  if (text === '' || /Secret/i.test(text)) return '';
  return `: ${printable(text.split('\n', 1)[0] ?? '')}`;
}

/** Runs a program to its end. It is killed at a limit, and its pipes are then not waited for: children of it may hold them. */
function runProgram(
  program: string,
  input: string,
  { environment, signal, timeoutMs = HELPER_TIMEOUT_MS, isUnattended = false }: HelperOptions,
  fail: (why: string) => PassthroughError,
): Promise<Run> {
  const { promise, resolve, reject } = Promise.withResolvers<Run>();
  if (signal.aborted) throw abortedError(signal);
  const detached = isUnattended && process.platform !== 'win32';
  const options = { env: { ...environment }, windowsHide: true, detached };
  const child = spawn(program, ['get'], { ...options, stdio: 'pipe' });
  const stop = (error: PassthroughError) => {
    reject(error);
    if (detached) killGroup(child.pid);
    else child.kill('SIGKILL');
    for (const pipe of [child.stdin, child.stdout, child.stderr]) pipe.destroy();
  };
  const abort = () => stop(abortedError(signal));
  const timer = setTimeout(() => stop(fail(`it did not end within ${timeoutMs / 1000} s`)), timeoutMs);
  signal.addEventListener('abort', abort, { once: true });
  let size = 0;
  const collect = (pipe: typeof child.stdout) => {
    const chunks: Buffer[] = [];
    pipe.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      size += chunk.byteLength;
      if (size > MAX_OUTPUT_BYTES) stop(fail(`it wrote more than ${MAX_OUTPUT_BYTES} bytes`));
    });
    return () => Buffer.concat(chunks).toString('utf8');
  };
  const [output, errors] = [collect(child.stdout), collect(child.stderr)];
  child.on('error', reject);
  child.on('close', (code) => resolve({ code, output: output(), errors: errors() }));
  // A helper that does not read its input closes the pipe.
  child.stdin.on('error', () => undefined).end(input);
  return promise.finally(() => {
    clearTimeout(timer);
    signal.removeEventListener('abort', abort);
  });
}

/** Kills a program and its children. */
function killGroup(pid: number | undefined): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL');
  } catch {
    // They have ended meanwhile, or run as another user.
  }
}
