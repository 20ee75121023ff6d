import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Rotation } from '../../../src/http/connections/rotation.ts';

/** Adds items as `owner item`, and takes all of them. */
function order(...items: readonly string[]): readonly (string | undefined)[] {
  const rotation = new Rotation<string>();
  for (const item of items) rotation.add(item.split(' ')[0] ?? '', item);
  const taken: (string | undefined)[] = [];
  while (!rotation.isEmpty) taken.push(rotation.take());
  return taken;
}

describe('a rotation', () => {
  const rows: readonly [name: string, added: readonly string[], taken: readonly string[]][] = [
    ['has nothing', [], []],
    ['keeps the order of one owner', ['a 1', 'a 2', 'a 3'], ['a 1', 'a 2', 'a 3']],
    [
      'gives the owners turns',
      ['a 1', 'a 2', 'a 3', 'b 1', 'c 1', 'c 2'],
      ['a 1', 'b 1', 'c 1', 'a 2', 'c 2', 'a 3'],
    ],
    ['has an item once', ['a 1', 'a 2', 'a 1'], ['a 1', 'a 2']],
  ];
  for (const [name, added, taken] of rows) test(name, () => assert.deepEqual(order(...added), taken));

  test('puts an owner that comes back behind the others', () => {
    const rotation = new Rotation<string>();
    rotation.add('a', 'a 1');
    rotation.add('b', 'b 1');
    assert.equal(rotation.take(), 'a 1');
    rotation.add('a', 'a 2');
    assert.equal(rotation.take(), 'b 1');
    assert.equal(rotation.take(), 'a 2');
    assert.equal(rotation.take(), undefined);
  });
});
