import { syncBuiltinESMExports } from 'node:module';
import type { TestContext } from 'node:test';

/**
 * Makes `setTimeout` wait for the test to move the time, until the end of the test. Also that of `node:timers/promises`. Timers of
 * sockets stay real, and so does the limit of `within`.
 */
export function mockTimers(t: TestContext): TestContext['mock']['timers'] {
  const { timers } = t.mock;
  timers.enable({ apis: ['setTimeout'] });
  syncBuiltinESMExports();
  t.after(() => {
    timers.reset();
    syncBuiltinESMExports();
  });
  return timers;
}
