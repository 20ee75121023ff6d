import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { isPassthroughError } from '../../src/errors.ts';
import { StreamCursor } from '../../src/tar/cursor.ts';
import { encodeTar } from '../../src/tar/encoder.ts';
import { MAX_ENTRIES, MAX_NAME_LENGTH, MAX_PAX_SIZE, type ReadEntry, readTar } from '../../src/tar/reader.ts';
import { base256, END, gnuLong, paxEntry, type RawEntry, rawEntry, rawTar } from '../support/raw-tar.ts';
import { samplesAtBoundaries } from './samples.ts';

/** What a test compares of an entry. */
type Shown = readonly [name: string, type: ReadEntry['type'], content: string];

/** Reads an archive that comes in chunks of a length. */
async function read(archive: Uint8Array, chunkLength = archive.length || 1): Promise<Shown[]> {
  const shown: Shown[] = [];
  for await (const { name, type, size, linkName, content } of readTar(cursorOf(archive, chunkLength))) {
    const bytes = Buffer.concat(await Array.fromAsync(content(), (chunk) => Buffer.from(chunk)));
    assert.equal(bytes.length, size);
    shown.push([name, type, linkName ?? bytes.toString('latin1')]);
  }
  return shown;
}

function cursorOf(archive: Uint8Array, chunkLength: number): StreamCursor {
  return new StreamCursor(
    (async function* () {
      for (let at = 0; at < archive.length; at += chunkLength) yield archive.subarray(at, at + chunkLength);
    })(),
  );
}

const LONG = `${'d/'.repeat(150)}file`;
const GNU = 'ustar  \0';

describe('reads', () => {
  const formats: readonly [what: string, archive: Buffer, entries: readonly Shown[]][] = [
    ['no entries', rawTar(), []],
    ['a file', rawTar({ name: 'a', content: 'x' }), [['a', 'file', 'x']]],
    ['a name with a prefix', rawTar({ name: 'b', prefix: 'a' }), [['a/b', 'file', '']]],
    ['./ names as they are', rawTar({ name: './a/b', content: 'x' }), [['./a/b', 'file', 'x']]],
    ['a directory', rawTar({ name: 'd/', typeflag: '5' }), [['d/', 'directory', '']]],
    [
      'links',
      rawTar({ name: 'a', typeflag: '2', linkname: '../b' }, { name: 'c', typeflag: '1', linkname: 'b' }),
      [
        ['a', 'symlink', '../b'],
        ['c', 'hardlink', 'b'],
      ],
    ],
    [
      'devices and pipes',
      rawTar(...['3', '4', '6'].map((typeflag) => ({ name: `n${typeflag}`, typeflag }))),
      [
        ['n3', 'other', ''],
        ['n4', 'other', ''],
        ['n6', 'other', ''],
      ],
    ],
    [
      'v7, which has no type of directories',
      rawTar(
        { name: 'd/', typeflag: '\0', magic: '' },
        { name: 'd/a', content: 'x', typeflag: '\0', magic: '', prefix: 'p' },
      ),
      [
        ['d/', 'directory', ''],
        ['d/a', 'file', 'x'],
      ],
    ],
    ['a contiguous file', rawTar({ name: 'a', typeflag: '7', content: 'x' }), [['a', 'file', 'x']]],
    [
      'times in the place of a prefix',
      rawTar({ name: 'a', magic: GNU, prefix: '12345670123' }),
      [['a', 'file', '']],
    ],
    [
      'long names and links of GNU tar',
      rawTar(gnuLong('K', `${LONG}x`), gnuLong('L', LONG), { name: 'cut', typeflag: '2', magic: GNU }),
      [[LONG, 'symlink', `${LONG}x`]],
    ],
    [
      'long names and links of pax',
      rawTar(paxEntry({ path: LONG, linkpath: 'é' }), { name: 'cut', typeflag: '1', linkname: 'x' }),
      [[LONG, 'hardlink', 'é']],
    ],
    [
      'a pax header for one entry only',
      rawTar(paxEntry({ path: 'long' }), { name: 'a' }, { name: 'b' }),
      [
        ['long', 'file', ''],
        ['b', 'file', ''],
      ],
    ],
    [
      'a pax size',
      rawTar(paxEntry({ size: '1' }), rawEntry({ name: 'a', content: 'x', size: 0 })),
      [['a', 'file', 'x']],
    ],
    ['an empty pax value as none', rawTar(paxEntry({ path: '' }), { name: 'a' }), [['a', 'file', '']]],
    [
      'global and other records of pax',
      rawTar(
        paxEntry({ comment: 'c'.repeat(600) }, 'g'),
        paxEntry({ mtime: '1.5', 'SCHILY.xattr.a': '\n=' }),
        {
          name: 'a',
        },
      ),
      [['a', 'file', '']],
    ],
    ['a size in base-256', rawTar({ name: 'a', content: 'xy', size: base256(2n) }), [['a', 'file', 'xy']]],
    [
      'a size with spaces, and one without digits',
      rawTar({ name: 'a', content: 'xy', size: '  2 \0' }, { name: 'b', size: '' }),
      [
        ['a', 'file', 'xy'],
        ['b', 'file', ''],
      ],
    ],
    ['a checksum of signed bytes', rawTar({ name: 'é', checksum: 'signed' }), [['é', 'file', '']]],
    ['__proto__', rawTar({ name: '__proto__', content: 'x' }), [['__proto__', 'file', 'x']]],
    [
      'one zero block at the end',
      Buffer.concat([rawEntry({ name: 'a' }), Buffer.alloc(512)]),
      [['a', 'file', '']],
    ],
    ['records of 10 KiB', Buffer.concat([rawTar({ name: 'a' }), Buffer.alloc(8192)]), [['a', 'file', '']]],
  ];
  for (const [what, archive, entries] of formats) {
    test(what, async () => {
      for (const length of [archive.length, 512, 7]) assert.deepEqual(await read(archive, length), entries);
    });
  }
});

