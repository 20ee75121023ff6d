import assert from 'node:assert/strict';
import test from 'node:test';
import { fieldsOf, readJsonObject } from '../../src/image/json.ts';

const refuse = (why: string, cause?: unknown) => new Error(why, { cause });
const SHAPE = { fields: { a: { items: 'scalar' }, ä: 'scalar' } } as const;

test('readJsonObject reads some fields of an object', () => {
  const text = Buffer.from('{"a":[1],"ä":null,"other":{"a":2}}');
  assert.deepEqual(readJsonObject(text, SHAPE, refuse), { a: [1], ä: null });
});

test('readJsonObject refuses other values and encodings, with the cause', () => {
  const table: Readonly<Record<string, string>> = {
    '': 'it is not JSON',
    '{': 'it is not JSON',
    '{"a":"\xff"}': 'it is not JSON',
    '{"b":"\xff"}': 'it is not JSON',
    '[]': 'it is not a JSON object',
    null: 'it is not a JSON object',
    '"x"': 'it is not a JSON object',
  };
  for (const [text, message] of Object.entries(table)) {
    assert.throws(
      () => readJsonObject(Buffer.from(text, 'latin1'), SHAPE, refuse),
      (error: unknown) => {
        assert.ok(error instanceof Error);
        assert.equal(error.message, message);
        assert.equal(error.cause !== undefined, message === 'it is not JSON');
        return true;
      },
    );
  }
});

test('other values than objects have no fields', () => {
  for (const value of [undefined, null, 5, 'x', [1]]) assert.deepEqual(fieldsOf(value), {});
});
