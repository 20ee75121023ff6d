import assert from 'node:assert/strict';
import test from 'node:test';
import { PassthroughError } from '../../src/errors.ts';
import { readResuming } from '../../src/registry/resume.ts';
import { connectionError, timeoutError } from '../../src/registry/transport/connection-error.ts';
import { readAll } from '../support/collect.ts';
import { never } from './open.ts';
import { exchange, type ScriptedAnswer, ScriptedTransport } from './transport/scripted-transport.ts';

const AT = new URL('https://registry.example.com/v2/a/blobs/b');
const BLOB = Buffer.from('0123456789abcdefghij');
const RESET = connectionError(AT, Object.assign(new Error(), { code: 'ECONNRESET' }));
const STALL = timeoutError(AT, 'body', 1000);

/** The blob's bytes in pieces of three, and then an end or a failure. */
async function* bytes(
  from: number,
  to: number,
  failure?: Error,
): AsyncGenerator<Uint8Array, void, undefined> {
  for (let start = from; start < to; start += 3) yield BLOB.subarray(start, Math.min(start + 3, to));
  if (failure !== undefined) throw failure;
}

/** The answer to `Range: bytes={from}-` that gets as far as `to`. */
const ranged = (from: number, to: number, failure?: Error): ScriptedAnswer => ({
  status: 206,
  headers: { 'content-range': `bytes ${from}-19/20` },
  body: bytes(from, to, failure),
});

/** The answer of who ignores ranges. */
const whole = (to: number, failure?: Error): ScriptedAnswer => ({ body: bytes(0, to, failure) });

/** Reads a blob whose first answer and continuations are given, and remembers the offsets that were asked for. */
function resuming(first: ScriptedAnswer, ...next: readonly (ScriptedAnswer | Error)[]) {
  return resumingOf(BLOB.length, first, ...next);
}

async function resumingOf(size: number, first: ScriptedAnswer, ...next: readonly (ScriptedAnswer | Error)[]) {
  const offsets: number[] = [];
  const wire = new ScriptedTransport((_, index) => {
    const answer = [first, ...next][index];
    assert.ok(answer, 'a continuation too many');
    if (answer instanceof Error) throw answer;
    return answer;
  });
  const stream = readResuming({
    first: await wire.send(exchange(AT.href)),
    size,
    open: (offset) => {
      offsets.push(offset);
      return wire.send(exchange(AT.href));
    },
    failure: async ({ status }) => new PassthroughError('REGISTRY_FAILED', `the answer is ${status}`),
    retry: { attempts: 1, baseMs: 1, maxMs: 1 },
    signal: never(),
  });
  return { offsets, wire, stream };
}

test('a blob that comes whole is asked for once', async () => {
  const { stream, wire } = await resuming(whole(20));
  assert.deepEqual(await readAll(stream), BLOB);
  assert.equal(wire.requests.length, 1);
});

test('each continuation begins where the last one broke off or stalled', async () => {
  const { stream, offsets } = await resuming(
    whole(5, RESET),
    ranged(5, 6, STALL),
    ranged(6, 19, RESET),
    ranged(19, 20),
  );
  assert.deepEqual(await readAll(stream), BLOB);
  assert.deepEqual(offsets, [5, 6, 19]);
});

test('who ignores the range sends everything anew: what was read is passed over', async () => {
  const { stream, offsets } = await resuming(whole(7, RESET), whole(4, RESET), whole(13, RESET), whole(20));
  assert.deepEqual(await readAll(stream), BLOB);
  assert.deepEqual(offsets, [7, 7, 13]);
});

test('a range that begins before the offset is read from the offset on', async () => {
  const { stream } = await resuming(whole(7, RESET), ranged(4, 20));
  assert.deepEqual(await readAll(stream), BLOB);
});

test('a range that begins behind the offset, or does not say where, ends it', async () => {
  for (const contentRange of [
    'bytes 8-19/20',
    'bytes */20',
    'bytes from here',
    'items 7-19/20',
    '',
    undefined,
  ]) {
    const headers = contentRange === undefined ? {} : { 'content-range': contentRange };
    const { stream, wire } = await resuming(whole(7, RESET), { status: 206, headers, body: 'rest' });
    await assert.rejects(readAll(stream), {
      code: 'REGISTRY_FAILED',
      message: `Cannot go on reading from "https://registry.example.com": asked for bytes from 7, got ${JSON.stringify(contentRange ?? 'no Content-Range')}`,
    });
    assert.deepEqual(wire.discarded, [206]);
  }
});

