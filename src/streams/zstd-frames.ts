import { ownChunk, releaseChunk } from './chunk.ts';

/** What a decoder needs for a frame. */
export interface FrameNeeds {
  /** Bytes of earlier content that the frame may refer to. */
  readonly windowBytes: number;
  /** Bytes of content that the decoder keeps: the window, or the whole content if that is less. */
  readonly keptBytes: number;
}

/** https://www.rfc-editor.org/rfc/rfc8878#section-3.1.1 */
const MAGIC = 0xfd2fb528;

/** Magic of the first kind of skippable frame; the others follow: https://www.rfc-editor.org/rfc/rfc8878#section-3.1.2 */
const SKIPPABLE_MAGIC = 0x184d2a50;

/** Bytes of a magic, of the length of a skippable frame, of the header of a block, and of a checksum. */
const [MAGIC_BYTES, LENGTH_BYTES, BLOCK_HEADER_BYTES, CHECKSUM_BYTES] = [4, 4, 3, 4];

const NO_NEEDS: FrameNeeds = { windowBytes: 0, keptBytes: 0 };

/** The start of a frame. */
interface FrameStart {
  /** Bytes of the magic and the header. */
  readonly length: number;
  readonly needs: FrameNeeds;
  /** Bytes behind the header of a skippable frame. */
  readonly skip: number;
  readonly kind: 'blocks' | 'skippable' | 'unknown';
  readonly hasChecksum: boolean;
}

/**
 * Follows the frames of a zstd stream and divides it into runs, each of which one decoder can unpack with the window that its
 * first frame needs. A later frame may need a larger window; a decoder would allocate it without asking.
 */
export class ZstdRuns {
  readonly #source: AsyncIterator<Uint8Array>;
  /** Bytes that were read and not passed on. They begin with an incomplete header, or at the first frame of a run. */
  #rest: Uint8Array = new Uint8Array();
  #state: 'frame' | 'block' | 'unknown' = 'frame';
  #hasChecksum = false;
  /** Bytes until the next header. */
  #skip = 0;
  #isOver = false;

  /** @param source is not closed here; its chunks are taken over */
  constructor(source: AsyncIterator<Uint8Array>) {
    this.#source = source;
  }

