/** The store on a disk that is too small: what does not fit is refused, everything else goes on. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { makeSmallDisk } from '../storage/folder.ts';
import { type BuiltService, startBuiltService } from '../support/built-service.ts';
import { download } from '../support/download.ts';
import { storeState } from '../support/process-state.ts';
import { assertFailure } from './failure.ts';
import { openBench, push, randomImage } from './images.ts';
import type { Layer } from './oci-layout.ts';
import { cleanup, refuse, requireParts, requireRoot, temporaryDirectory, until } from './parts.ts';
import { type Registry, startRegistry } from './registry.ts';
import { type RegistryProxy, startRegistryProxy } from './registry-proxy.ts';

const OPTIONS = { timeout: 120_000 };

const MIB = 1024 * 1024;

/** Bytes of the disk. */
const DISK_BYTES = 8 * MIB;

/** More than the whole disk: nothing is evicted for want of it. */
const UNBOUNDED = { CACHE_MAX_BYTES: '1GiB', LOG_LEVEL: 'info' };

/** Milliseconds in which a small image is there, whatever others do: less than the wait for disk space that a preparation holds. */
const SMALL_LIMIT_MS = 60_000;

/** A layout of which the store has one file for each layer. */
const LAYOUT = 'docker-gzip';

async function smallDisk(
  t: TestContext,
  stack: AsyncDisposableStack,
  bytes = DISK_BYTES,
): Promise<string | undefined> {
  if (!requireParts(t, 'curl', 'docker-registry', 'skopeo', 'tar') || !requireRoot(t)) return undefined;
  const disk = await makeSmallDisk(bytes);
  if (disk === undefined) {
    refuse(t, 'a tmpfs cannot be mounted');
    return undefined;
  }
  return stack.use(disk).path;
}

/** Pushes an image for each name; gives the layers of each. */
async function pushImages<Name extends string>(
  stack: AsyncDisposableStack,
  registry: Registry,
  images: Readonly<Record<Name, readonly number[]>>,
): Promise<Readonly<Record<Name, readonly Layer[]>>> {
  const bench = await openBench(stack);
  const pushed = Object.entries<readonly number[]>(images).map(async ([name, sizes]) => {
    const { image, layers } = await randomImage(bench, ...sizes);
    return [name, layers, image] as const;
  });
  const all: [string, readonly Layer[]][] = [];
  for (const [name, layers, image] of await Promise.all(pushed)) {
    await push(registry, bench, image, `team/${name}:1`);
    all.push([name, layers]);
  }
  return Object.fromEntries(all) as Record<Name, readonly Layer[]>;
}

/** What a service with all the room in the world gives. */
async function readElsewhere(
  { origin }: Pick<RegistryProxy, 'origin'>,
  names: readonly string[],
  layout?: string,
): Promise<ReadonlyMap<string, string>> {
  await using service = await startBuiltService({ REGISTRY_URL: origin });
  const digests = new Map<string, string>();
  for (const name of names) {
    const { status, sha256, text } = await download(service.port, pathOf(name, layout));
    assert.equal(status, 200, text);
    digests.set(name, sha256);
  }
  return digests;
}

function pathOf(name: string, layout = 'docker'): string {
  return `/${layout}/team_${name}_1.tar`;
}

async function assertServed(
  { port }: BuiltService,
  name: string,
  expected: ReadonlyMap<string, string>,
  layout?: string,
): Promise<void> {
  const path = pathOf(name, layout);
  const { status, end, sha256, text } = await download(port, path, { limitMs: SMALL_LIMIT_MS });
  assert.deepEqual({ name, status, end }, { name, status: 200, end: 'whole' }, text);
  assert.equal(sha256, expected.get(name), name);
}

async function readinessOf(
  service: BuiltService,
): Promise<{ readonly status: number; readonly text: string }> {
  const { status, body } = await service.request('/ready');
  return { status, text: body.toString() };
}

/** Where the store is: the folder itself, or the only one in it. */
async function storeFolder(variable: string, disk: string): Promise<string> {
  if (variable === 'CACHE_DIR') return disk;
  const [name, ...others] = await readdir(disk);
  assert.deepEqual(others, [], 'there is one folder');
  return join(disk, name ?? '');
}

