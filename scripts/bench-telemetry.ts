/**
 * `npm run bench:telemetry [turns]`: what telemetry costs. The same pulls with telemetry off, and on with traces, metrics and
 * logs, all of them sampled: of a big image, where inflating and hashing is the work, and of a tiny one, where the work around
 * it is. The target, a ratio of wall times below 1.05, is for the big one.
 *
 * Service, registry and receiver are processes of their own, so that the processor time of the service is its own. They
 * still share the machine: of a wall time, a part is the receiver's where there is no core for it.
 *
 * Prints ratios and judges nothing: they hold for the machine and the moment.
 */

import { Agent, get } from 'node:http';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { type BuiltService, startBuiltService } from '../test/support/built-service.ts';
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
} from './bench.ts';
import type { Received } from './bench-receiver.ts';
import type { BenchImage } from './bench-registry.ts';
import { build } from './build.ts';

const TURNS = Number(process.argv[2] ?? 9);

const MIB = 1024 * 1024;

/** What is pulled before anything is measured: by then the program is compiled. */
const WARM_UP = [
  { image: 'bench/big', pulls: 1, connections: 1 },
  { image: 'bench/small', pulls: 200, connections: 1 },
] as const;

/** What is measured in each turn, in this order. */
const PARTS = [
  { name: 'small, one by one', image: 'bench/small', pulls: 200, connections: 1 },
  { name: 'small, 8 at a time', image: 'bench/small', pulls: 200, connections: 8 },
  { name: 'big', image: 'bench/big', pulls: 3, connections: 1 },
] as const;

/**
 * Milliseconds after each part, with telemetry and without: the SDK exports what is left of spans and logs after 5 s at the
 * latest, and that belongs to the part's processor time.
 */
const SETTLE_MS = 5_500;

/** What one part took. */
interface Measured {
  readonly seconds: number;
  readonly cpuSeconds: number;
}

/** One turn of one contestant. */
interface Turn {
  readonly parts: readonly Measured[];
  /** Of the service's memory, over all parts. */
  readonly peakBytes: number;
  /** None where telemetry is off. */
  readonly arrived: Arrival | undefined;
}

/** What came of the telemetry of all pulls of a turn. */
interface Arrival extends Omit<Received, 'traces'> {
  readonly traces: number;
  readonly spans: number;
  /** How many traces there are of each number of spans. */
  readonly sizes: ReadonlyMap<number, number>;
  readonly receiverCpuSeconds: number;
}

const folder = temporaryFolder('bench-telemetry-');
await build(folder);
const main = join(folder, 'main.js');
await using registry = await startHelper('bench-registry.ts');
const images = (await registry.ask()) as readonly BenchImage[];

console.log(machineLine());
for (const { repository, layers, compressed, uncompressed } of images) {
  console.log(`${repository}: ${layers} layers, ${compressed} bytes packed, ${uncompressed} unpacked`);
}
const { off, on } = await inTurns(TURNS, {
  off: () => turn(undefined),
  on: async () => {
    // A new one each time: what it keeps of earlier turns would cost it more and more.
    await using receiver = await startHelper('bench-receiver.ts');
    return await turn(receiver);
  },
});
printTable();
printArrivals();

/** A service of its own, so that no turn has the luck, good or bad, of one process. */
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

/** Each connection takes the next pull when it has ended one. */
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

/** Reads an archive and throws it away. */
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
    // Each turn by itself, too: neighbours share the moment, which a median of all does not.
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

/** Whether all arrived: each pull is one trace, none of them has a span less than another, or one without its parent. */
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
