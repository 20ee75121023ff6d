/**
 * `npm run bench:telemetry [turns]`: the cost of telemetry. It runs the same pulls with telemetry off, and with all traces,
 * metrics and logs on. A big image measures decompression and hashing, a tiny image measures the work around them. The target, a
 * ratio of wall times below 1.05, is for the big image.
 *
 * Service, registry and receiver are separate processes, so the processor time of the service is measured alone. If the receiver
 * has no core of its own, the wall time contains a part of its work.
 *
 * Only prints: the ratios are valid for this machine and this run.
 */

import { Agent, get } from 'node:http';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { type BuiltService, startBuiltService } from '../../test/support/built-service.ts';
import { build } from '../build.ts';
import {
  cpuSeconds,
  type Helper,
  inTurns,
  machineLine,
  median,
  peakResidentBytes,
  startHelper,
  summarize,
  table,
  temporaryFolder,
} from './measure.ts';
import type { Received } from './receiver.ts';
import type { BenchImage } from './registry.ts';

const TURNS = Number(process.argv[2] ?? 9);

const MIB = 1024 * 1024;

/** Pulls before the measurement, until V8 has compiled the program. */
const WARM_UP = [
  { image: 'bench/big', pulls: 1, connections: 1 },
  { image: 'bench/small', pulls: 200, connections: 1 },
] as const;

/** The parts of each turn, in this order. */
const PARTS = [
  { name: 'small, one by one', image: 'bench/small', pulls: 200, connections: 1 },
  { name: 'small, 8 at a time', image: 'bench/small', pulls: 200, connections: 8 },
  { name: 'big', image: 'bench/big', pulls: 3, connections: 1 },
] as const;

/**
 * Wait after each part, in milliseconds, with and without telemetry: the SDK exports the rest of spans and logs within 5 s, and
 * this export belongs to the part's processor time.
 */
const SETTLE_MS = 5_500;

/** Times of one part. */
interface Measured {
  readonly seconds: number;
  readonly cpuSeconds: number;
}

/** One turn of one contestant. */
interface Turn {
  readonly parts: readonly Measured[];
  /** Peak memory of the service in all parts. */
  readonly peakBytes: number;
  /** Absent if telemetry is off. */
  readonly arrived: Arrival | undefined;
}

/** The received telemetry of one turn. */
interface Arrival extends Omit<Received, 'traces'> {
  readonly traces: number;
  readonly spans: number;
  /** Number of traces by their number of spans. */
  readonly sizes: ReadonlyMap<number, number>;
  readonly receiverCpuSeconds: number;
}

const folder = temporaryFolder('bench-telemetry-');
await build(folder);
const main = join(folder, 'main.js');
await using registry = await startHelper('registry.ts');
const images = (await registry.ask()) as readonly BenchImage[];

console.log(machineLine());
for (const { repository, layers, compressed, uncompressed } of images) {
  console.log(`${repository}: ${layers} layers, ${compressed} bytes packed, ${uncompressed} unpacked`);
}
const { off, on } = await inTurns(TURNS, {
  off: () => turn(undefined),
  on: async () => {
    // A new receiver each time: data of earlier turns would slow it down.
    await using receiver = await startHelper('receiver.ts');
    return await turn(receiver);
  },
});
printTable();
printArrivals();

/** Each turn has a new service, so that the state of one process does not affect all turns. */
async function turn(receiver: Helper | undefined): Promise<Turn> {
  const telemetry = receiver && {
    OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${receiver.port}`,
    OTEL_TRACES_SAMPLER: 'always_on',
  };
  await using service = await startBuiltService(
    { REGISTRY_URL: `http://127.0.0.1:${registry.port}`, LOG_LEVEL: 'info', ...telemetry },
    { main },
  );
  for (const pulls of WARM_UP) await pullAll(service, pulls);
  const parts: Measured[] = [];
  for (const part of PARTS) parts.push(await measure(service, part));
  const peakBytes = await peakResidentBytes(service.pid);
  await service.stop();
  return { parts, peakBytes, arrived: receiver && (await arrival(receiver)) };
}

