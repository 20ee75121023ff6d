import assert from 'node:assert/strict';
import test from 'node:test';
import { fieldsOf, parseJsonObject } from '../../src/image/json.ts';

const refuse = (why: string, cause?: unknown) => new Error(why, { cause });

test('parseJsonObject reads an object', () => {
  assert.deepEqual(parseJsonObject(Buffer.from('{"a":[1],"ä":null}'), refuse), { a: [1], ä: null });
});

test('parseJsonObject refuses other values and encodings, with the cause', () => {
  const table: Readonly<Record<string, string>> = {
    '': 'it is not JSON',
    '{': 'it is not JSON',
    '{"a":"\xff"}': 'it is not JSON',
    '[]': 'it is not a JSON object',
    null: 'it is not a JSON object',
    '"x"': 'it is not a JSON object',
  };
  for (const [text, message] of Object.entries(table)) {
    assert.throws(
      () => parseJsonObject(Buffer.from(text, 'latin1'), refuse),
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
