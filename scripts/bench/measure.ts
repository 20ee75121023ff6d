/**
 * Common functions of the benchmarks. Machines are shared and noisy, so speed is only compared within one run, by medians of
 * alternating turns.
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { cpus, loadavg, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { ownFolder, ownProcess } from '../../test/support/leave-nothing.ts';

/** Longest start or answer of a helper, in milliseconds: one helper compresses half a gigabyte first. */
const HELPER_LIMIT_MS = 120_000;

/** The kernel's unit for processor time: 100 ticks a second on all Linux platforms of Node. */
const TICKS_PER_SECOND = 100;

/** Summary of measurements. */
export interface Summary {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** The median: the middle value, or the mean of the two middle values. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((one, other) => one - other);
  const middle = sorted.length / 2;
  const [low = Number.NaN, high = low] = sorted.slice(Math.ceil(middle) - 1, Math.floor(middle) + 1);
  return (low + high) / 2;
}

/** Median and extremes. */
export function summarize(values: readonly number[]): Summary {
  return { median: median(values), min: Math.min(...values), max: Math.max(...values) };
}

/**
 * Runs contestants in turns. Every other turn has the reverse order, so that slow changes of the machine affect all alike.
 *
 * @param turns number of measured turns
 * @param contestants by name; each call measures once
 * @param unmeasured number of turns before the measured ones, which fill the caches; default 1
 * @returns the measurements of each, in the order of the turns
 */
export async function inTurns<Name extends string, T>(
  turns: number,
  contestants: Readonly<Record<Name, () => Promise<T>>>,
  unmeasured = 1,
): Promise<Readonly<Record<Name, readonly T[]>>> {
  const names = Object.keys(contestants) as Name[];
  const measured = Object.fromEntries(names.map((name) => [name, [] as T[]])) as Record<Name, T[]>;
  for (let turn = 1 - unmeasured; turn <= turns; turn += 1) {
    if (process.stderr.isTTY) process.stderr.write(`\rturn ${turn} of ${turns}${turn === turns ? '\n' : ''}`);
    for (const name of turn % 2 === 0 ? names : names.toReversed()) {
      const result = await contestants[name]();
      if (turn > 0) measured[name].push(result);
    }
  }
  return measured;
}

/** Formats a table: the first column is aligned to the left, the others to the right. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [head, ...rows];
  const widths = head.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
  return lines
    .map((line) =>
      line
        .map((cell, column) =>
          column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0),
        )
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** Describes the machine, with its load from other work. */
export function machineLine(): string {
  const [processor] = cpus();
  const memory = `${(totalmem() / 1024 ** 3).toFixed(0)} GiB`;
  const load = loadavg()
    .map((value) => value.toFixed(2))
    .join(' ');
  return (
    `${cpus().length} × ${processor?.model.trim() ?? 'unknown processor'}, ${memory}, ` +
    `${process.platform}/${process.arch}, node ${process.version}, load ${load}`
  );
}

/** Processor time of a process with all threads, in seconds: utime and stime in proc(5). */
export async function cpuSeconds(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  // The second field, the name, may contain spaces and parentheses. The text after its last parenthesis starts with the third.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

/** Peak resident set of a process, in bytes: VmHWM in proc(5). */
export async function peakResidentBytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1] ?? Number.NaN) * 1024;
}

/** A helper in a separate process, so that its work is not measured. */
export interface Helper extends AsyncDisposable {
  /** Port on 127.0.0.1. */
  readonly port: number;
  readonly pid: number;
  /** Sends a line to the helper and returns its answer, one line of JSON. */
  ask(): Promise<unknown>;
}

/**
 * Starts a helper: a script that prints its port as a line, and ends when its standard input ends.
 *
 * @param script name of the file in this folder
 * @throws Error when it ends before it listens
 */
export async function startHelper(script: string): Promise<Helper> {
  const child = spawn(process.execPath, [join(import.meta.dirname, script)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  ownProcess(child);
  const ended = once(child, 'exit');
  // If the helper dies, its broken pipe must not end this process. The next question fails instead.
  child.stdin.on('error', () => undefined);
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const nextLine = async (): Promise<string> => {
    const timer = setTimeout(() => child.kill('SIGKILL'), HELPER_LIMIT_MS);
    const line = await lines.next().finally(() => clearTimeout(timer));
    if (line.done === true) throw new Error(`${script} has ended, or gave no answer in time`);
    return line.value;
  };
  return {
    port: Number(await nextLine()),
    // The helper has written a line, so it has a port.
    pid: child.pid as number,
    ask: async () => {
      child.stdin.write('\n');
      return JSON.parse(await nextLine());
    },
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGKILL');
      await ended;
    },
  };
}

/**
 * The main loop of a helper, called once it listens: prints the port, and answers each line on standard input. The process ends
 * with its standard input, so it does not outlive the benchmark.
 *
 * @param answer returns the value to print as JSON
 */
export function serveAsHelper(port: number, answer: () => unknown): void {
  console.log(port);
  createInterface({ input: process.stdin })
    .on('line', () => console.log(JSON.stringify(answer())))
    .on('close', () => process.exit());
}

/** Makes a folder that is removed when this process exits. */
export function temporaryFolder(prefix: string): string {
  const folder = mkdtempSync(join(tmpdir(), prefix));
  ownFolder(folder);
  return folder;
}
