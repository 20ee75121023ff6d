import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type Download, StartedDownloads } from '../../../src/http/handlers/started-downloads.ts';
import { collectGarbage } from '../../support/collect-garbage.ts';

const DAY_MS = 86_400_000;

const OF_OLD: Download = { address: '10.0.0.1', url: '/a', etag: '"old"', size: 100 };
const OF_NEW: Download = { ...OF_OLD, etag: '"new"', size: 200 };
const OF_NEWER: Download = { ...OF_OLD, etag: '"newer"', size: 300 };

/** Downloads, of which these are begun. */
function begun(...downloads: readonly Download[]): StartedDownloads {
  const started = new StartedDownloads();
  for (const download of downloads) started.begin(download);
  return started;
}

describe('the rest of a file may belong to another one', () => {
  test('if that was begun and not finished', () => {
    const started = begun(OF_OLD);
    assert.equal(started.mayBelongToAnother(OF_NEW, 50), true);
    assert.equal(started.mayBelongToAnother(OF_OLD, 50), false);
    started.finish(OF_OLD);
    assert.equal(started.mayBelongToAnother(OF_NEW, 50), false);
  });

  test('if that was finished, and ends where the rest begins', () => {
    const started = begun(OF_OLD);
    started.finish(OF_OLD);
    assert.equal(started.mayBelongToAnother(OF_NEW, 100), true);
    assert.equal(started.mayBelongToAnother(OF_NEW, 99), false);
    assert.equal(started.mayBelongToAnother(OF_OLD, 100), false);
  });

  test('if that was finished, and ends in the block where the rest begins, as with aria2', () => {
    const large = { ...OF_OLD, size: 5 * 16_384 + 100 };
    const started = begun(large);
    started.finish(large);
    const positions = [1, 4, 5, 6].map((block) => started.mayBelongToAnother(OF_NEW, block * 16_384));
    assert.deepEqual(positions, [false, false, true, false]);
    assert.equal(started.mayBelongToAnother(OF_NEW, 5 * 16_384 + 1), false);
  });

  test('for each client and URL on its own', () => {
    const started = begun(OF_OLD);
    assert.equal(started.mayBelongToAnother({ ...OF_NEW, address: '10.0.0.2' }, 50), false);
    assert.equal(started.mayBelongToAnother({ ...OF_NEW, url: '/b' }, 50), false);
  });

  test('whichever of several files was begun last: another client may have the same address', () => {
    const started = begun(OF_OLD, OF_NEW);
    assert.equal(started.mayBelongToAnother(OF_NEW, 50), true);
    assert.equal(started.mayBelongToAnother(OF_OLD, 50), true);
    started.finish(OF_NEW);
    assert.equal(started.mayBelongToAnother(OF_OLD, 50), false);
    assert.equal(started.mayBelongToAnother(OF_NEWER, 50), true);
    started.finish(OF_OLD);
    assert.equal(started.mayBelongToAnother(OF_NEWER, 50), false);
  });

  test('also if a file that was finished is begun again', () => {
    const started = begun(OF_OLD);
    started.finish(OF_OLD);
    started.begin(OF_OLD);
    assert.equal(started.mayBelongToAnother(OF_NEW, 50), true);
  });

  test('for a day after it was last given', () => {
    let now = 5;
    const started = new StartedDownloads(() => now);
    started.begin(OF_OLD);
    now += DAY_MS - 1;
    assert.equal(started.mayBelongToAnother(OF_NEW, 50), true);
    started.begin(OF_OLD);
    now += DAY_MS - 1;
    assert.equal(started.mayBelongToAnother(OF_NEW, 50), true);
    now += 1;
    assert.equal(started.mayBelongToAnother(OF_NEW, 50), false);
  });
});

describe('what is remembered is bounded', () => {
  test('to 1000 URLs of a client, whose own oldest one is forgotten', () => {
    const started = begun(OF_OLD, { ...OF_OLD, address: '10.0.0.2' }, { ...OF_OLD, url: '/second' });
    started.begin(OF_OLD);
    for (let at = 0; at < 999; at += 1) started.begin({ ...OF_OLD, url: `/${at}` });
    assert.equal(started.mayBelongToAnother({ ...OF_NEW, url: '/second' }, 50), false, 'forgotten');
    assert.equal(started.mayBelongToAnother(OF_NEW, 50), true, 'known');
    for (let at = 0; at < 10_000; at += 1) started.begin({ ...OF_OLD, url: `/more/${at}` });
    assert.equal(
      started.mayBelongToAnother({ ...OF_NEW, address: '10.0.0.2' }, 50),
      true,
      'of another client',
    );
    assert.equal(started.size, 1001);
  });

  test('to 1000 URLs of an IPv6 network, in which a client can choose its address', () => {
    const started = begun();
    for (let at = 0; at < 2_000; at += 1)
      started.begin({ ...OF_OLD, address: `2001:db8::${at.toString(16)}` });
    assert.equal(started.size, 1000);
  });

  test('to 10 000 URLs of all clients', () => {
    const started = begun();
    for (let at = 0; at < 12_000; at += 1) {
      started.begin({ ...OF_OLD, address: `10.${at >> 8}.${at & 255}.1`, url: '/a' });
    }
    assert.equal(started.size, 10_000);
    assert.equal(started.mayBelongToAnother({ ...OF_NEW, address: '10.0.0.1' }, 50), false, 'forgotten');
  });

  test('to four files under a URL', () => {
    const started = begun();
    for (let at = 0; at < 6; at += 1) started.begin({ ...OF_OLD, etag: `"${at}"` });
    for (let at = 2; at < 5; at += 1) started.finish({ ...OF_OLD, etag: `"${at}"` });
    assert.equal(started.mayBelongToAnother({ ...OF_OLD, etag: '"5"' }, 50), false);
  });

  test('by the hash of a URL, however long it is', () => {
    const bytesHeld = () => {
      collectGarbage();
      return process.memoryUsage().heapUsed;
    };
    const before = bytesHeld();
    const started = begun();
    for (let client = 0; client < 10; client += 1) {
      for (let at = 0; at < 1_000; at += 1) {
        started.begin({
          ...OF_OLD,
          address: `10.0.0.${client}`,
          url: `/a?x=${String(at).padEnd(30_000, 'x')}`,
        });
      }
    }
    const grown = bytesHeld() - before;
    assert.equal(started.size, 10_000);
    // The URLs alone are 300 MB.
    assert.ok(grown < 150_000_000, `${grown} bytes more`);
  });
});
