import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { paxBlocks, paxRecord } from '../../src/tar/pax.ts';
import { decodeHeader } from './readers.ts';

/** Reads records by their lengths, like a pax reader. */
function parseRecords(bytes: Uint8Array): [keyword: string, value: string][] {
  const records: [string, string][] = [];
  let rest = Buffer.from(bytes);
  while (rest.length > 0) {
    const length = Number(rest.toString('latin1', 0, rest.indexOf(' ')));
    const [, keyword = '', value = ''] = /^\d+ ([^=]*)=(.*)\n$/s.exec(rest.toString('utf8', 0, length)) ?? [];
    records.push([keyword, value]);
    rest = rest.subarray(length);
  }
  return records;
}

test('the length of a record includes its own digits', () => {
  const record = (keyword: string, value: string) => Buffer.from(paxRecord(keyword, value)).toString();
  assert.equal(record('a', ''), '5 a=\n');
  assert.equal(record('path', 'a'), '9 path=a\n');
  assert.equal(record('path', 'ab'), '11 path=ab\n');
  assert.equal(record('path', 'é'), '11 path=é\n');
  assert.equal(record('path', 'a'.repeat(90)), `99 path=${'a'.repeat(90)}\n`);
  assert.equal(record('path', 'a'.repeat(91)), `101 path=${'a'.repeat(91)}\n`);
});

test('the length of a record is right around each further digit', () => {
  for (const boundary of [10, 100, 1_000, 10_000]) {
    for (let length = boundary - 12; length < boundary + 3; length += 1) {
      const record = paxRecord('k', 'v'.repeat(Math.max(length, 0)));
      assert.equal(Number.parseInt(Buffer.from(record).toString(), 10), record.byteLength);
    }
  }
});

test('records are read back unchanged, also between others', () => {
  const value = fc.string({ unit: 'binary', maxLength: 300 });
  fc.assert(
    fc.property(value, value, (first, second) => {
      const bytes = Buffer.concat([paxRecord('path', first), paxRecord('comment', second)]);
      assert.deepEqual(parseRecords(bytes), [
        ['path', first],
        ['comment', second],
      ]);
    }),
  );
});

test('a path that fits into ustar has no pax header', () => {
  for (const path of ['a', 'a/', 'n'.repeat(100), `${'p'.repeat(155)}/${'n'.repeat(100)}`]) {
    assert.equal(paxBlocks(path).byteLength, 0, path);
  }
});

test('a path that is too long or not ASCII is in a pax header', () => {
  const paths = [
    'é',
    '漢/',
    'n'.repeat(101),
    `${'n'.repeat(100)}/`,
    `${'漢'.repeat(33)}x`,
    'n'.repeat(5_000),
  ];
  for (const path of paths) {
    const blocks = Buffer.from(paxBlocks(path));
    const { typeflag, size, checksum, sum } = decodeHeader(blocks.subarray(0, 512));
    const end = 512 + Number.parseInt(size, 8);
    assert.equal(typeflag, 'x');
    assert.equal(checksum, sum);
    assert.equal(blocks.length, Math.ceil(end / 512) * 512);
    assert.deepEqual(parseRecords(blocks.subarray(512, end)), [['path', path]]);
    assert.ok(blocks.subarray(end).every((byte) => byte === 0));
  }
});

test('the pax header is named after the last segment, in portable characters', () => {
  const nameOf = (path: string) => decodeHeader(paxBlocks(path).subarray(0, 512)).name;
  assert.equal(nameOf('folder/naïve 1.txt'), 'PaxHeaders/na_ve_1.txt');
  assert.equal(nameOf('folder/漢😀/'), 'PaxHeaders/__');
  assert.equal(nameOf('n'.repeat(101)), `PaxHeaders/${'n'.repeat(89)}`);
  assert.equal(nameOf('é'.repeat(95)), `PaxHeaders/${'_'.repeat(89)}`);
});
