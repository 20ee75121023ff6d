/**
 * `npm run soak [minutes]`: different clients use the built service and leave at random, for ten minutes by default. Every byte
 * is compared. At the end, no resources may be left.
 *
 * The registry and the clients run in this process, the service in another. Its cache is smaller than the requested archives, so
 * it fetches and evicts all the time. `SOAK_SEED` repeats the sequence of clients, as far as the timing of the machine allows.
 *
 * Ends with exit code 1 after a wrong byte or an unexpected answer, and if memory grows or descriptors or temporary files are
 * left.
 */

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { type BuiltService, startBuiltService } from '../../test/support/built-service.ts';
import { descriptorsOf, residentBytes, storeState } from '../../test/support/process-state.ts';
import { chanceOf } from '../../test/support/seeded.ts';
import { median, temporaryFolder } from '../bench/measure.ts';
import { Clients } from './soak-clients.ts';
import { startSoakRegistry } from './soak-registry.ts';

const MIB = 1024 * 1024;

/** Limit of the cache: a third of all requested archives, so that eviction never stops. */
const CACHE_MAX_BYTES = 14 * MIB;

/** Concurrent clients: more than the permits for preparations, less than permits and queue together. */
const CLIENTS = 16;

/** Time between two lines, and between two measurements of memory, in milliseconds. */
const LINE_MS = 30_000;
const SAMPLE_MS = 2_000;

/** Time between two moves of the tag, in milliseconds. */
const MOVE_MS = 3_000;

/** Longest wait for the release of all resources after the last client, in milliseconds. */
const IDLE_LIMIT_MS = 30_000;

/** Most idle files that the store keeps open: `MAX_IDLE_OPEN` in `src/storage/index/file-index.ts`. */
const MAX_IDLE_OPEN = 128;

/**
 * Allowed growth of the median memory from the second third to the last: the variation of a heap between two full collections.
 * A leak of 1 KiB for each answer, at some hundred answers a second, exceeds it within ten minutes.
 */
const GROWTH_MARGIN = 0.15;

const minutes = Number(process.argv[2] ?? 10);
if (!(minutes > 0)) throw new Error(`Cannot run for ${process.argv[2]} minutes: expected a number above 0`);
const chance = chanceOf(process.env['SOAK_SEED']);
console.log(`node ${process.version}, ${minutes} min, ${CLIENTS} clients, seed ${chance.seed}`);

const faults: string[] = [];
const folder = join(temporaryFolder('soak-'), 'cache');
mkdirSync(folder);
await using stack = new AsyncDisposableStack();
const registry = stack.use(await startSoakRegistry());
// All clients have one address here.
const settings = { REGISTRY_URL: registry.origin, LOG_LEVEL: 'warn', MAX_REQUESTS_PER_CLIENT: '0' };
const reference = await startBuiltService({ ...settings, LOG_LEVEL: 'info', CACHE_MAX_BYTES: '0' });
const clients = await Clients.prepare(reference, registry, chance);
await reference.stop();
const env = { ...settings, LOG_LEVEL: 'info', CACHE_DIR: folder, CACHE_MAX_BYTES: `${CACHE_MAX_BYTES}` };
const service = stack.use(await startBuiltService(env));
const start = await descriptorsOf(service.pid, folder);

const begun = performance.now();
const lengthMs = minutes * 60_000;
const over = new AbortController();
const timer = setTimeout(() => over.abort(), lengthMs);
const samples: { readonly ms: number; readonly bytes: number }[] = [];
const watching = [
  every(SAMPLE_MS, async () => {
    samples.push({ ms: performance.now() - begun, bytes: (await residentBytes(service.pid)).now });
  }),
  every(LINE_MS, () => printLine(service)),
  every(MOVE_MS, async () => registry.moveTag()),
];
// A client that finds a fault goes on: later faults may explain it.
await Promise.all(Array.from({ length: CLIENTS }, () => clients.run(service, over.signal)));
clearTimeout(timer);
await Promise.all(watching);
await printLine(service);
registry.closeIdle();
await assertIdle(service);
judgeMemory();
const stopped = await service.stop();
if (stopped.code !== 0) faults.push(`the service ended with ${stopped.code ?? stopped.signal}`);
if (/internal_error|store_damage/.test(service.output()))
  faults.push('the log tells of internal_error or store_damage');
