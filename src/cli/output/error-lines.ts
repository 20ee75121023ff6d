import { constants } from 'node:os';
import { hintsFor, messageFor } from '../../config/hints.ts';
import { type ErrorCode, isPassthroughError, PassthroughError } from '../../errors.ts';
import { printable, printableLines } from '../../util/printable.ts';
import { PROGRAM } from '../command.ts';
import { write } from './print.ts';

const FAILED = 1;
const MISUSED = 2;
const NOT_FOUND = 3;
const REFUSED = 4;

/** What a shell adds to the number of the signal that has ended a program. */
const BY_SIGNAL = 128;

/** Exit codes other than {@link FAILED}. `docs/command-line.md` has them as a table. */
const EXIT_CODES: Readonly<Partial<Record<ErrorCode, number>>> = {
  INVALID_CONFIGURATION: MISUSED,
  INVALID_FILENAME: MISUSED,
  INVALID_PLATFORM: MISUSED,
  INVALID_REFERENCE: MISUSED,
  INVALID_REGISTRY: MISUSED,
  IMAGE_NOT_FOUND: NOT_FOUND,
  PLATFORM_NOT_FOUND: NOT_FOUND,
  CREDENTIALS_REQUIRED: REFUSED,
  REGISTRY_DENIED: REFUSED,
  REGISTRY_NOT_ALLOWED: REFUSED,
  IMAGE_NOT_SIGNED: REFUSED,
};

/** Longest line, in characters, and most lines of a message: it quotes what others wrote. */
const MAX_LINE_LENGTH = 1000;
const MAX_LINES = 20;

/** The exit code of a command that ends with an error. */
export function exitCodeOf(error: unknown): number {
  if (!isPassthroughError(error)) return FAILED;
  const { signal } = error.details;
  if (error.code === 'ABORTED' && signal !== undefined) return BY_SIGNAL + numberOf(signal);
  return EXIT_CODES[error.code] ?? FAILED;
}

function numberOf(signal: string): number {
  return Object.entries(constants.signals).find(([name]) => name === signal)?.[1] ?? 0;
}

/** An error as lines for standard error: the cause, and what to try. */
export function errorLines(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  if (!(error instanceof PassthroughError))
    return `${PROGRAM}: ${printableLines(text, MAX_LINE_LENGTH, MAX_LINES)}\n`;
  const hints = hintsFor(error, 'commandLine');
  // What was looked for explains what to do only together with the keys that count.
  const shown = error.code === 'IMAGE_NOT_SIGNED' ? hints : hints.slice(0, 1);
  const cause = `${PROGRAM}: ${printable(messageFor(error, 'commandLine'), MAX_LINE_LENGTH)}`;
  return [cause, ...shown.map((hint) => printable(hint, MAX_LINE_LENGTH)), ''].join('\n');
}

/** Writes an error to standard error. A reader that has ended is no further error. */
export async function complain(error: unknown): Promise<void> {
  await write(process.stderr, errorLines(error)).catch(() => undefined);
}