describe('refuses', () => {
  const wrong: readonly [what: string, archive: Buffer, message: RegExp][] = [
    ['nothing', Buffer.alloc(0), /archive: it is empty$/],
    ['text', Buffer.from('hello'), /it is no tar archive: it has 5 bytes$/],
    ['other bytes', Buffer.alloc(2048, 'x'), /it is no tar archive$/],
    ['a wrong checksum', rawTar({ name: 'a', checksum: 'wrong' }), /it is no tar archive$/],
    [
      'a wrong checksum later',
      rawTar({ name: 'a' }, { name: 'b', checksum: 'wrong' }),
      /there is no entry at byte 512: the checksum of its header is wrong$/,
    ],
    [
      'no end',
      rawEntry({ name: 'a', content: 'x' }),
      /it is cut: it ends after 1024 bytes, without the zero/,
    ],
    [
      'half a header',
      Buffer.concat([rawEntry({ name: 'a' }), Buffer.alloc(100)]),
      /it ends after 612 bytes, in the middle of a header$/,
    ],
    [
      'bytes after the end',
      Buffer.concat([rawTar({ name: 'a' }), Buffer.from('x')]),
      /its end is followed by other bytes$/,
    ],
    [
      'a second archive',
      Buffer.concat([rawTar({ name: 'a' }), rawTar({ name: 'b' })]),
      /its end is followed by other bytes$/,
    ],
    [
      'a zero block between entries',
      Buffer.concat([Buffer.alloc(512), rawTar({ name: 'a' })]),
      /its end is followed by other bytes$/,
    ],
    [
      'zeros without an end',
      Buffer.concat([rawTar({ name: 'a' }), Buffer.alloc(17 * 1024 ** 2)]),
      /more than 16777216 zero bytes$/,
    ],
    [
      'a size beyond the archive',
      rawTar({ name: 'a', content: 'x', size: 4096 }),
      /entry "a": the archive ends after 1536 of its 4096 bytes$/,
    ],
    [
      'a huge size',
      rawTar({ name: 'a', size: base256(2n ** 53n - 1n) }),
      /entry "a": the archive ends after 1024 of its 9007199254740991 bytes$/,
    ],
    [
      'a size beyond the safe integers',
      rawTar({ name: 'a', size: base256(2n ** 53n) }),
      /entry "a": its size is beyond/,
    ],
    [
      'a negative size',
      rawTar({ name: 'a' }, { name: 'b', size: base256(-1n) }),
      /entry "b": its size is negative$/,
    ],
    [
      'a size that is no number',
      rawTar({ name: 'a' }, { name: 'b', size: '00000000009\0' }),
      /entry "b": its size is not an octal number$/,
    ],
    [
      'a pax size that is no number',
      rawTar(paxEntry({ size: '-1' }), { name: 'a' }),
      /entry "a": its size "-1"/,
    ],
    [
      'a directory with content',
      rawTar({ name: 'd/', typeflag: '5', content: 'x' }),
      /entry "d\/": it is a directory, and has 1 bytes$/,
    ],
    [
      'a link with content',
      rawTar({ name: 'a', typeflag: '1', linkname: 'b', content: 'x' }),
      /is a hardlink, and/,
    ],
    ['a link to nothing', rawTar({ name: 'a', typeflag: '2' }), /entry "a": it links to nothing$/],
    [
      'a file with the name of a directory',
      rawTar({ name: 'a/' }),
      /"a\/": it is a file, and its name is that/,
    ],
    ['no name', rawTar({ name: '' }), /an entry has no name$/],
    ['a name that is not UTF-8', rawTar({ name: Buffer.from([0xe9]) }), /entry ".": its name is not UTF-8$/],
    ['a NUL in a pax path', rawTar(paxEntry({ path: 'a\0b' }), { name: 'a' }), /its name contains a NUL$/],
    [
      'a sparse file',
      rawTar({ name: 'a', typeflag: 'S', magic: GNU }),
      /entry "a": it is a sparse file of GNU/,
    ],
    [
      'a sparse file of pax',
      rawTar(paxEntry({ 'GNU.sparse.major': '1' }), { name: 'a' }),
      /it is a sparse file of GNU tar$/,
    ],
    [
      'a part of a file',
      rawTar({ name: 'a', typeflag: 'M', magic: GNU }),
      /it continues a file of another volume$/,
    ],
    ['an unknown type', rawTar({ name: 'a', typeflag: 'Z' }), /entry "a": its type "Z" is unknown$/],
    ['a global path', rawTar(paxEntry({ path: 'a' }, 'g'), { name: 'b' }), /a global header sets path$/],
    [
      'two names for one entry',
      rawTar(gnuLong('L', 'a'), paxEntry({ path: 'b' }), { name: 'c' }),
      /two extended headers in a row give a path$/,
    ],
    ['a pax header at the end', rawTar(paxEntry({ path: 'a' })), /its last extended header has no entry$/],
    ...['x', '0 a=b\n', '7 a=b\n', '5 a=b\n', '99 path=b\n', '4 =\n', '99999999999 a=b\n'].map(
      (content): [string, Buffer, RegExp] => [
        `the pax record ${JSON.stringify(content)}`,
        rawTar({ name: 'p', typeflag: 'x', content }, { name: 'a' }),
        /entry "p": (?:a pax record has no (?:length|keyword)|the length of a pax record is wrong)$/,
      ],
    ),
    [
      'a pax header beyond the archive',
      Buffer.concat([rawEntry({ name: 'p', typeflag: 'x', size: 1000 })]),
      /it ends in the middle of the extended header "p"$/,
    ],
  ];
  for (const [what, archive, message] of wrong) {
    test(what, async () => {
      const lengths = archive.length > 2 ** 20 ? [2 ** 20] : [archive.length || 1, 512, 7];
      for (const length of lengths) await assert.rejects(read(archive, length), message);
    });
  }

  const large: readonly [what: string, ...entries: (RawEntry | Buffer)[]][] = [
    ['a pax header', rawEntry({ name: 'p', typeflag: 'x', size: MAX_PAX_SIZE + 1 })],
    ['a long name', rawEntry({ name: 'p', typeflag: 'L', size: MAX_NAME_LENGTH + 2 })],
    ['a name', paxEntry({ path: 'x'.repeat(MAX_NAME_LENGTH + 1) }), { name: 'a' }],
    ['a link target', paxEntry({ linkpath: 'x'.repeat(MAX_NAME_LENGTH + 1) }), { name: 'a', typeflag: '2' }],
  ];
  for (const [what, ...entries] of large) {
    test(`${what} beyond its limit`, async () => {
      await assert.rejects(read(rawTar(...entries)), { code: 'IMAGE_TOO_LARGE' });
    });
  }

  test('too many entries', async () => {
    const block = rawEntry({ name: 'a' });
    const entries = Buffer.concat(Array.from({ length: 1000 }, () => block));
    const cursor = new StreamCursor(
      (async function* () {
        for (let count = 0; count < MAX_ENTRIES; count += 1000) yield entries;
        yield block;
      })(),
    );
    let count = 0;
    await assert.rejects(
      async () => {
        for await (const _ of readTar(cursor)) count += 1;
      },
      { code: 'IMAGE_TOO_LARGE', message: `Cannot read archive: it has more than ${MAX_ENTRIES} entries` },
    );
    assert.equal(count, MAX_ENTRIES);
  });

  test('a hostile name in a message: it is escaped and cut', async () => {
    const name = `\u001b[31m\u202e\u0085${'x'.repeat(3000)}`;
    await assert.rejects(
      read(rawTar(paxEntry({ path: name }), { name: 'a', typeflag: 'Z' })),
      (error: Error) => {
        assert.match(error.message, /entry "\\u001b\[31m\\u202e\\u0085x+…": its type/);
        return error.message.length < 300;
      },
    );
  });
});

