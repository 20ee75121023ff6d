import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import { PassthroughError } from '../../src/errors.ts';
import { recordFailure, streamWithSpan, withSpan } from '../../src/telemetry/span.ts';
import { readAll } from '../support/collect.ts';
import { recordSpans } from '../support/span-recorder.ts';

const recorder = recordSpans();
beforeEach(() => recorder.reset());

const UNSET = { code: SpanStatusCode.UNSET };
const OURS = new PassthroughError('NO_SPACE', 'Cannot write to the workspace: the disk is full');

describe('a step inside a span', () => {
  test('gives its result, and the span has ended then', async () => {
    const result = await withSpan('step', { attributes: { a: 1 } }, async (span) => {
      span.setAttribute('b', 'two');
      await turn();
      assert.equal(recorder.only('step').isEnded, false);
      return 'result';
    });
    assert.equal(result, 'result');
    const { attributes, kind, status, isEnded, parent } = recorder.only('step');
    assert.deepEqual(attributes, { a: 1, b: 'two' });
    assert.deepEqual([kind, isEnded, parent], [SpanKind.INTERNAL, true, undefined]);
    assert.deepEqual(status, UNSET);
  });

  test('may be of another kind and may give its result at once', async () => {
    assert.equal(await withSpan('step', { kind: SpanKind.CLIENT }, () => 5), 5);
    assert.equal(recorder.only('step').kind, SpanKind.CLIENT);
    assert.equal(recorder.only('step').isEnded, true);
  });

  for (const [how, step] of [
    ['rejects', () => Promise.reject(OURS)],
    [
      'throws',
      () => {
        throw OURS;
      },
    ],
  ] as const) {
    test(`that ${how} passes its error on, and the span says which`, async () => {
      await assert.rejects(withSpan('step', {}, step), (error) => error === OURS);
      const { attributes, status, isEnded } = recorder.only('step');
      assert.deepEqual(attributes, { 'error.type': 'NO_SPACE' });
      assert.deepEqual(status, { code: SpanStatusCode.ERROR, message: OURS.message });
      assert.equal(isEnded, true);
    });
  }

  test('that refuses names its reason, and is no error', async () => {
    const isFailure = (error: unknown) => error !== OURS;
    await assert.rejects(withSpan('refusal', { isFailure }, () => Promise.reject(OURS)));
    await assert.rejects(withSpan('failure', { isFailure }, () => Promise.reject(new TypeError())));
    const { attributes, status } = recorder.only('refusal');
    assert.deepEqual([attributes, status], [{ 'error.type': 'NO_SPACE' }, UNSET]);
    assert.equal(recorder.only('failure').status.code, SpanStatusCode.ERROR);
  });

  const digests: readonly [details: { expected?: string; actual?: string }, told: object][] = [
    [
      { expected: 'sha256:a', actual: 'sha256:b' },
      { 'oci.digest.expected': 'sha256:a', 'oci.digest.actual': 'sha256:b' },
    ],
    [{ expected: 'sha256:a' }, { 'oci.digest.expected': 'sha256:a' }],
    [{}, {}],
  ];
  for (const [details, told] of digests) {
    test(`whose bytes are wrong tells ${Object.keys(told).join(' and ') || 'that they are'}`, async () => {
      const wrong = new PassthroughError('VERIFICATION_FAILED', 'Cannot verify layer', details);
      await assert.rejects(withSpan('step', {}, () => Promise.reject(wrong)));
      const { events, isEnded } = recorder.only('step');
      assert.deepEqual([events, isEnded], [[{ name: 'verification_failed', attributes: told }], true]);
    });
  }

  test('is the parent of all that it starts, also behind a wait and beside others', async () => {
    const inner = async (name: string) => {
      await turn();
      await withSpan(name, {}, () => turn());
    };
    await withSpan('root', {}, async () => {
      await Promise.all([
        withSpan('left', {}, () => inner('below left')),
        withSpan('right', {}, () => inner('below right')),
      ]);
      await inner('last');
    });
    await withSpan('outside', {}, () => undefined);
    const parents = Object.fromEntries(recorder.spans.map(({ name, parent }) => [name, parent?.name]));
    assert.deepEqual(parents, {
      root: undefined,
      left: 'root',
      right: 'root',
      'below left': 'left',
      'below right': 'right',
      last: 'root',
      outside: undefined,
    });
    assert.ok(recorder.spans.every(({ isEnded }) => isEnded));
  });

  test('belongs to the trace of its parent', async () => {
    await withSpan('root', {}, () => withSpan('below', {}, () => undefined));
    await withSpan('other', {}, () => undefined);
    const traceId = (name: string) => recorder.only(name).spanContext().traceId;
    assert.equal(traceId('below'), traceId('root'));
    assert.notEqual(traceId('other'), traceId('root'));
  });
});