async function measure(service: BuiltService, part: (typeof PARTS)[number]): Promise<Measured> {
  const cpuBefore = await cpuSeconds(service.pid);
  const begun = performance.now();
  await pullAll(service, part);
  const seconds = (performance.now() - begun) / 1000;
  await delay(SETTLE_MS);
  return { seconds, cpuSeconds: (await cpuSeconds(service.pid)) - cpuBefore };
}

interface Pulls {
  readonly image: string;
  readonly pulls: number;
  readonly connections: number;
}

/** Each connection starts the next pull when one has ended. */
async function pullAll({ port }: BuiltService, { image, pulls, connections }: Pulls): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: connections });
  const path = `/docker/${image.replace('/', '_')}_1.tar`;
  let left = pulls;
  const client = async () => {
    for (; left > 0; await pull(agent, port, path)) left -= 1;
  };
  try {
    await Promise.all(Array.from({ length: connections }, client));
  } finally {
    agent.destroy();
  }
}

/** Reads an archive and discards it. */
function pull(agent: Agent, port: number, path: string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  get({ agent, host: '127.0.0.1', port, path }, (response) => {
    if (response.statusCode !== 200) reject(new Error(`GET ${path} has answered ${response.statusCode}`));
    response.on('error', reject).on('end', resolve).resume();
  }).on('error', reject);
  return promise;
}

async function arrival(receiver: Helper): Promise<Arrival> {
  const { traces, ...rest } = (await receiver.ask()) as Received;
  const sizes = Object.values(traces);
  return {
    ...rest,
    traces: sizes.length,
    spans: sizes.reduce((sum, size) => sum + size, 0),
    sizes: new Map(
      Map.groupBy(sizes, (size) => size)
        .entries()
        .map(([size, all]) => [size, all.length]),
    ),
    receiverCpuSeconds: await cpuSeconds(receiver.pid),
  };
}

function printTable(): void {
  const row = (what: string, value: (turn: Turn) => number): string[] => {
    const [without, withIt] = [off.map(value), on.map(value)];
    // The ratio of each turn too: neighbours run under the same conditions, in contrast to the median of all turns.
    const pairs = withIt.map((value, turn) => value / (without[turn] ?? Number.NaN));
    const cells = [without, withIt].flatMap((values) => {
      const { median, min, max } = summarize(values);
      return [median, min, max].map((value) => value.toPrecision(4));
    });
    const ratios = [median(withIt) / median(without), median(pairs)];
    return [what, ...cells, ...ratios.map((ratio) => ratio.toFixed(3))];
  };
  const rows = PARTS.flatMap(({ name, pulls }, index) => {
    const msOf = (value: (measured: Measured) => number) => (turn: Turn) =>
      (value(turn.parts[index] as Measured) / pulls) * 1000;
    return [
      row(
        `${name}: wall, ms a pull`,
        msOf(({ seconds }) => seconds),
      ),
      row(
        `${name}: CPU, ms a pull`,
        msOf(({ cpuSeconds }) => cpuSeconds),
      ),
    ];
  });
  rows.push(row('peak RSS, MiB', ({ peakBytes }) => peakBytes / MIB));
  const head = ['off', 'min', 'max', 'on', 'min', 'max', 'on/off', 'by turns'];
  console.log(`\n${table([`medians of ${TURNS} turns`, ...head], rows)}`);
}

/** Whether all telemetry has arrived: one trace for each pull, all with the same number of spans, each with its parent. */
function printArrivals(): void {
  const pulls = [...WARM_UP, ...PARTS].reduce((sum, part) => sum + part.pulls, 0);
  const rows = on.flatMap(({ arrived }, turn) => {
    if (arrived === undefined) return [];
    const { traces, spans, sizes, orphans, logs, metrics, requests, receiverCpuSeconds } = arrived;
    const bySize = [...sizes].map(([size, count]) => `${size} in ${count}`).join(', ');
    const numbers = [spans, orphans, logs, metrics, requests, receiverCpuSeconds];
    return [[`${turn + 1}`, `${traces} of ${pulls}`, bySize, ...numbers.map(String)]];
  });
  const head = [
    'traces',
    'spans a trace',
    'spans',
    'orphans',
    'logs',
    'metrics',
    'exports',
    'receiver CPU, s',
  ];
  console.log(`\n${table(['turn', ...head], rows)}`);
}
