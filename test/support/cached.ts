/** A registry, services that keep what they have prepared, and what these ask it for. */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sha256 } from './collect.ts';
import { type FakeRegistry, type FakeRegistryOptions, startFakeRegistry } from './fake-registry.ts';
import { type BuiltImage, makeImage, makeLayer } from './image.ts';
import { filesOf, firstLine, imagesOf } from './reading.ts';
import { type Reply, startTestService, type TestService, type TestServiceOptions } from './service.ts';
import { within } from './within.ts';

/** Bytes that no compressor makes smaller, the same on any day. */
export function noise(seed: string, length: number): Buffer {
  return createHash('shake256', { outputLength: length }).update(seed).digest();
}

/** A layer that several images may have. */
export function layerOf(name: string, bytes = 100_000): { readonly tar: Buffer } {
  return { tar: makeLayer({ [`data/${name}`]: noise(name, bytes) }) };
}

/** Two images that stand on the same base. */
export const BASE = layerOf('base');
export const APP = makeImage({ layers: [BASE, layerOf('middle'), layerOf('top')] });
export const TOOL = makeImage({ layers: [BASE, layerOf('tool')] });
export const BASE_DIGEST = APP.layers[0]?.digest ?? '';

/** Where the first of them is to be had. */
export const APP_FILE = '/docker/team_app_1.tar';

/** Room for all images of a test. */
export const KEPT = { CACHE_MAX_BYTES: '1000000000' };

/** A registry with both images: `team/app:1`, and `team/app:2` and `org/tool:1`. */
export interface Scene extends AsyncDisposable {
  readonly registry: FakeRegistry;
  /** A folder for `CACHE_DIR`. */
  readonly directory: string;
  /** Starts a service for this registry that keeps what it prepares; to be disposed of before the scene is. */
  start(env?: Readonly<Record<string, string>>, options?: TestServiceOptions): Promise<TestService>;
  /** What has reached the registry since the last call, but for its tokens: `{METHOD} {path behind /v2/}`. */
  asked(): readonly string[];
  /** @returns once so many answers of the registry are held back */
  untilStalled(count?: number): Promise<void>;
  /** @returns once the registry answers nothing any more */
  untilQuiet(): Promise<void>;
}

/** Start a scene. */
export async function startScene(options: FakeRegistryOptions = {}): Promise<Scene> {
  await using stack = new AsyncDisposableStack();
  const directory = await mkdtemp(join(tmpdir(), 'cache-'));
  stack.defer(() => rm(directory, { recursive: true, force: true }));
  const registry = stack.use(await startFakeRegistry(options));
  registry.push('team/app', '1', APP);
  registry.push('team/app', '2', TOOL);
  registry.push('org/tool', '1', TOOL);
  const asked = watch(registry);
  const all = stack.move();
  return {
    registry,
    directory,
    start: (env, options) => startTestService({ REGISTRY_URL: registry.url, ...KEPT, ...env }, options),
    asked,
    untilStalled: (count = 1) => within(registry.waitForStalled(count), `${count} stalled answers`),
    untilQuiet: () => within(registry.waitForNoActiveRequests(), 'the registry to have nothing to do'),
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  };
}

/** @returns tells what has reached a registry since the last call */
export function watch(registry: FakeRegistry): () => readonly string[] {
  let from = 0;
  return () => {
    const found = registry.requests.slice(from);
    from = registry.requests.length;
    return found
      .filter(({ path }) => !path.startsWith('/token'))
      .map(({ method, path }) => `${method} ${path.replace('/v2/', '')}`);
  };
}

/** What getting an image with nothing of it at hand asks for, in alphabetical order. */
export function wholePull(
  repository: string,
  tag: string,
  { config, layers }: BuiltImage,
): readonly string[] {
  const blobs = [config.digest, ...layers.map(({ digest }) => digest)];
  return [
    `GET ${repository}/manifests/${tag}`,
    ...blobs.map((digest) => `GET ${repository}/blobs/${digest}`).toSorted(),
  ].toSorted();
}

/** Those of some requests that get a blob. */
export function blobsOf(asked: readonly string[]): readonly string[] {
  return asked.filter((line) => /^GET .*\/blobs\//.test(line));
}

/** Checks an archive of layout `docker` against the image that it is of, not against the service. */
export function assertHolds(reply: Reply, ...images: readonly BuiltImage[]): void {
  assert.equal(reply.status, 200, firstLine(reply));
  assert.equal(reply.isCut, false);
  const files = filesOf(reply);
  const listed = imagesOf(reply);
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

/** The same of layout `docker-gzip`. */
export function assertHoldsPacked(reply: Reply, image: BuiltImage): void {
  assert.equal(reply.status, 200, firstLine(reply));
  const files = filesOf(reply);
  const [{ Layers } = { Layers: [] }] = imagesOf(reply);
  assert.deepEqual(
    Layers.map((path) => sha256(files.get(path) ?? '')),
    image.layers.map(({ digest }) => digest),
  );
}

/** Files of all stores below a folder, those that are being written among them. */
export async function storedFiles(directory: string): Promise<readonly string[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile() && /\/(?:prepared|incoming)$/.test(entry.parentPath))
    .map((entry) => join(entry.parentPath, entry.name));
}
