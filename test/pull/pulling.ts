/** What the tests of `pull/` work with: a repository of a fake registry, as one pull opens it, and a workspace. */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ErrorCode, isPassthroughError, type PassthroughError } from '../../src/errors.ts';
import type { Digest } from '../../src/image/digest.ts';
import { parseDigest } from '../../src/image/digest.ts';
import type { Descriptor } from '../../src/image/manifest.ts';
import type { ResolvedImage } from '../../src/pull/image-attributes.ts';
import type { ImageLimits } from '../../src/pull/image-limits.ts';
import type { LayerTools } from '../../src/pull/prepare-layers.ts';
import type { LayerReport } from '../../src/pull/progress.ts';
import {
  type ArchiveRequest,
  type ImageRequest,
  type PulledArchive,
  type PullTools,
  prepareArchive,
  resolveArchive,
} from '../../src/pull/pull-archive.ts';
import { RegistrySlots } from '../../src/pull/registry-slots.ts';
import { type Repository, RepositoryContents } from '../../src/pull/repository-contents.ts';
import { HttpTransport } from '../../src/registry/http-transport.ts';
import { openRegistry } from '../../src/registry/open-registry.ts';
import type { Registry } from '../../src/registry/registry.ts';
import { registryTarget } from '../../src/registry/target.ts';
import { TokenSource } from '../../src/registry/token.ts';
import { Store } from '../../src/storage/store.ts';
import { StoreFolder } from '../../src/storage/store-folder.ts';
import { type FakeRegistry, type FakeRegistryOptions, startFakeRegistry } from '../support/fake-registry.ts';
import type { BuiltImage, BuiltLayer, Pushable } from '../support/image.ts';
import { openFilesIn, QUICK_RETRY } from '../support/service.ts';
import { within } from '../support/within.ts';

export const REPOSITORY = 'team/app';
export const TAG = '1';

const LIMITS: ImageLimits = { compressedBytes: 1e9, uncompressedBytes: 1e9, concurrentLayers: 4 };
/** So long that a test fails before: what is to end at once does not end by a time limit. */
const TIMEOUTS = { connectMs: 60_000, responseMs: 60_000, stallMs: 60_000 };

/** A signal that nobody aborts. */
export const NEVER = new AbortController().signal;

/** A fake registry with one image in it, and all that pulls it. */
export interface Pulling extends AsyncDisposable {
  readonly fake: FakeRegistry;
  readonly registry: Registry;
  readonly repository: Repository;
  /** Keeps nothing that nobody uses. */
  readonly tools: LayerTools;
  readonly limits: ImageLimits;
  /** Pull what the tag names. */
  pull(request?: Partial<PullRequest>, signal?: AbortSignal): Promise<Pulled>;
  /** Files that are held open in the workspace. */
  openFiles(): Promise<number>;
  /** @returns once the registry answers nothing any more */
  untilQuiet(): Promise<void>;
}

/** What is pulled unless said otherwise is the tag, for linux/amd64 as the default, in layout docker. */
export type PullRequest = Omit<ArchiveRequest, 'images'> & Omit<ImageRequest, 'registry' | 'repository'>;

/** An archive, and what its one image turned out to be. */
export type Pulled = PulledArchive & ResolvedImage;

/** What is to differ. */
export interface PullingOptions extends FakeRegistryOptions {
  readonly limits?: Partial<ImageLimits>;
  readonly timeouts?: Partial<typeof TIMEOUTS>;
}

