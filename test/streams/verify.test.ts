import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { type Expectation, Verifier, verifying } from '../../src/streams/verify.ts';
import { readAll } from '../support/collect.ts';
import { parseDigest } from '../support/digest.ts';

// FIPS 180-2, appendix B.1 and C.1.
const ABC_256 = parseDigest('sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
const ABC_512 = parseDigest(
  'sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f',
);
const WHAT = 'layer "x"';

function verify(expected: Partial<Expectation>, ...chunks: readonly string[]): void {
  const verifier = new Verifier({ digest: ABC_256, what: WHAT, ...expected });
  for (const chunk of chunks) verifier.update(Buffer.from(chunk));
  verifier.finish();
}

describe('expected bytes are accepted', () => {
  for (const digest of [ABC_256, ABC_512]) {
    test(`by ${digest.slice(0, 6)}, in chunks of any length`, () => {
      verify({ digest, size: 3 }, 'abc');
      verify({ digest, size: 3 }, 'a', '', 'bc');
      verify({ digest }, 'ab', 'c');
    });
  }

  test('when there are none and none are expected', () => {
    const digest = parseDigest(`sha256:${createHash('sha256').digest('hex')}`);
    verify({ digest, size: 0 });
  });
});

describe('other bytes are refused', () => {
  test('with another digest, and the error has both', () => {
    const actual = `sha256:${createHash('sha256').update('abd').digest('hex')}`;
    assert.throws(() => verify({ size: 3 }, 'abd'), {
      name: 'PassthroughError',
      code: 'VERIFICATION_FAILED',
      message: `Cannot verify ${WHAT}: expected ${ABC_256}, its bytes are ${actual}`,
      details: { expected: ABC_256, actual },
    });
  });

  test('when there are fewer, even with the right digest', () => {
    assert.throws(() => verify({ size: 4 }, 'abc'), {
      code: 'VERIFICATION_FAILED',
      message: `Cannot verify ${WHAT}: it has 3 bytes, its descriptor says 4`,
    });
  });

  test('when there are more, before the end of the stream', () => {
    const verifier = new Verifier({ digest: ABC_256, size: 2, what: WHAT });
    verifier.update(Buffer.from('ab'));
    assert.throws(() => verifier.update(Buffer.from('c')), {
      code: 'VERIFICATION_FAILED',
      message: `Cannot verify ${WHAT}: it has more than the 2 bytes that its descriptor says`,
    });
  });

  test('when any single bit is changed', () => {
    const bytes = fc.uint8Array({ minLength: 1, maxLength: 64 });
    fc.assert(
      fc.property(bytes, fc.nat(), fc.nat(7), (original, place, bit) => {
        const digest = parseDigest(`sha256:${createHash('sha256').update(original).digest('hex')}`);
        const changed = Uint8Array.from(original);
        const at = place % changed.length;
        changed[at] = (changed[at] ?? 0) ^ (1 << bit);
        const verifier = new Verifier({ digest, size: original.length, what: WHAT });
        verifier.update(changed);
        assert.throws(() => verifier.finish(), { code: 'VERIFICATION_FAILED' });
      }),
    );
  });
});

describe('a verifying stream', () => {
  async function* source(log: string[], failure?: Error): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      yield Buffer.from('a');
      yield Buffer.from('b');
      if (failure !== undefined) throw failure;
      yield Buffer.from('c');
    } finally {
      log.push('closed');
    }
  }

  test('passes its source on and adds it to the verifier', async () => {
    const verifier = new Verifier({ digest: ABC_256, size: 3, what: WHAT });
    assert.equal((await readAll(verifying(source([]), verifier))).toString(), 'abc');
    verifier.finish();
  });

  test('leaves the rest to be read and verified when its reader stops early', async () => {
    const log: string[] = [];
    const bytes = source(log);
    const verifier = new Verifier({ digest: ABC_256, size: 3, what: WHAT });
    for await (const _ of verifying(bytes, verifier)) break;
    assert.deepEqual(log, []);
    for await (const rest of bytes) verifier.update(rest);
    verifier.finish();
    assert.deepEqual(log, ['closed']);
  });

  test('fails before it passes on more bytes than expected', async () => {
    const verifier = new Verifier({ digest: ABC_256, size: 2, what: WHAT });
    const passed: string[] = [];
    await assert.rejects(
      async () => {
        for await (const chunk of verifying(source([]), verifier)) passed.push(Buffer.from(chunk).toString());
      },
      { code: 'VERIFICATION_FAILED' },
    );
    assert.deepEqual(passed, ['a', 'b']);
  });

  test('passes an error of its source on unchanged', async () => {
    const failure = new Error('cut');
    const verifier = new Verifier({ digest: ABC_256, what: WHAT });
    await assert.rejects(readAll(verifying(source([], failure), verifier)), (error) => error === failure);
  });
});
