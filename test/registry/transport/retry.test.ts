import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
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
import { mockTimers } from '../../support/mock-timers.ts';
import { requestTo, ScriptedTransport } from '../support/scripted-transport.ts';

const URL_SENT = 'https://registry.example.com/v2/a/manifests/1';
const QUICK: RetryPolicy = { attempts: 3, baseMs: 1, maxMs: 10_000 };
const RESET = connectionError(new URL(URL_SENT), Object.assign(new Error(), { code: 'ECONNRESET' }));

/** A transport that fails with an error or a status for a number of attempts, and then answers 200. */
function failing(failure: number | Error, times: number, headers: Readonly<Record<string, string>> = {}) {
  return new ScriptedTransport((_, index) => {
    if (index >= times) return { body: 'end' };
    if (failure instanceof Error) throw failure;
    return { status: failure, headers };
  });
}

const send = (wire: ScriptedTransport, policy = QUICK, signal?: AbortSignal) =>
  new RetryTransport(wire, policy).send(requestTo(URL_SENT, signal && { signal }));

describe('a request', () => {
  test('is sent again after a transient failure', async () => {
    for (const failure of [408, 425, 429, 500, 502, 503, 504, RESET]) {
      const wire = failing(failure, 2);
      assert.equal((await send(wire)).status, 200);
      assert.equal(wire.requests.length, 3, String(failure));
      if (typeof failure === 'number') assert.deepEqual(wire.discarded, [failure, failure]);
    }
  });

  test('is sent once for any other status or error', async () => {
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

  test('ends with the response or the error of the last attempt', async () => {
    for (const attempts of [1, 4]) {
      const busy = failing(503, 99);
      assert.equal((await send(busy, { ...QUICK, attempts })).status, 503);
      assert.deepEqual([busy.requests.length, busy.discarded.length], [attempts, attempts - 1]);
      const broken = failing(RESET, 99);
      await assert.rejects(send(broken, { ...QUICK, attempts }), RESET);
      assert.equal(broken.requests.length, attempts);
    }
  });

  test('is the same in each attempt', async () => {
    const wire = failing(503, 1);
    await send(wire);
    assert.equal(wire.requests[0], wire.requests[1]);
  });
});

describe('the wait', () => {
  for (const [status, value, ms] of [
    [429, '7', 7000],
    [503, 'Sat, 31 Jan 2026 12:00:09 GMT', 9000],
  ] as const) {
    test(`is ${ms} ms, no less, for Retry-After: ${value}`, async (t) => {
      const timers = mockTimers(t);
      t.mock.method(Date, 'now', () => Date.UTC(2026, 0, 31, 12, 0, 0));
      const wire = failing(status, 1, { 'retry-after': value });
      const response = send(wire);
      await turn();
      timers.tick(ms - 1);
      await turn();
      assert.equal(wire.requests.length, 1);
      timers.tick(1);
      assert.equal((await response).status, 200);
    });
  }

  test('does not take place if Retry-After is longer than the longest wait', async () => {
    const date = new Date(Date.now() + 3_600_000).toUTCString();
    for (const value of ['11', '3600', '99999999999999999999', date]) {
      const wire = failing(429, 9, { 'retry-after': value });
      assert.equal((await send(wire)).status, 429);
      assert.deepEqual([wire.requests.length, wire.discarded], [1, []], value);
    }
  });

  test('is a random part of a limit that doubles up to the longest wait', (t) => {
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

  test('ends with an abort, and no request is sent', async (t) => {
    // The longest random wait: a short one could end before the abort.
    t.mock.method(Math, 'random', () => 1);
    for (const failure of [503, RESET]) {
      const controller = new AbortController();
      const wire = failing(failure, 9, { 'retry-after': '10' });
      const response = send(wire, { ...QUICK, baseMs: 10_000, maxMs: 10_000 }, controller.signal);
      await turn();
      controller.abort();
      await assert.rejects(response, { code: 'ABORTED' });
      assert.equal(wire.requests.length, 1);
    }
    const limit = new PassthroughError('REGISTRY_TIMEOUT', 'the pull took too long');
    await assert.rejects(pause(10_000, AbortSignal.abort(limit)), limit);
  });
});

describe('Retry-After', () => {
  const now = Date.UTC(1999, 11, 31, 23, 59, 0);
  const rows: [value: string | undefined, seconds: number | undefined][] = [
    ['0', 0],
    ['120', 120],
    [' 120 ', 120],
    // The example of RFC 9110, section 10.2.3, and an obsolete form of section 5.6.7.
    ['Fri, 31 Dec 1999 23:59:59 GMT', 59],
    ['Friday, 31-Dec-99 23:59:59 GMT', 59],
    ['Fri, 31 Dec 1999 23:58:00 GMT', 0],
    ['86401', 86_400],
    ['99999999999999999999999', 86_400],
    ['Fri, 31 Dec 9999 23:59:59 GMT', 86_400],
    ...[undefined, '', '-5', '1.5', '5s', 'soon', 'in 5 minutes'].map((value): [typeof value, undefined] => [
      value,
      undefined,
    ]),
  ];
  for (const [value, seconds] of rows) {
    test(`is ${seconds} s if it is ${JSON.stringify(value)}`, () => {
      assert.equal(retryAfterSeconds(value, now), seconds);
    });
  }
});
