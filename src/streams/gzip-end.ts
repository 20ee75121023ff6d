import { createGunzip } from 'node:zlib';
import { PassthroughError } from '../errors.ts';
import { releaseChunk } from './chunk.ts';

/**
 * The error for gzip that breaks off behind a member: either it is damaged, or other bytes stand behind its end. gzip ignores such
 * bytes. The decoder does not: it takes them for a member, and keeps what it has unpacked of the last piece to itself.
 */
export class UnknownEndError extends PassthroughError {
  /** Bytes that the decoder had taken before the piece with the fault. */
  readonly taken: number;

  constructor(message: string, taken: number, cause: unknown) {
    super('VERIFICATION_FAILED', message, { cause });
    this.taken = taken;
  }
}

/**
 * Whether an error of the decoder may come from other bytes behind the end: they are no header, or a single one that is too few for one.
 *
 * @see https://github.com/madler/zlib/blob/v1.3.1/inflate.c
 */
export function mayHaveEnded(error: Error): boolean {
  return ['incorrect header check', 'unexpected end of file'].includes(error.message);
}

/** Bytes of the pieces in which the fault is looked for before it is looked for byte by byte. Each piece is a call to another thread. */
const PIECE_BYTES = 512;

/**
 * Finds where the last member of a gzip stream ends, if other bytes stand behind it.
 *
 * A decoder does not tell at which byte it fails. So one takes small pieces, and a second one follows it. The second takes the
 * piece at which the first has failed, byte by byte.
 *
 * @param source the whole stream from its start; its chunks are taken over. It is closed here
 * @param taken see {@link UnknownEndError}
 * @returns bytes up to the end; for a stream that is cut, the only place where it could have ended
 * @throws what the source throws; the signal's reason
 */
export async function endOfGzip(
  source: AsyncIterable<Uint8Array>,
  taken: number,
  signal: AbortSignal,
): Promise<number> {
  using first = new Probe();
  using second = new Probe();
  let read = 0;
  for await (const piece of pieces(source, taken)) {
    signal.throwIfAborted();
    if (await first.accepts(piece)) {
      await second.accepts(piece);
      read += piece.byteLength;
      continue;
    }
    for (const [at, byte] of piece.entries()) {
      // A header is checked when two of its bytes are there.
      if (!(await second.accepts(Buffer.of(byte)))) return read + at - 1;
    }
  }
  return read - 1;
}

/** Divides a stream: chunks as they are up to a place, and small pieces after it. */
async function* pieces(source: AsyncIterable<Uint8Array>, from: number): AsyncGenerator<Uint8Array> {
  let position = 0;
  for await (const chunk of source) {
    const whole = Math.min(Math.max(from - position, 0), chunk.byteLength);
    position += chunk.byteLength;
    if (whole > 0) yield chunk.subarray(0, whole);
    for (let at = whole; at < chunk.byteLength; at += PIECE_BYTES) yield chunk.subarray(at, at + PIECE_BYTES);
    releaseChunk(chunk);
  }
}

/** A decoder whose output is dropped. */
class Probe implements Disposable {
  readonly #decoder = createGunzip();
  readonly #failed = Promise.withResolvers<boolean>();

  constructor() {
    // After a fault no callback of a write is called.
    this.#decoder.once('error', () => this.#failed.resolve(false)).resume();
  }

  /** Whether the decoder takes bytes without a fault. They are read when the promise resolves. */
  async accepts(bytes: Uint8Array): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    this.#decoder.write(bytes, (error) => resolve(!error));
    return await Promise.race([promise, this.#failed.promise]);
  }

  [Symbol.dispose](): void {
    this.#decoder.destroy();
  }
}
