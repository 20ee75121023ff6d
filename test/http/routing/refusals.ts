/** Request targets that are refused. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type ErrorCode, isPassthroughError } from '../../../src/errors.ts';
import { findRoute } from '../../../src/http/routes.ts';

/** Declares a test for each target: it is refused with this code and a matching message. */
export function testRefusals(
  code: ErrorCode,
  rows: readonly (readonly [target: string, message: RegExp])[],
): void {
  for (const [target, message] of rows) {
    test(`${target.slice(0, 70)} is refused with ${code}`, () => {
      assert.throws(
        () => findRoute(target),
        (error) => {
          assert.ok(isPassthroughError(error, code), String(error));
          assert.match(error.message, message);
          return true;
        },
      );
    });
  }
}
