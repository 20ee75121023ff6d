import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type ErrorCode, PassthroughError } from '../../../src/errors.ts';
import { PROBLEMS, problemOf } from '../../../src/http/problem.ts';
import { RecentFailures } from '../../../src/http/status/recent-failures.ts';

/** `MAX_FAILURES`. */
const MAX_FAILURES = 50;

/** `MAX_OF_CODE`. */
const MAX_OF_CODE = 10;

const problem = (text: string, code: ErrorCode = 'REGISTRY_FAILED') =>
  problemOf(new PassthroughError(code, text));
const place = (requestId: string) => ({ route: '/docker/{filename}', requestId, client: '10.0.0.7' });

describe('the last failures', () => {
  test('are bounded, the last one first', () => {
    const failures = new RecentFailures();
    const codes = (Object.keys(PROBLEMS) as ErrorCode[]).slice(0, 10);
    for (const code of codes)
      for (let at = 0; at < MAX_OF_CODE; at += 1) failures.add(problem(`failure ${at}`, code), place(''));
    assert.equal(failures.list.length, MAX_FAILURES);
    assert.deepEqual([failures.list[0]?.code, failures.list[0]?.count], [codes.at(-1), 1]);
  });

  test('keep their places when one code repeats with many texts', () => {
    const failures = new RecentFailures();
    failures.add(problem('rare', 'NO_SPACE'), place('1'));
    for (let at = 0; at < 3 * MAX_FAILURES; at += 1)
      failures.add(problem(`failure ${at}`), place(String(at)));
    assert.equal(failures.list.length, MAX_OF_CODE + 1);
    assert.equal(failures.list[0]?.line, `Failed to prepare image: failure ${3 * MAX_FAILURES - 1}`);
    assert.equal(failures.list.at(-1)?.code, 'NO_SPACE');
  });

  test('count equal ones once, so that these displace no others', () => {
    const failures = new RecentFailures();
    failures.add(problem('rare'), place('1'));
    for (let at = 0; at < 10 * MAX_FAILURES; at += 1) failures.add(problem('often'), place(String(at)));
    const shown = failures.list.map(({ line, count, requestId }) => [line, count, requestId]);
    assert.deepEqual(shown, [
      ['Failed to prepare image: often', 10 * MAX_FAILURES, String(10 * MAX_FAILURES - 1)],
      ['Failed to prepare image: rare', 1, '1'],
    ]);
  });

  test('have no client in their lines', () => {
    const failures = new RecentFailures();
    const error = new PassthroughError('BUSY', 'Cannot begin another download for "10.0.0.7": it has 16');
    failures.add(problemOf(error), place('1'));
    assert.equal(failures.list[0]?.line, 'Busy: Cannot begin another download for a client: it has 16');
  });
});
