import { type FileHandle, open } from 'node:fs/promises';
import { crc32 } from 'node:zlib';
import { isPassthroughError, PassthroughError } from '../errors.ts';
import { lendChunk, ownChunk, releaseChunk } from '../streams/chunk.ts';
import { BLOCK_BYTES, BlockChecksums } from './block-checksums.ts';
import { ReadBudget } from './read-budget.ts';
import { ReadCache } from './read-cache.ts';
import { storageError } from './storage-error.ts';

/**
 * A file that knows its own content: behind the bytes stand the CRC-32 of each block of them and a description.
 *
 *     content      size bytes
 *     checksums    one for each block of 64 KiB, the last one shorter: CRC-32, 32 bits, little endian
 *     description  JSON, UTF-8
 *     trailer      32 bytes: magic, size (64 bits), length of the description (32 bits), CRC-32 of all behind the content
 *                  but itself (32 bits), 8 bytes of zeros
 *
 * Every block is checked each time that it is read, so that bytes which a disk has changed are noticed before they leave.
 * CRC-32 finds every burst of up to 32 bits, and of other damage all but one in four thousand million. It guards against
 * disks, not against people: who may write here may as well replace the program. A gigabyte costs 0.17 s of one core at
 * 6 GB/s, a fifth of what SHA-256 would.
 *
 * Nothing is flushed to the disk on the way. What a kill leaves is whole in the system's cache; what a power cut leaves is
 * found out by the same checks.
 */

/** Says what the file is, and in which version of this format. */
const MAGIC = Buffer.from('DHPT-S1\n');

const TRAILER_BYTES = 32;

/** Bytes that are kept for others who read the same. */
const RECENT_BYTES = 12 * 1024 * 1024;

/** Memory that all readers of this process share. */
const budget = new ReadBudget(24 * 1024 * 1024);

const recent = new ReadCache(RECENT_BYTES);

/** Tells files apart. */
let nextId = 0;

/** What a file tells of itself. */
export type Description = Readonly<Record<string, string | number>>;

/** Called when the disk is full: `true` where something was removed, so that writing on may succeed. */
export type MakeRoom = () => Promise<boolean>;

/** A file that is being written, from start to end. */
export class CheckedFileWriter {
  readonly #handle: FileHandle;
  readonly #makeRoom: MakeRoom;
  readonly #checksums = new BlockChecksums();
  #written = 0;

  /** @param handle open for reading and writing, empty; belongs to this object from now on */
  constructor(handle: FileHandle, makeRoom: MakeRoom) {
    this.#handle = handle;
    this.#makeRoom = makeRoom;
  }

  /** Bytes of content so far. */
  get size(): number {
    return this.#checksums.size;
  }

  /**
   * Appends bytes. To be awaited before the next call; the bytes may be hashed meanwhile, and not be changed.
   *
   * @throws PassthroughError `NO_SPACE` when the disk is full, `INTERNAL`
   */
  async write(bytes: Uint8Array): Promise<void> {
    const writing = this.#append(bytes);
    this.#checksums.update(bytes);
    await writing;
  }

  /**
   * Ends the file.
   *
   * @returns the same file, to be read
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
    return new CheckedFile(this.#handle, size, table, description);
  }

  /** Frees the descriptor of a file that is not finished. */
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
        const failure = storageError(error);
        if (failure.code !== 'NO_SPACE' || !(await this.#makeRoom())) throw failure;
      }
    }
  }
}

/** A piece that is being read. */
interface Piece {
  /** Where the piece begins and ends. */
  readonly from: number;
  readonly to: number;
  readonly reading: Promise<Uint8Array>;
  /** Whether others may have it, too. */
  readonly isShared: boolean;
}

/** A file that is complete. Any number may read it at once. */
export class CheckedFile {
  readonly #id = nextId++;
  #readers = 0;
  readonly #handle: FileHandle;
  readonly #table: Buffer;
  /** Bytes of content. */
  readonly size: number;
  readonly description: Description;

