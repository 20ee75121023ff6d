/** The program as its users start it: a process of its own, with an environment and a working directory of its own. */

import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Conditions } from '../support/conditions.ts';
import type { LogEvent } from '../support/service.ts';
import { within } from '../support/within.ts';

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url));

/** How a process ended, and all that it wrote. */
export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A running process. Killed when it is disposed of, if it has not ended by then. */
export interface Program extends AsyncDisposable {
  readonly child: ChildProcess;
  /** @returns the first line of the log with this event, as soon as it is there */
  waitForEvent(event: string): Promise<LogEvent>;
  /** @returns how it ended, as soon as it has */
  ended(): Promise<Ended>;
}

/** A folder to work in; removed when it is disposed of. */
export async function temporaryFolder(): Promise<{ readonly path: string } & AsyncDisposable> {
  const path = await mkdtemp(join(tmpdir(), 'binary-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

/**
 * Start the program.
 *
 * @param env all of its environment but `PATH`
 * @param cwd where it works; no `.env` but its own is there
 */
export function startProgram(
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  cwd: string,
): Program {
  const child = spawn(process.execPath, [MAIN, ...args], {
    cwd,
    env: { PATH: process.env['PATH'] ?? '', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const events = new Conditions();
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
    events.changed();
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const { promise: closed, resolve, reject } = Promise.withResolvers<Ended>();
  child.once('error', reject);
  child.once('close', (code, signal) => {
    resolve({ code, signal, stdout, stderr });
    events.close(
      new Error(`Cannot wait for the program: it has ended with ${code ?? signal}\n${stdout}${stderr}`),
    );
  });
  return {
    child,
    waitForEvent: (name) => {
      const found = events.when(() => logOf(stdout).find(({ event }) => event === name));
      return within(found, `the event ${name}`);
    },
    ended: () => within(closed, 'the end of the program'),
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGKILL');
      await within(closed, 'the end of the program');
    },
  };
}

/** Run the program to its end, in an empty folder. */
export async function runProgram(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<Ended> {
  await using folder = await temporaryFolder();
  await using program = startProgram(args, env, folder.path);
  return await program.ended();
}

/** The events of a log; the last line may be half written, and is then left out. */
export function logOf(stdout: string): LogEvent[] {
  return stdout
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as LogEvent);
}
