import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { affordableConnections, descriptorWarning } from '../../../src/http/observe/descriptor-watch.ts';

describe('the limit of open files', () => {
  const table: readonly [
    limit: number,
    wanted: number,
    affordable: number,
    warns: boolean,
    warnsIfDefault: boolean,
  ][] = [
    [Number.POSITIVE_INFINITY, 10_000, 10_000, false, false],
    [1_048_576, 10_000, 10_000, false, false],
    [10_384, 10_000, 10_000, false, false],
    [10_383, 10_000, 9_999, true, false],
    [1024, 10_000, 640, true, false],
    [1023, 10_000, 639, true, true],
    [1024, 640, 640, false, false],
    [512, 128, 128, false, true],
    [512, 129, 128, true, true],
    [60, 10_000, 10_000, true, true],
  ];
  for (const [limit, wanted, affordable, warns, warnsIfDefault] of table) {
    test(`of ${limit} allows ${affordable} of ${wanted} connections`, () => {
      assert.equal(affordableConnections(wanted, limit), affordable);
      for (const [isDefault, expected] of [
        [false, warns],
        [true, warnsIfDefault],
      ] as const) {
        const message = descriptorWarning(wanted, isDefault, limit);
        if (!expected) assert.equal(message, undefined);
        else assert.match(message ?? '', new RegExp(`can have ${limit} files open.*MAX_CONNECTIONS`));
      }
    });
  }
});
