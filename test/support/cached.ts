/** A registry, services that cache what they prepare, and the requests that these send to the registry. */

import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sha256 } from './collect.ts';
import { type FakeRegistry, type FakeRegistryOptions, startFakeRegistry } from './fake-registry.ts';
import { type BuiltImage, makeImage, makeLayer } from './image.ts';
import { noise } from './noise.ts';
import { filesOf, firstLine, imagesOf } from './reading.ts';
import { type Reply, startTestService, type TestService, type TestServiceOptions } from './service.ts';
import { within } from './within.ts';

/** A layer that several images can share. */
export function layerOf(name: string, bytes = 100_000): { readonly tar: Buffer } {
  return { tar: makeLayer({ [`data/${name}`]: noise(name, bytes) }) };
}

/** Two images on the same base layer. */
export const BASE = layerOf('base');
export const APP = makeImage({ layers: [BASE, layerOf('middle'), layerOf('top')] });
export const TOOL = makeImage({ layers: [BASE, layerOf('tool')] });
export const BASE_DIGEST = APP.layers[0]?.digest ?? '';

/** The registry sends the first bytes of the base layer and then stalls. */
export const BASE_STALLS = { digest: BASE_DIGEST, afterBytes: 1000 };

/** Paths of archives of the images, and of one with both. */
export const APP_FILE = '/docker/team_app_1.tar';
export const TOOL_FILE = '/docker/org_tool_1.tar';
export const BUNDLE = '/bundle.tar?image=team/app:1&image=org/tool:1';

/** A cache with room for all images of a test. */
export const KEPT = { CACHE_MAX_BYTES: '1000000000' };

/** A registry with both images: `team/app:1`, and `team/app:2` and `org/tool:1`. */
export interface Scene extends AsyncDisposable {
  readonly registry: FakeRegistry;
  /** A folder for `CACHE_DIR`. */
  readonly directory: string;
  /** Starts a service for this registry with a cache. The caller disposes of it before it disposes of the scene. */
  start(env?: Readonly<Record<string, string>>, options?: TestServiceOptions): Promise<TestService>;
  /** Requests to the registry since the last call, except for tokens: `{METHOD} {path behind /v2/}`. */
  takeRequests(): readonly string[];
  /** Resolves when this many answers of the registry are held back; 1 unless given. */
  untilStalled(count?: number): Promise<void>;
  /** Resolves when the registry answers no request any more. */
  untilQuiet(): Promise<void>;
}

/** Starts a scene. */
export async function startScene(options: FakeRegistryOptions = {}): Promise<Scene> {
  await using stack = new AsyncDisposableStack();
  const directory = await mkdtemp(join(tmpdir(), 'cache-'));
  stack.defer(() => rm(directory, { recursive: true, force: true }));
  const registry = stack.use(await startFakeRegistry(options));
  registry.push('team/app', '1', APP);
  registry.push('team/app', '2', TOOL);
  registry.push('org/tool', '1', TOOL);
  const all = stack.move();
  return {
    registry,
    directory,
    start: (env, options) => startTestService({ REGISTRY_URL: registry.url, ...KEPT, ...env }, options),
    takeRequests: recordRequests(registry),
    untilStalled: (count = 1) => within(registry.waitForStalled(count), `${count} stalled answers`),
    untilQuiet: () => within(registry.waitForNoActiveRequests(), 'the end of all registry requests'),
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  };
}

/** @returns a function that returns the requests to a registry since its last call, as {@link Scene.takeRequests} */
export function recordRequests(registry: FakeRegistry): () => readonly string[] {
  let from = 0;
  return () => {
    const found = registry.requests.slice(from);
    from = registry.requests.length;
    return found
      .filter(({ path }) => !path.startsWith('/token'))
      .map(({ method, path }) => `${method} ${path.replace('/v2/', '')}`);
  };
}

/** The requests of a pull that finds nothing in the cache, sorted. */
export function wholePull(
  repository: string,
  tag: string,
  { config, layers }: BuiltImage,
): readonly string[] {
  const blobs = [config.digest, ...layers.map(({ digest }) => digest)];
  return [
    `GET ${repository}/manifests/${tag}`,
    ...blobs.map((digest) => `GET ${repository}/blobs/${digest}`),
  ].toSorted();
}

/** The requests among these that fetch a blob. */
export function blobsOf(requests: readonly string[]): readonly string[] {
  return requests.filter((line) => /^GET .*\/blobs\//.test(line));
}

/** Checks an archive of layout `docker` against the images that were pushed. */
export function assertHolds(reply: Reply, ...images: readonly BuiltImage[]): void {
  assert.equal(reply.status, 200, firstLine(reply));
  assert.equal(reply.isCut, false);
  const files = filesOf(reply);
  const listed = imagesOf(files);
  assert.equal(listed.length, images.length);
  for (const [at, image] of images.entries()) {
    const { Layers = [], Config = '' } = listed[at] ?? {};
    assert.deepEqual(
      Layers.map((path) => sha256(files.get(path) ?? '')),
      image.diffIds,
    );
    assert.deepEqual(files.get(Config), image.config.bytes);
  }
}

/** Checks an archive of layout `docker-gzip` against the image that was pushed. */
export function assertHoldsPacked(reply: Reply, image: BuiltImage): void {
  assert.equal(reply.status, 200, firstLine(reply));
  const files = filesOf(reply);
  const [{ Layers } = { Layers: [] }] = imagesOf(files);
  assert.deepEqual(
    Layers.map((path) => sha256(files.get(path) ?? '')),
    image.layers.map(({ digest }) => digest),
  );
}

/** Files of all stores below a folder, including those that are being written. */
export async function storedFiles(directory: string): Promise<readonly string[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile() && /\/(?:prepared|incoming)$/.test(entry.parentPath))
    .map((entry) => join(entry.parentPath, entry.name));
}
