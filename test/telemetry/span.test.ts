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

/** The span that failed with {@link OURS}. */
const FAILED = {
  attributes: { 'error.type': 'NO_SPACE' },
  status: { code: SpanStatusCode.ERROR, message: OURS.message },
};

/** Attributes and status of a span, which must have ended. */
function ended(name: string) {
  const { attributes, status, isEnded } = recorder.only(name);
  assert.equal(isEnded, true);
  return { attributes, status };
}

describe('a step inside a span', () => {
  test('returns its result after the end of the span', async () => {
    const result = await withSpan('step', { attributes: { a: 1 } }, async (span) => {
      span.setAttribute('b', 'two');
      await turn();
      assert.equal(recorder.only('step').isEnded, false);
      return 'result';
    });
    assert.equal(result, 'result');
    assert.deepEqual(ended('step'), { attributes: { a: 1, b: 'two' }, status: UNSET });
    const { kind, parent } = recorder.only('step');
    assert.deepEqual([kind, parent], [SpanKind.INTERNAL, undefined]);
  });

  test('may have another kind and may be synchronous', async () => {
    assert.equal(await withSpan('step', { kind: SpanKind.CLIENT }, () => 5), 5);
    assert.equal(recorder.only('step').kind, SpanKind.CLIENT);
    ended('step');
  });

  const fail = () => {
    throw OURS;
  };
  for (const [how, step] of [
    ['rejects', () => Promise.reject(OURS)],
    ['throws', fail],
  ] as const) {
    test(`that ${how} passes its error on and records it`, async () => {
      await assert.rejects(withSpan('step', {}, step), (error) => error === OURS);
      assert.deepEqual(ended('step'), FAILED);
    });
  }

  test('that refuses records its reason without failing', async () => {
    const isFailure = (error: unknown) => error !== OURS;
    await assert.rejects(withSpan('refusal', { isFailure }, () => Promise.reject(OURS)));
    await assert.rejects(withSpan('failure', { isFailure }, () => Promise.reject(new TypeError())));
    assert.deepEqual(ended('refusal'), { ...FAILED, status: UNSET });
    assert.equal(recorder.only('failure').status.code, SpanStatusCode.ERROR);
  });

  const digests: readonly [details: { expected?: string; actual?: string }, attributes: object][] = [
    [
      { expected: 'sha256:a', actual: 'sha256:b' },
      { 'oci.digest.expected': 'sha256:a', 'oci.digest.actual': 'sha256:b' },
    ],
    [{ expected: 'sha256:a' }, { 'oci.digest.expected': 'sha256:a' }],
    [{}, {}],
  ];
  for (const [details, attributes] of digests) {
    test(`with a failed verification has an event with ${Object.keys(attributes).join(' and ') || 'no digest'}`, async () => {
      const wrong = new PassthroughError('VERIFICATION_FAILED', 'Cannot verify layer', details);
      await assert.rejects(withSpan('step', {}, () => Promise.reject(wrong)));
      const { events, isEnded } = recorder.only('step');
      assert.deepEqual([events, isEnded], [[{ name: 'verification_failed', attributes }], true]);
    });
  }

  test('is the parent of all spans within, also after a wait and in parallel', async () => {
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
  // Only messages of PassthroughError are known to contain no secret.
  const table: readonly [what: string, error: unknown, type: string, message: string | undefined][] = [
    ['a PassthroughError', OURS, 'NO_SPACE', OURS.message],
    ['an error of another class', new TypeError('https://user:pw@host'), 'TypeError', undefined],
    ['an abort', new DOMException('left', 'AbortError'), 'AbortError', undefined],
    ['a string', 'text', 'INTERNAL', undefined],
    ['undefined', undefined, 'INTERNAL', undefined],
  ];
  for (const [what, error, type, message] of table) {
    test(`has the type${message === undefined ? '' : ' and message'} of ${what}`, async () => {
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

  test('starts with the first read and ends with the last byte', async () => {
    const stream = streamWithSpan('stream', { attributes: { a: 1 } }, () => pieces());
    assert.equal(recorder.spans.length, 0);
    assert.deepEqual(await stream.next(), { done: false, value: 'a' });
    assert.equal(recorder.only('stream').isEnded, false);
    assert.equal((await readAll(stream)).toString(), 'b');
    assert.deepEqual(ended('stream'), { attributes: { a: 1 }, status: UNSET });
  });

  test('ends with the error of the source, which is passed on', async () => {
    const stream = streamWithSpan('stream', {}, () => pieces(OURS));
    await assert.rejects(readAll(stream), (error) => error === OURS);
    assert.deepEqual(ended('stream'), FAILED);
  });

  test('ends with the error of opening the source', async () => {
    const stream = streamWithSpan<string>('stream', {}, () => {
      throw OURS;
    });
    await assert.rejects(readAll(stream), (error) => error === OURS);
    assert.deepEqual(ended('stream'), FAILED);
  });

  test('is aborted when its reader stops, and closes the source', async () => {
    let isClosed = false;
    async function* source(): AsyncGenerator<string> {
      try {
        yield* pieces();
      } finally {
        isClosed = true;
      }
    }
    for await (const _ of streamWithSpan('stream', {}, source)) break;
    const aborted = { attributes: { 'error.type': 'ABORTED' }, status: { code: SpanStatusCode.ERROR } };
    assert.deepEqual(ended('stream'), aborted);
    assert.equal(isClosed, true);
  });

  test('has no span if it is not read', async () => {
    await streamWithSpan('stream', {}, () => pieces()).return();
    assert.equal(recorder.spans.length, 0);
  });

  test('is a child of the span in which it is read, and has no children', async () => {
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
