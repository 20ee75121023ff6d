import { PassthroughError } from '../errors.ts';

/**
 * Runs a task for each item, some at a time. The first failure aborts the others; only when all have ended does it reject,
 * so that nothing is still at work when the caller cleans up.
 *
 * @param items in the order in which they are begun
 * @param limit most tasks at once
 * @param signal aborts all
 * @param task is given a signal of its own that also aborts when another task fails
 * @returns the results in the items' order
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
        failed.abort(stoppedBy(error));
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, worker));
  if (failure !== undefined) throw failure.error;
  signal.throwIfAborted();
  return results;
}

/**
 * Waits for what knows nothing of a signal, no longer than the signal lets.
 *
 * @throws what the promise rejects with, or the signal's reason
 */
export async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  const aborted = Promise.withResolvers<never>();
  const stop = () => aborted.reject(signal.reason);
  signal.addEventListener('abort', stop, { once: true });
  try {
    return await Promise.race([promise, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

/** Why the rest of a pull stops once a part of it has failed: only that part is to blame. */
export function stoppedBy(failure: unknown): PassthroughError {
  return new PassthroughError('ABORTED', 'Stopped: another part of the image has failed', { cause: failure });
}
