/**
 * `npm run bench:sizing`: what fleets of 50 to 50,000 devices need. It
 *
 * 1. measures what one replica costs: {@link file://./sizing/figures.ts};
 * 2. derives the table from these figures: {@link file://./sizing/estimate.ts};
 * 3. simulates a maintenance window for each row, with starts that are spread, and with all devices at once:
 *    {@link file://./sizing/simulate.ts};
 * 4. runs one window with scaled-down sizes for real, and prints how far the simulation was off:
 *    {@link file://./sizing/real-window.ts}.
 *
 * `npm run bench:sizing -- --compressed 100MB --uncompressed 270MB --window 240 --link 10Gbit` sets image, window in minutes, and
 * link of the site. Devices read with `--client 8Mbit`, replicas send with `--replica-link 10Gbit`, the registry with
 * `--upstream 1Gbit`. `--devices 50,500` chooses rows. `--tries 3` lets devices give up after so many answers 503; by default they
 * come back when `Retry-After` says until they have the image.
 *
 * Only prints. Needs 8 GB in the system's temporary folder, and five minutes.
 */

import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { build } from '../build.ts';
import { machineLine, table, temporaryFolder } from './measure.ts';
import { requirePrograms, versionLines } from './peers.ts';
import { type Estimate, estimate, type Figures, type Plan } from './sizing/estimate.ts';
import { measureFigures, NODE_ARGS } from './sizing/figures.ts';
import { type ComparedWindow, compareWindow, RETRY_SECONDS, SCALED_DOWN } from './sizing/real-window.ts';
import { type Outcome, simulate } from './sizing/simulate.ts';
import { parseBytes, parseRate, showBytes, showNumber, showRate, showSeconds } from './sizing/units.ts';

const { values: OPTIONS } = parseArgs({
  options: {
    devices: { type: 'string', default: '50,500,5000,50000' },
    compressed: { type: 'string', default: '100MB' },
    uncompressed: { type: 'string', default: '270MB' },
    window: { type: 'string', default: '240' },
    link: { type: 'string', default: '10Gbit' },
    client: { type: 'string', default: '8Mbit' },
    'replica-link': { type: 'string', default: '10Gbit' },
    upstream: { type: 'string', default: '1Gbit' },
    'max-connections': { type: 'string', default: '10000' },
    tries: { type: 'string', default: 'Infinity' },
  },
});

const DEVICES = OPTIONS.devices.split(',').map((text) => count('devices', text));
const PLAN: Omit<Plan, 'devices'> = {
  compressedBytes: parseBytes(OPTIONS.compressed),
  uncompressedBytes: parseBytes(OPTIONS.uncompressed),
  windowSeconds: count('window', OPTIONS.window) * 60,
  clientBytesPerSecond: parseRate(OPTIONS.client),
  replicaBytesPerSecond: parseRate(OPTIONS['replica-link']),
  maxConnections: count('max-connections', OPTIONS['max-connections']),
};
const SITE = parseRate(OPTIONS.link);
const UPSTREAM = parseRate(OPTIONS.upstream);
const TRIES = OPTIONS.tries === 'Infinity' ? Number.POSITIVE_INFINITY : count('tries', OPTIONS.tries);

// The first pull comes on top, but it has to be measured first.
if (PLAN.uncompressedBytes / PLAN.clientBytesPerSecond >= PLAN.windowSeconds) {
  throw new Error('One download takes longer than the window: change --window, --client or --uncompressed');
}

requirePrograms('curl', 'docker-registry');
const folder = temporaryFolder('bench-sizing-');
const main = join(folder, 'built', 'main.js');
await build(join(folder, 'built'));
const versions = (await versionLines()).filter((line) => /^(?:curl|docker-registry):/.test(line));
console.log(`${machineLine()}\nours: node ${NODE_ARGS.join(' ')}\n${versions.join('\n')}`);

tell('figures …');
const { figures, image } = await measureFigures(folder, main);
console.log(
  `\nmeasured with ${image.layers} layers, ${showBytes(image.compressed)} compressed, ` +
    `${showBytes(image.uncompressed)} uncompressed\n${figuresTable(figures)}`,
);
const estimates = DEVICES.map((devices) => estimate({ ...PLAN, devices }, figures));
console.log(
  `\none image of ${OPTIONS.compressed}, ${OPTIONS.uncompressed} uncompressed, window ${OPTIONS.window} min, ` +
    `devices with ${OPTIONS.client}, link of the site ${OPTIONS.link}\n${needsTable(estimates)}`,
);
tell('simulation …');
console.log(`\nsimulated windows\n${simulatedTable(estimates, figures)}`);
tell('one real window …');
const compared = await compareWindow(folder, main, figures);
const { devices, startSeconds, replicas, clientBytesPerSecond, maxConnections } = SCALED_DOWN;
console.log(
  `\n${devices} devices with ${showBytes(clientBytesPerSecond)}/s start within ${startSeconds} s, ${replicas} replicas ` +
    `with MAX_CONNECTIONS=${maxConnections}\n${comparedTable(compared)}`,
);

/** Progress goes to standard error, results to standard output. */
function tell(line: string): void {
  process.stderr.write(`${line}\n`);
}

function count(name: string, text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new Error(`--${name} must be a whole number above 0`);
  return value;
}

