import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { EventReader, hasEnded, readPreparation } from '../../src/web/preparation.ts';

describe('events', () => {
  const stream =
    'event: progress\nid: 1\ndata: {"a":1}\n\n: heartbeat\n\nid: 2\r\ndata: x\r\ndata:  y\r\n\r\ndata: cut';

  test('are read from any pieces', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(stream.length), { maxLength: 8 }), (cuts) => {
        const reader = new EventReader();
        const ends = [...cuts.toSorted((a, b) => a - b), stream.length];
        const events = ends.flatMap((end, at) => reader.read(stream.slice(ends[at - 1] ?? 0, end)));
        assert.deepEqual(events, [
          { data: '{"a":1}', id: '1' },
          { data: 'x\n y', id: '2' },
        ]);
      }),
    );
  });

  test('that have no end are refused', () => {
    const reader = new EventReader();
    assert.throws(() => {
      for (let piece = 0; piece < 20; piece += 1) reader.read('x'.repeat(100_000));
    }, /too large/);
  });
});

describe('a preparation', () => {
  test('is read', () => {
    const status = readPreparation({
      id: 'a',
      state: 'fetching',
      layers: { done: 1, total: 2 },
      bytes: { done: 5, total: 9 },
      layerProgress: [
        { digest: 'sha256:1', done: 5, total: 5, state: 'ready' },
        { digest: 'sha256:2', done: 0, total: 4, state: 'waiting' },
      ],
    });
    assert.deepEqual(status, {
      id: 'a',
      state: 'fetching',
      layers: { done: 1, total: 2 },
      bytes: { done: 5, total: 9 },
      layerProgress: [
        { digest: 'sha256:1', done: 5, total: 5, isReady: true },
        { digest: 'sha256:2', done: 0, total: 4, isReady: false },
      ],
    });
    assert.equal(hasEnded(status), false);
  });

  const errors: readonly [error: unknown, text: string][] = [
    [{ line: 'Busy: later', hints: ['Try again'] }, 'Busy: later\nTry again'],
    [{ title: 'No space', detail: 'Cannot write' }, 'No space: Cannot write'],
  ];
  for (const [error, text] of errors) {
    test(`has its error as it stands: ${text}`, () => {
      const status = readPreparation({ id: 'a', state: 'failed', error });
      assert.deepEqual([status.error, hasEnded(status)], [text, true]);
    });
  }

  test('of any other form does no harm', () => {
    fc.assert(
      fc.property(fc.anything(), (value) => {
        const { layers, bytes } = readPreparation(value);
        for (const count of [layers.done, layers.total, bytes.done, bytes.total]) assert.ok(count >= 0);
      }),
    );
    assert.equal(readPreparation({ state: 'constructor' }).state, 'fetching');
  });
});
