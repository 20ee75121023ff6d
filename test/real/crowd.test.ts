/** Hundreds of clients at once, in a hurry, slow, or gone before the end: all get the same, and nothing is left of them. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { type BuiltService, startBuiltService } from '../support/built-service.ts';
import { download } from '../support/download.ts';
import { descriptorsOf, residentBytes, storeState } from '../support/process-state.ts';
import { chanceOf } from '../support/seeded.ts';
import { image, openBench, push, randomImage } from './images.ts';
import { cleanup, requireParts, temporaryDirectory, until } from './parts.ts';
import { startRegistry } from './registry.ts';
import { startRegistryProxy } from './registry-proxy.ts';

const OPTIONS = { timeout: 180_000 };

const MIB = 1024 * 1024;

/** Clients at once; one of five leaves on the way, one of five is slow. */
const CROWD = 500;

/** Milliseconds that a slow client waits after each 64 KiB: some 6 s for the whole. */
const PAUSE_MS = 60;

/** Milliseconds after which one that leaves before its answer begins has gone: the answer takes about as long. */
const EARLY_MS = 300;

/**
 * Most resident memory of the service with all of them: 70 MiB idle, 31 MiB for a piece of 64 KiB, the least, for each of 500
 * readers, 16 MiB of pieces that several have, some 100 KiB of Node's own for each connection; and nearly as much again for what
 * the collector has not yet taken. One piece of 1 MiB for each client would be 500 MiB, and the file for each 2 GiB.
 */
const MAX_RESIDENT_BYTES = 300 * MIB;

/** Longest wait for what is left to go, in milliseconds. */
const IDLE_LIMIT_MS = 60_000;

async function untilNoSockets(service: BuiltService, folder: string, sockets: number): Promise<void> {
  let open = Number.NaN;
  await until(
    'end of all connections',
    async () => {
      open = (await descriptorsOf(service.pid, folder)).sockets;
      return open <= sockets || undefined;
    },
    IDLE_LIMIT_MS,
  ).catch((cause) => {
    throw new Error(`Cannot go on: ${open} sockets are open, and there were ${sockets}`, { cause });
  });
}

test(
  `${CROWD} clients at once: one pull, the same bytes for all, and nothing left of those who leave`,
  OPTIONS,
  async (t) => {
    if (!requireParts(t, 'busybox', 'docker-registry', 'skopeo', 'tar')) return;
    const chance = chanceOf(process.env['CROWD_SEED']);
    t.diagnostic(`seed ${chance.seed}: CROWD_SEED repeats it`);
    const stack = cleanup(t);
    const folder = await temporaryDirectory(stack, 'cache');
    const [registry, bench] = await Promise.all([startRegistry(stack, 'none'), openBench(stack)]);
    const proxy = await startRegistryProxy(stack, registry.port);
    const files = [
      { 'random/file': randomBytes(2 * MIB) },
      { 'text/file': Buffer.alloc(2 * MIB, 'All work and no play. ') },
    ];
    const layers = await Promise.all(files.map((content) => bench.layout.layer(content)));
    await push(registry, bench, await image(bench, 'crowd', ...layers), 'team/app:1');
    const { image: other } = await randomImage(bench, 1000);
    await push(registry, bench, other, 'team/other:1');
    const service = stack.use(
      await startBuiltService({ REGISTRY_URL: proxy.origin, CACHE_DIR: folder, LOG_LEVEL: 'info' }),
    );
    const before = await descriptorsOf(service.pid, folder);
    // What the first request of all has loaded and compiled is not the crowd's.
    assert.equal((await download(service.port, '/docker/team_other_1.tar')).status, 200);
    const idle = await residentBytes(service.pid);
    proxy.reset();

    const path = '/docker/team_app_1.tar';
    // Before its answer, or at some byte: about this length, which is not known yet.
    const size = bench.base.descriptor.size + 4 * MIB;
    const leaving = () =>
      chance.below(4) === 0
        ? { signal: AbortSignal.timeout(chance.below(EARLY_MS)) }
        : { leaveAfterBytes: chance.below(size) };
    const begun = performance.now();
    const clients = Array.from({ length: CROWD }, async (_, index) => {
      const kind = (['leaves', 'slow', 'fast', 'fast', 'fast'] as const)[index % 5];
      const options = kind === 'leaves' ? leaving() : kind === 'slow' ? { pauseMs: PAUSE_MS } : {};
      const answer = await download(service.port, path, options);
      return { kind, answer, ms: performance.now() - begun };
    });
    const answers = await Promise.all(clients);
    const fast = answers.filter(({ kind }) => kind === 'fast');
    const digests = new Map<string, number>();
    let bytes = 0;
    for (const { kind, answer } of answers) {
      bytes += answer.bytes;
      if (kind === 'leaves' && answer.end === 'left') continue;
      assert.deepEqual(
        { kind, status: answer.status, end: answer.end },
        { kind, status: 200, end: 'whole' },
        answer.text,
      );
      digests.set(answer.sha256, (digests.get(answer.sha256) ?? 0) + 1);
    }
    assert.equal(digests.size, 1, 'all have the same');
    const left = answers.filter(({ answer }) => answer.end === 'left').length;
    assert.ok(left > CROWD / 10, 'enough have left');
    assert.equal(proxy.fetched.size, 4, 'three layers and the config');
    assert.deepEqual([...proxy.fetched.values()], [1, 1, 1, 1], 'each fetched once');

    // The service keeps connections to the registry for its next requests, as many as it had at once.
    proxy.closeIdle();
    await untilNoSockets(service, folder, before.sockets);
    const after = await until('end of all files', async () => {
      const now = await descriptorsOf(service.pid, folder);
      // The store keeps files open that may be wanted again: each of them once.
      return now.files.length <= (await storeState(folder)).prepared.length + 1 ? now : undefined;
    });
    assert.equal(new Set(after.files).size, after.files.length, 'no file is open twice');
    assert.ok(!after.files.some((file) => file.endsWith('(deleted)')));
    assert.deepEqual(after.others.toSorted(), before.others.toSorted());
    assert.deepEqual((await storeState(folder)).incoming, []);
    const { now, peak } = await residentBytes(service.pid);
    assert.doesNotMatch(service.output(), /internal_error|store_damage/);

    const mib = (count: number) => `${(count / MIB).toFixed(0)} MiB`;
    t.diagnostic(
      `${CROWD} clients, ${left} left: ${mib(bytes)}; fast ones after ${Math.max(...fast.map(({ ms }) => ms)).toFixed(0)} ms, ` +
        `all after ${Math.max(...answers.map(({ ms }) => ms)).toFixed(0)} ms`,
    );
    t.diagnostic(`resident: ${mib(idle.now)} before, ${mib(peak)} at the peak, ${mib(now)} after`);
    assert.ok(peak <= MAX_RESIDENT_BYTES, `${peak} bytes`);
  },
);

