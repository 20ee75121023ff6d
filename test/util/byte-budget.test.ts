import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ByteBudget } from '../../src/util/byte-budget.ts';

test('a budget is spent to its last byte, and refuses the next one', () => {
  const refusals: unknown[] = [];
  const budget = new ByteBudget(10, (...args) => {
    refusals.push(args);
    return new RangeError('too much');
  });
  budget.spend(4, 'one');
  budget.spend(6, 'two');
  budget.spend(0, 'three');
  assert.equal(budget.spent, 10);
  assert.throws(() => budget.spend(1, 'four'), RangeError);
  assert.deepEqual(refusals, [[10, 'four']]);
});
