import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { StartedDownloads } from '../../../src/http/handlers/started-downloads.ts';

describe('started downloads', () => {
  test('tell one client from another, and one address from another', () => {
    const downloads = new StartedDownloads();
    downloads.note('10.0.0.1', '/a', '"1"');
    assert.equal(downloads.mayContinue('10.0.0.1', '/a', '"1"'), true);
    assert.equal(downloads.mayContinue('10.0.0.1', '/a', '"2"'), false);
    assert.equal(downloads.mayContinue('10.0.0.2', '/a', '"2"'), true);
    assert.equal(downloads.mayContinue('10.0.0.1', '/b', '"2"'), true);
  });

  test('know the last file that a client began', () => {
    const downloads = new StartedDownloads();
    downloads.note('10.0.0.1', '/a', '"1"');
    downloads.note('10.0.0.1', '/a', '"2"');
    assert.equal(downloads.mayContinue('10.0.0.1', '/a', '"1"'), false);
    assert.equal(downloads.mayContinue('10.0.0.1', '/a', '"2"'), true);
  });

  test('are forgotten, the oldest first, when there are very many', () => {
    const downloads = new StartedDownloads();
    downloads.note('10.0.0.1', '/first', '"1"');
    downloads.note('10.0.0.1', '/second', '"1"');
    // Noted again, it is no longer the oldest.
    downloads.note('10.0.0.1', '/first', '"1"');
    for (let number = 0; number < 9_999; number += 1) downloads.note('10.0.0.2', `/${number}`, '"1"');
    assert.equal(downloads.mayContinue('10.0.0.1', '/second', '"2"'), true, 'forgotten');
    assert.equal(downloads.mayContinue('10.0.0.1', '/first', '"2"'), false, 'known');
  });
});
