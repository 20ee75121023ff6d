/** What `kill -9` at any moment leaves: nothing in part, nothing wrong, and a service that starts at once. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { type BuiltService, startBuiltService } from '../support/built-service.ts';
import { type Download, download } from '../support/download.ts';
import { storeState } from '../support/process-state.ts';
import { chanceOf } from '../support/seeded.ts';
import { type Bench, image, openBench, push, randomImage } from './images.ts';
import { cleanup, requireParts, temporaryDirectory, until } from './parts.ts';
import { type Registry, startRegistry } from './registry.ts';
import { startRegistryProxy } from './registry-proxy.ts';

/** Kills in one run. `KILL_ROUNDS=100` is for an evening; the test itself wants to be quick. */
const ROUNDS = Number(process.env['KILL_ROUNDS'] ?? 12);

/** Milliseconds for building the images and for each round: several times what it takes. */
const OPTIONS = { timeout: 60_000 + ROUNDS * 15_000 };

/** Images with three layers each, the first of which they share, in all their forms: some 170 MB. */
const IMAGES = 4;
const RANDOM_BYTES = 5_000_000;
const TEXT_BYTES = 10_000_000;

/** A third of all that is asked for, so that something is written and something evicted in every round. */
const CACHE_MAX_BYTES = 50_000_000;

/** Clients of a round, and the longest pause, in milliseconds, that every other one makes after each 64 KiB. */
const CLIENTS = 8;
const MAX_PAUSE_MS = 5;

/**
 * Milliseconds from the start of a process to its first line. A start on an empty folder takes 200 on a quiet machine; one
 * that read or hashed what lies in the folder, or waited for a lock, would show.
 */
const START_LIMIT_MS = 20_000;

/** What each path gives. */
type Expected = ReadonlyMap<string, Pick<Download, 'sha256' | 'bytes'>>;

/** Pushes the images; gives every path under which they are to be had. */
async function pushImages(registry: Registry, bench: Bench): Promise<readonly string[]> {
  const paths: string[] = [];
  for (let index = 1; index <= IMAGES; index += 1) {
    const text = Buffer.alloc(TEXT_BYTES, `The quick brown fox ${index} jumps over the lazy dog. `);
    const layers = [{ 'random/file': randomBytes(RANDOM_BYTES) }, { 'text/file': text }];
    const built = await Promise.all(layers.map((files) => bench.layout.layer(files)));
    await push(registry, bench, await image(bench, `image ${index}`, ...built), `team/app${index}:1`);
    paths.push(`/docker/team_app${index}_1.tar`, `/docker-gzip/team_app${index}_1.tar`);
    paths.push(`/docker/team_app${index}_1.tgz`);
  }
  return paths;
}

/** What a service gives that keeps nothing. */
async function readWithoutCache(registry: Registry, paths: readonly string[]): Promise<Expected> {
  await using service = await startBuiltService({ REGISTRY_URL: registry.origin, CACHE_MAX_BYTES: '0' });
  const expected = new Map<string, Download>();
  for (const path of paths) {
    const answer = await download(service.port, path);
    assert.deepEqual({ status: answer.status, end: answer.end }, { status: 200, end: 'whole' }, answer.text);
    expected.set(path, answer);
  }
  return expected;
}

/** Gets all there is, two at a time, and compares it. */
async function assertAllRight({ port }: BuiltService, expected: Expected): Promise<void> {
  const left = [...expected.keys()];
  const client = async (): Promise<void> => {
    for (let path = left.pop(); path !== undefined; path = left.pop()) {
      assertRight(path, await download(port, path), expected);
    }
  };
  await Promise.all([client(), client()]);
}

function assertRight(path: string, { status, end, bytes, sha256, text }: Download, expected: Expected): void {
  const actual = { path, status, end, bytes, sha256 };
  const { bytes: size, sha256: digest } = expected.get(path) ?? {};
  assert.deepEqual(actual, { path, status: 200, end: 'whole', bytes: size, sha256: digest }, text);
}

/** Waits until a store holds no more than it may, and nothing in part. */
async function untilIdle(folder: string): Promise<void> {
  await until(`store of ${CACHE_MAX_BYTES} bytes and nothing in incoming/`, async () => {
    const { incoming, bytes } = await storeState(folder);
    return (incoming.length === 0 && bytes <= CACHE_MAX_BYTES) || undefined;
  });
}

