import { crc32 } from 'node:zlib';

/** Bytes that one checksum covers. A part of a file is read in whole blocks; the checksums take 1/16384 of the file. */
export const BLOCK_BYTES = 64 * 1024;

/** Computes the CRC-32 of each block of a stream of bytes. */
export class BlockChecksums {
  readonly #checksums: number[] = [];
  #size = 0;
  #crc = 0;

  /** Bytes that were added. */
  get size(): number {
    return this.#size;
  }

  /** Adds the next bytes. */
  update(bytes: Uint8Array): void {
    for (let done = 0; done < bytes.byteLength; ) {
      const end = Math.min(bytes.byteLength, done + BLOCK_BYTES - (this.#size % BLOCK_BYTES));
      this.#crc = crc32(bytes.subarray(done, end), this.#crc);
      this.#size += end - done;
      done = end;
      if (this.#size % BLOCK_BYTES !== 0) continue;
      this.#checksums.push(this.#crc);
      this.#crc = 0;
    }
  }

  /** The checksums of all blocks, the last of which may be shorter: 32 bits each, little endian. */
  table(): Buffer {
    const all = this.#size % BLOCK_BYTES === 0 ? this.#checksums : [...this.#checksums, this.#crc];
    const table = Buffer.allocUnsafeSlow(all.length * 4);
    for (const [index, crc] of all.entries()) table.writeUInt32LE(crc, index * 4);
    return table;
  }
}
