/** Frames of zstd that no compressor writes: any window for little content. */

/** What a frame says, and what is in it. */
export interface ZstdFrameOptions {
  /** Window of `2 ** windowLog` bytes; without one, the frame is a single segment. */
  readonly windowLog?: number;
  /** Eighths that are added to the window. */
  readonly mantissa?: number;
  /** Bytes of content that the header tells. */
  readonly contentBytes?: number;
  /** Number of blocks, each of zeros. */
  readonly blocks: number;
  /** Bytes of each block; 128 KiB, the most there can be, unless given. */
  readonly blockBytes?: number;
}

/**
 * Makes a frame of blocks of zeros.
 *
 * @see https://www.rfc-editor.org/rfc/rfc8878#section-3.1.1
 */
export function zstdFrame({
  windowLog,
  mantissa = 0,
  contentBytes,
  blocks,
  blockBytes = 128 * 1024,
}: ZstdFrameOptions): Buffer {
  const isSingle = windowLog === undefined;
  const header = Buffer.alloc(isSingle ? 5 : 6);
  header.writeUInt32LE(0xfd2fb528);
  header[4] = (contentBytes === undefined ? 0 : 0xc0) | (isSingle ? 0x20 : 0);
  if (!isSingle) header[5] = ((windowLog - 10) << 3) | mantissa;
  const content = Buffer.alloc(contentBytes === undefined ? 0 : 8);
  if (contentBytes !== undefined) content.writeBigUInt64LE(BigInt(contentBytes));
  const parts = [header, content];
  for (let block = 1; block <= blocks; block += 1) {
    const bits = (blockBytes << 3) | (1 << 1) | (block === blocks ? 1 : 0);
    parts.push(Buffer.from([bits & 0xff, (bits >> 8) & 0xff, (bits >> 16) & 0xff, 0]));
  }
  return Buffer.concat(parts);
}