test(
  `kill -9 in the middle of pulls, ${ROUNDS} times: every byte is right at the next start`,
  OPTIONS,
  async (t) => {
    if (!requireParts(t, 'busybox', 'docker-registry', 'skopeo', 'tar')) return;
    const chance = chanceOf(process.env['KILL_SEED']);
    t.diagnostic(`seed ${chance.seed}: KILL_SEED repeats it`);
    const stack = cleanup(t);
    const folder = await temporaryDirectory(stack, 'cache');
    const [registry, bench] = await Promise.all([startRegistry(stack, 'none'), openBench(stack)]);
    const paths = await pushImages(registry, bench);
    const expected = await readWithoutCache(registry, paths);
    const env = {
      REGISTRY_URL: registry.origin,
      CACHE_DIR: folder,
      CACHE_MAX_BYTES: `${CACHE_MAX_BYTES}`,
      LOG_LEVEL: 'info',
    };
    const start = async () => stack.use(await startBuiltService(env));
    /** Clients that repeat their request until the test stops them, or they are cut off; every other one is slow. */
    const startClients = ({ port }: BuiltService, signal: AbortSignal) =>
      Array.from({ length: CLIENTS }, async (_, index) => {
        const pauseMs = index % 2 === 0 ? 0 : chance.below(MAX_PAUSE_MS);
        for (let served = 0; ; served += 1) {
          const path = chance.pick(paths);
          const answer = await download(port, path, { pauseMs });
          if (answer.end === 'whole') assertRight(path, answer, expected);
          if (answer.end !== 'whole' || signal.aborted) return { served, answer };
        }
      });

    // The time of one undisturbed pull of everything, with an empty folder.
    const first = await start();
    const begun = performance.now();
    await assertAllRight(first, expected);
    const lengthMs = performance.now() - begun;
    await first.kill();

    // One delay from each part of that time, in any order, so that a few rounds spread as well as many.
    const delays = chance.shuffled(
      Array.from({ length: ROUNDS }, (_, round) => ((round + chance.next()) / ROUNDS) * lengthMs),
    );
    const startsMs: number[] = [];
    const seen = { whole: 0, cut: 0, unanswered: 0, partialFiles: 0 };
    for (const delayMs of delays) {
      const service = await start();
      startsMs.push(service.startMs);
      assert.ok(service.startMs < START_LIMIT_MS, `it started in ${service.startMs} ms`);
      assert.deepEqual((await storeState(folder)).incoming, [], 'what was being written is gone');
      await assertAllRight(service, expected);
      await untilIdle(folder);

      const killed = new AbortController();
      const clients = startClients(service, killed.signal);
      await delay(delayMs);
      await service.kill();
      killed.abort();
      for (const { served, answer } of await Promise.all(clients)) {
        seen.whole += served;
        if (answer.end === 'whole') continue;
        assert.equal(answer.end, 'cut', 'a client with a partial file sees a cut connection');
        if (answer.status === 0) seen.unanswered += 1;
        else seen.cut += 1;
      }
      seen.partialFiles += (await storeState(folder)).incoming.length;
      assert.doesNotMatch(service.output(), /store_damage|internal_error/);
    }

    const last = await start();
    await assertAllRight(last, expected);
    await untilIdle(folder);
    assert.deepEqual((await last.stop()).code, 0);
    assert.doesNotMatch(last.output(), /store_damage|internal_error/);
    startsMs.sort((one, other) => one - other);
    t.diagnostic(
      `all of it undisturbed: ${lengthMs.toFixed(0)} ms; delays up to ${Math.max(...delays).toFixed(0)} ms`,
    );
    t.diagnostic(
      `clients: ${seen.whole} whole, ${seen.cut} cut after the header, ${seen.unanswered} without one; ` +
        `${seen.partialFiles} files left in incoming/ by kills`,
    );
    t.diagnostic(
      `starts: median ${startsMs[ROUNDS >> 1]?.toFixed(0)} ms, longest ${startsMs.at(-1)?.toFixed(0)} ms`,
    );
    if (ROUNDS >= 12) {
      assert.ok(seen.cut + seen.unanswered > 0, 'a kill has cut a client off');
      assert.ok(seen.partialFiles > 0, 'some kill has met a file that was being written');
    }
  },
);

test(
  'kill -9 without CACHE_DIR: the next start removes what is dead, and nothing that is alive',
  OPTIONS,
  async (t) => {
    if (!requireParts(t, 'busybox', 'docker-registry', 'skopeo', 'tar')) return;
    const stack = cleanup(t);
    const workspace = await temporaryDirectory(stack, 'workspace');
    const [registry, bench] = await Promise.all([startRegistry(stack, 'none'), openBench(stack)]);
    const proxy = await startRegistryProxy(stack, registry.port);
    const { image: built, layers } = await randomImage(bench, 1_000_000, 6_000_000);
    await push(registry, bench, built, 'team/app:1');
    const path = '/docker/team_app_1.tar';
    const env = { REGISTRY_URL: proxy.origin, WORKSPACE_DIR: workspace };
    const start = async () => stack.use(await startBuiltService(env));
    /** Starts one, and finds which folder is its own. */
    const startOwn = async () => {
      const before = new Set(await readdir(workspace));
      const service = await start();
      const own = (await readdir(workspace)).filter((name) => !before.has(name));
      assert.equal(own.length, 1);
      return { service, folder: join(workspace, own[0] ?? '') };
    };

    const living = await startOwn();
    const expected = await download(living.service.port, path);
    assert.equal(expected.status, 200, expected.text);
    const files = (await storeState(living.folder)).prepared;
    assert.equal(files.length, 4, 'of each layer its blob and its uncompressed bytes');

    const dead = await startOwn();
    const held = proxy.hold(layers[1]?.descriptor.digest ?? '', 3_000_000);
    const cut = download(dead.service.port, path);
    await held.reached;
    await until('partial file', async () => (await storeState(dead.folder)).bytes > 2_000_000 || undefined);
    await dead.service.kill();
    held.release();
    assert.deepEqual({ status: (await cut).status, end: (await cut).end }, { status: 0, end: 'cut' });
    const left = await storeState(dead.folder);
    assert.ok(left.incoming.length > 0, 'the kill has left a partial file');

    const next = await startOwn();
    const folders = [living.folder, next.folder].map((folder) => folder.slice(workspace.length + 1));
    assert.deepEqual((await readdir(workspace)).sort(), folders.sort());
    assert.deepEqual((await storeState(living.folder)).prepared, files);
    for (const { service } of [living, next]) {
      const { status, sha256 } = await download(service.port, path);
      assert.deepEqual({ status, sha256 }, { status: 200, sha256: expected.sha256 });
      assert.equal((await service.stop()).code, 0);
    }
    assert.deepEqual(await readdir(workspace), []);
  },
);
