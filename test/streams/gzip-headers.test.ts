import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { crc32, gzipSync } from 'node:zlib';
import { HeaderChecksums } from '../../src/streams/gzip-headers.ts';
import { noise } from '../support/noise.ts';

const MEMBER = gzipSync(noise('member', 2_000));

/** A member with these flags and fields in its header, and a checksum of it if the flags say so. */
function member(flags: number, fields: string | Buffer = '', checksum?: number): Buffer {
  const fixed = Buffer.concat([MEMBER.subarray(0, 3), Buffer.from([flags]), MEMBER.subarray(4, 10)]);
  const header = Buffer.concat([fixed, Buffer.from(fields)]);
  const sum = Buffer.alloc(2);
  sum.writeUInt16LE(checksum ?? crc32(header) & 0xffff);
  return Buffer.concat([header, ...(flags & 2 ? [sum] : []), MEMBER.subarray(10)]);
}

const EXTRA = Buffer.from([4, 0, 0x41, 0x42, 0, 0]);

const rows: readonly [what: string, bytes: Buffer, isFound: boolean][] = [
  ['no bytes', Buffer.alloc(0), false],
  ['one member', MEMBER, false],
  ['a checksum in the first header', member(2), true],
  ['a checksum in the second header', Buffer.concat([MEMBER, member(2), MEMBER]), true],
  ['a checksum behind a name', Buffer.concat([MEMBER, member(0x0a, 'name\0')]), true],
  ['a checksum behind an extra field', Buffer.concat([MEMBER, member(0x06, EXTRA)]), true],
  [
    'a checksum behind all fields',
    Buffer.concat([MEMBER, member(0x1f, Buffer.concat([EXTRA, Buffer.from('n\0c\0')]))]),
    true,
  ],
  [
    'a checksum behind a name with the bytes of a header',
    Buffer.concat([MEMBER, member(0x0a, Buffer.from([0x1f, 0x8b, 8, 1, 0]))]),
    true,
  ],
  [
    'a name, a comment and an extra field',
    Buffer.concat([MEMBER, member(0x1c, Buffer.concat([EXTRA, Buffer.from('n\0c\0')]))]),
    false,
  ],
  ['bytes like a header, with another checksum', Buffer.concat([MEMBER, member(2, '', 1)]), false],
  ['bytes like a header with reserved flags', Buffer.concat([MEMBER, member(0x42)]), false],
  ['a part of a header at the end', Buffer.concat([MEMBER, member(2).subarray(0, 11)]), false],
  ['a hundred places like a header of 64 KB', Buffer.concat([crowded(1_200), Buffer.alloc(70_000)]), false],
  ['thousands of places like a header of 64 KB', crowded(200_000), true],
  ['a name without an end', Buffer.concat([MEMBER, member(0x0a, 'x'.repeat(200_000))]), true],
];

/** Bytes in which a header of 64 KB begins every few bytes. */
function crowded(bytes: number): Buffer {
  return Buffer.alloc(bytes, Buffer.from([0x1f, 0x8b, 8, 6, 1, 1, 1, 1, 1, 1, 0xff, 0xff]));
}

describe('a header checksum is found, or not, however the bytes come', () => {
  for (const [what, bytes, isFound] of rows) {
    test(what, () => {
      for (const size of [1, 2, 3, 7, 1_000, 1_000_000]) {
        if (size < 1_000 && bytes.length > 50_000) continue;
        const headers = new HeaderChecksums();
        for (let at = 0; at < bytes.length; at += size) headers.update(bytes.subarray(at, at + size));
        assert.equal(headers.found, isFound, `in chunks of ${size} bytes`);
      }
    });
  }
});
