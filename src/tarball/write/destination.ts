import { randomBytes } from 'node:crypto';
import { type FileHandle, open, realpath, rename, rm, stat } from 'node:fs/promises';
import { Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import { releaseChunk } from '../../streams/chunk.ts';
import { systemErrorCode } from '../../util/system-error.ts';

/** Where an archive is written: the path or file URL of a file, a stream of Node, or a stream of the web. Streams are ended. */
export type Destination = string | URL | Writable | WritableStream<Uint8Array>;

/** Random bytes in the name of a file that is being written. */
const RANDOM_BYTES = 8;

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
  const found = await stat(path).catch(() => undefined);
  if (found !== undefined && !found.isFile() && !found.isDirectory()) {
    await using device = await open(path, 'w');
    await writeAll(device, bytes, signal);
    return;
  }
  // A symbolic link stays, and its target is replaced.
  const target = await realpath(path).catch((error: unknown) => {
    if (systemErrorCode(error) === 'ENOENT') return path;
    throw error;
  });
  const partial = `${target}.${randomBytes(RANDOM_BYTES).toString('hex')}.partial`;
  const file = await open(partial, 'wx');
  try {
    try {
      await writeAll(file, bytes, signal);
    } finally {
      await file.close();
    }
    await rename(partial, target);
  } catch (error) {
    await rm(partial, { force: true });
    throw error;
  }
}

async function writeAll(
  file: FileHandle,
  bytes: AsyncIterable<Uint8Array>,
  signal: AbortSignal | undefined,
): Promise<void> {
  for await (const chunk of bytes) {
    signal?.throwIfAborted();
    for (let at = 0; at < chunk.byteLength; ) {
      const { bytesWritten } = await file.write(chunk, at);
      at += bytesWritten;
    }
    releaseChunk(chunk);
  }
  signal?.throwIfAborted();
}
