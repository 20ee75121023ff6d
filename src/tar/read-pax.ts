/**
 * Reads the records of a pax extended header.
 * https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html#tag_20_92_13_03
 */

/** Records that change what an archive holds; `undefined` for a record that removes an earlier one. */
export type PaxRecords = ReadonlyMap<PaxKeyword, Uint8Array | undefined>;

/** Keywords that are kept. All others, such as times and extended attributes, say nothing about names and contents. */
const KEPT = ['path', 'linkpath', 'size'] as const;
/** A keyword that changes what an archive holds. */
export type PaxKeyword = (typeof KEPT)[number];

/** Keywords of GNU tar for sparse files in the pax format: https://www.gnu.org/software/tar/manual/html_node/Sparse-Formats.html */
const SPARSE = 'GNU.sparse.';

/** A length has at most ten digits: an extended header is far below 10 GB. */
const MAX_DIGITS = 10;

/**
 * Reads records, each `"%d %s=%s\n"`: length, keyword, value. Values may contain any byte, also line feeds and NULs.
 *
 * @param bytes content of the extended header
 * @returns the last record of each kept keyword, or what is wrong, to follow a colon in a message
 */
export function parsePax(bytes: Uint8Array): PaxRecords | string {
  const records = new Map<PaxKeyword, Uint8Array | undefined>();
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  while (at < buffer.length) {
    const space = buffer.subarray(at, at + MAX_DIGITS + 1).indexOf(0x20);
    const digits = space === -1 ? '' : buffer.toString('latin1', at, at + space);
    if (!/^[1-9][0-9]*$/.test(digits)) return 'a pax record has no length';
    const end = at + Number(digits);
    if (end > buffer.length || buffer[end - 1] !== 0x0a) return 'the length of a pax record is wrong';
    const record = buffer.subarray(at + space + 1, end - 1);
    const equals = record.indexOf(0x3d);
    if (equals < 1) return 'a pax record has no keyword';
    const keyword = record.toString('latin1', 0, equals);
    const value = record.subarray(equals + 1);
    if (keyword.startsWith(SPARSE)) return 'it is a sparse file of GNU tar';
    const kept = KEPT.find((name) => name === keyword);
    if (kept !== undefined) records.set(kept, value.byteLength === 0 ? undefined : value);
    at = end;
  }
  return records;
}
