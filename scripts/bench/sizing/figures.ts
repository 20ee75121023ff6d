/** Measures what one replica costs: a few minutes of work on one machine, with the registry and the clients beside it. */

import { mkdtempSync, rmSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { Agent, get } from 'node:http';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { run } from '../../../test/real/parts.ts';
import { type BuiltService, startBuiltService } from '../../../test/support/built-service.ts';
import { type FleetImage, pushBigImage, pushSmallImage } from '../images.ts';
import { cpuSeconds, median, peakResidentBytes } from '../measure.ts';
import { fetchByMany, startCountingRegistry } from '../peers.ts';
import { beginDownloads, downloadSlowly } from './devices.ts';
import type { Figures } from './estimate.ts';

/** Measured turns, after one that is not measured. */
const TURNS = 3;

/** Concurrent readers of the cached archive: enough to keep the service busy. */
const READERS = 8;

/** Slow readers, and what each reads: at another position than all others, as devices do that start at different times. */
const SLOW = { readers: 40, bytes: 20e6, bytesPerSecond: 2e6 } as const;

/** Requests whose processor time is measured together: it is counted in hundredths of a second. */
const REQUESTS = 1_000;

/** Clients whose memory is measured together. */
const STUCK = 400;

/** Time until the service has sent what the system takes, in milliseconds. */
const SETTLE_MS = 3_000;

/** Options of Node, as in `npm start` and docs/operations.md. */
export const NODE_ARGS = ['--max-semi-space-size=4'];

/** Measured figures, and the image that they were measured with. */
export interface Measured {
  readonly figures: Figures;
  readonly image: FleetImage;
}

/**
 * Measures the figures with an image of 1 GB.
 *
 * @param folder temporary files, up to 8 GB
 * @param main the built program
 */
export async function measureFigures(folder: string, main: string): Promise<Measured> {
  await using registry = await startCountingRegistry(folder);
  const image = await pushBigImage(registry.origin, 'bench/big', folder, { copies: 1, level: 6 });
  const small = await pushSmallImage(registry.origin, 'bench/small');

  const pulls = [];
  for (let turn = 0; turn <= TURNS; turn += 1) {
    const pull = await withService(folder, main, registry.origin, (service) => firstPull(service, image));
    if (turn > 0) pulls.push(pull);
  }
  const served = await withService(folder, main, registry.origin, async (service) => {
    await fetchAll(service, image, 1);
    // Before the other parts, whose garbage would hide it.
    const stuck = await stuckClients(service, image);
    return {
      ...stuck,
      ...(await cachedReads(service, image)),
      ...(await slowReads(service, image)),
      ...(await smallRequests(service, small)),
    };
  });
  const { uncompressed } = image;
  return {
    image,
    figures: {
      ...served,
      pullSecondsPerByte: median(pulls.map(({ seconds }) => seconds)) / uncompressed,
      pullCpuSecondsPerByte: median(pulls.map(({ cpu }) => cpu)) / uncompressed,
      diskBytesPerByte: median(pulls.map(({ disk }) => disk)) / uncompressed,
      peakBytes: Math.max(...pulls.map(({ peak }) => peak)),
    },
  };
}

/** Calls `use` with a service that has an empty cache. The cache is removed afterwards. */
async function withService<T>(
  folder: string,
  main: string,
  registry: string,
  use: (service: BuiltService) => Promise<T>,
): Promise<T> {
  const own = mkdtempSync(join(folder, 'service-'));
  const env = {
    REGISTRY_URL: registry,
    LOG_LEVEL: 'info',
    WORKSPACE_DIR: join(own, 'workspace'),
    CACHE_DIR: join(own, 'cache'),
  };
  try {
    await using service = await startBuiltService(env, { main, nodeArgs: NODE_ARGS });
    return await use(service);
  } finally {
    rmSync(own, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** @returns seconds */
async function fetchAll({ port }: BuiltService, image: FleetImage, clients: number): Promise<number> {
  const { seconds, failed } = await fetchByMany(
    `http://127.0.0.1:${port}/docker/${image.fileName}.tar`,
    clients,
  );
  if (failed.size > 0) throw new Error(`Downloads have failed: ${JSON.stringify([...failed])}`);
  return seconds;
}

/** With HEAD, which is answered when the archive is ready. */
async function firstPull(service: BuiltService, image: FleetImage) {
  const before = await cpuSeconds(service.pid);
  const begun = performance.now();
  const { status } = await service.request(`/docker/${image.fileName}.tar`, { method: 'HEAD' });
  if (status !== 200) throw new Error(`HEAD has answered ${status}`);
  const seconds = (performance.now() - begun) / 1000;
  const cpu = (await cpuSeconds(service.pid)) - before;
  const said = await run('du', ['-s', '--block-size=1', join(service.workspace, '..', 'cache')]);
  return { seconds, cpu, disk: Number.parseInt(said, 10), peak: await peakResidentBytes(service.pid) };
}

async function stuckClients(service: BuiltService, image: FleetImage) {
  const before = await residentBytes(service.pid);
  const lines = service.logs().length;
  const stuck = await beginDownloads(service.port, `/docker/${image.fileName}.tar`, STUCK);
  await delay(SETTLE_MS);
  const after = await residentBytes(service.pid);
  const ended = service.waitForLog({ event: 'request', outcome: 'aborted' }, STUCK);
  stuck[Symbol.dispose]();
  await ended;
  const sent = service
    .logs()
    .slice(lines)
    .filter(({ event }) => event === 'request')
    .map(({ bytes }) => Number(bytes));
  return { clientBytes: (after - before) / STUCK, bufferedBytes: median(sent) };
}

async function cachedReads(service: BuiltService, image: FleetImage) {
  const rates: number[] = [];
  const costs: number[] = [];
  for (let turn = 0; turn <= TURNS; turn += 1) {
    const before = await cpuSeconds(service.pid);
    const seconds = await fetchAll(service, image, READERS);
    const bytes = READERS * image.uncompressed;
    if (turn === 0) continue;
    rates.push(bytes / seconds);
    costs.push(((await cpuSeconds(service.pid)) - before) / bytes);
  }
  return { sendBytesPerSecond: median(rates), sendCpuSecondsPerByte: median(costs) };
}

async function slowReads({ port, pid }: BuiltService, image: FleetImage) {
  const url = `http://127.0.0.1:${port}/docker/${image.fileName}.tar`;
  const before = await cpuSeconds(pid);
  const read = await Promise.all(
    Array.from({ length: SLOW.readers }, (_, reader) =>
      downloadSlowly(url, SLOW.bytesPerSecond, { start: reader * SLOW.bytes, bytes: SLOW.bytes }),
    ),
  );
  const bytes = read.reduce((sum, { bytes }) => sum + bytes, 0);
  return { slowCpuSecondsPerByte: ((await cpuSeconds(pid)) - before) / bytes };
}

async function smallRequests(service: BuiltService, image: FleetImage) {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const request = async () => {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const path = `/docker/${image.fileName}.tar`;
    get({ port: service.port, host: '127.0.0.1', path, agent }, (response) =>
      response.resume().once('end', resolve).once('error', reject),
    ).once('error', reject);
    await promise;
  };
  const batch = async () => {
    for (let count = 0; count < REQUESTS; count += 1) await request();
  };
  await batch();
  const before = await cpuSeconds(service.pid);
  await batch();
  agent.destroy();
  return { requestCpuSeconds: ((await cpuSeconds(service.pid)) - before) / REQUESTS };
}

/** Resident set of a process, in bytes: VmRSS in proc(5). */
async function residentBytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1] ?? Number.NaN) * 1024;
}
