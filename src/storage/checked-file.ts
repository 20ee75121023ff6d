import type { FileHandle } from 'node:fs/promises';
import { crc32 } from 'node:zlib';
import { isPassthroughError, PassthroughError } from '../errors.ts';
import { lendChunk, ownChunk, releaseChunk } from '../streams/chunk.ts';
import { BLOCK_BYTES, BlockChecksums } from './block-checksums.ts';
import { openStored, PooledHandle, ReadMemory } from './read-memory.ts';
import { type DescribeError, storageError, withoutFolder } from './storage-error.ts';

/**
 * The format of a stored file: content, then checksums of its blocks, then a description.
 *
 *     content      size bytes
 *     checksums    CRC-32 of each block of 64 KiB, the last of which may be shorter: 32 bits, little endian
 *     description  JSON, UTF-8
 *     trailer      32 bytes: magic, size (64 bits), length of the description (32 bits), CRC-32 of checksums, description and
 *                  the rest of the trailer (32 bits), 8 bytes of zeros
 *
 * Every read checks its blocks, so that bytes which the disk has changed are never sent. CRC-32 detects every burst of up to 32
 * bits, and misses one in 2³² of other errors. It protects against disks and not against attackers: a user who can write here
 * can replace the program as well. The check of 1 GB takes 0.17 s of one core (6 GB/s), a fifth of the time of SHA-256.
 *
 * Files are not flushed to the disk. After a kill they are complete in the system's cache. After a power failure the checks
 * find the files that are not.
 */

/** Identifies the format and its version. */
const MAGIC = Buffer.from('DHPT-S1\n');

const TRAILER_BYTES = 32;

/** Facts about the content that are stored with it. */
export type Description = Readonly<Record<string, string | number>>;

/** Called when the disk is full. Returns `true` where it removed a file, so that another attempt may succeed. */
export type MakeRoom = () => Promise<boolean>;

/** Writes a file, from start to end. */
export class CheckedFileWriter {
  readonly #handle: FileHandle;
  readonly #makeRoom: MakeRoom;
  readonly #describe: DescribeError;
  readonly #memory: ReadMemory;
  readonly #checksums = new BlockChecksums();
  #written = 0;

  /**
   * @param handle an empty file, open for reading and writing; this object closes it
   * @param memory for the readers of the finished file
   */
  constructor(handle: FileHandle, makeRoom: MakeRoom, memory = new ReadMemory(), describe = withoutFolder) {
    this.#handle = handle;
    this.#makeRoom = makeRoom;
    this.#describe = describe;
    this.#memory = memory;
  }

  /** Bytes of content that were written. */
  get size(): number {
    return this.#checksums.size;
  }

  /**
   * Appends bytes. The caller waits for the promise before the next call, and does not change the bytes until then.
   *
   * @throws PassthroughError `NO_SPACE` when the disk is full, `INTERNAL`
   */
  async write(bytes: Uint8Array): Promise<void> {
    const writing = this.#append(bytes);
    this.#checksums.update(bytes);
    await writing;
  }

