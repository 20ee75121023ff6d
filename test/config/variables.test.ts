import assert from 'node:assert/strict';
import { test } from 'node:test';
import { loadConfig } from '../../src/config/config.ts';
import { VARIABLES } from '../../src/config/variables.ts';

/** Read by Node itself when it starts. */
const OF_NODE = new Set<string>([VARIABLES.trustedCertificates]);

test('each variable of a setting is one that the configuration reads', () => {
  const read = new Set<unknown>();
  loadConfig(new Proxy({}, { get: (_, name) => void read.add(name) }));
  for (const variable of Object.values(VARIABLES)) {
    assert.ok(read.has(variable) || OF_NODE.has(variable), variable);
  }
});
