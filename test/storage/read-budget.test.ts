import assert from 'node:assert/strict';
import test from 'node:test';
import { ReadBudget } from '../../src/storage/read-budget.ts';

const KIB = 1024;
const MIB = 1024 * KIB;

test('chunks shrink with the number of readers, and all fit into the budget', () => {
  const budget = new ReadBudget(24 * MIB);
  let before = Number.POSITIVE_INFINITY;
  for (let readers = 1; readers <= 1000; readers += 1) {
    budget.enter();
    const bytes = budget.readBytes;
    assert.ok(bytes <= before);
    before = bytes;
    assert.equal(Number.isInteger(Math.log2(bytes / (64 * KIB))), true, `${bytes}`);
    if (bytes > 64 * KIB) assert.ok(2 * readers * bytes <= 24 * MIB);
  }
  assert.equal(before, 64 * KIB);
  assert.equal(budget.isAmple, false);
});

test('readers of one file have larger chunks, up to a bound', () => {
  const budget = new ReadBudget(24 * MIB);
  for (let readers = 1; readers <= 1000; readers += 1) {
    budget.enter();
    const bytes = budget.sharedBytes;
    assert.ok(bytes <= 512 * KIB && bytes >= 64 * KIB);
    assert.ok(
      readers * bytes <= Math.max(2 * 24 * MIB, readers * 64 * KIB),
      `${bytes} for each of ${readers}`,
    );
    assert.equal(Number.isInteger(Math.log2(bytes)), true);
  }
});

test('a reader that ends leaves its memory to the others', () => {
  const budget = new ReadBudget(4 * MIB);
  budget.enter();
  const alone = budget.readBytes;
  for (let more = 0; more < 9; more += 1) budget.enter();
  assert.ok(budget.readBytes < alone);
  for (let more = 0; more < 9; more += 1) budget.leave();
  assert.equal(budget.readBytes, alone);
  assert.equal(budget.isAmple, true);
});