/** Start a fake registry with an image, and open its repository. */
export async function startPulling(image: Pushable, options: PullingOptions = {}): Promise<Pulling> {
  await using stack = new AsyncDisposableStack();
  const fake = stack.use(await startFakeRegistry(options));
  fake.push(REPOSITORY, TAG, image);
  const directory = await mkdtemp(join(tmpdir(), 'pulling-'));
  stack.defer(() => rm(directory, { recursive: true, force: true }));
  const wire = new HttpTransport({
    timeouts: { ...TIMEOUTS, ...options.timeouts },
    proxyEnv: undefined,
    userAgent: 'test',
  });
  stack.defer(() => wire.close());
  const bodyLimits = { manifestBytes: 1e6, configBytes: 1e6, tokenBytes: 1e6, errorBytes: 1e6 };
  const target = registryTarget('http', fake.host);
  const registry = openRegistry(
    {
      wire,
      tokens: new TokenSource(bodyLimits),
      trustedRealms: [],
      limits: bodyLimits,
      userAgent: 'test',
      propagation: [],
      retry: QUICK_RETRY,
    },
    {
      target,
      repository: REPOSITORY,
      credential: { type: 'none' },
    },
  );
  const folder = await StoreFolder.makeTemporary(directory);
  const store = await Store.open<LayerReport>({ folder, maxBytes: 0 });
  stack.defer(() => store.close());
  const tools = { store, contents: new RepositoryContents(), slots: new RegistrySlots(8) };
  const repository = { origin: target.origin, name: REPOSITORY };
  const limits = { ...LIMITS, ...options.limits };
  const all = stack.move();
  return {
    fake,
    registry,
    repository,
    tools,
    limits,
    pull: (request = {}, signal = NEVER) => {
      const reference = { registryName: fake.host, repository: REPOSITORY, tag: TAG };
      return within(
        pullOne(
          { reference, name: reference, ...request },
          { registry, repository },
          { ...tools, limits, signal },
        ),
        'a pull',
      );
    },
    openFiles: async () => {
      await store.settled();
      return await openFilesIn(directory);
    },
    untilQuiet: () => within(fake.waitForNoActiveRequests(), 'the registry to have nothing to do'),
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  };
}

async function pullOne(
  {
    layout = 'docker',
    fetchesForeignLayers = false,
    ...image
  }: Partial<PullRequest> & Pick<ImageRequest, 'reference' | 'name'>,
  place: Pick<ImageRequest, 'registry' | 'repository'>,
  tools: PullTools,
): Promise<Pulled> {
  const platform = { os: 'linux', architecture: 'amd64' };
  const images = [{ platform, isPlatformAsked: false, ...place, ...image }];
  let found: ResolvedImage | undefined;
  const resolved = (one: ResolvedImage) => {
    found = one;
  };
  const archive = await resolveArchive({ images, layout, fetchesForeignLayers }, { ...tools, resolved });
  const prepared = await prepareArchive(archive, tools);
  // A cached archive is known by the ETag from before it is laid out.
  assert.equal(archive.etag, prepared.etag);
  return { ...prepared, ...(found ?? assert.fail('nothing was resolved')) };
}

/** The layers of an image as its manifest describes them. */
export function descriptors({ layers }: BuiltImage): Descriptor[] {
  return layers.map(({ mediaType, digest, blob }) => ({
    mediaType,
    digest: parseDigest(digest),
    size: blob.length,
  }));
}

/** The diff IDs of an image. */
export function diffIdsOf({ diffIds }: BuiltImage): Digest[] {
  return diffIds.map(parseDigest);
}

/** @returns the layer at this place */
export function layerAt({ layers }: BuiltImage, index: number): BuiltLayer {
  const layer = layers[index];
  if (layer === undefined) throw new RangeError(`Cannot find layer ${index}: there are ${layers.length}`);
  return layer;
}

/** @returns the error with this code that the promise rejects with */
export async function refusal(promise: Promise<unknown>, code: ErrorCode): Promise<PassthroughError> {
  const error: unknown = await promise.then(
    () => assert.fail(`it should have been refused with ${code}`),
    (reason: unknown) => reason,
  );
  assert.ok(isPassthroughError(error), String(error));
  assert.equal(error.code, code, error.message);
  return error;
}

/** Bytes that no compressor makes smaller, the same for the same seed. */
export function noise(length: number, seed: string): Buffer {
  const blocks = Array.from({ length: Math.ceil(length / 32) }, (_, index) =>
    createHash('sha256').update(`${seed} ${index}`).digest(),
  );
  return Buffer.concat(blocks).subarray(0, length);
}
