import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { partOf, withHeldEnd } from '../../../src/cli/proxy/verified-body.ts';

/** Chunks of a stream, which then fails or ends. Tells how many were asked for. */
function streamOf(texts: readonly string[], failure?: Error) {
  const told = { given: 0, isEnded: false, isClosed: false };
  async function* stream(): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      for (const text of texts) {
        told.given += 1;
        yield Buffer.from(text);
      }
      told.isEnded = true;
      if (failure !== undefined) throw failure;
    } finally {
      told.isClosed = true;
    }
  }
  return { stream: stream(), told };
}

/** What a reader gets before the end or the failure. */
async function textsOf(source: AsyncIterable<Uint8Array>) {
  const texts: string[] = [];
  try {
    for await (const chunk of source) texts.push(Buffer.from(chunk).toString());
    return { texts, error: undefined };
  } catch (error) {
    return { texts, error };
  }
}

describe('a part of a stream', () => {
  const table: readonly [start: number, end: number, texts: readonly string[]][] = [
    [0, 9, ['abc', 'def', 'ghi']],
    [0, 0, []],
    [0, 1, ['a']],
    [2, 4, ['c', 'd']],
    [3, 6, ['def']],
    [4, 5, ['e']],
    [8, 9, ['i']],
    [1, 9, ['bc', 'def', 'ghi']],
  ];
  for (const [start, end, texts] of table) {
    test(`from ${start} to ${end}, with the rest read`, async () => {
      const { stream, told } = streamOf(['abc', 'def', 'ghi']);
      assert.deepEqual(await textsOf(partOf(stream, { start, end })), { texts, error: undefined });
      assert.ok(told.isEnded);
    });
  }
});

describe('the last chunk is held back', () => {
  const wrong = new Error('wrong');
  const table: readonly [texts: readonly string[], failure: Error | undefined, given: readonly string[]][] = [
    [['a', 'b', 'c'], undefined, ['a', 'b', 'c']],
    [['a', 'b', 'c'], wrong, ['a', 'b']],
    [['a'], undefined, ['a']],
    [['a'], wrong, []],
    [[], undefined, []],
    [[], wrong, []],
  ];
  for (const [texts, failure, given] of table) {
    test(`of ${texts.length} chunks, ${failure === undefined ? 'until the end' : 'and lost with a failure'}`, async () => {
      const { stream } = streamOf(texts, failure);
      assert.deepEqual(await textsOf(withHeldEnd(stream)), { texts: given, error: failure });
    });
  }
});
