import { PassthroughError } from '../errors.ts';

/** System errors that say "the disk, or what this user may have of it, is full". */
const FULL = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);

/** System errors that say "too many files are open". */
const TOO_MANY_OPEN = new Set(['EMFILE', 'ENFILE']);

/** Makes an error of ours of a file system's: `NO_SPACE`, `BUSY` or `INTERNAL`. An error of ours passes as it is. */
export function storageError(error: unknown): PassthroughError {
  if (error instanceof PassthroughError) return error;
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  if (FULL.has(code)) {
    return new PassthroughError('NO_SPACE', 'Cannot write to the workspace: the disk is full', {
      cause: error,
    });
  }
  if (TOO_MANY_OPEN.has(code)) {
    return new PassthroughError('BUSY', 'Cannot open a temporary file: too many are open', { cause: error });
  }
  // The system's own words hold paths, and this message goes to clients too; the log has the cause.
  const why = code === '' ? 'the system gives no code' : code;
  return new PassthroughError('INTERNAL', `Cannot use the workspace: ${why}`, { cause: error });
}
