/** Runs the program as its users do: as a process with its own environment and working directory. */

import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { systemErrorCode } from '../../src/util/system-error.ts';
import { Conditions } from '../support/conditions.ts';
import type { LogEvent } from '../support/service.ts';
import { COMPILED } from '../support/shared.ts';
import { within } from '../support/within.ts';

/** The program. */
export const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url));

/** Longest start and end of a program, in milliseconds: many programs run at once, and each compiles the sources. */
const PROGRAM_LIMIT_MS = 60_000;

/** Exit code, signal and output of a process. */
export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A running process. Its disposal kills it. */
export interface Program extends AsyncDisposable {
  readonly child: ChildProcess;
  /** Waits for a line of the log. @returns the first line with this event */
  waitForEvent(event: string): Promise<LogEvent>;
  /** Waits until the nth service of the program listens, counted from 1. @returns its port */
  waitForListening(nth: number): Promise<number>;
  /** Waits for the end. */
  ended(): Promise<Ended>;
}

/** A working directory. Its disposal removes it. */
export async function temporaryFolder(): Promise<{ readonly path: string } & AsyncDisposable> {
  const path = await mkdtemp(join(tmpdir(), 'binary-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

/** How {@link startProcess} starts a process. */
export interface ProcessOptions {
  /** All of the environment but `PATH`. */
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  /** Gives the process a group of its own, so that its disposal also kills its children. */
  readonly isGroup?: boolean;
}

/**
 * Starts the program.
 *
 * @param env all of its environment but `PATH`
 * @param cwd its working directory: it reads no other `.env`
 */
export function startProgram(
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  cwd: string,
): Program {
  return startProcess(process.execPath, [MAIN, ...args], { env, cwd });
}

/** Starts a command that runs the program. */
export function startProcess(
  command: string,
  args: readonly string[],
  { env, cwd, isGroup = false }: ProcessOptions,
): Program {
  const child = spawn(command, args, {
    cwd,
    env: { PATH: process.env['PATH'] ?? '', ...COMPILED, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: isGroup,
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
      return within(found, `the event ${name}`, PROGRAM_LIMIT_MS);
    },
    waitForListening: async (nth) => {
      const ports = () =>
        [...stdout.matchAll(/"event":"listening".*"port":(\d+)/g)].map(([, port]) => Number(port));
      const found = events.when(() => ports()[nth - 1]);
      return within(found, `a service that listens, number ${nth}`, PROGRAM_LIMIT_MS);
    },
    ended: () => within(closed, 'the end of the program', PROGRAM_LIMIT_MS),
    [Symbol.asyncDispose]: async () => {
      if (isGroup) killGroup(child);
      else child.kill('SIGKILL');
      await within(closed, 'the end of the program', PROGRAM_LIMIT_MS);
    },
  };
}

function killGroup({ pid }: ChildProcess): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL');
  } catch (error) {
    if (systemErrorCode(error) !== 'ESRCH') throw error;
  }
}

/** Runs the program to its end, in an empty folder. */
export async function runProgram(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<Ended> {
  await using folder = await temporaryFolder();
  await using program = startProgram(args, env, folder.path);
  return await program.ended();
}

/** The events of a log, without an incomplete last line. */
export function logOf(stdout: string): LogEvent[] {
  return stdout
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as LogEvent);
}
