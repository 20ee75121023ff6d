/** All scenarios of the comparison, the longest first, so that none is left over at the end. */

import { ARCHIVE_SCENARIOS } from './archives.ts';
import { CREDENTIAL_SCENARIOS } from './credentials.ts';
import { FAILURE_SCENARIOS } from './failures.ts';
import { KEPT_SCENARIOS } from './kept.ts';
import { LIFE_SCENARIOS } from './life.ts';
import { REQUEST_SCENARIOS } from './requests.ts';
import type { Scenario } from './scenario.ts';

/** Every scenario. */
export const SCENARIOS: readonly Scenario[] = [
  ...LIFE_SCENARIOS.toReversed(),
  ...KEPT_SCENARIOS,
  ...FAILURE_SCENARIOS,
  ...CREDENTIAL_SCENARIOS,
  ...REQUEST_SCENARIOS,
  ...ARCHIVE_SCENARIOS,
];
