/** All scenarios of the comparison, the longest first, so that none is left over at the end. */

import { ARCHIVE_SCENARIOS } from './compare-archives.ts';
import { CREDENTIAL_SCENARIOS } from './compare-credentials.ts';
import { FAILURE_SCENARIOS } from './compare-failures.ts';
import { KEPT_SCENARIOS } from './compare-kept.ts';
import { LIFE_SCENARIOS } from './compare-life.ts';
import { REQUEST_SCENARIOS } from './compare-requests.ts';
import type { Scenario } from './compare-scenario.ts';

/** Every scenario. */
export const SCENARIOS: readonly Scenario[] = [
  ...LIFE_SCENARIOS.toReversed(),
  ...KEPT_SCENARIOS,
  ...FAILURE_SCENARIOS,
  ...CREDENTIAL_SCENARIOS,
  ...REQUEST_SCENARIOS,
  ...ARCHIVE_SCENARIOS,
];