  /**
   * Reads to the header of the next run.
   *
   * @returns what the run needs; `undefined` at the end of the stream
   */
  async next(): Promise<FrameNeeds | undefined> {
    for (;;) {
      if (this.#isOver || this.#state === 'unknown') return undefined;
      const start = frameStart(this.#rest);
      if (start !== undefined) return start.needs;
      if (await this.#readMore()) continue;
      // A cut header: its decoder finds that out.
      return this.#rest.byteLength === 0 ? undefined : NO_NEEDS;
    }
  }

  /**
   * Passes the bytes of a run on, up to a frame that needs a larger window.
   *
   * @param windowBytes what the decoder may use
   */
  async *run(windowBytes: number): AsyncGenerator<Uint8Array, void, undefined> {
    let isLarger = false;
    // Where the reader stops before the end, no further frame follows for it.
    this.#isOver = true;
    while (!isLarger && (this.#rest.byteLength > 0 || (await this.#readMore()))) {
      const chunk = this.#rest;
      const found = this.#scan(chunk, windowBytes);
      isLarger = found.isLarger;
      if (found.end === chunk.byteLength) {
        this.#rest = new Uint8Array();
        yield chunk;
        continue;
      }
      // Copied: a part that is released would free the memory of the other.
      this.#rest = Buffer.from(chunk.subarray(found.end));
      if (found.end > 0) yield Buffer.from(chunk.subarray(0, found.end));
      releaseChunk(chunk);
      if (isLarger || (await this.#readMore())) continue;
      yield this.#rest;
      return;
    }
    this.#isOver = !isLarger;
  }

  /** @returns `false` at the end of the source */
  async #readMore(): Promise<boolean> {
    const next = await this.#source.next();
    if (next.done === true) return false;
    if (this.#rest.byteLength === 0) {
      this.#rest = next.value;
      return true;
    }
    this.#rest = ownChunk(Buffer.concat([this.#rest, next.value]));
    releaseChunk(next.value);
    return true;
  }

  /** @returns the end of what may be passed on, and whether a frame begins there that needs a larger window */
  #scan(bytes: Uint8Array, windowBytes: number): { readonly end: number; readonly isLarger: boolean } {
    let at = 0;
    for (;;) {
      const skipped = Math.min(this.#skip, bytes.byteLength - at);
      this.#skip -= skipped;
      at += skipped;
      if (at === bytes.byteLength || this.#state === 'unknown')
        return { end: bytes.byteLength, isLarger: false };
      const rest = bytes.subarray(at);
      if (this.#state === 'block') {
        if (rest.byteLength < BLOCK_HEADER_BYTES) return { end: at, isLarger: false };
        this.#enterBlock(rest);
        at += BLOCK_HEADER_BYTES;
        continue;
      }
      const start = frameStart(rest);
      if (start === undefined) return { end: at, isLarger: false };
      if (start.needs.windowBytes > windowBytes) return { end: at, isLarger: true };
      this.#state = start.kind === 'blocks' ? 'block' : start.kind === 'skippable' ? 'frame' : 'unknown';
      this.#hasChecksum = start.hasChecksum;
      this.#skip = start.skip;
      at += start.length;
    }
  }

  /** https://www.rfc-editor.org/rfc/rfc8878#section-3.1.1.2 */
  #enterBlock([low = 0, middle = 0, high = 0]: Uint8Array): void {
    const type = (low >> 1) & 3;
    const isLast = (low & 1) === 1;
    // A block of type RLE is one byte, whatever its size.
    this.#skip = type === 1 ? 1 : (low >> 3) | (middle << 5) | (high << 13);
    if (isLast) this.#skip += this.#hasChecksum ? CHECKSUM_BYTES : 0;
    // The decoder refuses the reserved type.
    this.#state = type === 3 ? 'unknown' : isLast ? 'frame' : 'block';
  }
}

/**
 * Parses the start of a frame.
 *
 * @returns `undefined` where bytes are missing
 * @see https://www.rfc-editor.org/rfc/rfc8878#section-3.1.1.1
 */
function frameStart(bytes: Uint8Array): FrameStart | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.byteLength < MAGIC_BYTES) return undefined;
  const magic = view.getUint32(0, true);
  const other = { needs: NO_NEEDS, hasChecksum: false };
  if ((magic & 0xfffffff0) >>> 0 === SKIPPABLE_MAGIC) {
    const length = MAGIC_BYTES + LENGTH_BYTES;
    if (bytes.byteLength < length) return undefined;
    return { ...other, length, skip: view.getUint32(MAGIC_BYTES, true), kind: 'skippable' };
  }
  if (magic !== MAGIC) return { ...other, length: 0, skip: 0, kind: 'unknown' };
  if (bytes.byteLength === MAGIC_BYTES) return undefined;
  const flags = view.getUint8(MAGIC_BYTES);
  // The reserved bit: the decoder refuses the frame.
  if ((flags & 8) !== 0) return { ...other, length: 0, skip: 0, kind: 'unknown' };
  const isSingleSegment = (flags & 0x20) !== 0;
  const windowAt = MAGIC_BYTES + 1;
  const contentAt = windowAt + (isSingleSegment ? 0 : 1) + ([0, 1, 2, 4][flags & 3] ?? 0);
  const contentLength = [isSingleSegment ? 1 : 0, 2, 4, 8][flags >> 6] ?? 0;
  const length = contentAt + contentLength;
  if (bytes.byteLength < length) return undefined;
  const contentBytes = contentSize(view, contentAt, contentLength);
  const windowBytes = isSingleSegment ? contentBytes : windowSize(view.getUint8(windowAt));
  return {
    length,
    needs: { windowBytes, keptBytes: Math.min(windowBytes, contentBytes) },
    skip: 0,
    kind: 'blocks',
    hasChecksum: (flags & 4) !== 0,
  };
}

/** https://www.rfc-editor.org/rfc/rfc8878#section-3.1.1.1.2 */
function windowSize(descriptor: number): number {
  const base = 2 ** (10 + (descriptor >> 3));
  return base + (base / 8) * (descriptor & 7);
}

/** @returns `Infinity` where the frame does not say it */
function contentSize(view: DataView, at: number, length: number): number {
  if (length === 0) return Number.POSITIVE_INFINITY;
  if (length === 1) return view.getUint8(at);
  if (length === 2) return view.getUint16(at, true) + 256;
  return length === 4 ? view.getUint32(at, true) : Number(view.getBigUint64(at, true));
}