for (const variable of ['CACHE_DIR', 'WORKSPACE_DIR']) {
  test(
    `an image larger than the disk of ${variable} is refused, and others are served all the while`,
    OPTIONS,
    async (t) => {
      const stack = cleanup(t);
      const disk = await smallDisk(t, stack);
      if (disk === undefined) return;
      const directory = await temporaryDirectory(stack, 'curl');
      const registry = await startRegistry(stack, 'none');
      const proxy = await startRegistryProxy(stack, registry.port);
      const small = ['before', 'during', 'after', 'later'];
      const { big } = await pushImages(stack, registry, {
        ...Object.fromEntries(small.map((name) => [name, [MIB / 2]])),
        big: [MIB, 2 * DISK_BYTES],
      });
      const expected = await readElsewhere(proxy, small);
      const env = { REGISTRY_URL: proxy.origin, [variable]: disk, ...UNBOUNDED };
      const service = stack.use(await startBuiltService(env));
      const origin = `http://127.0.0.1:${service.port}`;
      const folder = await storeFolder(variable, disk);
      await assertServed(service, 'before', expected);

      // Files in use take half of the disk, blob and uncompressed, and cannot be evicted.
      const held = proxy.hold(big?.[1]?.descriptor.digest ?? '', DISK_BYTES / 4);
      const refused = download(service.port, pathOf('big'));
      await held.reached;
      await until('big image on its way', async () =>
        (await storeState(folder)).bytes > DISK_BYTES / 2 ? true : undefined,
      );
      await assertServed(service, 'during', expected);
      await assertServed(service, 'before', expected);
      assert.deepEqual(await readinessOf(service), { status: 200, text: 'ready\n' });
      held.release();
      const { status, text, headers, end } = await refused;
      assert.deepEqual({ status, end }, { status: 507, end: 'whole' }, text);
      assert.match(text, /^No space: Cannot write to the workspace: the disk is full\n/);
      assert.ok(text.includes(`\n${variable} is "${disk}": `), text);
      assert.match(text, / of 8\.39 MB are free\n/);
      assert.match(headers['content-type'] ?? '', /^text\/plain/);

      await assertFailure(directory, origin, {
        ...{ path: pathOf('big'), status: 507, title: 'No space', tells: /the disk is full/ },
      });
      await assertFailure(directory, origin, {
        ...{ path: '/docker/team_big_1.tgz', status: 507, title: 'No space', tells: /the disk is full/ },
      });
      await until('empty incoming/', async () =>
        (await storeState(folder)).incoming.length === 0 ? true : undefined,
      );
      for (const name of ['before', 'during', 'after']) await assertServed(service, name, expected);
      assert.deepEqual(await readinessOf(service), { status: 200, text: 'ready\n' });
      assert.doesNotMatch(service.output(), /internal_error|store_damage/);

      // Another program fills the disk. Unused files can still be evicted.
      const foreign = join(disk, 'foreign');
      await fill(foreign);
      assert.deepEqual(await readinessOf(service), { status: 200, text: 'ready\n' });
      await assertServed(service, 'later', expected);
      await rm(foreign);

      await service.kill();
      const next = stack.use(await startBuiltService(env));
      const nextFolder = await storeFolder(variable, disk);
      assert.deepEqual((await storeState(nextFolder)).incoming, []);
      for (const name of small) await assertServed(next, name, expected);
      assert.doesNotMatch(next.output(), /internal_error|store_damage/);
      assert.equal((await next.stop()).code, 0);
    },
  );
}

test(
  'a disk full of unused layers is cleared for an image, and files that are being sent stay',
  OPTIONS,
  async (t) => {
    const stack = cleanup(t);
    const disk = await smallDisk(t, stack, 3 * DISK_BYTES);
    if (disk === undefined) return;
    const registry = await startRegistry(stack, 'none');
    const proxy = await startRegistryProxy(stack, registry.port);
    const idle = ['idle1', 'idle2', 'idle3'];
    const names = [...idle, 'sent', 'fits', 'not-beside'];
    const layers = await pushImages(stack, registry, {
      ...Object.fromEntries(idle.map((name) => [name, [3.75 * MIB]])),
      ...{ sent: [10.5 * MIB], fits: [6 * MIB, 6 * MIB], 'not-beside': [15 * MIB] },
    });
    const expected = await readElsewhere(proxy, names, LAYOUT);
    const env = { REGISTRY_URL: proxy.origin, CACHE_DIR: disk, ...UNBOUNDED };
    const service = stack.use(await startBuiltService(env));
    for (const name of [...idle, 'sent']) await assertServed(service, name, expected, LAYOUT);
    assert.equal((await storeState(disk)).prepared.length, 4);
    proxy.reset();
    for (const name of [...idle, 'sent']) await assertServed(service, name, expected, LAYOUT);
    assert.equal(proxy.fetched.size, 0, 'all of it came from the disk');

    // 21.75 of 24 MiB are taken. A client that reads nothing has more before it than the system's buffers take.
    const slow = await service.open(pathOf('sent', LAYOUT));
    await assertServed(service, 'fits', expected, LAYOUT);
    assert.equal(
      (await storeState(disk)).prepared.length,
      3,
      'two layers of the image, and what is being sent',
    );
    assert.equal(
      (await download(service.port, pathOf('not-beside', LAYOUT))).status,
      507,
      'that one is not taken away',
    );
    const hash = createHash('sha256');
    for await (const piece of slow) hash.update(piece);
    assert.equal(hash.digest('hex'), expected.get('sent'));
    await assertServed(service, 'not-beside', expected, LAYOUT);
    assert.deepEqual((await storeState(disk)).incoming, []);
    proxy.reset();
    await assertServed(service, 'not-beside', expected, LAYOUT);
    assert.equal(proxy.fetched.size, 0, 'it is kept');
    assert.deepEqual(await readinessOf(service), { status: 200, text: 'ready\n' });
    assert.equal((await service.stop()).code, 0);

    // The next one takes stock of what lies there, and makes room in the same way.
    const next = stack.use(await startBuiltService(env));
    await assertServed(next, 'not-beside', expected, LAYOUT);
    const digest = layers['not-beside']?.[0]?.descriptor.digest ?? '';
    assert.equal(proxy.fetched.get(digest), undefined, 'it lies there still');
    for (const name of names) await assertServed(next, name, expected, LAYOUT);
    assert.doesNotMatch(next.output(), /internal_error|store_damage/);
    assert.equal((await next.stop()).code, 0);
  },
);

/** Writes a file until the disk takes no more. */
async function fill(path: string): Promise<void> {
  for (const bytes of [64 * 1024, 4096, 1]) {
    for (;;) {
      const isWritten = await writeFile(path, Buffer.alloc(bytes), { flag: 'a' }).then(
        () => true,
        () => false,
      );
      if (!isWritten) break;
    }
  }
}
