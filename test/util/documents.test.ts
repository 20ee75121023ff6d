import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { type Content, contentOfBytes, contentOfFile } from '../../src/util/content.ts';
import { Documents } from '../../src/util/documents.ts';
import { MemoryBudget } from '../../src/util/memory-budget.ts';

const NEVER = new AbortController().signal;

/** Documents, and how many large ones were in memory at once. */
function start(maxBytes = 1000) {
  const memory = new MemoryBudget({ maxBytes, maxWaitMs: 60_000 });
  const documents = new Documents({ memory, openFile: () => assert.fail('no file is needed') });
  const state = { inMemory: 0, most: 0 };
  const largeOf = (size: number, fill = 1): Content =>
    contentOfFile({
      size,
      read: () => assert.fail('it is read at once'),
      release: () => undefined,
      readWhole: async () => {
        state.inMemory += 1;
        state.most = Math.max(state.most, state.inMemory);
        await nextTurn();
        return Buffer.alloc(size, fill);
      },
    });
  const used = (bytes: Uint8Array) => {
    state.inMemory -= 1;
    return [bytes.length, bytes[0]];
  };
  return { memory, documents, state, largeOf, used };
}

describe('Documents.use', () => {
  test('reserves nothing for a document in memory', async () => {
    const { documents, memory } = start(1);
    const content = contentOfBytes(Buffer.from('some text'));
    const used = await documents.use(content, 'a document', NEVER, (bytes) => [String(bytes), memory.used]);
    assert.deepEqual(used, ['some text', 0]);
  });

  test('reserves the bytes of another one while it is used, reads one at a time, and frees it', async () => {
    const { documents, memory, state, largeOf, used } = start();
    const kept: Uint8Array[] = [];
    const all = Array.from({ length: 5 }, (_, index) =>
      documents.use(largeOf(100, index), 'a document', NEVER, (bytes) => {
        assert.ok(memory.used >= 100);
        kept.push(bytes);
        return used(bytes);
      }),
    );
    assert.deepEqual(
      await Promise.all(all),
      Array.from({ length: 5 }, (_, index) => [100, index]),
    );
    assert.deepEqual([memory.used, state.most], [0, 1]);
    assert.deepEqual(
      kept.map(({ byteLength }) => byteLength),
      Array(5).fill(0),
    );
  });

  test('rests after a document as long as it took', async () => {
    const { documents, largeOf, used } = start();
    const begun: number[] = [];
    const ended: number[] = [];
    const use = (bytes: Uint8Array) => {
      used(bytes);
      begun.push(performance.now());
      while (performance.now() < (begun.at(-1) ?? 0) + 40);
      ended.push(performance.now());
    };
    await Promise.all([1, 2].map((fill) => documents.use(largeOf(10, fill), 'a document', NEVER, use)));
    const [took, rest] = [(ended[0] ?? 0) - (begun[0] ?? 0), (begun[1] ?? 0) - (ended[0] ?? 0)];
    // A timer may end a millisecond early.
    assert.ok(rest >= took - 2, `it rested for ${rest} ms after ${took} ms`);
  });

  test('lets other work happen between two documents', async () => {
    const { documents, largeOf, used } = start();
    const order: string[] = [];
    const other = (async () => {
      for (let turn = 0; turn < 3; turn += 1) {
        await nextTurn();
        order.push('other');
      }
    })();
    const uses = [1, 2].map((index) =>
      documents.use(largeOf(10, index), 'a document', NEVER, (bytes) => {
        order.push('document');
        used(bytes);
      }),
    );
    await Promise.all([...uses, other]);
    assert.ok(order.indexOf('other') < order.lastIndexOf('document'), order.join());
  });

  test('gives the memory back when it fails, and goes on with the next', async () => {
    const { documents, memory, largeOf, used } = start();
    const fail = () => {
      throw new Error('Cannot use it');
    };
    await assert.rejects(documents.use(largeOf(10), 'a document', NEVER, fail), /Cannot use it/);
    const broken = { ...largeOf(10), readWhole: () => Promise.reject(new Error('Cannot read it')) };
    await assert.rejects(documents.use(broken, 'a document', NEVER, used), /Cannot read it/);
    const stopped = AbortSignal.abort(new Error('stopped'));
    await assert.rejects(documents.use(largeOf(10), 'a document', stopped, used), /stopped/);
    const late = new AbortController();
    const waiting = documents.use(largeOf(10), 'a document', late.signal, used);
    late.abort(new Error('stopped later'));
    await assert.rejects(waiting, /stopped later/);
    assert.equal(memory.used, 0);
    assert.deepEqual(await documents.use(largeOf(10), 'a document', NEVER, used), [10, 1]);
  });

  test('refuses a document that is larger than all memory, and says which setting decides', async () => {
    const { documents, largeOf, used } = start(99);
    await assert.rejects(documents.use(largeOf(100), 'config "x"', NEVER, used), {
      code: 'IMAGE_TOO_LARGE',
      message: 'Cannot hold config "x" in memory: it takes 100 bytes, and at most 99 are allowed',
      details: { setting: 'bufferedBytes' },
    });
  });
});

test('Documents.transform reserves the memory of both documents until the new one is written', async () => {
  const { documents, memory, largeOf } = start();
  const steps = {
    use: (bytes: Uint8Array) => Buffer.from(bytes),
    write: async (bytes: Uint8Array) => {
      await nextTurn();
      assert.equal(memory.used, 200);
      return bytes.length;
    },
  };
  assert.equal(await documents.transform(largeOf(100), 'a document', NEVER, steps), 100);
  assert.equal(memory.used, 0);
  const failing = { ...steps, write: () => Promise.reject(new Error('Cannot write it')) };
  await assert.rejects(documents.transform(largeOf(100), 'a document', NEVER, failing), /Cannot write it/);
  assert.equal(memory.used, 0);
});
