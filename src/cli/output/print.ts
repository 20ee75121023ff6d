import { PassthroughError } from '../../errors.ts';
import { systemErrorCode } from '../../util/system-error.ts';

/**
 * Writes to standard output, and waits until it is written.
 *
 * @returns 0, the exit code of a command that has nothing more to do
 * @throws PassthroughError `ABORTED` when the reader has ended
 */
export async function print(content: string | Uint8Array): Promise<number> {
  await write(process.stdout, content);
  return 0;
}

/** Writes to a stream, and waits until it is written. */
export async function write(stream: NodeJS.WritableStream, content: string | Uint8Array): Promise<void> {
  // The stream also emits the error that the callback gets. Without a listener it ends the process.
  if (stream.listenerCount('error') === 0) stream.on('error', () => undefined);
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  stream.write(content, (error) => (error ? reject(error) : resolve()));
  try {
    await promise;
  } catch (error) {
    const why = systemErrorCode(error) === 'EPIPE' ? 'its reader has ended' : String(error);
    throw new PassthroughError('ABORTED', `Cannot write to standard output: ${why}`, { cause: error });
  }
}
