import { PassthroughError } from '../../errors.ts';

/** Signals that stop a command: Ctrl-C, `kill`, and a terminal that was closed. */
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/**
 * Runs work until one of {@link SIGNALS}: its abort signal then aborts, so that it can tidy up. A second signal ends the process
 * at once.
 *
 * @returns what the work returns
 * @throws PassthroughError `ABORTED` with the signal after one; else what the work throws
 */
export async function interruptible<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const stop = new AbortController();
  const onSignal = (signal: NodeJS.Signals) => {
    removeHandlers();
    stop.abort(new PassthroughError('ABORTED', `Stopped by ${signal}`, { signal }));
  };
  const removeHandlers = () => {
    for (const name of SIGNALS) process.removeListener(name, onSignal);
  };
  for (const name of SIGNALS) process.on(name, onSignal);
  try {
    return await work(stop.signal);
  } catch (error) {
    throw stop.signal.aborted ? stop.signal.reason : error;
  } finally {
    removeHandlers();
  }
}
