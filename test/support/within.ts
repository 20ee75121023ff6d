/**
 * Longest wait in milliseconds unless given: many times what a step takes on a busy machine, and less than the 30 s after which the
 * service itself gives up on a registry.
 */
export const WAIT_LIMIT_MS = 25_000;

/** Longest start of a process in milliseconds: it compiles its sources, and many may start at once on a machine with two cores. */
export const START_LIMIT_MS = 60_000;

/** The limit is one of real time, also where a test mocks timers. */
const { setTimeout: startTimer, clearTimeout: stopTimer } = globalThis;

/**
 * Waits for a promise, with a time limit.
 *
 * @param what its name, for the error
 * @throws Error when the time is over; the rejection of the promise
 */
export async function within<T>(promise: Promise<T>, what: string, limitMs = WAIT_LIMIT_MS): Promise<T> {
  const { promise: expired, reject } = Promise.withResolvers<never>();
  const timer = startTimer(
    () => reject(new Error(`Cannot wait for ${what}: ${limitMs} ms are over`)),
    limitMs,
  );
  try {
    return await Promise.race([promise, expired]);
  } finally {
    stopTimer(timer);
  }
}
