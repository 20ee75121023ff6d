import { statfs } from 'node:fs/promises';
import { getSystemErrorMessage } from 'node:util';
import { PassthroughError, type Setting } from '../errors.ts';
import { quoted } from '../util/printable.ts';
import { systemErrorCode } from '../util/system-error.ts';

/** System errors that say "the disk, or this user's share of it, is full". */
const FULL = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);

/** System errors that say "too many files are open". */
const TOO_MANY_OPEN = new Set(['EMFILE', 'ENFILE']);

/** Reasons that the system's own words do not make clear. */
const REASONS: Readonly<Record<string, string>> = {
  EEXIST: 'a file or a dangling symbolic link is in the way',
  ENOENT: 'the system does not allow it there',
  ENOTDIR: 'a part of its path is not a folder',
  EROFS: 'it is on a read-only file system',
};

/**
 * Turns an error of the file system into `NO_SPACE`, `BUSY` or `INTERNAL`. A {@link PassthroughError} passes as it is.
 *
 * Clients read the message, so it has no path and none of the system's words, which contain paths. The log has the cause. Only
 * {@link storageErrorIn} names a folder, which the operator has chosen.
 */
export function storageError(error: unknown): PassthroughError {
  if (error instanceof PassthroughError) return error;
  const code = systemErrorCode(error);
  return asCode(code, error) ?? workspaceError(code ?? 'the system gives no code', error);
}

/** Turns an error of the file system into a {@link PassthroughError}. */
export type DescribeError = (error: unknown) => Promise<PassthroughError>;

/** Describes an error of a file whose folder is not known. */
export const withoutFolder: DescribeError = async (error) => storageError(error);

/** A folder of the configuration. */
export interface SetFolder {
  readonly setting: Setting;
  readonly folder: string;
}

/**
 * An error as {@link storageError} makes it. `NO_SPACE` has the folder, its setting, and what is free on its disk: the face that shows
 * it can name the variable.
 */
export async function storageErrorIn(
  { folder, setting }: SetFolder,
  error: unknown,
): Promise<PassthroughError> {
  const failure = storageError(error);
  if (failure.code !== 'NO_SPACE' || failure.details.folder !== undefined) return failure;
  const space = await statfs(folder).catch(() => undefined);
  const disk = space && {
    freeBytes: space.bavail * space.bsize,
    totalBytes: space.blocks * space.bsize,
    // Btrfs and others give 0 of 0.
    freeFiles: space.files === 0 ? undefined : space.ffree,
  };
  const { code, message, cause } = failure;
  return new PassthroughError(code, message, { folder, setting, ...(disk && { disk }), cause });
}

/** Longest folder in an error, in characters: the operator sees it whole, also when it is longer than a path may be (4096). */
const MAX_FOLDER_LENGTH = 8192;

/**
 * The error for a folder that was removed and cannot be created again.
 *
 * @param directory goes into the cause alone: clients read the message
 */
export function removedFolderError(directory: string, error: unknown): PassthroughError {
  const reason = reasonOf(error);
  const cause = new Error(`Cannot create folder ${quoted(directory)} again: ${reason}`, {
    cause: error,
  });
  return (
    asCode(systemErrorCode(error), cause) ??
    workspaceError(`its folder was removed and cannot be created again: ${reason}`, cause)
  );
}

/** The error for a folder of the configuration that cannot be used, with `folder` and `reason`. */
export function unusableFolderError(folder: string, error: unknown): PassthroughError {
  const reason = reasonOf(error);
  const message = `Cannot use folder ${quoted(folder, MAX_FOLDER_LENGTH)}: ${reason}`;
  const cause = (error instanceof Error ? error.cause : undefined) ?? error;
  return new PassthroughError('INVALID_CONFIGURATION', message, { folder, reason, cause });
}

/**
 * Runs a step of opening a folder.
 *
 * @param action completes "cannot …"
 * @throws Error that says the action and the reason, with the system's error as its cause
 */
export async function step<T>(action: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    throw new Error(`cannot ${action}: ${reasonOf(error)}`, { cause: error });
  }
}

/** The reason of a failure in words, with the system's code where there is one: `permission denied (EACCES)`. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const code = systemErrorCode(error);
  if (code === undefined || !('errno' in error) || typeof error.errno !== 'number') return error.message;
  return `${REASONS[code] ?? getSystemErrorMessage(error.errno)} (${code})`;
}

/** The error for the codes that have one of their own. */
function asCode(code: string | undefined, cause: unknown): PassthroughError | undefined {
  if (code === undefined) return undefined;
  if (FULL.has(code))
    return new PassthroughError('NO_SPACE', 'Cannot write to the workspace: the disk is full', { cause });
  if (TOO_MANY_OPEN.has(code))
    return new PassthroughError('BUSY', 'Cannot open a temporary file: too many are open', { cause });
  return undefined;
}

function workspaceError(reason: string, cause: unknown): PassthroughError {
  return new PassthroughError('INTERNAL', `Cannot use the workspace: ${reason}`, { cause });
}
