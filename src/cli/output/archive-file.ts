import { randomBytes } from 'node:crypto';
import { type FileHandle, lstat, open, realpath, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { getSystemErrorMessage } from 'node:util';
import { PassthroughError } from '../../errors.ts';
import { releaseChunk } from '../../streams/chunk.ts';
import { unlessAborted } from '../../util/map-concurrently.ts';
import { quoted } from '../../util/printable.ts';
import { systemErrorCode } from '../../util/system-error.ts';
import { misuse } from '../options/parse.ts';
import { write } from './print.ts';

/** Where an archive is written to. */
export interface ArchiveTarget {
  /**
   * Writes the archive.
   *
   * @param bytes its chunks, which are released
   * @param size bytes that must come
   * @param signal stops the work
   * @throws PassthroughError `NO_SPACE`, `INTERNAL`; what `bytes` throws
   */
  write(bytes: AsyncIterable<Uint8Array>, size: number, signal: AbortSignal): Promise<void>;
  /** Gives the written archive its name. */
  commit(): Promise<void>;
  /** Removes what was written, unless it has its name. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** Random bytes in a temporary name. */
const RANDOM_BYTES = 8;

/** Longest path in a message, in characters. */
const MAX_PATH_LENGTH = 4096;

/**
 * Opens the place of an archive, before anything is fetched. A file is written under a temporary name in the same folder, and
 * renamed; a device or a pipe is written as it is.
 *
 * @param path `-` is standard output
 * @throws PassthroughError `INVALID_CONFIGURATION` for a folder, or a terminal; `INTERNAL` if it cannot be written
 */
export async function openTarget(path: string): Promise<ArchiveTarget> {
  if (path === '-') return standardOutput();
  const found = await stat(path).catch(() => undefined);
  if (found?.isDirectory() === true)
    throw misuse(`Cannot write ${quotedPath(path)}: it is a folder`, 'Name a file in it');
  try {
    if (found !== undefined && !found.isFile()) return await openDirectly(path);
    // A link stays a link: the file that it names is replaced.
    const isLink = (await lstat(path).catch(() => undefined))?.isSymbolicLink() === true;
    return await openBeside(isLink ? await realpath(path) : path, found?.mode);
  } catch (error) {
    throw writeError(path, error);
  }
}

function standardOutput(): ArchiveTarget {
  if (process.stdout.isTTY === true) {
    throw misuse(
      'Cannot write the archive to standard output: it is a terminal',
      'Name a file in place of -, or pipe it into a program',
    );
  }
  return {
    write: (bytes, size, signal) => copy(bytes, size, signal, (chunk) => write(process.stdout, chunk)),
    commit: async () => undefined,
    [Symbol.asyncDispose]: async () => undefined,
  };
}

async function openDirectly(path: string): Promise<ArchiveTarget> {
  const file = await open(path, 'w');
  return {
    write: (bytes, size, signal) => copyToFile(path, file, bytes, size, signal),
    commit: () => file.close(),
    [Symbol.asyncDispose]: async () => await file.close().catch(() => undefined),
  };
}

/** @param mode of the file that is replaced */
async function openBeside(path: string, mode: number | undefined): Promise<ArchiveTarget> {
  const random = randomBytes(RANDOM_BYTES).toString('hex');
  const temporary = join(dirname(path), `.${basename(path).slice(0, 100)}.${random}.part`);
  const file = await open(temporary, 'wx');
  let isCommitted = false;
  return {
    write: (bytes, size, signal) => copyToFile(path, file, bytes, size, signal),
    commit: async () => {
      try {
        if (mode !== undefined) await file.chmod(mode & 0o777);
        await file.close();
        await rename(temporary, path);
      } catch (error) {
        throw writeError(path, error);
      }
      isCommitted = true;
    },
    [Symbol.asyncDispose]: async () => {
      if (isCommitted) return;
      await file.close().catch(() => undefined);
      await rm(temporary, { force: true });
    },
  };
}

async function copyToFile(
  path: string,
  file: FileHandle,
  bytes: AsyncIterable<Uint8Array>,
  size: number,
  signal: AbortSignal,
): Promise<void> {
  await copy(bytes, size, signal, async (chunk) => {
    try {
      for (let at = 0; at < chunk.byteLength; ) {
        const { bytesWritten } = await file.write(chunk, at);
        at += bytesWritten;
      }
    } catch (error) {
      throw writeError(path, error, size);
    }
  });
}

async function copy(
  bytes: AsyncIterable<Uint8Array>,
  size: number,
  signal: AbortSignal,
  put: (chunk: Uint8Array) => Promise<void>,
): Promise<void> {
  let written = 0;
  for await (const chunk of bytes) {
    written += chunk.byteLength;
    // A reader of the output that stands still must not keep the program from ending.
    await unlessAborted(put(chunk), signal);
    releaseChunk(chunk);
  }
  if (written !== size)
    throw new PassthroughError('INTERNAL', `Cannot write the archive: ${written} of ${size} bytes came`);
}

/** @param size bytes of the archive, if it is known */
function writeError(path: string, error: unknown, size?: number): PassthroughError {
  if (error instanceof PassthroughError) return error;
  const code = systemErrorCode(error);
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    const need = size === undefined ? '' : `; the archive has ${size} bytes`;
    return new PassthroughError('NO_SPACE', `Cannot write ${quotedPath(path)}: the disk is full${need}`, {
      cause: error,
    });
  }
  const why =
    error instanceof Error && 'errno' in error && typeof error.errno === 'number'
      ? `${getSystemErrorMessage(error.errno)} (${code})`
      : String(error);
  return new PassthroughError('INTERNAL', `Cannot write ${quotedPath(path)}: ${why}`, { cause: error });
}

function quotedPath(path: string): string {
  return quoted(path, MAX_PATH_LENGTH);
}
