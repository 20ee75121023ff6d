/**
 * `npm run bench:startup [turns]`: the time from the start of the process to its line `listening` and to its first answer of
 * `/health`. It compares telemetry off, telemetry on, and a build without any telemetry calls.
 *
 * Only prints: the ratios are valid for this machine and this run.
 */

import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Plugin } from 'esbuild';
import { startBuiltService } from '../../test/support/built-service.ts';
import { build } from '../build.ts';
import { inTurns, machineLine, median, startHelper, summarize, table, temporaryFolder } from './measure.ts';

const TURNS = Number(process.argv[2] ?? 15);

/** A stand-in for the API of OpenTelemetry, which does nothing. */
const STAND_IN = `
const span = {
  spanContext: () => ({}), setAttribute: () => span, setAttributes: () => span, setStatus: () => span,
  addEvent: () => span, end() {},
};
const instrument = { add() {}, record() {} };
const numbers = new Proxy({}, { get: () => 0 });
module.exports = {
  context: { active: () => undefined, with: (context, call) => call() },
  trace: { getTracer: () => ({ startSpan: () => span }), getActiveSpan: () => undefined, setSpan: () => undefined },
  propagation: { extract: () => undefined, inject() {} },
  metrics: {
    getMeter: () => ({
      createHistogram: () => instrument, createCounter: () => instrument, createUpDownCounter: () => instrument,
    }),
  },
  logs: { getLogger: () => ({ emit() {} }) },
  isSpanContextValid: () => false,
  SpanKind: numbers, SpanStatusCode: numbers, SeverityNumber: numbers,
};
`;

/** The property under which each copy of the API registers itself. */
const MARK_OF_API = 'opentelemetry.js.api';

/** Milliseconds from the start of the process. */
interface Start {
  readonly listening: number;
  readonly health: number;
}

const folder = temporaryFolder('bench-startup-');
const product = join(folder, 'product');
const bare = join(folder, 'bare');
await build(product);
await build(bare, { plugins: [await withoutTelemetry(folder)] });
await refuseMark(bare);

await using receiver = await startHelper('receiver.ts');
const built = join(product, 'main.js');
const sources = join(import.meta.dirname, '..', '..', 'src', 'main.ts');
const endpoint = { OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${receiver.port}` };

console.log(machineLine());
const measured = await inTurns(TURNS, {
  'no telemetry calls': () => start(join(bare, 'main.js'), {}),
  'built, off': () => start(built, {}),
  'built, on': () => start(built, endpoint),
  'src/main.ts, off': () => start(sources, {}),
  'src/main.ts, on': () => start(sources, endpoint),
});

for (const [what, title] of [
  ['listening', 'to the line'],
  ['health', 'to /health'],
] as const) {
  const base = median(measured['no telemetry calls'].map((one) => one[what]));
  const rows = Object.entries(measured).map(([name, starts]) => {
    const { median, min, max } = summarize(starts.map((one) => one[what]));
    return [name, ...[median, min, max].map((ms) => `${ms.toFixed(1)} ms`), (median / base).toFixed(3)];
  });
  console.log(`\n${table([`${title}, ${TURNS} turns`, 'median', 'min', 'max', 'ratio'], rows)}`);
}

async function start(main: string, env: Readonly<Record<string, string>>): Promise<Start> {
  await using service = await startBuiltService({ LOG_LEVEL: 'info', ...env }, { main });
  const begun = performance.now();
  const { status } = await service.request('/health');
  if (status !== 200) throw new Error(`/health has answered ${status}`);
  return { listening: service.startMs, health: service.startMs + performance.now() - begun };
}

/**
 * Replaces the API by the stand-in, and the SDK by nothing. The stand-in is in a package folder, where the build looks for it.
 */
async function withoutTelemetry(folder: string): Promise<Plugin> {
  const path = join(folder, 'node_modules', '@opentelemetry', 'api', 'index.cjs');
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, STAND_IN);
  // The build asks each package for its license.
  const facts = { name: '@opentelemetry/api', version: 'none', license: 'Apache-2.0' };
  await writeFile(join(dirname(path), 'package.json'), JSON.stringify(facts));
  return {
    name: 'without-telemetry',
    setup: ({ onResolve, onLoad }) => {
      onResolve({ filter: /^@opentelemetry\/api$/ }, () => ({ path }));
      onLoad({ filter: /\/src\/telemetry\/sdk\.ts$/ }, () => ({
        contents: 'export const startTelemetry = () => Promise.reject(new Error("there is none"));',
      }));
    },
  };
}

/** Checks that the build does not contain the API. Otherwise the program would be compared with itself. */
async function refuseMark(directory: string): Promise<void> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  for (const { parentPath, name } of entries.filter((entry) => entry.isFile())) {
    const text = await readFile(join(parentPath, name), 'utf8');
    if (text.includes(MARK_OF_API)) throw new Error(`${name} holds OpenTelemetry's API after all`);
  }
}
