/**
 * The pax extended header: an entry of type `x` whose content is records about the entry that follows.
 * https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html#tag_20_92_13_03
 */

import { encodeUstar, NAME_LENGTH, paddingAfter, splitPath } from './header.ts';

/**
 * Folder that readers without pax unpack extended headers into, where GNU tar and Go put them too. Their
 * process id (`PaxHeaders.1234`) is left out: the same archive has the same bytes everywhere.
 */
const FOLDER = 'PaxHeaders/';

/**
 * The blocks to write before an entry whose path a ustar header alone cannot hold: one that is too long and
 * cannot be split, or is not ASCII, since ustar leaves the encoding of other characters open and pax fixes it
 * to UTF-8.
 *
 * @param path as the entry's header has it: checked, a directory's with its closing `/`
 * @returns whole blocks: a header of type `x`, its one record, padding; or none
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
 * One record: `"%d %s=%s\n"`, length, keyword and value. The length is decimal and counts the bytes of the
 * whole record, its own digits too.
 *
 * @param keyword without `=`
 * @param value any text
 * @returns the record as UTF-8
 */
export function paxRecord(keyword: string, value: string): Uint8Array {
  const rest = ` ${keyword}=${value}\n`;
  const restLength = Buffer.byteLength(rest);
  // Counting the digits may add one to them, as 98 bytes and 2 digits make 100; never a second one.
  const guess = restLength + String(restLength).length;
  return Buffer.from(`${restLength + String(guess).length}${rest}`);
}

/**
 * Name of the extended header itself, which matters only to readers without pax: the path's last segment in
 * the portable filename character set (POSIX.1-2017, 3.282), cut to what the name field takes.
 */
function paxName(path: string): string {
  const segment = path.split('/').findLast((part) => part !== '') ?? '';
  const portable = segment.replace(/[^A-Za-z0-9._-]/gu, '_');
  return `${FOLDER}${portable}`.slice(0, NAME_LENGTH);
}
