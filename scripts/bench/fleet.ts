/**
 * `npm run bench [turns]`: compares the service with alternative programs. Each row has a target.
 * `npm run bench -- --only first,cached --turns 5` runs only these rows of {@link ROWS}.
 *
 * Service, registry, peers and clients are separate processes on one machine. Each turn of a first pull has a new service; its
 * start is not measured. Needs up to 25 GB in the system's temporary folder, 8 GB without `memory`.
 *
 * Only prints: the ratios are valid for this machine and this run.
 */

import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type BuiltService, startBuiltService } from '../../test/support/built-service.ts';
import { build } from '../build.ts';
import { type ArchiveBench, earlyRows, gzippedRows, packageRows, updateRows } from './archive-rows.ts';
import { type CommandBench, inspectRows, pullRows } from './command-rows.ts';
import { measureFloor } from './floor.ts';
import { httpsRows } from './https-rows.ts';
import { type FleetImage, pushBigImage, pushSmallImage } from './images.ts';
import { machineLine, peakResidentBytes, table, temporaryFolder } from './measure.ts';
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
} from './peers.ts';
import { compete, emptyRow, HEAD, type Row, readArguments, row } from './rows.ts';
import { mirrorRows, signatureRows, type TrustBench } from './trust-rows.ts';

/** Concurrent clients. */
const CLIENTS = 50;

/** A start takes little time, so it has more turns. */
const MIN_STARTS = 9;

/** Three layers of equal size. */
const EQUAL_LAYERS = { copies: 1, level: 6, layerBytes: [200e6, 200e6, 200e6] } as const;

/** Options of Node, as in `npm start` and docs/operations.md. */
const NODE_ARGS = ['--max-semi-space-size=4'];

/** The rows by their names for `--only`. */
const ROWS = {
  first: firstRows,
  gzip: gzipRows,
  cached: cachedRows,
  https: () => httpsRows({ folder, image: big, turns: TURNS, withService }),
  clients: clientsRows,
  memory: memoryRows,
  small: smallRows,
  mirrors: () => mirrorRows(trustBench()),
  signatures: () => signatureRows(trustBench()),
  page: pageRows,
  start: startRows,
  tgz: () => gzippedRows(archiveBench()),
  early: () => earlyRows(archiveBench()),
  update: () => updateRows(archiveBench()),
  iox: () => packageRows(archiveBench()),
  pull: () => pullRows(commandBench()),
  inspect: () => inspectRows(commandBench()),
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
/** Rows of small answers need no big image. */
const SMALL: readonly string[] = ['small', 'start', 'page', 'mirrors', 'signatures'];
const needsBig = only.some((name) => !SMALL.includes(name));
const big = needsBig
  ? await made(pushBigImage(registry.origin, 'bench/big', folder, { copies: 1, level: 6 }))
  : small;
const equal = isChosen('early')
  ? await made(pushBigImage(registry.origin, 'bench/equal', folder, EQUAL_LAYERS))
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
    // Also printed at once, so that a long run can be followed.
    for (const row of more) tell(`  ${row.join(' | ')}`);
    rows.push(...more);
  }
} finally {
  console.log(`\n${table([`medians of ${TURNS} turns [extremes]`, ...HEAD], rows)}`);
}

/** Progress goes to standard error, results to standard output. */
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

