/** https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/ */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { withUnit } from '../../src/telemetry/prometheus-names.ts';

const TABLE: readonly [name: string, unit: string, expected: { name: string; unit: string }][] = [
  ['http.server.request.duration', 's', { name: 'http.server.request.duration_seconds', unit: 'seconds' }],
  ['delay', 'ms', { name: 'delay_milliseconds', unit: 'milliseconds' }],
  ['cache.size', 'By', { name: 'cache.size_bytes', unit: 'bytes' }],
  ['nodejs.eventloop.utilization', '1', { name: 'nodejs.eventloop.utilization_ratio', unit: 'ratio' }],
  // Neither twice, nor for what is only a note.
  ['read.bytes', 'By', { name: 'read.bytes', unit: 'bytes' }],
  ['pulls', '{pull}', { name: 'pulls', unit: '' }],
  ['pulls', '', { name: 'pulls', unit: '' }],
];

for (const [name, unit, expected] of TABLE) {
  test(`${name} in "${unit}" is ${expected.name}`, () => assert.deepEqual(withUnit(name, unit), expected));
}
