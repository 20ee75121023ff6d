import { Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import { releaseChunk } from '../../streams/chunk.ts';
import { ReplacedFile } from '../../util/replaced-file.ts';

/** Where an archive is written: the path or file URL of a file, a stream of Node, or a stream of the web. Streams are ended. */
export type Destination = string | URL | Writable | WritableStream<Uint8Array>;

/**
 * Writes bytes to a destination. A file is written beside its path and then renamed, so that the path never has a part of it, and
 * an existing file is replaced only by a whole one. A device or a pipe is written directly.
 *
 * @param bytes its chunks are taken over
 * @throws what the source throws; the system's error; the signal's reason. The file beside is removed then, and a stream
 *   destroyed
 */
export async function writeTo(
  destination: Destination,
  bytes: AsyncIterable<Uint8Array>,
  signal: AbortSignal | undefined,
): Promise<void> {
  if (typeof destination === 'string' || destination instanceof URL) {
    await writeFile(destination instanceof URL ? fileURLToPath(destination) : destination, bytes, signal);
    return;
  }
  const stream = destination instanceof Writable ? destination : Writable.fromWeb(destination);
  try {
    await pipeline(bytes, stream, signal === undefined ? {} : { signal });
  } catch (error) {
    // An aborted pipeline throws its own AbortError, which does not contain the reason.
    throw signal?.aborted === true ? signal.reason : error;
  }
}

async function writeFile(
  path: string,
  bytes: AsyncIterable<Uint8Array>,
  signal: AbortSignal | undefined,
): Promise<void> {
  await using file = await ReplacedFile.create(path, signal);
  for await (const chunk of bytes) {
    signal?.throwIfAborted();
    await file.write(chunk);
    releaseChunk(chunk);
  }
  signal?.throwIfAborted();
  await file.finish();
}
