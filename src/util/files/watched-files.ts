/** Files of the configuration that are read again when they change, such as secrets that are rotated. */

import { readFileSync, type Stats, statSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { isPassthroughError, PassthroughError } from '../../errors.ts';
import { quoted } from '../printable.ts';
import { systemErrorCode } from '../system-error.ts';

/** Least time between two looks at the files, in milliseconds: requests come faster than secrets are rotated. */
const MIN_INTERVAL_MS = 1000;

/**
 * A file that was modified less than this before it was read, in milliseconds, may have been modified again since, in the same tick
 * of the file system's clock. It is read again at the next look. FAT has the coarsest clock: 2 s.
 */
const SETTLED_MS = 2000;

/** Longest path in a message, in characters. */
const MAX_PATH_LENGTH = 1000;

/** What happened to a file that is in use. */
export interface FileReport {
  /** The variable that names the file. */
  readonly name: string;
  /** `reloaded`: the new content is used from now on. `rejected`: it cannot be used, and the content before stays in use. */
  readonly result: 'reloaded' | 'rejected';
  /** Why it is rejected; never quotes the content. */
  readonly message?: string;
  /** Whether the file was rejected before this report. */
  readonly wasRejected: boolean;
}

/** A file to use. */
export interface WatchedFileOptions<Value> {
  /** The variable that names the file, for messages. */
  readonly name: string;
  readonly path: string;
  readonly maxBytes: number;
  /** @throws Error whose message says what is wrong, without the content */
  readonly parse: (text: string) => Value;
}

/** A file that is in use. */
export interface WatchedFile<Value> {
  /** The last content that could be used. */
  readonly value: Value;
}

/**
 * Files of one configuration. They are compared by their status (device, inode, size, times) and read again when it differs. The
 * status is that of the target of symbolic links, so that a swapped link counts as a change: Kubernetes replaces the files of a
 * secret that way (`..data`).
 */
export class WatchedFiles {
  readonly #files: Entry<unknown>[] = [];
  /** Receives what happens to files; must not throw. */
  report: (report: FileReport) => void = () => undefined;
  #lookedAt = Number.NEGATIVE_INFINITY;
  #running: Promise<void> | undefined;

  /** Whether there are no files. */
  get isEmpty(): boolean {
    return this.#files.length === 0;
  }

  /**
   * Reads a file and uses it from now on.
   *
   * @throws PassthroughError `INVALID_CONFIGURATION` naming variable, path and reason
   */
  add<Value>(options: WatchedFileOptions<Value>): WatchedFile<Value> {
    const entry = new Entry(options);
    this.#files.push(entry);
    return entry;
  }

  /**
   * Looks for changes and reads the files that have some. Does not throw.
   *
   * @param now whether to look also if the last look is less than {@link MIN_INTERVAL_MS} ago: a registry has refused a secret
   */
  async refresh(now = false): Promise<void> {
    if (now) {
      // A look that has begun may have been too early.
      await this.#running;
    } else if (this.#running === undefined && performance.now() - this.#lookedAt < MIN_INTERVAL_MS) {
      return;
    }
    this.#running ??= this.#look().finally(() => {
      this.#running = undefined;
    });
    await this.#running;
  }

  async #look(): Promise<void> {
    this.#lookedAt = performance.now();
    const changes = await Promise.all(this.#files.map((file) => file.look()));
    // All at once, so that a new user name is not used with the old password.
    for (const change of changes) {
      const report = change?.();
      if (report !== undefined) this.report(report);
    }
  }
}

/** What was read of a file. */
interface Reading {
  readonly text: string;
  /** Status before the file was read; `undefined` if the file may change without another status. */
  readonly version: string | undefined;
}

class Entry<Value> implements WatchedFile<Value> {
  readonly #options: WatchedFileOptions<Value>;
  #value: Value;
  #text: string;
  /** Status of what was read last; `undefined` has the next look read the file again. */
  #version: string | undefined;
  /** Why the file cannot be used now. */
  #fault: string | undefined;