test('an answer that is no continuation ends it with what it says', async () => {
  for (const status of [204, 307, 401, 404, 416, 503]) {
    const { stream } = await resuming(whole(7, RESET), { status });
    await assert.rejects(readAll(stream), { code: 'REGISTRY_FAILED', message: `the answer is ${status}` });
  }
});

test('three failures in a row without a byte between them end it', async () => {
  const none = ranged(7, 7, RESET);
  const { stream, offsets } = await resuming(whole(7, RESET), none, ranged(7, 7, STALL));
  await assert.rejects(readAll(stream), STALL);
  assert.deepEqual(offsets, [7, 7]);
});

test('a byte of progress begins the count anew', async () => {
  const none = () => ranged(7, 7, RESET);
  const { stream, offsets } = await resuming(
    whole(7, RESET),
    none(),
    ranged(7, 8, RESET),
    ranged(8, 8, STALL),
    ranged(8, 20),
  );
  assert.deepEqual(await readAll(stream), BLOB);
  assert.deepEqual(offsets, [7, 7, 8, 8]);
});

test('bytes that were read already are no progress', async () => {
  const { stream, offsets } = await resuming(whole(7, RESET), whole(7, RESET), whole(7, RESET));
  await assert.rejects(readAll(stream), RESET);
  assert.deepEqual(offsets, [7, 7]);
});

test('all in all a blob is continued fifty times', async () => {
  async function* one(): AsyncGenerator<Uint8Array, void, undefined> {
    yield Buffer.from('x');
    throw RESET;
  }
  const next = Array.from({ length: 60 }, (_, index) => ({
    status: 206,
    headers: { 'content-range': `bytes ${index + 1}-` },
    body: one(),
  }));
  const { stream, offsets } = await resumingOf(1000, { body: one() }, ...next);
  let read = 0;
  await assert.rejects(async () => {
    for await (const piece of stream) read += piece.byteLength;
  }, RESET);
  assert.deepEqual([read, offsets.length], [51, 50]);
});

test('a connection that breaks behind the last byte does no harm', async () => {
  const { stream, offsets } = await resuming(whole(20, RESET));
  assert.deepEqual(await readAll(stream), BLOB);
  assert.deepEqual(offsets, []);
});

test('a clean end of the whole is the end, also where bytes are missing: whoever counts them tells', async () => {
  const { stream, offsets } = await resuming(whole(12));
  assert.equal((await readAll(stream)).length, 12);
  assert.deepEqual(offsets, []);
});

test('a range that ends early is followed by another, while there is something new in it', async () => {
  const parts = await resuming(whole(5, RESET), ranged(5, 9), ranged(9, 15, RESET), ranged(15, 20));
  assert.deepEqual(await readAll(parts.stream), BLOB);
  assert.deepEqual(parts.offsets, [5, 9, 15]);

  const empty = await resuming(whole(5, RESET), ranged(5, 9), ranged(9, 9));
  assert.equal((await readAll(empty.stream)).length, 9);
  assert.deepEqual(empty.offsets, [5, 9]);
});

test('what will not pass is not continued', async () => {
  const cause = Object.assign(new Error(), { code: 'HPE_INVALID_CHUNK_SIZE' });
  for (const failure of [
    connectionError(AT, cause),
    new PassthroughError('ABORTED', 'left'),
    new Error('odd'),
  ]) {
    const { stream, offsets } = await resuming(whole(5, failure));
    await assert.rejects(readAll(stream), failure);
    assert.deepEqual(offsets, []);
  }
});

test('what opening throws ends it', async () => {
  const refused = new PassthroughError('REGISTRY_DENIED', 'Cannot get a token');
  const { stream, offsets } = await resuming(whole(5, RESET), refused);
  await assert.rejects(readAll(stream), refused);
  assert.deepEqual(offsets, [5]);
});

test('given up in the middle it closes the body; given up before the first byte, it gives the answer up', async () => {
  let isClosed = false;
  async function* endless(): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      for (;;) yield BLOB;
    } finally {
      isClosed = true;
    }
  }
  const begun = await resuming({ body: endless() });
  await begun.stream.next();
  await begun.stream.return();
  assert.equal(isClosed, true);
  assert.deepEqual(begun.wire.discarded, []);

  const unread = await resuming({ body: endless() });
  await unread.stream.return();
  assert.deepEqual(unread.wire.discarded, [200]);
  assert.deepEqual(await unread.stream.next(), { done: true, value: undefined });
});
