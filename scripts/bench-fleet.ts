/**
 * `npm run bench [turns]`: the service beside the programs that people would use in its place, one row each, with the target
 * that the row is to meet. `npm run bench -- --only first,cached --turns 5` runs some of the rows: {@link ROWS} names them.
 *
 * Service, registry, peers and clients are processes of their own and share the machine. Each turn of a first pull has a new
 * service, whose start is not part of the time. Needs up to 25 GB in the system's temporary folder, 8 GB without `memory`.
 *
 * Prints and judges nothing: the ratios hold for the machine and the moment.
 */

import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type BuiltService, startBuiltService } from '../test/support/built-service.ts';
import { machineLine, peakResidentBytes, table, temporaryFolder } from './bench.ts';
import { type FleetImage, pushBigImage, pushSmallImage } from './bench-images.ts';
import {
  craneSeconds,
  type Fetched,
  type FetchedByMany,
  fetchByMany,
  fetchFile,
  has,
  type Load,
  load,
  loadProgram,
  requirePrograms,
  skopeoSeconds,
  startCountingRegistry,
  startNginx,
  versionLines,
} from './bench-peers.ts';
import { compete, emptyRow, HEAD, type Row, readArguments, row } from './bench-rows.ts';
import { build } from './build.ts';

/** Clients that come at once. */
const CLIENTS = 50;

/** A process starts in so little time that more turns cost nothing. */
const MIN_STARTS = 9;

/** What Node is told, as by `npm start` and in docs/operations.md. */
const NODE_ARGS = ['--max-semi-space-size=4'];

/** The rows by the word that selects them. */
const ROWS = {
  first: firstRows,
  gzip: gzipRows,
  cached: cachedRows,
  clients: clientsRows,
  memory: memoryRows,
  small: smallRows,
  start: startRows,
} as const;

type RowName = keyof typeof ROWS;

const { turns: TURNS, only } = readArguments(Object.keys(ROWS) as RowName[]);
const isChosen = (...names: readonly RowName[]) => names.some((name) => only.includes(name));

requirePrograms('curl', 'docker-registry');
const folder = temporaryFolder('bench-fleet-');
const root = join(folder, 'www');
mkdirSync(root);
await build(join(folder, 'built'));
console.log(`${machineLine()}\nours: node ${NODE_ARGS.join(' ')}\n${(await versionLines()).join('\n')}`);

await using registry = await startCountingRegistry(folder);
const small = await made(pushSmallImage(registry.origin, 'bench/small'));
const needsBig = isChosen('first', 'gzip', 'cached', 'clients', 'memory');
const big = needsBig
  ? await made(pushBigImage(registry.origin, 'bench/big', folder, { copies: 1, level: 6 }))
  : small;
const huge = isChosen('memory')
  ? await made(pushBigImage(registry.origin, 'bench/huge', folder, { copies: 4, level: 1 }))
  : small;

/** The archive that nginx serves. */
let fileOfBig: Promise<Fetched> | undefined;

const rows: Row[] = [];
try {
  for (const name of only) {
    tell(`${name} …`);
    const more = await ROWS[name]();
    // At once as well, so that a long run can be followed.
    for (const row of more) tell(`  ${row.join(' | ')}`);
    rows.push(...more);
  }
} finally {
  console.log(`\n${table([`medians of ${TURNS} turns [extremes]`, ...HEAD], rows)}`);
}

/** What is no result goes where it does not mix with results. */
function tell(line: string): void {
  process.stderr.write(`${line}\n`);
}

