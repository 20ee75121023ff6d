/**
 * `npm run abuse [-- part of a name]`: attacks the built service, and prints what each attack costs: memory above idle, open
 * files, the slowest `/health` meanwhile, and how much longer a well-behaved client waits for its archive than before the attack.
 *
 * Each attack has a service of its own with default settings. The registry and the attacking clients run in threads of this
 * process. Times are ratios and bounds for a machine with two cores or more that does nothing else.
 *
 * Ends with exit code 1 if an attack costs more than the targets allow.
 */

import { setTimeout as delay } from 'node:timers/promises';
import { type BuiltService, startBuiltService } from '../../../test/support/built-service.ts';
import { descriptorsOf, residentBytes } from '../../../test/support/process-state.ts';
import { median } from '../../bench/measure.ts';
import { startAttack } from './attackers.ts';
import { ATTACKS, type AttackRow, REGISTRY } from './attacks.ts';
import { type AbuseRegistry, startAbuseRegistry } from './registry.ts';
import { fetchGood, healthMs } from './well-behaved.ts';

const MIB = 1024 * 1024;

/** Targets: memory above idle for one client and for a crowd, in bytes; `/health` in milliseconds; times the quiet time. */
const MOST_OF_ONE = 150 * MIB;
const MOST_OF_MANY = 400 * MIB;
const MOST_HEALTH_MS = 250;
const MOST_TIMES = 3;

/** Length of an attack and of the quiet time before it, in milliseconds. */
const ATTACK_MS = 6_000;
const QUIET_MS = 2_000;

/** Interval of the measurements, in milliseconds. */
const SAMPLE_MS = 50;

/** What an attack costs. */
interface Cost {
  readonly memory: number;
  readonly descriptors: number;
  readonly healthMs: number;
  /** Times of the well-behaved client, in milliseconds. */
  readonly quietMs: number;
  readonly attackedMs: number;
  /** Requests of the well-behaved client that failed. */
  readonly failures: readonly string[];
}

await using registry = await startAbuseRegistry();
const [wanted = ''] = process.argv.slice(2);
const rows = ATTACKS.filter(({ name }) => name.includes(wanted));
if (rows.length === 0) throw new Error(`Cannot run ${JSON.stringify(wanted)}: no attack has it in its name`);
console.log(`node ${process.version}, ${process.platform}/${process.arch}`);
console.log(
  `${'attack'.padEnd(62)} ${'memory'.padStart(8)} ${'files'.padStart(6)} ${'health'.padStart(8)} ${'client'.padStart(15)}`,
);
let isBelow = true;
for (const row of rows) {
  const cost = await costOf(row);
  const faults = faultsOf(row, cost);
  isBelow &&= faults.length === 0;
  const times = `${cost.attackedMs.toFixed(0)} ms, ${(cost.attackedMs / cost.quietMs).toFixed(1)} x`;
  const figures = [
    `${(cost.memory / MIB).toFixed(0)} MiB`.padStart(8),
    String(cost.descriptors).padStart(6),
    `${cost.healthMs.toFixed(0)} ms`.padStart(8),
    times.padStart(15),
  ];
  console.log(`${row.name.padEnd(62)} ${figures.join(' ')}${faults.map((fault) => `  ${fault}`).join(',')}`);
}
console.log(isBelow ? 'every attack costs less than its targets' : 'an attack costs more than its targets');
process.exitCode = isBelow ? 0 : 1;

async function costOf(row: AttackRow): Promise<Cost> {
  const { openFiles, ms = ATTACK_MS } = row;
  await using service = await startBuiltService(
    { REGISTRY_URL: registry.origin, LOG_LEVEL: 'info' },
    openFiles === undefined ? {} : { openFiles },
  );
  const quiet = await observe(service, QUIET_MS, 'quiet');
  const { now: idle } = await residentBytes(service.pid);
  await using _ = startAttack(service.port, here(row, registry));
  const attacked = await observe(service, ms, 'attacked');
  return {
    memory: attacked.memory - idle,
    descriptors: attacked.descriptors,
    healthMs: attacked.healthMs,
    quietMs: median(quiet.archiveMs),
    attackedMs: median(attacked.archiveMs),
    failures: attacked.failures,
  };
}

/** Puts the registry's name into the requests of an attack. */
function here({ requests, ...attack }: AttackRow, { origin }: AbuseRegistry) {
  const { host } = new URL(origin);
  return { ...attack, requests: requests.map((text) => text.replaceAll(REGISTRY, host)) };
}

/** Measures a service for a while. */
async function observe({ pid, port, workspace }: BuiltService, ms: number, phase: string) {
  const seen = {
    memory: 0,
    descriptors: 0,
    healthMs: 0,
    archiveMs: [] as number[],
    failures: [] as string[],
  };
  const end = performance.now() + ms;
  const sample = async () => {
    while (performance.now() < end) {
      const { sockets, files, others } = await descriptorsOf(pid, workspace);
      seen.memory = Math.max(seen.memory, (await residentBytes(pid)).now);
      seen.descriptors = Math.max(seen.descriptors, sockets + files.length + others.length);
      await delay(SAMPLE_MS);
    }
  };
  const askHealth = async () => {
    while (performance.now() < end) {
      seen.healthMs = Math.max(seen.healthMs, await healthMs(port));
      await delay(SAMPLE_MS);
    }
  };
  const pull = async () => {
    for (let count = 0; performance.now() < end; count += 1) {
      const { ms: taken, failure } = await fetchGood(port, `${phase}-${count}`);
      seen.archiveMs.push(taken);
      if (failure !== undefined) seen.failures.push(failure);
    }
  };
  await Promise.all([sample(), askHealth(), pull()]);
  return seen;
}

function faultsOf({ isCrowd = false }: AttackRow, cost: Cost): readonly string[] {
  const faults: readonly [isGiven: boolean, text: string][] = [
    [cost.memory > (isCrowd ? MOST_OF_MANY : MOST_OF_ONE), 'MEMORY'],
    [cost.healthMs > MOST_HEALTH_MS, 'HEALTH'],
    [cost.attackedMs > MOST_TIMES * cost.quietMs, 'CLIENT'],
    [cost.failures.length > 0, `FAILED ${cost.failures.length}: ${cost.failures[0]}`],
  ];
  return faults.filter(([isGiven]) => isGiven).map(([, text]) => text);
}