function figuresTable(figures: Figures): string {
  const perGb = (seconds: number) => `${showNumber(seconds * 1e9)} s`;
  return table(
    ['figure', 'value'],
    [
      ['cached archive to 8 clients, per second', showBytes(figures.sendBytesPerSecond)],
      ['processor time to send 1 GB, clients that read fast', perGb(figures.sendCpuSecondsPerByte)],
      ['processor time to send 1 GB, clients that read slowly', perGb(figures.slowCpuSecondsPerByte)],
      ['processor time of a request', `${showNumber(figures.requestCpuSeconds * 1000)} ms`],
      ['first pull, for 1 GB uncompressed', perGb(figures.pullSecondsPerByte)],
      ['its processor time', perGb(figures.pullCpuSecondsPerByte)],
      ['disk for 1 GB uncompressed', showBytes(figures.diskBytesPerByte * 1e9)],
      ['peak memory of a first pull', showBytes(figures.peakBytes)],
      ['memory of a waiting client', showBytes(figures.clientBytes)],
      ['its buffers in the system', showBytes(figures.bufferedBytes)],
    ],
  );
}

function needsTable(estimates: readonly Estimate[]): string {
  const head = [
    'devices',
    'sent',
    'network',
    'from the registry',
    'connections',
    'replicas',
    'busy cores',
    'disk each',
    'memory each',
    'buffers each',
    'link',
  ];
  const rows = estimates.map((one) => [
    `${one.devices}`,
    showBytes(one.sentBytes),
    showRate(one.bytesPerSecond),
    showBytes(one.pulledBytes),
    `${one.connections}`,
    `${one.replicas}`,
    showNumber(one.cores),
    showBytes(one.diskBytes),
    showBytes(one.memoryBytes),
    showBytes(one.bufferedBytes),
    one.bytesPerSecond <= SITE ? 'fits' : 'too narrow',
  ]);
  return table(head, rows);
}

function simulatedTable(estimates: readonly Estimate[], figures: Figures): string {
  const head = ['devices, starts', 'last done', 'median', 'p95', 'network', 'connections', '503', 'gave up'];
  const rows = estimates.flatMap((one) =>
    [one.startSeconds, 0].map((startSeconds) => {
      const outcome = simulateRow(one, startSeconds, figures);
      return [
        `${one.devices}, ${startSeconds === 0 ? 'at once' : `within ${showSeconds(startSeconds)}`}`,
        showSeconds(outcome.lastSeconds),
        showSeconds(quantile(outcome.deviceSeconds, 0.5)),
        showSeconds(quantile(outcome.deviceSeconds, 0.95)),
        showRate(outcome.peakBytesPerSecond),
        `${outcome.peakConnections}`,
        `${outcome.refused}`,
        `${outcome.gaveUp}`,
      ];
    }),
  );
  return table(head, rows);
}

/** Devices of one image: the balancer spreads them over the replicas by their addresses. */
function simulateRow(one: Estimate, startSeconds: number, figures: Figures): Outcome {
  const { replicas, devices } = one;
  return simulate({
    devices,
    startSeconds,
    replicas,
    replica: {
      maxConnections: PLAN.maxConnections,
      // The defaults. With one image they are never reached.
      places: 4,
      maxQueued: 16,
      queueSeconds: 30,
      sendBytesPerSecond: Math.min(PLAN.replicaBytesPerSecond, figures.sendBytesPerSecond),
      pullBytesPerSecond: PLAN.compressedBytes / (PLAN.uncompressedBytes * figures.pullSecondsPerByte),
    },
    placeOf: (device) => ({ image: 0, replica: device % replicas }),
    compressedBytes: PLAN.compressedBytes,
    archiveBytes: PLAN.uncompressedBytes,
    clientBytesPerSecond: PLAN.clientBytesPerSecond,
    siteBytesPerSecond: SITE,
    upstreamBytesPerSecond: UPSTREAM,
    retrySeconds: RETRY_SECONDS,
    tries: TRIES,
  });
}

function comparedTable({ simulated, real }: ComparedWindow): string {
  const row = (what: string, of: (result: typeof real) => number): string[] => {
    const error = (of(simulated) / of(real) - 1) * 100;
    return [what, showNumber(of(simulated)), showNumber(of(real)), `${error.toFixed(1)} %`];
  };
  return table(
    ['', 'simulated', 'real', 'error'],
    [
      row('last device done, s', ({ lastSeconds }) => lastSeconds),
      row('time of a device, median, s', ({ deviceSeconds }) => quantile(deviceSeconds, 0.5)),
      row('time of a device, p95, s', ({ deviceSeconds }) => quantile(deviceSeconds, 0.95)),
      row('answers 503', ({ refused }) => refused),
      row('layers pulled', ({ pulls }) => pulls),
      row('bytes sent, MB', ({ sentBytes }) => sentBytes / 1e6),
      row('processor time of the replicas, s', ({ cpuSeconds }) => cpuSeconds),
      row('peak memory of a replica, MB', ({ peakBytes }) => peakBytes / 1e6),
    ],
  );
}

/** The smallest value that at least this share of the values does not exceed. */
function quantile(ascending: readonly number[], share: number): number {
  return ascending[Math.max(0, Math.ceil(share * ascending.length) - 1)] ?? Number.NaN;
}
