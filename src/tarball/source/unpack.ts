import { decompressed } from '../../streams/decompress.ts';
import { MemoryBudget } from '../../util/memory-budget.ts';
import { MAX_WINDOWS_SIZE } from '../limits.ts';

/** For readers without a signal. */
const NEVER = new AbortController().signal;

/** Options of {@link unpack}. */
export interface UnpackOptions {
  /**
   * Default: a budget for this stream alone. Streams that share one wait for each other, so the owner of the budget must read all
   * of them.
   */
  readonly memory?: MemoryBudget;
  /** Ends the wait for memory. */
  readonly signal?: AbortSignal | undefined;
}

/** A budget for the windows of zstd: one of the largest, or many of usual size. */
export function windowBudget(): MemoryBudget {
  return new MemoryBudget({ maxBytes: MAX_WINDOWS_SIZE, maxWaitMs: Number.POSITIVE_INFINITY });
}

/**
 * Decompresses a stream, see `decompressed`.
 *
 * @throws PassthroughError `VERIFICATION_FAILED` for damaged or cut bytes, `UNSUPPORTED_IMAGE` for bzip2, xz and a zstd window that
 *   is too large; what the source throws; the signal's reason
 */
export function unpack(
  source: AsyncIterable<Uint8Array>,
  what: string,
  { memory = windowBudget(), signal = NEVER }: UnpackOptions = {},
): AsyncGenerator<Uint8Array, void, undefined> {
  return decompressed(source, what, { memory, signal });
}
