import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { isPassthroughError } from '../../src/errors.ts';
import { MemoryBudget } from '../../src/util/memory-budget.ts';

const NEVER = new AbortController().signal;
const A_MINUTE_MS = 60_000;

function budgetOf(maxBytes: number, maxWaitMs = A_MINUTE_MS): MemoryBudget {
  return new MemoryBudget({ maxBytes, maxWaitMs });
}

/** Reserves, and notes the order in which the reservations are admitted. */
function recorder(budget: MemoryBudget) {
  const admitted: string[] = [];
  const reserve = async (name: string, bytes: number, signal = NEVER) => {
    const lease = await budget.reserve(bytes, name, signal);
    admitted.push(name);
    return lease;
  };
  return { admitted, reserve };
}

describe('MemoryBudget', () => {
  test('counts what is reserved, and what is given back once', async () => {
    const budget = budgetOf(800);
    const first = await budget.reserve(50, 'first', NEVER);
    const second = await budget.reserve(40, 'second', NEVER);
    assert.equal(budget.used, 90);
    first.shrink(20);
    first.shrink(30);
    assert.deepEqual([budget.used, first.bytes], [60, 20]);
    first.release();
    first.release();
    assert.equal(budget.used, 40);
    second.release();
    assert.equal(budget.used, 0);
  });

  test('lets callers that do not fit wait, first come, first served', async () => {
    const budget = budgetOf(100);
    const { admitted, reserve } = recorder(budget);
    const held = await Promise.all(Array.from({ length: 10 }, () => budget.reserve(10, 'held', NEVER)));
    const waiting = [reserve('first', 10), reserve('second', 10)];
    assert.deepEqual(admitted, []);
    held[0]?.release();
    await waiting[0];
    assert.deepEqual(admitted, ['first']);
    held[1]?.shrink(5);
    held[2]?.shrink(5);
    await waiting[1];
    assert.deepEqual(admitted, ['first', 'second']);
    assert.equal(budget.used, 100);
  });

  test('keeps a quarter for small reservations, whatever large ones wait', async () => {
    const budget = budgetOf(800);
    const { admitted, reserve } = recorder(budget);
    const large = await reserve('large', 500);
    const waiting = reserve('waits', 200);
    await reserve('small', 100);
    assert.deepEqual(admitted, ['large', 'small']);
    large.release();
    await waiting;
    assert.deepEqual(admitted, ['large', 'small', 'waits']);
  });

  test('admits a single reservation of the whole budget when nothing else is reserved', async () => {
    const budget = budgetOf(800);
    const small = await budget.reserve(1, 'small', NEVER);
    const waiting = budget.reserve(800, 'whole', NEVER);
    small.release();
    const whole = await waiting;
    assert.equal(budget.used, 800);
    whole.release();
  });

  test('refuses more than the whole budget at once, and names what needs it', async () => {
    await assert.rejects(budgetOf(100).reserve(101, 'index of "a:1"', NEVER), (error) => {
      assert.ok(isPassthroughError(error, 'IMAGE_TOO_LARGE'));
      assert.equal(
        error.message,
        'Cannot hold index of "a:1" in memory: it takes 101 bytes, and at most 100 are allowed',
      );
      assert.equal(error.details.setting, 'bufferedBytes');
      return true;
    });
  });

  test('ends a wait at its limit with BUSY, and keeps nothing for the caller', async () => {
    const budget = budgetOf(80, 20);
    const held = await budget.reserve(80, 'held', NEVER);
    await assert.rejects(budget.reserve(10, 'config', NEVER), (error) => {
      assert.ok(isPassthroughError(error, 'BUSY'));
      assert.equal(error.message, 'Cannot hold config in memory now: no memory came free within 0.02 s');
      assert.ok((error.details.retryAfterSeconds ?? 0) > 0);
      return true;
    });
    held.release();
    assert.equal(budget.used, 0);
  });

  test('a caller that leaves the queue lets those behind it pass', async () => {
    const budget = budgetOf(800);
    const held = await budget.reserve(450, 'held', NEVER);
    const leaving = new AbortController();
    const gone = budget.reserve(300, 'gone', leaving.signal);
    const behind = budget.reserve(101, 'behind', NEVER);
    leaving.abort(new Error('left'));
    await assert.rejects(gone, /left/);
    await behind;
    assert.equal(budget.used, 551);
    held.release();
    await assert.rejects(budget.reserve(1, 'late', leaving.signal), /left/);
  });

  test('waits as long as its caller says', async () => {
    const budget = budgetOf(100, 1);
    const held = await budget.reserve(100, 'held', NEVER);
    const long = budget.reserve(100, 'long', NEVER, Number.POSITIVE_INFINITY);
    await assert.rejects(budget.reserve(10, 'usual', NEVER), (error) => isPassthroughError(error, 'BUSY'));
    await assert.rejects(budget.reserve(10, 'short', NEVER, 2), /within 0\.002 s/);
    held.release();
    assert.equal((await long).bytes, 100);
  });
});
