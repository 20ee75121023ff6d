/** Runs commands of the built program to their end. */

import { type ChildProcess, spawn } from 'node:child_process';
import { builtMain } from '../support/built-service.ts';
import { ownProcess } from '../support/leave-nothing.ts';
import { COMPILED } from '../support/shared.ts';
import { within } from '../support/within.ts';

/** Longest run of a command, in milliseconds: many run at once. */
const COMMAND_LIMIT_MS = 60_000;

/** How a command ended. */
export interface Result {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: Buffer;
  readonly stderr: string;
}

/** A running command. */
export interface Running {
  readonly child: ChildProcess;
  /** Waits for the end. */
  readonly ended: Promise<Result>;
}

/** How a command is started. */
export interface RunOptions {
  /** Variables beside `PATH`. */
  readonly env?: Readonly<Record<string, string>> | undefined;
  readonly cwd?: string | undefined;
  /** Standard input; empty unless given. */
  readonly input?: string | undefined;
  /** Whether standard input stays open after {@link RunOptions.input}. */
  readonly keepsInputOpen?: boolean;
}

/** Starts a command of the built program. */
export async function start(args: readonly string[], options: RunOptions = {}): Promise<Running> {
  return startOf(process.execPath, [await builtMain(), ...args], options);
}

/** Starts any command, such as a shell that runs the program. */
export function startOf(
  command: string,
  args: readonly string[],
  { env, cwd, input = '', keepsInputOpen = false }: RunOptions,
): Running {
  const child = spawn(command, args, {
    cwd,
    env: { PATH: process.env['PATH'] ?? '', ...COMPILED, ...env },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  ownProcess(child);
  const stdout: Buffer[] = [];
  let stderr = '';
  child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  // The command may end without reading it.
  child.stdin.on('error', () => undefined).write(input);
  if (!keepsInputOpen) child.stdin.end();
  const { promise, resolve, reject } = Promise.withResolvers<Result>();
  child.once('error', reject);
  child.once('close', (code, signal) => resolve({ code, signal, stdout: Buffer.concat(stdout), stderr }));
  return { child, ended: within(promise, 'the end of the command', COMMAND_LIMIT_MS) };
}

/** Runs a command of the built program to its end. */
export async function run(args: readonly string[], options: RunOptions = {}): Promise<Result> {
  return await (await start(args, options)).ended;
}