async function made(making: Promise<FleetImage>): Promise<FleetImage> {
  const image = await making;
  const { repository, layers, compressed, uncompressed } = image;
  const size = (bytes: number) =>
    bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(0)} MB`;
  console.log(`${repository}: ${layers} layers, ${size(compressed)} packed, ${size(uncompressed)} unpacked`);
  return image;
}

/** Lets `use` have a service that has nothing cached; what it cached goes with it. */
async function withService<T>(use: (service: BuiltService) => Promise<T>): Promise<T> {
  const own = mkdtempSync(join(folder, 'service-'));
  const env = {
    REGISTRY_URL: registry.origin,
    LOG_LEVEL: 'info',
    WORKSPACE_DIR: join(own, 'workspace'),
    CACHE_DIR: join(own, 'cache'),
    CACHE_MAX_BYTES: '20GB',
  };
  try {
    await using service = await startBuiltService(env, {
      main: join(folder, 'built', 'main.js'),
      nodeArgs: NODE_ARGS,
    });
    return await use(service);
  } finally {
    rmSync(own, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** The address of an archive. */
function address({ port }: BuiltService, image: FleetImage, layout = 'docker'): string {
  return `http://127.0.0.1:${port}/${layout}/${image.fileName}.tar`;
}

/** Fetches into a file, which is thrown away. */
async function fetchOnce(url: string): Promise<Fetched> {
  const file = join(folder, 'fetched.tar');
  try {
    return await fetchFile(url, file);
  } finally {
    rmSync(file, { force: true });
  }
}

/** Seconds until a client has all of an image that the service did not know. */
async function firstPull(layout: string): Promise<number> {
  const fetched = await withService((service) => fetchOnce(address(service, big, layout)));
  return fetched.seconds;
}

/** What the peers that copy images are measured by, as far as they are installed. */
function copiers() {
  const reference = `${big.repository}:1`;
  return {
    skopeo: has('skopeo') ? () => skopeoSeconds(registry.host, reference, folder) : undefined,
    crane: has('crane') ? () => craneSeconds(registry.host, reference, folder) : undefined,
  };
}

async function firstRows(): Promise<Row[]> {
  const { skopeo } = copiers();
  const seconds = await compete(TURNS, () => firstPull('docker'), { skopeo });
  const what = 'first pull, docker / skopeo, s';
  return [row({ what, target: '≤ 0.30', ours: seconds.ours, peer: seconds.skopeo })];
}

async function gzipRows(): Promise<Row[]> {
  const { ours, crane, skopeo } = await compete(TURNS, () => firstPull('docker-gzip'), copiers());
  const what = 'first pull, docker-gzip';
  return [
    row({ what: `${what} / crane, s`, target: '≤ 1.20', ours, peer: crane }),
    row({ what: `${what} / skopeo, s`, target: '≤ 0.15', ours, peer: skopeo }),
  ];
}

/** The archive as a file for nginx, made once. */
function serveBigAsFile(): Promise<Fetched> {
  fileOfBig ??= withService((service) => fetchFile(address(service, big), join(root, 'big.tar')));
  return fileOfBig;
}

async function cachedRows(): Promise<Row[]> {
  await serveBigAsFile();
  await using nginx = has('nginx') ? await startNginx(folder, root) : undefined;
  const fetched = await withService(async (service) => {
    await fetchOnce(address(service, big));
    return await compete(TURNS, () => fetchOnce(address(service, big)), {
      nginx: nginx && (() => fetchOnce(`${nginx.origin}/big.tar`)),
    });
  });
  const of = (value: (one: Fetched) => number) => ({
    ours: fetched.ours.map(value),
    peer: fetched.nginx?.map(value),
  });
  const rate = of(({ bytes, seconds }) => bytes / 1e6 / seconds);
  const firstByte = of(({ firstByteMs }) => firstByteMs);
  return [
    row({ what: 'cached pull / nginx, MB/s', target: '≥ 0.90', ...rate }),
    row({ what: 'cached pull, first byte, ms', target: '≤ 20 ms', ...firstByte, isTargetOurs: true }),
  ];
}