  constructor(options: WatchedFileOptions<Value>) {
    this.#options = options;
    try {
      const { path } = options;
      const before = statSync(path);
      checkKind(before, options.maxBytes);
      const { text, version } = readingOf(before, readFileSync(path), options.maxBytes);
      this.#text = text;
      this.#version = version;
      this.#value = options.parse(text);
    } catch (error) {
      throw this.#error(error);
    }
  }

  get value(): Value {
    return this.#value;
  }

  /** Reads the file if it has changed. The result takes the change over. */
  async look(): Promise<(() => FileReport | undefined) | undefined> {
    const { path, maxBytes, parse } = this.#options;
    let version: string | undefined;
    try {
      const before = await stat(path);
      version = versionOf(before);
      if (version !== undefined && version === this.#version) return undefined;
      checkKind(before, maxBytes);
      const reading = readingOf(before, await readFile(path), maxBytes);
      if (reading.text === this.#text) return () => this.#settle(reading, this.#value);
      const value = parse(reading.text);
      return () => this.#settle(reading, value);
    } catch (error) {
      const { message } = this.#error(error);
      return () => {
        this.#version = version;
        const fault = this.#fault;
        this.#fault = message;
        if (fault === message) return undefined;
        return {
          name: this.#options.name,
          result: 'rejected',
          message,
          wasRejected: fault !== undefined,
        };
      };
    }
  }

  #settle({ text, version }: Reading, value: Value): FileReport | undefined {
    const wasRejected = this.#fault !== undefined;
    const isNew = text !== this.#text;
    this.#version = version;
    this.#text = text;
    this.#value = value;
    this.#fault = undefined;
    return isNew || wasRejected ? { name: this.#options.name, result: 'reloaded', wasRejected } : undefined;
  }

  #error(error: unknown): PassthroughError {
    if (isPassthroughError(error)) return error;
    const { name, path } = this.#options;
    return new PassthroughError(
      'INVALID_CONFIGURATION',
      `Cannot use ${name}=${quoted(path, MAX_PATH_LENGTH)}: ${reasonOf(error)}`,
    );
  }
}

/** Reasons by the system's code. */
const REASONS: ReadonlyMap<string, string> = new Map([
  ['ENOENT', 'it does not exist'],
  ['ENOTDIR', 'it does not exist'],
  ['EISDIR', 'it is a folder'],
  ['EACCES', 'this user may not read it'],
  ['ELOOP', 'its symbolic links lead in a circle'],
]);

function reasonOf(error: unknown): string {
  const code = systemErrorCode(error);
  if (code !== undefined) return REASONS.get(code) ?? `it cannot be read (${code})`;
  return error instanceof Error ? error.message : 'it cannot be read';
}

function checkKind(status: Stats, maxBytes: number): void {
  if (status.isDirectory()) throw new Error('it is a folder');
  // Reading a pipe would wait for its writer.
  if (!status.isFile()) throw new Error('it is no regular file');
  if (status.size > maxBytes) throw new Error(`it has more than ${maxBytes} bytes`);
}

function readingOf(before: Stats, bytes: Uint8Array, maxBytes: number): Reading {
  if (bytes.byteLength > maxBytes) throw new Error(`it has more than ${maxBytes} bytes`);
  if (bytes.includes(0)) throw new Error('it is binary, and a text is expected');
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new Error('it is not UTF-8');
  }
  return { text, version: versionOf(before) };
}

/** @returns `undefined` for a file that was modified just now: see {@link SETTLED_MS} */
function versionOf({ dev, ino, size, mtimeMs, ctimeMs }: Stats): string | undefined {
  const isSettled = Date.now() - Math.max(mtimeMs, ctimeMs) > SETTLED_MS;
  return isSettled ? [dev, ino, size, mtimeMs, ctimeMs].join() : undefined;
}
