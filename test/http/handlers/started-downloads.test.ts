import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { StartedDownloads } from '../../../src/http/handlers/started-downloads.ts';

describe('StartedDownloads', () => {
  test('distinguishes clients and URLs', () => {
    const downloads = new StartedDownloads();
    downloads.record('10.0.0.1', '/a', '"1"');
    assert.equal(downloads.mayContinue('10.0.0.1', '/a', '"1"'), true);
    assert.equal(downloads.mayContinue('10.0.0.1', '/a', '"2"'), false);
    assert.equal(downloads.mayContinue('10.0.0.2', '/a', '"2"'), true);
    assert.equal(downloads.mayContinue('10.0.0.1', '/b', '"2"'), true);
  });

  test('knows the file that a client began last', () => {
    const downloads = new StartedDownloads();
    downloads.record('10.0.0.1', '/a', '"1"');
    downloads.record('10.0.0.1', '/a', '"2"');
    assert.equal(downloads.mayContinue('10.0.0.1', '/a', '"1"'), false);
    assert.equal(downloads.mayContinue('10.0.0.1', '/a', '"2"'), true);
  });

  test('forgets the oldest entry above 10 000', () => {
    const downloads = new StartedDownloads();
    downloads.record('10.0.0.1', '/first', '"1"');
    downloads.record('10.0.0.1', '/second', '"1"');
    // A second record makes it the newest.
    downloads.record('10.0.0.1', '/first', '"1"');
    for (let number = 0; number < 9_999; number += 1) downloads.record('10.0.0.2', `/${number}`, '"1"');
    assert.equal(downloads.mayContinue('10.0.0.1', '/second', '"2"'), true, 'forgotten');
    assert.equal(downloads.mayContinue('10.0.0.1', '/first', '"2"'), false, 'known');
  });
});