/** Bytes of an image's only layer, and how many of six images may stay. */
const LAYER_BYTES = 3 * MIB;
const KEPT_BYTES = 2 * (LAYER_BYTES + 64 * 1024);

test(
  'six images, room for two, and 20 clients who want all of them: every answer is right',
  OPTIONS,
  async (t) => {
    if (!requireParts(t, 'busybox', 'docker-registry', 'skopeo', 'tar')) return;
    const chance = chanceOf(process.env['CROWD_SEED']);
    t.diagnostic(`seed ${chance.seed}: CROWD_SEED repeats it`);
    const stack = cleanup(t);
    const folder = await temporaryDirectory(stack, 'cache');
    const [registry, bench] = await Promise.all([startRegistry(stack, 'none'), openBench(stack)]);
    const proxy = await startRegistryProxy(stack, registry.port);
    const names = Array.from({ length: 6 }, (_, index) => `app${index}`);
    for (const name of names) {
      const built = await randomImage(bench, LAYER_BYTES);
      await push(registry, bench, built.image, `team/${name}:1`);
    }
    const paths = names.map((name) => `/docker/team_${name}_1.tar`);
    const expected = new Map<string, string>();
    {
      await using reference = await startBuiltService({ REGISTRY_URL: proxy.origin, CACHE_MAX_BYTES: '0' });
      for (const path of paths) expected.set(path, (await download(reference.port, path)).sha256);
    }
    const env = { CACHE_DIR: folder, CACHE_MAX_BYTES: `${KEPT_BYTES}`, LOG_LEVEL: 'info' };
    const service = stack.use(await startBuiltService({ REGISTRY_URL: proxy.origin, ...env }));
    proxy.reset();

    // All six may be in use at once, each as blob and uncompressed. Unused files never exceed the limit.
    let most = 0;
    const watched = new AbortController();
    const watching = (async () => {
      while (!watched.signal.aborted) {
        most = Math.max(most, (await storeState(folder)).bytes);
        await delay(20);
      }
    })();
    await Promise.all(
      Array.from({ length: 20 }, async () => {
        for (const path of chance.shuffled(paths)) {
          const { status, end, sha256, text } = await download(service.port, path);
          assert.deepEqual({ path, status, end }, { path, status: 200, end: 'whole' }, text);
          assert.equal(sha256, expected.get(path), path);
        }
      }),
    ).finally(() => watched.abort());
    await watching;
    await until('store within its bounds', async () => {
      const { incoming, bytes } = await storeState(folder);
      return (incoming.length === 0 && bytes <= KEPT_BYTES) || undefined;
    });
    const open = (await descriptorsOf(service.pid, folder)).files;
    assert.ok(!open.some((file) => file.endsWith('(deleted)')), `${join(...open)}`);
    const fetches = [...proxy.fetched.values()].reduce((sum, count) => sum + count, 0);
    t.diagnostic(`${fetches} fetches for 120 downloads; at most ${(most / MIB).toFixed(1)} MiB on the disk`);
    assert.ok(fetches > 2 * names.length, 'layers were evicted and fetched again');
    assert.ok(most <= 2 * names.length * (LAYER_BYTES + 64 * 1024) + KEPT_BYTES);
    assert.doesNotMatch(service.output(), /internal_error|store_damage/);
    assert.equal((await service.stop()).code, 0);
  },
);
