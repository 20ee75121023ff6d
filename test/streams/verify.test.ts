import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { parseDigest } from '../../src/image/digest.ts';
import { type Expectation, Verifier, verifying } from '../../src/streams/verify.ts';
import { readAll } from '../support/collect.ts';

// FIPS 180-2, appendix B.1 and C.1.
const ABC_256 = parseDigest('sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
const ABC_512 = parseDigest(
  'sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f',
);
const WHAT = 'layer "x"';

function verify(expected: Partial<Expectation>, ...pieces: readonly string[]): void {
  const verifier = new Verifier({ digest: ABC_256, what: WHAT, ...expected });
  for (const piece of pieces) verifier.update(Buffer.from(piece));
  verifier.finish();
}

describe('bytes are the expected ones', () => {
  for (const digest of [ABC_256, ABC_512]) {
    test(`by ${digest.slice(0, 6)}, in whatever pieces they come`, () => {
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

describe('bytes are refused', () => {
  test('with another digest, both of them told', () => {
    const actual = `sha256:${createHash('sha256').update('abd').digest('hex')}`;
    assert.throws(() => verify({ size: 3 }, 'abd'), {
      name: 'PassthroughError',
      code: 'VERIFICATION_FAILED',
      message: `Cannot verify ${WHAT}: expected ${ABC_256}, its bytes are ${actual}`,
      details: { expected: ABC_256, actual },
    });
  });

  test('when there are fewer than expected, even with the right digest', () => {
    assert.throws(() => verify({ size: 4 }, 'abc'), {
      code: 'VERIFICATION_FAILED',
      message: `Cannot verify ${WHAT}: it has 3 bytes, its descriptor says 4`,
    });
  });

  test('when there are more than expected, before the rest has come', () => {
    const verifier = new Verifier({ digest: ABC_256, size: 2, what: WHAT });
    verifier.update(Buffer.from('ab'));
    assert.throws(() => verifier.update(Buffer.from('c')), {
      code: 'VERIFICATION_FAILED',
      message: `Cannot verify ${WHAT}: it has more than the 2 bytes that its descriptor says`,
    });
  });

  test('whichever single bit is changed', () => {
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

describe('an verifying stream', () => {
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

  test('passes on what it is given, and the verifier has seen it', async () => {
    const verifier = new Verifier({ digest: ABC_256, size: 3, what: WHAT });
    assert.equal((await readAll(verifying(source([]), verifier))).toString(), 'abc');
    verifier.finish();
  });

  test('that is left early leaves the rest to be read and verified', async () => {
    const log: string[] = [];
    const bytes = source(log);
    const verifier = new Verifier({ digest: ABC_256, size: 3, what: WHAT });
    for await (const _ of verifying(bytes, verifier)) break;
    assert.deepEqual(log, []);
    for await (const rest of bytes) verifier.update(rest);
    verifier.finish();
    assert.deepEqual(log, ['closed']);
  });

  test('ends with the bytes that are too many, before they are passed on', async () => {
    const verifier = new Verifier({ digest: ABC_256, size: 2, what: WHAT });
    const passed: string[] = [];
    await assert.rejects(
      async () => {
        for await (const piece of verifying(source([]), verifier)) passed.push(Buffer.from(piece).toString());
      },
      { code: 'VERIFICATION_FAILED' },
    );
    assert.deepEqual(passed, ['a', 'b']);
  });

  test('passes an error of its source on as it is', async () => {
    const failure = new Error('cut');
    const verifier = new Verifier({ digest: ABC_256, what: WHAT });
    await assert.rejects(readAll(verifying(source([], failure), verifier)), (error) => error === failure);
  });
});
