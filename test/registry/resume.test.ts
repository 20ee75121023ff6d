import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { PassthroughError } from '../../src/errors.ts';
import { readResuming } from '../../src/registry/resume.ts';
import { connectionError, timeoutError } from '../../src/registry/transport/connection-error.ts';
import { readAll } from '../support/collect.ts';
import { never } from './support/scene.ts';
import { requestTo, type ScriptedAnswer, ScriptedTransport } from './support/scripted-transport.ts';

const AT = new URL('https://registry.example.com/v2/a/blobs/b');
const BLOB = Buffer.from('0123456789abcdefghij');
const RESET = connectionError(AT, Object.assign(new Error(), { code: 'ECONNRESET' }));
const STALL = timeoutError(AT, 'body', 1000);

/** Bytes of the blob in chunks of three, and then the end or a failure. */
async function* bytes(from: number, to: number, failure?: Error) {
  for (let start = from; start < to; start += 3) yield BLOB.subarray(start, Math.min(start + 3, to));
  if (failure !== undefined) throw failure;
}

/** A response to `Range: bytes={from}-` with the bytes up to `to`. */
const part = (from: number, to: number, failure?: Error): ScriptedAnswer => ({
  status: 206,
  headers: { 'content-range': `bytes ${from}-19/20` },
  body: bytes(from, to, failure),
});

/** A response to a request without a range, or of a server that ignores ranges, with the bytes up to `to`. */
const whole = (to: number, failure?: Error): ScriptedAnswer => ({ body: bytes(0, to, failure) });

/** Reads a blob from its first response and its continuations, and records the requested offsets. */
async function resuming(answers: readonly (ScriptedAnswer | Error)[], size = BLOB.length) {
  const offsets: number[] = [];
  const wire = new ScriptedTransport((_, index) => {
    const answer = answers[index];
    assert.ok(answer, 'one continuation too many');
    if (answer instanceof Error) throw answer;
    return answer;
  });
  const stream = readResuming({
    first: await wire.send(requestTo(AT.href)),
    offset: 0,
    size,
    open: (offset) => {
      offsets.push(offset);
      return wire.send(requestTo(AT.href));
    },
    failure: async ({ status }) => new PassthroughError('REGISTRY_FAILED', `the answer is ${status}`),
    retry: { attempts: 1, baseMs: 1, maxMs: 1 },
    signal: never(),
  });
  return { offsets, wire, stream };
}

describe('a blob is read', () => {
  const rows: [name: string, answers: () => ScriptedAnswer[], offsets: number[], length?: number][] = [
    ['from one complete response', () => [whole(20)], []],
    ['from one response that breaks off after the last byte', () => [whole(20, RESET)], []],
    // The caller checks the size.
    ['from one complete response that is too short', () => [whole(12)], [], 12],
    [
      'from continuations where the last response broke off or stalled',
      () => [whole(5, RESET), part(5, 6, STALL), part(6, 19, RESET), part(19, 20)],
      [5, 6, 19],
    ],
    [
      'without the bytes that a server sends again because it ignores ranges',
      () => [whole(7, RESET), whole(4, RESET), whole(13, RESET), whole(20)],
      [7, 7, 13],
    ],
    ['without the bytes that a range sends again', () => [whole(7, RESET), part(4, 20)], [7]],
    [
      'despite more than three failures if there is a new byte in between',
      () => [whole(7, RESET), part(7, 7, RESET), part(7, 8, RESET), part(8, 8, STALL), part(8, 20)],
      [7, 7, 8, 8],
    ],
    [
      'from ranges that end early',
      () => [whole(5, RESET), part(5, 9), part(9, 15, RESET), part(15, 20)],
      [5, 9, 15],
    ],
    ['until a range has no new byte', () => [whole(5, RESET), part(5, 9), part(9, 9)], [5, 9], 9],
  ];
  for (const [name, answers, offsets, length] of rows) {
    test(name, async () => {
      const blob = await resuming(answers());
      assert.deepEqual(await readAll(blob.stream), BLOB.subarray(0, length));
      assert.deepEqual(blob.offsets, offsets);
      assert.equal(blob.wire.requests.length, 1 + offsets.length);
    });
  }
});

