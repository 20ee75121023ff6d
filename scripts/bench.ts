/**
 * What the benchmarks share. Machines are shared and noisy, so that speed is only ever compared: within one run, by medians
 * of turns that the contestants take one after the other.
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { cpus, loadavg, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { ownFolder, ownProcess } from '../test/support/leave-nothing.ts';

/** Longest wait for a helper to start or to answer, in milliseconds: one of them compresses half a gigabyte first. */
const HELPER_LIMIT_MS = 120_000;

/** In what the kernel counts the time of processes: 100 in a second, wherever Node runs on Linux. */
const TICKS_PER_SECOND = 100;

/** What is left of many measurements. */
export interface Summary {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** The one in the middle; the mean of the two in the middle where their number is even. */
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
 * Lets contestants take turns, every other turn in reverse order: what drifts on the machine meets all of them alike, and
 * none has always the same one before it.
 *
 * @param turns how many are measured, after one that is not: it fills the caches
 * @param contestants by name: each measures once when it is called
 * @param unmeasured another number of turns before those that are measured
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

/** Lines of text: columns under their heads, the first one to the left, numbers to the right. */
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

/** What it was measured on. The load tells whether others were at work, too. */
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

/** Seconds of processor time that a process has used so far, all of its threads: utime and stime in proc(5). */
export async function cpuSeconds(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  // The second field, the name, may hold anything; the first one after it is the third.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

/** Peak resident set of a process as the kernel counts it, in bytes: VmHWM in proc(5). */
export async function peakResidentBytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1] ?? Number.NaN) * 1024;
}

/** A helper in a process of its own, so that its work is not taken for that of what is measured. */
export interface Helper extends AsyncDisposable {
  /** Where it listens on 127.0.0.1. */
  readonly port: number;
  readonly pid: number;
  /** What the helper answers to a line on its standard input: one line of JSON. */
  ask(): Promise<unknown>;
}

/**
 * Starts a helper: a script that prints its port as a line, and ends with its standard input.
 *
 * @param script its name in this folder
 * @throws Error when it ends before it listens
 */
export async function startHelper(script: string): Promise<Helper> {
  const child = spawn(process.execPath, [join(import.meta.dirname, script)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  ownProcess(child);
  const ended = once(child, 'exit');
  // One that dies must not end this process by its broken pipe: whoever asks it next is told.
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
    // It has one: it has written a line.
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
 * What a helper's own script calls once it listens: prints the port, and answers each line on standard input. The process
 * ends with that input, so that it never outlives whoever started it.
 *
 * @param answer gives what is to be told
 */
export function serveAsHelper(port: number, answer: () => unknown): void {
  console.log(port);
  createInterface({ input: process.stdin })
    .on('line', () => console.log(JSON.stringify(answer())))
    .on('close', () => process.exit());
}

/** Makes a folder that goes with this process, however it ends. */
export function temporaryFolder(prefix: string): string {
  const folder = mkdtempSync(join(tmpdir(), prefix));
  ownFolder(folder);
  return folder;
}
