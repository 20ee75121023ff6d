import { PassthroughError } from '../errors.ts';

/**
 * Runs a task for each item, several at once. The first failure aborts the other tasks. The promise settles when every task
 * has ended, so that no task runs while the caller cleans up.
 *
 * @param items tasks start in this order
 * @param limit most tasks at once
 * @param signal aborts all tasks
 * @param task its signal aborts with `signal`, and when another task fails
 * @returns the results in the order of the items
 * @throws the first failure; the signal's reason
 */
export async function mapConcurrently<Item, Result>(
  items: readonly Item[],
  limit: number,
  signal: AbortSignal,
  task: (item: Item, signal: AbortSignal) => Promise<Result>,
): Promise<Result[]> {
  const failed = new AbortController();
  const either = AbortSignal.any([signal, failed.signal]);
  const results: Result[] = new Array(items.length);
  const queue = items.entries();
  let failure: { readonly error: unknown } | undefined;

  const worker = async () => {
    for (const [index, item] of queue) {
      if (either.aborted) return;
      try {
        results[index] = await task(item, either);
      } catch (error) {
        failure ??= { error };
        failed.abort(abortedBy(error));
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, worker));
  if (failure !== undefined) throw failure.error;
  signal.throwIfAborted();
  return results;
}

/**
 * Waits for a promise that has no signal of its own.
 *
 * @throws what the promise rejects with, or the signal's reason
 */
export async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  const aborted = Promise.withResolvers<never>();
  const abort = () => aborted.reject(signal.reason);
  signal.addEventListener('abort', abort, { once: true });
  try {
    return await Promise.race([promise, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

/** The abort reason for the other parts of a pull after one part has failed. */
export function abortedBy(failure: unknown): PassthroughError {
  return new PassthroughError('ABORTED', 'Stopped: another part of the image has failed', { cause: failure });
}
