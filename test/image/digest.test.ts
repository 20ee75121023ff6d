import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { digestAlgorithm, digestHex, isDigest } from '../../src/image/digest.ts';

const HEX_256 = '0123456789abcdef'.repeat(4);
const HEX_512 = HEX_256.repeat(2);

const hex = (length: number) =>
  fc.string({ unit: fc.constantFrom(...'0123456789abcdef'), minLength: length, maxLength: length });

const digests = fc.oneof(
  fc.record({ algorithm: fc.constant('sha256'), hex: hex(64) }),
  fc.record({ algorithm: fc.constant('sha512'), hex: hex(128) }),
);

describe('a digest', () => {
  test('of either algorithm is split into its parts', () => {
    fc.assert(
      fc.property(digests, ({ algorithm, hex }) => {
        const digest = `${algorithm}:${hex}`;
        assert.ok(isDigest(digest));
        assert.equal(digestAlgorithm(digest), algorithm);
        assert.equal(digestHex(digest), hex);
      }),
    );
  });

  const malformed: Readonly<Record<string, string>> = {
    'is empty': '',
    'has no algorithm': HEX_256,
    'has an empty algorithm': `:${HEX_256}`,
    'has no hex': 'sha256:',
    'has no colon': `sha256${HEX_256}`,
    'is one digit short': `sha256:${HEX_256.slice(1)}`,
    'is one digit long': `sha256:${HEX_256}0`,
    'has the length of the other algorithm': `sha256:${HEX_512}`,
    'has the other algorithm of its length': `sha512:${HEX_256}`,
    'has capital hex': `sha256:${HEX_256.toUpperCase()}`,
    'has a letter beyond f': `sha256:${HEX_256.slice(1)}g`,
    'ends in a line break': `sha256:${HEX_256.slice(1)}\n`,
    'has spaces around it': ` sha256:${HEX_256} `,
    'has a capital algorithm': `SHA256:${HEX_256}`,
    'is of an algorithm that is not registered': `md5:${HEX_256.slice(32)}`,
    'has two colons': `sha256:sha256:${HEX_256}`,
    'climbs out of a folder': `sha256:../${HEX_256.slice(3)}`,
  };
  for (const [name, text] of Object.entries(malformed)) {
    test(`that ${name} is refused`, () => {
      assert.equal(isDigest(text), false);
    });
  }

  test('is a string', () => {
    for (const value of [undefined, null, 5, {}, [`sha256:${HEX_256}`]]) assert.equal(isDigest(value), false);
  });
});
