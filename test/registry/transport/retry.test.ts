import assert from 'node:assert/strict';
import { syncBuiltinESMExports } from 'node:module';
import test, { type TestContext } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { PassthroughError } from '../../../src/errors.ts';
import { connectionError } from '../../../src/registry/transport/connection-error.ts';
import {
  backoffMs,
  pause,
  type RetryPolicy,
  RetryTransport,
  retryAfterSeconds,
} from '../../../src/registry/transport/retry.ts';
import { exchange, type Script, ScriptedTransport } from './scripted-transport.ts';

const URL_SENT = 'https://registry.example.com/v2/a/manifests/1';
const QUICK: RetryPolicy = { attempts: 3, baseMs: 1, maxMs: 10_000 };
const RESET = connectionError(new URL(URL_SENT), Object.assign(new Error(), { code: 'ECONNRESET' }));

/** A wire that fails with an error or a status until the given number of attempts, then answers 200. */
function failing(failure: number | Error, times: number, headers: Readonly<Record<string, string>> = {}) {
  const script: Script = (_, index) => {
    if (index >= times) return { body: 'end' };
    if (failure instanceof Error) throw failure;
    return { status: failure, headers };
  };
  return new ScriptedTransport(script);
}

const send = (wire: ScriptedTransport, policy = QUICK, signal?: AbortSignal) =>
  new RetryTransport(wire, policy).send(exchange(URL_SENT, signal && { signal }));

/** Timers of the test's own, in the module of promises too. */
function mockTimers(t: TestContext): TestContext['mock']['timers'] {
  const { timers } = t.mock;
  timers.enable({ apis: ['setTimeout'] });
  syncBuiltinESMExports();
  t.after(() => {
    timers.reset();
    syncBuiltinESMExports();
  });
  return timers;
}

test('what says "not now" is sent again until it goes through', async () => {
  for (const failure of [408, 425, 429, 500, 502, 503, 504, RESET]) {
    const wire = failing(failure, 2);
    assert.equal((await send(wire)).status, 200);
    assert.equal(wire.requests.length, 3, String(failure));
    if (typeof failure === 'number') assert.deepEqual(wire.discarded, [failure, failure]);
  }
});

test('what will not pass is sent once', async () => {
  for (const status of [200, 206, 301, 307, 400, 401, 403, 404, 405, 410, 416, 418, 451, 501, 505]) {
    const wire = failing(status, 9);
    assert.equal((await send(wire)).status, status);
    assert.deepEqual([wire.requests.length, wire.discarded], [1, []], String(status));
  }
  for (const code of ['REGISTRY_TIMEOUT', 'REGISTRY_NOT_ALLOWED', 'REGISTRY_FAILED', 'ABORTED'] as const) {
    const wire = failing(new PassthroughError(code, ''), 9);
    await assert.rejects(send(wire), { code });
    assert.equal(wire.requests.length, 1, code);
  }
});

test('attempts are bounded: the last answer passes unread, the last error is thrown', async () => {
  for (const attempts of [1, 4]) {
    const busy = failing(503, 99);
    assert.equal((await send(busy, { ...QUICK, attempts })).status, 503);
    assert.deepEqual([busy.requests.length, busy.discarded.length], [attempts, attempts - 1]);
    const broken = failing(RESET, 99);
    await assert.rejects(send(broken, { ...QUICK, attempts }), RESET);
    assert.equal(broken.requests.length, attempts);
  }
});

test('each attempt is the same request, counted by the same counter', async () => {
  const wire = failing(503, 1);
  await send(wire);
  assert.equal(wire.requests[0], wire.requests[1]);
});

test('Retry-After in seconds is waited for, no less', async (t) => {
  const timers = mockTimers(t);
  const wire = failing(429, 1, { 'retry-after': '7' });
  const answer = send(wire);
  await turn();
  timers.tick(6_999);
  await turn();
  assert.equal(wire.requests.length, 1);
  timers.tick(1);
  assert.equal((await answer).status, 200);
});

test('Retry-After as a date is waited for, no less', async (t) => {
  const timers = mockTimers(t);
  t.mock.method(Date, 'now', () => Date.UTC(2026, 0, 31, 12, 0, 0));
  const wire = failing(503, 1, { 'retry-after': 'Sat, 31 Jan 2026 12:00:09 GMT' });
  const answer = send(wire);
  await turn();
  timers.tick(8_999);
  await turn();
  assert.equal(wire.requests.length, 1);
  timers.tick(1);
  assert.equal((await answer).status, 200);
});

test('a server that asks for more than the longest wait is not waited for', async () => {
  const far = new Date(Date.now() + 3_600_000).toUTCString();
  for (const value of ['11', '3600', '99999999999999999999', far]) {
    const wire = failing(429, 9, { 'retry-after': value });
    assert.equal((await send(wire)).status, 429);
    assert.deepEqual([wire.requests.length, wire.discarded], [1, []], value);
  }
});

test('without Retry-After the wait is a random part of a limit that doubles up to the longest', (t) => {
  const policy = { attempts: 9, baseMs: 250, maxMs: 1500 };
  const limits = [250, 500, 1000, 1500, 1500];
  for (const part of [0, 0.5]) {
    t.mock.method(Math, 'random', () => part);
    assert.deepEqual(
      limits.map((_, index) => backoffMs(index + 1, policy)),
      limits.map((limit) => limit * part),
    );
  }
});

test('who leaves while it is waited is let go, and nothing more is sent', async (t) => {
  // The longest of the random waits: one that is over before anybody could leave would prove nothing.
  t.mock.method(Math, 'random', () => 1);
  for (const failure of [503, RESET]) {
    const controller = new AbortController();
    const wire = failing(failure, 9, { 'retry-after': '10' });
    const answer = send(wire, { ...QUICK, baseMs: 10_000, maxMs: 10_000 }, controller.signal);
    await turn();
    controller.abort();
    await assert.rejects(answer, { code: 'ABORTED' });
    assert.equal(wire.requests.length, 1);
  }
  const limit = new PassthroughError('REGISTRY_TIMEOUT', 'the whole took too long');
  await assert.rejects(pause(10_000, AbortSignal.abort(limit)), limit);
});

test('Retry-After is read in both its forms, and nothing else is', () => {
  const now = Date.UTC(1999, 11, 31, 23, 59, 0);
  const cases: [value: string | undefined, seconds: number | undefined][] = [
    [undefined, undefined],
    ['', undefined],
    ['0', 0],
    ['120', 120],
    [' 120 ', 120],
    // RFC 9110, section 10.2.3: its example; then the two obsolete forms of section 5.6.7.
    ['Fri, 31 Dec 1999 23:59:59 GMT', 59],
    ['Friday, 31-Dec-99 23:59:59 GMT', 59],
    ['Fri, 31 Dec 1999 23:58:00 GMT', 0],
    ['-5', undefined],
    ['1.5', undefined],
    ['5s', undefined],
    ['soon', undefined],
    ['86401', 86_400],
    ['99999999999999999999999', 86_400],
    ['Fri, 31 Dec 9999 23:59:59 GMT', 86_400],
    ['in 5 minutes', undefined],
  ];
  for (const [value, seconds] of cases) assert.equal(retryAfterSeconds(value, now), seconds, `${value}`);
});
