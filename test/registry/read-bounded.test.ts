import assert from 'node:assert/strict';
import test from 'node:test';
import { readBounded, readStart } from '../../src/registry/read-bounded.ts';
import { responseOf } from './support/scripted-transport.ts';

/** A body in chunks; the state is how many were read, and whether the body was closed. */
function body(chunks: readonly (string | Error)[]) {
  const state = { read: 0, isClosed: false };
  async function* read(): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      for (const chunk of chunks) {
        if (chunk instanceof Error) throw chunk;
        state.read += 1;
        yield Buffer.from(chunk);
      }
    } finally {
      state.isClosed = true;
    }
  }
  return { state, body: read() };
}

test('a whole body is read up to the limit', async () => {
  for (const [chunks, whole] of [
    [[], ''],
    [['abc', '', 'de'], 'abcde'],
  ] as const) {
    const answer = await responseOf(body(chunks));
    assert.equal(Buffer.from(await readBounded(answer, 5, 'manifest', 'IMAGE_TOO_LARGE')).toString(), whole);
  }
});

test('a larger body is an error, and is closed', async () => {
  const { state, body: chunks } = body(['abc', 'def', 'never read']);
  await assert.rejects(
    readBounded(await responseOf({ body: chunks }), 5, 'manifest "1"', 'IMAGE_TOO_LARGE'),
    {
      code: 'IMAGE_TOO_LARGE',
      message: 'Cannot read manifest "1": it is larger than 5 bytes',
    },
  );
  assert.deepEqual(state, { read: 2, isClosed: true });
});

test('a failure while a whole body is read is thrown', async () => {
  const answer = await responseOf(body(['abc', new Error('broke off')]));
  await assert.rejects(readBounded(answer, 5, 'manifest', 'IMAGE_TOO_LARGE'), /broke off/);
});

test('the start of a body is read without an error, and the body is closed', async () => {
  const cases: [chunks: (string | Error)[], start: string, read: number][] = [
    [[], '', 0],
    [['abc'], 'abc', 1],
    [['abc', 'def', 'never read'], 'abcde', 2],
    [['abcde', 'never read'], 'abcde', 1],
    [['abc', new Error('broke off')], 'abc', 1],
    [[new Error('broke off')], '', 0],
  ];
  for (const [chunks, start, read] of cases) {
    const { state, body: source } = body(chunks);
    assert.equal(Buffer.from(await readStart(await responseOf({ body: source }), 5)).toString(), start);
    assert.deepEqual(state, { read, isClosed: true });
  }
});