  /** @param table the checksums as they stand in the file */
  constructor(handle: FileHandle, size: number, table: Buffer, description: Description) {
    this.#handle = handle;
    this.#table = table;
    this.size = size;
    this.description = description;
  }

  /**
   * Opens a file that {@link CheckedFileWriter.finish} has ended.
   *
   * @returns `undefined` where there is none, or not all of one
   * @throws PassthroughError `BUSY` when too many files are open, `INTERNAL`
   */
  static async open(path: string): Promise<CheckedFile | undefined> {
    let handle: FileHandle;
    try {
      handle = await open(path, 'r');
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
      throw storageError(error);
    }
    const file = await readEnd(handle).catch(() => undefined);
    if (file === undefined) await handle.close();
    return file;
  }

  /** Bytes that the file takes on the disk. */
  get bytesOnDisk(): number {
    const text = Buffer.byteLength(JSON.stringify(this.description));
    return this.size + this.#table.byteLength + text + TRAILER_BYTES;
  }

  /**
   * Reads the content, or a part of it, and checks it. Each piece is its reader's, to be kept or given back with
   * {@link releaseChunk}; its bytes must not be changed, for others may read the same.
   *
   * @param range bytes from `start` up to, not including, `end`, within the content; the whole unless said
   * @param onDamage is called before the error is thrown
   * @throws PassthroughError `DAMAGED` for a block that is not as it was written, before any byte of it is given out
   */
  async *read(
    { start, end } = { start: 0, end: this.size },
    onDamage: () => void = () => undefined,
  ): AsyncGenerator<Uint8Array, void, undefined> {
    budget.enter();
    this.#readers += 1;
    try {
      let next: Piece | undefined;
      for (let position = start; position < Math.min(end, this.size); ) {
        const { reading, isShared, from, to } = next ?? this.#piece(position, end);
        const bytes = await reading;
        // Where there is memory for it, the next one is read while this one is sent. Among many, another one does that.
        next = to < end && budget.isAmple && !isShared ? this.#piece(to, end) : undefined;
        const piece = bytes.subarray(position - from, Math.min(end, to) - from);
        position = Math.min(end, to);
        yield isShared ? lendChunk(piece, () => releaseChunk(bytes)) : ownChunk(piece);
      }
    } catch (error) {
      if (isPassthroughError(error, 'DAMAGED')) onDamage();
      throw error;
    } finally {
      budget.leave();
      this.#readers -= 1;
      if (this.#readers < 2) recent.forgetAll(`${this.#id} `);
    }
  }

  /** Frees the descriptor. */
  async close(): Promise<void> {
    await this.#handle.close();
  }

  /**
   * Begins to read the piece that a position lies in: from there on what was wanted, or where others read the same file, a piece
   * that is cut where theirs are.
   */
  #piece(position: number, end: number): Piece {
    const isShared = this.#readers > 1;
    const length = isShared ? budget.sharedBytes : budget.readBytes;
    const from = position - (position % (isShared ? length : BLOCK_BYTES));
    const last = isShared ? this.size : Math.ceil(end / BLOCK_BYTES) * BLOCK_BYTES;
    const to = Math.min(from + length, last, this.size);
    const read = () => this.#readBlocks(from, to);
    const reading = isShared ? recent.get(`${this.#id} ${from} ${to}`, to - from, read) : read();
    // Whoever leaves early never hears of it.
    reading.catch(() => undefined);
    return { from, to, reading, isShared };
  }

  /** Reads whole blocks; the last one may be the file's short one. */
  async #readBlocks(from: number, to: number): Promise<Buffer> {
    const buffer = Buffer.allocUnsafeSlow(to - from);
    await readFully(this.#handle, buffer, from).catch((cause: unknown) => {
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

/** @throws whatever shows that the end is not one */
async function readEnd(handle: FileHandle): Promise<CheckedFile> {
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
  return new CheckedFile(handle, size, table, JSON.parse(text.toString()) as Description);
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
