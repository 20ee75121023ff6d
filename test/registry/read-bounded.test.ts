import assert from 'node:assert/strict';
import test from 'node:test';
import { readBounded, readStart } from '../../src/registry/read-bounded.ts';
import { response } from './transport/scripted-transport.ts';

/** A body in pieces, which tells how much of it was read and whether it was closed. */
function body(pieces: readonly (string | Error)[]) {
  const state = { given: 0, isClosed: false };
  async function* read(): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      for (const piece of pieces) {
        if (piece instanceof Error) throw piece;
        state.given += 1;
        yield Buffer.from(piece);
      }
    } finally {
      state.isClosed = true;
    }
  }
  return { state, body: read() };
}

test('a body up to the limit is read whole', async () => {
  for (const [pieces, whole] of [
    [[], ''],
    [['abc', '', 'de'], 'abcde'],
  ] as const) {
    const answer = await response(body(pieces));
    assert.equal(Buffer.from(await readBounded(answer, 5, 'manifest', 'IMAGE_TOO_LARGE')).toString(), whole);
  }
});

test('one byte beyond the limit is an error, and the rest is given up', async () => {
  const { state, body: pieces } = body(['abc', 'def', 'never read']);
  await assert.rejects(readBounded(await response({ body: pieces }), 5, 'manifest "1"', 'IMAGE_TOO_LARGE'), {
    code: 'IMAGE_TOO_LARGE',
    message: 'Cannot read manifest "1": it is larger than 5 bytes',
  });
  assert.deepEqual(state, { given: 2, isClosed: true });
});

test('what breaks while a whole body is read is passed on', async () => {
  const answer = await response(body(['abc', new Error('broke off')]));
  await assert.rejects(readBounded(answer, 5, 'manifest', 'IMAGE_TOO_LARGE'), /broke off/);
});

test('of an error body the first bytes are enough: the rest is given up, and no failure counts', async () => {
  const cases: [pieces: (string | Error)[], start: string, given: number][] = [
    [[], '', 0],
    [['abc'], 'abc', 1],
    [['abc', 'def', 'never read'], 'abcde', 2],
    [['abcde', 'never read'], 'abcde', 1],
    [['abc', new Error('broke off')], 'abc', 1],
    [[new Error('broke off')], '', 0],
  ];
  for (const [pieces, start, given] of cases) {
    const { state, body: read } = body(pieces);
    assert.equal(Buffer.from(await readStart(await response({ body: read }), 5)).toString(), start);
    assert.deepEqual(state, { given, isClosed: true });
  }
});