/** Calls `use` with a service that has an empty cache. The cache is removed afterwards. */
async function withService<T>(
  use: (service: BuiltService, cache: string) => Promise<T>,
  more: Readonly<Record<string, string>> = {},
): Promise<T> {
  const own = mkdtempSync(join(folder, 'service-'));
  const cache = join(own, 'cache');
  const env = {
    REGISTRY_URL: registry.origin,
    LOG_LEVEL: 'info',
    WORKSPACE_DIR: join(own, 'workspace'),
    CACHE_DIR: cache,
    CACHE_MAX_BYTES: '20GB',
    ...more,
  };
  try {
    await using service = await startBuiltService(env, {
      main: join(folder, 'built', 'main.js'),
      nodeArgs: NODE_ARGS,
    });
    return await use(service, cache);
  } finally {
    rmSync(own, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** URL of an archive. */
function address({ port }: BuiltService, image: FleetImage, layout = 'docker'): string {
  return `http://127.0.0.1:${port}/${layout}/${image.fileName}.tar`;
}

/** Fetches into a file and removes it. */
async function fetchOnce(url: string): Promise<Fetched> {
  const file = join(folder, 'fetched.tar');
  try {
    return await fetchFile(url, file);
  } finally {
    rmSync(file, { force: true });
  }
}

/** Seconds of a client's download of an image that is not cached. */
async function firstPull(layout: string): Promise<number> {
  const fetched = await withService((service) => fetchOnce(address(service, big, layout)));
  return fetched.seconds;
}

function archiveBench(): ArchiveBench {
  return { folder, root, image: big, equal, turns: TURNS, withService, fetchOnce, copiers: copiers() };
}

function trustBench(): TrustBench {
  return { folder, registry, image: small, turns: TURNS, withService, fetchOnce };
}

function commandBench(): CommandBench {
  const main = join(folder, 'built', 'main.js');
  return { main, folder, host: registry.host, image: big, turns: TURNS, servicePull: firstPull };
}

/** The installed peers that copy images. */
function copiers() {
  const reference = `${big.repository}:1`;
  return {
    skopeo: has('skopeo') ? () => skopeoSeconds(registry.host, reference, folder) : undefined,
    crane: has('crane') ? () => craneSeconds(registry.host, reference, folder) : undefined,
  };
}

async function firstRows(): Promise<Row[]> {
  const { skopeo } = copiers();
  const floor = async () => (await measureFloor(registry.origin, big.repository, '1', folder)).seconds;
  const firstBytes: number[] = [];
  const ours = async () => {
    const { seconds, firstByteMs } = await withService((service) => fetchOnce(address(service, big)));
    firstBytes.push(firstByteMs / 1000);
    return seconds;
  };
  const seconds = await compete<number, 'skopeo' | 'floor'>(TURNS, ours, { skopeo, floor });
  const what = 'first pull, docker';
  // The first turn is not measured.
  const firstByte = firstBytes.slice(-TURNS);
  return [
    row({ what: `${what} / skopeo, s`, target: '≤ 0.50', ours: seconds.ours, peer: seconds.skopeo }),
    row({ what: `${what}, first byte / floor, s`, target: '≤ 1.20', ours: firstByte, peer: seconds.floor }),
  ];
}

async function gzipRows(): Promise<Row[]> {
  const { ours, crane, skopeo } = await compete(TURNS, () => firstPull('docker-gzip'), copiers());
  const what = 'first pull, docker-gzip';
  return [
    row({ what: `${what} / crane, s`, target: '≤ 1.20', ours, peer: crane }),
    row({ what: `${what} / skopeo, s`, target: '≤ 0.15', ours, peer: skopeo }),
  ];
}

/** The archive as a file for nginx. It is made once. */
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

/** The peer sends one finished file to all clients: the work is done once. */
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
  // Everything is in the page cache already, and another turn would take as long as all others.
  const seconds = await compete(TURNS, ours, { peer }, 0);
  const what = `${CLIENTS} clients to /dev/null, nothing cached`;
  const failure = failures.join('; ');
  const blobs = requests.map(() => big.blobs);
  return [
    row({ what: `${what} / first pull + nginx, s`, target: '≤ 1.30', ...seconds, failure }),
    row({ what: `${what}: GETs / blobs`, target: '≤ 1.00', ours: requests, peer: blobs, failure }),
  ];
}

/** Seconds until all clients have the file. Fails if one of them did not get it. */
async function secondsOfAll(url: string, clients: number): Promise<number> {
  const fetched = await fetchByMany(url, clients);
  if (fetched.failed.size > 0) throw new Error(`${url}: ${failureOf(fetched).join(', ')}`);
  return fetched.seconds;
}

/** Number of failed clients, by status. */
function failureOf({ failed }: FetchedByMany): string[] {
  return Array.from(failed, ([status, count]) => `${count} got ${status}`);
}

/** Runs once: peaks vary less than times. */
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
  /** Manifest requests to the registry for each answer. */
  readonly manifests: number;
}

async function countedLoad(url: string): Promise<CountedLoad> {
  const before = registry.asked().manifests;
  const result = await load(url);
  return { ...result, manifests: (registry.asked().manifests - before) / result.answers };
}

/** The page beside an answer of a few lines: both are bytes from memory. */
async function pageRows(): Promise<Row[]> {
  const target = '≥ 0.80';
  const program = loadProgram();
  if (program === undefined) return [emptyRow('page: neither wrk nor ab is installed', target)];
  const html = ['Accept: text/html', 'Accept-Encoding: br'];
  const loads = await withService(async ({ port }) => {
    const url = `http://127.0.0.1:${port}/`;
    // The first page is decoded.
    await load(url, ...html);
    return await compete(TURNS, () => load(url, ...html), { text: () => load(url) });
  });
  const rates = (of: readonly Load[] = []) => of.map(({ perSecond }) => perSecond);
  const what = `page / usage text, ${program}, 16 connections, answers/s`;
  return [row({ what, target, ours: rates(loads.ours), peer: rates(loads.text) })];
}

async function startRows(): Promise<Row[]> {
  const start = () => withService(async ({ startMs }) => startMs);
  const { ours } = await compete(Math.max(TURNS, MIN_STARTS), start, {});
  return [row({ what: 'start to listening, no telemetry, ms', target: '≤ 150 ms', ours })];
}
