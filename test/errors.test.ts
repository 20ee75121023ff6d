import assert from 'node:assert/strict';
import test from 'node:test';
import { isPassthroughError, PassthroughError } from '../src/errors.ts';

test('an error has a code, a message and nothing else unless it is told', () => {
  const error = new PassthroughError('NO_SPACE', 'Cannot write');
  assert.ok(error instanceof Error);
  assert.deepEqual([error.name, error.code, error.message], ['PassthroughError', 'NO_SPACE', 'Cannot write']);
  assert.deepEqual(error.details, {});
  assert.equal('cause' in error, false);
  assert.match(error.stack ?? '', /errors\.test\.ts/);
});

test('an error keeps its cause apart from its details, which may be shown', () => {
  const cause = new Error('underneath');
  const error = new PassthroughError('BUSY', 'Cannot begin', {
    cause,
    retryAfterSeconds: 5,
    hints: ['Wait'],
  });
  assert.equal(error.cause, cause);
  assert.deepEqual(error.details, { retryAfterSeconds: 5, hints: ['Wait'] });
});

test('an error of ours is told from others, and by its codes where any are given', () => {
  const error = new PassthroughError('BUSY', 'Cannot begin');
  assert.equal(isPassthroughError(error), true);
  assert.equal(isPassthroughError(error, 'BUSY'), true);
  assert.equal(isPassthroughError(error, 'NO_SPACE', 'BUSY'), true);
  assert.equal(isPassthroughError(error, 'NO_SPACE'), false);
  for (const other of [
    new Error('BUSY'),
    { code: 'BUSY', name: 'PassthroughError' },
    'BUSY',
    undefined,
    null,
  ]) {
    assert.equal(isPassthroughError(other), false);
    assert.equal(isPassthroughError(other, 'BUSY'), false);
  }
});
