/**
 * The pax extended header: an entry of type `x` with records about the next entry.
 * https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html#tag_20_92_13_03
 */

import { encodeUstar, NAME_LENGTH, paddingAfter, splitPath } from './header.ts';

/**
 * Folder of extended headers, for readers without pax. GNU tar and Go use it too. It has no process ID (`PaxHeaders.1234`),
 * since the bytes of an archive must not depend on the process.
 */
const FOLDER = 'PaxHeaders/';

/**
 * The blocks before an entry whose path does not fit into a ustar header: the path is too long and cannot be split, or it is
 * not ASCII. Ustar does not define the encoding of other characters; pax defines UTF-8.
 *
 * @param path checked path of the entry's header; a directory's ends in `/`
 * @returns a header of type `x`, one record and padding; no bytes if the ustar header is enough
 */
export function paxBlocks(path: string): Uint8Array {
  const isAscii = Buffer.byteLength(path) === path.length;
  if (isAscii && splitPath(path) !== undefined) return new Uint8Array();
  const record = paxRecord('path', path);
  const size = record.byteLength;
  const header = encodeUstar({ path: paxName(path), typeflag: 'x', mode: 0o644, size, mtime: 0 });
  return Buffer.concat([header, record, new Uint8Array(paddingAfter(size))]);
}

/**
 * One record: `"%d %s=%s\n"`, length, keyword and value. The length is decimal and counts all bytes of the record, with its
 * own digits.
 *
 * @param keyword without `=`
 * @param value any text
 * @returns the record as UTF-8
 */
export function paxRecord(keyword: string, value: string): Uint8Array {
  const rest = ` ${keyword}=${value}\n`;
  const restLength = Buffer.byteLength(rest);
  // The digits count too, and may make the length one digit longer: 98 bytes and 2 digits are 100. Never two digits.
  const guess = restLength + String(restLength).length;
  return Buffer.from(`${restLength + String(guess).length}${rest}`);
}

/**
 * Name of the extended header, which only readers without pax use: the path's last segment in the portable filename character
 * set (POSIX.1-2017, 3.282), cut to the name field.
 */
function paxName(path: string): string {
  const segment = path.split('/').findLast((part) => part !== '') ?? '';
  const portable = segment.replace(/[^A-Za-z0-9._-]/gu, '_');
  return `${FOLDER}${portable}`.slice(0, NAME_LENGTH);
}
