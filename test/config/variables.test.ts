import assert from 'node:assert/strict';
import { test } from 'node:test';
import { loadConfig } from '../../src/config/config.ts';
import { VARIABLES } from '../../src/config/variables.ts';

test('each variable of a setting is one that the configuration reads', () => {
  const read = new Set<unknown>();
  loadConfig(new Proxy({}, { get: (_, name) => void read.add(name) }));
  for (const variable of Object.values(VARIABLES)) assert.ok(read.has(variable), variable);
});
