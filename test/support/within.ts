/** Milliseconds that a wait may take unless said: many times what anything here takes on a busy machine. */
export const WAIT_LIMIT_MS = 10_000;

/**
 * Wait, but not for ever.
 *
 * @param promise what is waited for
 * @param what its name, for the error
 * @returns what the promise gives
 * @throws Error when the time is over; or whatever the promise rejects with
 */
export async function within<T>(promise: Promise<T>, what: string, limitMs = WAIT_LIMIT_MS): Promise<T> {
  const { promise: expired, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => reject(new Error(`Cannot wait for ${what}: ${limitMs} ms are over`)),
    limitMs,
  );
  try {
    return await Promise.race([promise, expired]);
  } finally {
    clearTimeout(timer);
  }
}