describe('a blob fails', () => {
  const permanent = connectionError(AT, Object.assign(new Error(), { code: 'HPE_INVALID_CHUNK_SIZE' }));
  const aborted = new PassthroughError('ABORTED', 'aborted');
  const odd = new Error('odd');
  const denied = new PassthroughError('REGISTRY_DENIED', 'Cannot get a token');
  const rows: [name: string, answers: (ScriptedAnswer | Error)[], offsets: number[], error: object][] = [
    [
      'after three consecutive failures without a byte',
      [whole(7, RESET), part(7, 7, RESET), part(7, 7, STALL)],
      [7, 7],
      STALL,
    ],
    [
      'after three consecutive failures with bytes that were read before',
      [whole(7, RESET), whole(7, RESET), whole(7, RESET)],
      [7, 7],
      RESET,
    ],
    ...[permanent, aborted, odd].map((failure): (typeof rows)[number] => [
      `after a permanent failure: ${failure.message}`,
      [whole(5, failure)],
      [],
      failure,
    ]),
    ['when a continuation cannot be requested', [whole(5, RESET), denied], [5], denied],
    ...[204, 307, 401, 404, 416, 503].map((status): (typeof rows)[number] => [
      `when a continuation is answered by ${status}`,
      [whole(7, RESET), { status }],
      [7],
      { code: 'REGISTRY_FAILED', message: `the answer is ${status}` },
    ]),
  ];
  for (const [name, answers, offsets, error] of rows) {
    test(name, async () => {
      const blob = await resuming(answers);
      await assert.rejects(readAll(blob.stream), error);
      assert.deepEqual(blob.offsets, offsets);
    });
  }

  for (const value of ['bytes 8-19/20', 'bytes */20', 'bytes from here', 'items 7-19/20', '', undefined]) {
    test(`when a continuation from 7 on has Content-Range: ${value}`, async () => {
      const headers = value === undefined ? {} : { 'content-range': value };
      const { stream, wire } = await resuming([whole(7, RESET), { status: 206, headers, body: 'rest' }]);
      const got = JSON.stringify(value ?? 'no Content-Range');
      await assert.rejects(readAll(stream), {
        code: 'REGISTRY_FAILED',
        message: `Cannot go on reading from "https://registry.example.com": asked for bytes from 7, got ${got}`,
      });
      assert.deepEqual(wire.discarded, [206]);
    });
  }

  test('after fifty continuations', async () => {
    async function* one(): AsyncGenerator<Uint8Array, void, undefined> {
      yield Buffer.from('x');
      throw RESET;
    }
    const next = Array.from({ length: 60 }, (_, index) => ({
      status: 206,
      headers: { 'content-range': `bytes ${index + 1}-` },
      body: one(),
    }));
    const { stream, offsets } = await resuming([{ body: one() }, ...next], 1000);
    let size = 0;
    await assert.rejects(async () => {
      for await (const chunk of stream) size += chunk.byteLength;
    }, RESET);
    assert.deepEqual([size, offsets.length], [51, 50]);
  });
});

test('return() closes the body; before the first byte it discards the response', async () => {
  let isClosed = false;
  async function* endless(): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      for (;;) yield BLOB;
    } finally {
      isClosed = true;
    }
  }
  const started = await resuming([{ body: endless() }]);
  await started.stream.next();
  await started.stream.return();
  assert.deepEqual([isClosed, started.wire.discarded], [true, []]);

  const unread = await resuming([{ body: endless() }]);
  await unread.stream.return();
  assert.deepEqual(unread.wire.discarded, [200]);
  assert.deepEqual(await unread.stream.next(), { done: true, value: undefined });
});
