import { randomBytes } from 'node:crypto';
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { releaseChunk } from '../../streams/chunk.ts';
import type { RandomSource } from './random-source.ts';

const open = promisify(fs.open);
const unlink = promisify(fs.unlink);
const close = promisify(fs.close);
const read = promisify(fs.read);
const write = promisify(fs.write);

/** Random bytes in the name that the file has for a moment. */
const RANDOM_BYTES = 16;

/** Closes the file of a spool that was dropped and not closed. A `FileHandle` would warn then. */
const dropped = new FinalizationRegistry<number>((descriptor) => fs.close(descriptor));

/** Names the file descriptor. Every reader holds it, so that it is not dropped while it is in use. */
interface Owner {
  descriptor: number | undefined;
}

/**
 * Copies a stream into a temporary file that has no name: no other user can read it, and the system removes it when it is closed
 * or the process ends.
 *
 * @param source is read to its end; its chunks are taken over
 * @throws what the source throws; the system's error, such as ENOSPC
 */
export async function spool(source: AsyncIterable<Uint8Array>): Promise<RandomSource> {
  const name = `docker-http-passthrough-${randomBytes(RANDOM_BYTES).toString('hex')}.spool`;
  const path = join(tmpdir(), name);
  const descriptor = await open(path, 'wx+', 0o600);
  let size = 0;
  try {
    await unlink(path);
    for await (const chunk of source) {
      for (let at = 0; at < chunk.byteLength; ) {
        const { bytesWritten } = await write(descriptor, chunk, at, chunk.byteLength - at, size + at);
        at += bytesWritten;
      }
      size += chunk.byteLength;
      releaseChunk(chunk);
    }
  } catch (error) {
    await close(descriptor);
    throw error;
  }
  const owner: Owner = { descriptor };
  dropped.register(owner, descriptor, owner);
  return {
    size,
    open: () =>
      Promise.resolve({
        readAt: (position, length) => readAt(owner, position, Math.min(length, Math.max(0, size - position))),
        [Symbol.asyncDispose]: () => Promise.resolve(),
      }),
    close: async () => {
      if (owner.descriptor === undefined) return;
      owner.descriptor = undefined;
      dropped.unregister(owner);
      await close(descriptor);
    },
  };
}

async function readAt(owner: Owner, position: number, length: number): Promise<Uint8Array> {
  const buffer = Buffer.allocUnsafeSlow(length);
  let filled = 0;
  while (filled < length) {
    const { descriptor } = owner;
    if (descriptor === undefined) throw new Error('Cannot read a temporary file: it is closed');
    const { bytesRead } = await read(descriptor, buffer, filled, length - filled, position + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return buffer.subarray(0, filled);
}
