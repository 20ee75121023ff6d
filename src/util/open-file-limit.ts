import { readFileSync } from 'node:fs';

let known: number | undefined;

/**
 * The number of files and connections that this process can have open at once. Node raises the soft limit to the hard one when it
 * starts. Read once: reading takes a descriptor.
 *
 * @returns `Infinity` if the system does not say
 * @see https://man7.org/linux/man-pages/man5/proc_pid_limits.5.html
 */
export function openFileLimit(): number {
  known ??= readLimit();
  return known;
}

function readLimit(): number {
  try {
    const text = readFileSync('/proc/self/limits', 'utf8');
    const { limit } = /^Max open files\s+(?<limit>\d+)/m.exec(text)?.groups ?? {};
    return Number(limit ?? Number.POSITIVE_INFINITY);
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}