  /**
   * Writes what follows the content.
   *
   * @returns the file, open for reading
   * @throws PassthroughError as {@link write}
   */
  async finish(description: Description): Promise<CheckedFile> {
    const { size } = this.#checksums;
    const table = this.#checksums.table();
    const text = Buffer.from(JSON.stringify(description));
    const trailer = Buffer.alloc(TRAILER_BYTES);
    MAGIC.copy(trailer);
    trailer.writeBigUInt64LE(BigInt(size), 8);
    trailer.writeUInt32LE(text.byteLength, 16);
    trailer.writeUInt32LE(crcOfEnd(table, text, trailer), 20);
    await this.#append(Buffer.concat([table, text, trailer]));
    const handle = new PooledHandle(this.#handle, undefined, this.#memory);
    return new CheckedFile(handle, { size, table, description }, this.#memory);
  }

  /** Closes a file that is not finished. */
  async close(): Promise<void> {
    await this.#handle.close();
  }

  async #append(bytes: Uint8Array): Promise<void> {
    for (let done = 0; done < bytes.byteLength; ) {
      try {
        const left = bytes.byteLength - done;
        const { bytesWritten } = await this.#handle.write(bytes, done, left, this.#written);
        done += bytesWritten;
        this.#written += bytesWritten;
      } catch (error) {
        const failure = await this.#describe(error);
        if (failure.code !== 'NO_SPACE' || !(await this.#makeRoom())) throw failure;
      }
    }
  }
}

/** A chunk that is being read. */
interface Chunk {
  /** First byte in the content, and the byte after the last. */
  readonly from: number;
  readonly to: number;
  readonly reading: Promise<Uint8Array>;
  /** Whether other readers may use it, too. */
  readonly isShared: boolean;
}

/** What follows the content of a file, and its size. */
interface FileEnd {
  readonly size: number;
  /** The checksums, in the format of the file. */
  readonly table: Buffer;
  readonly description: Description;
}

/** A complete file, with any number of concurrent readers. */
export class CheckedFile {
  readonly #id: number;
  readonly #memory: ReadMemory;
  #readers = 0;
  readonly #handle: PooledHandle;
  readonly #table: Buffer;
  /** Bytes of content. */
  readonly size: number;
  readonly description: Description;

  /** @param memory shared by all readers of the folder */
  constructor(handle: PooledHandle, { size, table, description }: FileEnd, memory: ReadMemory) {
    this.#id = memory.nextId();
    this.#memory = memory;
    this.#handle = handle;
    this.#table = table;
    this.size = size;
    this.description = description;
  }

  /**
   * Opens a file that {@link CheckedFileWriter.finish} has finished.
   *
   * @param memory shared by all readers of the folder
   * @returns `undefined` where it is missing, incomplete, damaged after its content, or no file that this process can read
   * @throws PassthroughError `BUSY` when too many files are open
   */
  static async open(path: string, memory: ReadMemory = new ReadMemory()): Promise<CheckedFile | undefined> {
    let handle: FileHandle;
    try {
      handle = await openStored(path, memory.owner);
    } catch (error) {
      const failure = storageError(error);
      if (failure.code === 'BUSY') throw failure;
      return undefined;
    }
    const end = await readEnd(handle).catch(() => undefined);
    if (end !== undefined) return new CheckedFile(new PooledHandle(handle, path, memory), end, memory);
    await handle.close();
    return undefined;
  }

  /** Length of the file. */
  get bytesOnDisk(): number {
    const text = Buffer.byteLength(JSON.stringify(this.description));
    return this.size + this.#table.byteLength + text + TRAILER_BYTES;
  }

  /**
   * Reads and checks the content, or a part of it. The reader may keep each chunk, or release it with {@link releaseChunk}. It
   * must not change the bytes, because other readers may share them.
   *
   * @param range from `start` up to and not including `end`; the whole content unless given
   * @param onDamage is called before `DAMAGED` is thrown
   * @throws PassthroughError `DAMAGED` for a block that is not as it was written; no byte of that block is returned
   */
  async *read(
    { start, end } = { start: 0, end: this.size },
    onDamage: () => void = () => undefined,
  ): AsyncGenerator<Uint8Array, void, undefined> {
    const { budget, cache } = this.#memory;
    budget.enter();
    this.#readers += 1;
    try {
      let next: Chunk | undefined;
      for (let position = start; position < Math.min(end, this.size); ) {
        const { reading, isShared, from, to } = next ?? this.#startChunk(position, end);
        const bytes = await reading;
        // Where there is enough memory, the next chunk is read while this one is sent. Of a shared file, another reader reads it.
        next = to < end && budget.isAmple && !isShared ? this.#startChunk(to, end) : undefined;
        const chunk = bytes.subarray(position - from, Math.min(end, to) - from);
        position = Math.min(end, to);
        yield isShared ? lendChunk(chunk, () => releaseChunk(bytes)) : ownChunk(chunk);
      }
    } catch (error) {
      if (isPassthroughError(error, 'DAMAGED')) onDamage();
      throw error;
    } finally {
      budget.leave();
      this.#readers -= 1;
      if (this.#readers < 2) cache.forgetAll(`${this.#id} `);
    }
  }

  /** Says where the file is now, so that it need not stay open between reads. */
  movedTo(path: string): void {
    this.#handle.movedTo(path);
  }

  /** Closes the file. */
  async close(): Promise<void> {
    await this.#handle.close();
  }

  /**
   * Starts to read the chunk that contains a position. A single reader's chunks begin at the position's block and end with the
   * range. The chunks of several readers begin at multiples of their length, so that all readers ask for the same ones.
   */
  #startChunk(position: number, end: number): Chunk {
    const { budget, cache } = this.#memory;
    const isShared = this.#readers > 1;
    const length = isShared ? budget.sharedBytes : budget.readBytes;
    const from = position - (position % (isShared ? length : BLOCK_BYTES));
    const last = isShared ? this.size : Math.ceil(end / BLOCK_BYTES) * BLOCK_BYTES;
    const to = Math.min(from + length, last, this.size);
    const read = () => this.#readBlocks(from, to);
    const reading = isShared ? cache.get(`${this.#id} ${from} ${to}`, to - from, read) : read();
    // A reader that stops early does not wait for the chunk that is read ahead.
    reading.catch(() => undefined);
    return { from, to, reading, isShared };
  }

  /** Reads and checks whole blocks. */
  async #readBlocks(from: number, to: number): Promise<Buffer> {
    const buffer = Buffer.allocUnsafeSlow(to - from);
    await this.#handle
      .use((handle) => readFully(handle, buffer, from))
      .catch((cause: unknown) => {
        const failure = storageError(cause);
        // A file that cannot be opened again for want of descriptors is not damaged.
        if (failure.code === 'BUSY') throw failure;
        throw damaged(`its bytes from ${from} to ${to} cannot be read`, cause);
      });
    for (let at = 0; at < buffer.byteLength; at += BLOCK_BYTES) {
      const expected = this.#table.readUInt32LE(((from + at) / BLOCK_BYTES) * 4);
      if (crc32(buffer.subarray(at, at + BLOCK_BYTES)) !== expected) {
        throw damaged(`its bytes from ${from + at} on are not as they were written`);
      }
    }
    return buffer;
  }
}

/** Reads what follows the content. @throws an error where the file is incomplete or damaged */
async function readEnd(handle: FileHandle): Promise<FileEnd> {
  const { size: length } = await handle.stat();
  const trailer = Buffer.alloc(TRAILER_BYTES);
  await readFully(handle, trailer, length - TRAILER_BYTES);
  const size = Number(trailer.readBigUInt64LE(8));
  const textLength = trailer.readUInt32LE(16);
  const tableLength = Math.ceil(size / BLOCK_BYTES) * 4;
  if (!MAGIC.equals(trailer.subarray(0, MAGIC.byteLength))) throw damaged('it has another format');
  if (size + tableLength + textLength + TRAILER_BYTES !== length) throw damaged('its length is wrong');
  const end = Buffer.alloc(tableLength + textLength);
  await readFully(handle, end, size);
  const [table, text] = [end.subarray(0, tableLength), end.subarray(tableLength)];
  if (crcOfEnd(table, text, trailer) !== trailer.readUInt32LE(20)) throw damaged('its end is damaged');
  return { size, table, description: JSON.parse(text.toString()) as Description };
}

async function readFully(handle: FileHandle, buffer: Buffer, position: number): Promise<void> {
  for (let done = 0; done < buffer.byteLength; ) {
    const left = buffer.byteLength - done;
    const { bytesRead } = await handle.read(buffer, done, left, position + done);
    if (bytesRead === 0) throw new Error(`the file ends at ${position + done}`);
    done += bytesRead;
  }
}

function crcOfEnd(table: Uint8Array, text: Uint8Array, trailer: Uint8Array): number {
  const before = crc32(trailer.subarray(0, 20), crc32(text, crc32(table)));
  return crc32(trailer.subarray(24), before);
}

function damaged(why: string, cause?: unknown): PassthroughError {
  return new PassthroughError('DAMAGED', `Cannot use a prepared file: ${why}`, { cause });
}