describe('the failure of a span', () => {
  // Only messages of ours are known to hold no secret.
  const table: readonly [what: string, error: unknown, type: string, message: string | undefined][] = [
    ['of ours', OURS, 'NO_SPACE', OURS.message],
    ['of another class', new TypeError('https://user:pw@host'), 'TypeError', undefined],
    ['of an abort', new DOMException('left', 'AbortError'), 'AbortError', undefined],
    ['that is no error', 'text', 'INTERNAL', undefined],
    ['that is nothing', undefined, 'INTERNAL', undefined],
  ];
  for (const [what, error, type, message] of table) {
    test(`${what} is told by its type${message === undefined ? ' alone' : ' and message'}`, async () => {
      await withSpan('step', {}, (span) => recordFailure(span, error));
      const { attributes, status } = recorder.only('step');
      assert.deepEqual(attributes, { 'error.type': type });
      assert.deepEqual(status, { code: SpanStatusCode.ERROR, ...(message !== undefined && { message }) });
    });
  }
});

describe('a stream inside a span', () => {
  async function* pieces(failure?: Error): AsyncGenerator<string> {
    yield 'a';
    await turn();
    yield 'b';
    if (failure !== undefined) throw failure;
  }

  test('begins with the first read and ends with the last byte', async () => {
    const stream = streamWithSpan('stream', { attributes: { a: 1 } }, () => pieces());
    assert.equal(recorder.spans.length, 0);
    assert.deepEqual(await stream.next(), { done: false, value: 'a' });
    assert.equal(recorder.only('stream').isEnded, false);
    assert.equal((await readAll(stream)).toString(), 'b');
    const { attributes, status, isEnded } = recorder.only('stream');
    assert.deepEqual(attributes, { a: 1 });
    assert.deepEqual(status, UNSET);
    assert.equal(isEnded, true);
  });

  test('ends with an error of the source, which passes on', async () => {
    const stream = streamWithSpan('stream', {}, () => pieces(OURS));
    await assert.rejects(readAll(stream), (error) => error === OURS);
    const { attributes, status, isEnded } = recorder.only('stream');
    assert.deepEqual(attributes, { 'error.type': 'NO_SPACE' });
    assert.deepEqual(status, { code: SpanStatusCode.ERROR, message: OURS.message });
    assert.equal(isEnded, true);
  });

  test('ends with an error of opening it', async () => {
    const stream = streamWithSpan<string>('stream', {}, () => {
      throw OURS;
    });
    await assert.rejects(readAll(stream), (error) => error === OURS);
    assert.deepEqual(recorder.only('stream').attributes, { 'error.type': 'NO_SPACE' });
    assert.equal(recorder.only('stream').isEnded, true);
  });

  test('ends as aborted when its reader leaves, and closes the source', async () => {
    let isClosed = false;
    async function* source(): AsyncGenerator<string> {
      try {
        yield* pieces();
      } finally {
        isClosed = true;
      }
    }
    for await (const _ of streamWithSpan('stream', {}, source)) break;
    const { attributes, status, isEnded } = recorder.only('stream');
    assert.deepEqual(attributes, { 'error.type': 'ABORTED' });
    assert.deepEqual(status, { code: SpanStatusCode.ERROR });
    assert.deepEqual([isEnded, isClosed], [true, true]);
  });

  test('leaves no span behind when nobody reads it', async () => {
    await streamWithSpan('stream', {}, () => pieces()).return();
    assert.equal(recorder.spans.length, 0);
  });

  test('hangs below the span in which it is read, and is the parent of nothing else', async () => {
    await withSpan('root', {}, async () => {
      for await (const _ of streamWithSpan('stream', {}, () => pieces())) {
        await withSpan('beside', {}, () => undefined);
      }
      assert.equal(trace.getActiveSpan(), recorder.only('root'));
    });
    assert.equal(recorder.only('stream').parent?.name, 'root');
    const beside = recorder.spans.filter(({ name }) => name === 'beside');
    assert.deepEqual(
      beside.map(({ parent }) => parent?.name),
      ['root', 'root'],
    );
  });
});