for (const [what, count] of clients.counts()) console.log(`${what.padEnd(28)} ${count}`);
for (const fault of [...clients.faults, ...faults]) console.log(`FAULT: ${fault}`);
const isSound = clients.faults.length + faults.length === 0;
console.log(isSound ? 'sound' : 'not sound');
process.exitCode = isSound ? 0 : 1;

/** Repeats a function until the end. */
async function every(ms: number, work: () => Promise<void>): Promise<void> {
  while (!over.signal.aborted) {
    await delay(ms, undefined, { signal: over.signal }).catch(() => undefined);
    if (!over.signal.aborted) await work();
  }
}

async function printLine({ pid }: BuiltService): Promise<void> {
  const { now } = await residentBytes(pid);
  const { sockets, files } = await descriptorsOf(pid, folder);
  const { incoming, prepared, bytes } = await storeState(folder);
  const seconds = `${((performance.now() - begun) / 1000).toFixed(0)} s`.padStart(6);
  console.log(
    `${seconds}  answers ${clients.answers}, aborted ${clients.aborted}, faults ${clients.faults.length}, ` +
      `RSS ${mib(now)}, sockets ${sockets}, files open ${files.length}, ` +
      `store ${prepared.length} files ${mib(bytes)}, incoming ${incoming.length}`,
  );
}

/** Waits for the release of all resources, and returns what is left after the time limit. */
async function assertIdle({ pid }: BuiltService): Promise<void> {
  const deadline = performance.now() + IDLE_LIMIT_MS;
  for (;;) {
    const { sockets, files, others } = await descriptorsOf(pid, folder);
    const { incoming, bytes } = await storeState(folder);
    const open = files.filter(
      (file) => file.startsWith(`${folder}/prepared/`) && !file.endsWith('(deleted)'),
    );
    const left = [
      sockets > start.sockets && `${sockets} sockets are open, and there were ${start.sockets}`,
      open.length > MAX_IDLE_OPEN && `${open.length} idle files are open`,
      files.length > open.length + start.files.length &&
        `open besides: ${files.filter((file) => !open.includes(file))}`,
      new Set(open).size < open.length && 'files are open twice',
      others.length > start.others.length && `open besides: ${others}, and there were ${start.others}`,
      incoming.length > 0 && `${incoming.length} files are left in incoming/`,
      bytes > CACHE_MAX_BYTES && `${bytes} bytes lie in the store`,
    ].filter((fault) => fault !== false);
    if (left.length === 0) {
      const after = ((performance.now() - (deadline - IDLE_LIMIT_MS)) / 1000).toFixed(1);
      console.log(
        `idle after ${after} s: sockets ${sockets} (${start.sockets} at the start), idle files ${open.length}`,
      );
      return;
    }
    if (performance.now() > deadline) {
      faults.push(...left);
      return;
    }
    await delay(100);
  }
}

/** Compares the memory of the second third, after the warm-up, with that of the last third. */
function judgeMemory(): void {
  const third = (from: number) =>
    samples
      .filter(({ ms }) => ms >= (from * lengthMs) / 3 && ms < ((from + 1) * lengthMs) / 3)
      .map(({ bytes }) => bytes);
  const [before, after] = [median(third(1)), median(third(2))];
  console.log(
    `RSS, medians: second third ${mib(before)}, last third ${mib(after)}; margin ${GROWTH_MARGIN * 100} %`,
  );
  if (!(after <= before * (1 + GROWTH_MARGIN)))
    faults.push(`memory grew from ${mib(before)} to ${mib(after)}`);
}

function mib(bytes: number): string {
  return `${(bytes / MIB).toFixed(1)} MiB`;
}