describe('properties', () => {
  test('what the encoder writes is read, in any chunks', async () => {
    const samples = samplesAtBoundaries();
    const archive = Buffer.concat(await Array.fromAsync(encodeTar(samples), (chunk) => Buffer.from(chunk)));
    const wanted = samples.map(
      ({ name, type, content }): Shown => [
        type === 'directory' ? `${name.replace(/\/$/, '')}/` : name,
        type,
        Buffer.from(content).toString('latin1'),
      ],
    );
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 64, max: 20_000 }), async (length) => {
        assert.deepEqual(await read(archive, length), wanted);
      }),
      { numRuns: 10 },
    );
  });

  const archive = rawTar(
    paxEntry({ path: LONG }),
    { name: 'a', content: 'x'.repeat(700) },
    gnuLong('L', 'long'),
    { name: 'b', content: 'y' },
    { name: 'd/', typeflag: '5' },
  );

  test('an archive that is cut anywhere is refused', async () => {
    for (let length = 0; length <= archive.length - END.length; length += length < 512 ? 17 : 128) {
      await assert.rejects(read(archive.subarray(0, length)), { code: 'INVALID_ARCHIVE' }, `${length} bytes`);
    }
  });

  test('any bytes are read or refused', async () => {
    const changes = fc.array(fc.tuple(fc.nat(archive.length - 1), fc.integer({ min: 0, max: 255 })), {
      minLength: 1,
      maxLength: 8,
    });
    await fc.assert(
      fc.asyncProperty(changes, async (bytes) => {
        const changed = Buffer.from(archive);
        for (const [at, byte] of bytes) changed[at] = byte;
        try {
          await read(changed);
        } catch (error) {
          assert.ok(isPassthroughError(error, 'INVALID_ARCHIVE', 'IMAGE_TOO_LARGE'), String(error));
        }
      }),
      { numRuns: 300 },
    );
  });

  test('contents may be skipped or read in part', async () => {
    const names: string[] = [];
    for await (const entry of readTar(cursorOf(archive, 100))) {
      names.push(entry.name);
      if (entry.name !== LONG) continue;
      for await (const _ of entry.content()) break;
    }
    assert.deepEqual(names, [LONG, 'long', 'd/']);
  });
});
