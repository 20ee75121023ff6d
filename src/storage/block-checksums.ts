import { crc32 } from 'node:zlib';

/** Bytes that one checksum covers: few, so that a part of a file can be read alone; the table is 1/16384 of the file. */
export const BLOCK_BYTES = 64 * 1024;

/** Counts the CRC-32 of each block of bytes that pass. */
export class BlockChecksums {
  readonly #checksums: number[] = [];
  #size = 0;
  #crc = 0;

  /** Bytes so far. */
  get size(): number {
    return this.#size;
  }

  /** Takes the next bytes. */
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

  /** All checksums, the last one of what is left: 32 bits each, little endian. */
  table(): Buffer {
    const all = this.#size % BLOCK_BYTES === 0 ? this.#checksums : [...this.#checksums, this.#crc];
    const table = Buffer.allocUnsafeSlow(all.length * 4);
    for (const [index, crc] of all.entries()) table.writeUInt32LE(crc, index * 4);
    return table;
  }
}
