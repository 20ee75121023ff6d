import assert from 'node:assert/strict';
import test from 'node:test';
import { isPassthroughError, PassthroughError } from '../src/errors.ts';

test('an error has a code and a message; details and cause are optional', () => {
  const error = new PassthroughError('NO_SPACE', 'Cannot write');
  assert.ok(error instanceof Error);
  assert.deepEqual([error.name, error.code, error.message], ['PassthroughError', 'NO_SPACE', 'Cannot write']);
  assert.deepEqual(error.details, {});
  assert.equal('cause' in error, false);
  assert.match(error.stack ?? '', /errors\.test\.ts/);
});

test('the details of an error do not contain its cause', () => {
  const cause = new Error('underneath');
  const details = { retryAfterSeconds: 5, hints: ['Wait'] };
  const error = new PassthroughError('BUSY', 'Cannot begin', { cause, ...details });
  assert.equal(error.cause, cause);
  assert.deepEqual(error.details, details);
});

test('isPassthroughError checks the class, and the code if codes are given', () => {
  const error = new PassthroughError('BUSY', 'Cannot begin');
  assert.equal(isPassthroughError(error), true);
  assert.equal(isPassthroughError(error, 'BUSY'), true);
  assert.equal(isPassthroughError(error, 'NO_SPACE', 'BUSY'), true);
  assert.equal(isPassthroughError(error, 'NO_SPACE'), false);
  const lookalike = { code: 'BUSY', name: 'PassthroughError' };
  for (const other of [new Error('BUSY'), lookalike, 'BUSY', undefined, null]) {
    assert.equal(isPassthroughError(other), false);
    assert.equal(isPassthroughError(other, 'BUSY'), false);
  }
});
