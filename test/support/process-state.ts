/**
 * What a running service holds: memory, descriptors and files, as the system tells.
 */

import { readdir, readFile, readlink, stat } from 'node:fs/promises';
import { join } from 'node:path';

/** Resident memory of a process in bytes, now and at its peak: VmRSS and VmHWM in proc(5). */
export async function residentBytes(pid: number): Promise<{ readonly now: number; readonly peak: number }> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  const field = (name: string) =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1] ?? Number.NaN) * 1024;
  return { now: field('VmRSS'), peak: field('VmHWM') };
}

/** What a process has open. */
export interface Descriptors {
  readonly sockets: number;
  /** Paths of files below the folder that was asked for; such as are gone end in ` (deleted)`. */
  readonly files: readonly string[];
  /** All the rest: pipes, the program, what the runtime wants. */
  readonly others: readonly string[];
}

/**
 * What a process has open just now.
 *
 * @param folder the store's, or one above it
 */
export async function descriptorsOf(pid: number, folder: string): Promise<Descriptors> {
  const directory = `/proc/${pid}/fd`;
  const names = await readdir(directory);
  const links = await Promise.all(
    names.map((name) => readlink(join(directory, name)).catch(() => undefined)),
  );
  const sockets: string[] = [];
  const files: string[] = [];
  const others: string[] = [];
  for (const link of links) {
    if (link === undefined) continue;
    if (link.startsWith('socket:')) sockets.push(link);
    else if (link.startsWith(`${folder}/`)) files.push(link);
    else others.push(link);
  }
  return { sockets: sockets.length, files, others };
}

/** What lies in the folder of a store. */
export interface StoreState {
  /** Names of files that are being written, or were. */
  readonly incoming: readonly string[];
  /** Names of complete files. */
  readonly prepared: readonly string[];
  /** Bytes of both. */
  readonly bytes: number;
}

/** What lies in the folder of a store just now, files that go meanwhile left out. */
export async function storeState(folder: string): Promise<StoreState> {
  const [incoming, prepared] = await Promise.all(
    ['incoming', 'prepared'].map((name) => readdir(join(folder, name)).catch(() => [])),
  );
  const paths = [
    ...(incoming ?? []).map((name) => join(folder, 'incoming', name)),
    ...(prepared ?? []).map((name) => join(folder, 'prepared', name)),
  ];
  const sizes = await Promise.all(
    paths.map(async (path) => (await stat(path).catch(() => undefined))?.size ?? 0),
  );
  return {
    incoming: incoming ?? [],
    prepared: prepared ?? [],
    bytes: sizes.reduce((sum, size) => sum + size, 0),
  };
}