/** What is compared with is that the work is done once, and its result sent to all. */
async function clientsRows(): Promise<Row[]> {
  await serveBigAsFile();
  await using nginx = has('nginx') ? await startNginx(folder, root) : undefined;
  const requests: number[] = [];
  const failures: string[] = [];
  const ours = async () => {
    const before = registry.asked().blobs;
    const fetched = await withService((service) => fetchByMany(address(service, big), CLIENTS));
    requests.push(registry.asked().blobs - before);
    failures.push(...failureOf(fetched));
    return fetched.seconds;
  };
  const once = () => withService((service) => secondsOfAll(address(service, big), 1));
  const peer =
    nginx && (async () => (await once()) + (await secondsOfAll(`${nginx.origin}/big.tar`, CLIENTS)));
  // All is in the page cache by now, and a turn more would take as long as all others.
  const seconds = await compete(TURNS, ours, { peer }, 0);
  const what = `${CLIENTS} clients to /dev/null, nothing cached`;
  const failure = failures.join('; ');
  const blobs = requests.map(() => big.blobs);
  return [
    row({ what: `${what} / first pull + nginx, s`, target: '≤ 1.30', ...seconds, failure }),
    row({ what: `${what}: GETs / blobs`, target: '≤ 1.00', ours: requests, peer: blobs, failure }),
  ];
}

/** What ours is compared with has to be whole. */
async function secondsOfAll(url: string, clients: number): Promise<number> {
  const fetched = await fetchByMany(url, clients);
  if (fetched.failed.size > 0) throw new Error(`${url}: ${failureOf(fetched).join(', ')}`);
  return fetched.seconds;
}

/** Who got what in place of the file. */
function failureOf({ failed }: FetchedByMany): string[] {
  return Array.from(failed, ([status, count]) => `${count} got ${status}`);
}

/** Once: a peak scatters less than a time does. */
async function memoryRows(): Promise<Row[]> {
  const result: Row[] = [];
  for (const image of [big, huge]) {
    result.push(await memoryRow(image, 1, '≤ 150 MB'), await memoryRow(image, CLIENTS, '≤ 200 MB'));
  }
  return result;
}

async function memoryRow(image: FleetImage, clients: number, target: string): Promise<Row> {
  const { peak, failed } = await withService(async (service) => {
    const fetched = await fetchByMany(address(service, image), clients);
    return { peak: await peakResidentBytes(service.pid), failed: failureOf(fetched) };
  });
  const pulls = clients === 1 ? 'one pull' : `${clients} clients at once`;
  const what = `peak memory, ${(image.uncompressed / 1e9).toFixed(1)} GB, ${pulls}, MB`;
  return row({ what, target, ours: [peak / 1e6], failure: failed.join('; ') });
}

async function smallRows(): Promise<Row[]> {
  const targets = ['≥ 1500/s', '≤ 50 ms', '–'] as const;
  const program = loadProgram();
  if (program === undefined) return [emptyRow('small image: neither wrk nor ab is installed', targets[0])];
  const loads = await withService(async (service) => {
    const url = address(service, small);
    await fetchOnce(url);
    return (await compete(TURNS, () => countedLoad(url), {})).ours;
  });
  const refused = loads.reduce((sum, { refused }) => sum + refused, 0);
  const failure = refused === 0 ? '' : `${refused} refused`;
  const what = `small image cached, ${program}, 16 connections`;
  const of = (value: (load: CountedLoad) => number) => ({ ours: loads.map(value), failure });
  return [
    row({ what: `${what}, answers/s`, target: targets[0], ...of(({ perSecond }) => perSecond) }),
    row({ what: `${what}, p99, ms`, target: targets[1], ...of(({ p99Ms }) => p99Ms) }),
    row({
      what: `${what}, manifest requests an answer`,
      target: targets[2],
      ...of(({ manifests }) => manifests),
    }),
  ];
}

interface CountedLoad extends Load {
  /** Requests of manifests that the registry saw for each answer. */
  readonly manifests: number;
}

async function countedLoad(url: string): Promise<CountedLoad> {
  const before = registry.asked().manifests;
  const result = await load(url);
  return { ...result, manifests: (registry.asked().manifests - before) / result.answers };
}

async function startRows(): Promise<Row[]> {
  const start = () => withService(async ({ startMs }) => startMs);
  const { ours } = await compete(Math.max(TURNS, MIN_STARTS), start, {});
  return [row({ what: 'start to listening, no telemetry, ms', target: '≤ 150 ms', ours })];
}
