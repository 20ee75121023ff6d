/** A repository of a fake registry, as one pull opens it, and a workspace. */

import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ErrorCode, isPassthroughError, type PassthroughError } from '../../src/errors.ts';
import type { Digest } from '../../src/image/digest.ts';
import type { Descriptor } from '../../src/image/manifest.ts';
import { childrenBytes } from '../../src/pull/documents/children-budget.ts';
import { openSpoolFile } from '../../src/pull/documents/stored-content.ts';
import type { ImageDigests } from '../../src/pull/image-attributes.ts';
import { LayerFetcher } from '../../src/pull/layers/fetch-layers.ts';
import type { ImageLimits } from '../../src/pull/limits.ts';
import { DEFAULT_OPTIONS, type GzipWay } from '../../src/pull/options.ts';
import type { LayerReport } from '../../src/pull/progress.ts';
import { ArchivePuller } from '../../src/pull/pull-archive.ts';
import { type ArchiveRequest, archiveRequest, type ImageRequest } from '../../src/pull/request.ts';
import { type ResolvedArchive, type ResolvePolicy, resolveArchive } from '../../src/pull/resolve-archive.ts';
import { digestsOf } from '../../src/pull/resolve-manifest.ts';
import { TokenSource } from '../../src/registry/auth/token.ts';
import { openRepository } from '../../src/registry/open-repository.ts';
import { registryHost } from '../../src/registry/registry-host.ts';
import type { Repository, RepositoryLocation } from '../../src/registry/repository.ts';
import { HttpTransport } from '../../src/registry/transport/http-transport.ts';
import { StoreFolder } from '../../src/storage/folder.ts';
import type { Draft, Store, Stored } from '../../src/storage/store.ts';
import { Documents } from '../../src/util/documents.ts';
import { MemoryBudget } from '../../src/util/memory-budget.ts';
import { parseDigest } from '../support/digest.ts';
import { ampleMemory } from '../support/documents.ts';
import { type FakeRegistry, type FakeRegistryOptions, startFakeRegistry } from '../support/fake-registry.ts';
import type { BuiltImage, BuiltLayer, Pushable } from '../support/image.ts';
import { openFilesIn, QUICK_RETRY, tamperedStore } from '../support/service.ts';
import { within } from '../support/within.ts';

export const REPOSITORY = 'team/app';
export const TAG = '1';

const LIMITS: ImageLimits = { compressedBytes: 1e9, uncompressedBytes: 1e9, concurrentLayers: 4 };
/** Longer than any test runs, so that no step ends by a time limit. */
const TIMEOUTS = { connectMs: 60_000, responseMs: 60_000, stallMs: 60_000 };

const BUFFERED_BYTES = 256 * 1024 * 1024;
/** Longer than any test runs. */
const MEMORY_WAIT_MS = 60_000;

/** A signal that never aborts. */
export const NEVER = new AbortController().signal;

/** A fake registry with one image, and the parts that pull it. */
export interface Pulling extends AsyncDisposable {
  readonly fake: FakeRegistry;
  readonly repository: Repository;
  readonly location: RepositoryLocation;
  /** Keeps no file that is not in use. */
  readonly store: Store<LayerReport>;
  readonly memory: MemoryBudget;
  readonly layers: LayerFetcher;
  readonly puller: ArchivePuller;
  readonly policy: ResolvePolicy;
  resolve(request?: Partial<PullRequest>, signal?: AbortSignal): Promise<ResolvedArchive>;
  pull(request?: Partial<PullRequest>, signal?: AbortSignal): Promise<Pulled>;
  /** Number of files of the workspace that are open. */
  openFiles(): Promise<number>;
  /** Checks that no request to the registry runs, that no file is open, and that no memory is reserved. */
  assertIdle(): Promise<void>;
}

/** What is pulled: unless given, the tag for linux/amd64 in layout docker. */
export type PullRequest = Omit<ArchiveRequest, 'images'> & Pick<ImageRequest, 'reference'>;

/** A pulled archive, and the digests of its image. */
export interface Pulled {
  readonly size: number;
  readonly digests: ImageDigests;
  bytes(): AsyncGenerator<Uint8Array, void, undefined>;
  release(): void;
}

/** How the registry and the parts differ from the usual. */
export interface PullingOptions extends FakeRegistryOptions {
  readonly limits?: Partial<ImageLimits>;
  /** Memory for documents and decoders; more than any test needs unless given. */
  readonly bufferedBytes?: number;
  /** Memory for what is held while archives are sent; as much unless given. */
  readonly heldBytes?: number;
  readonly timeouts?: Partial<typeof TIMEOUTS>;
  readonly fetchesForeignLayers?: boolean;
  readonly gzip?: GzipWay;
  /** Most bytes that the store keeps; nothing unless given. */
  readonly storeBytes?: number;
  /** Replaces a file that the store returns. */
  readonly tamper?: (file: Stored, key: string) => Stored;
  /** Replaces a draft that the store passes to be written. */
  readonly tamperDraft?: (draft: Draft, key: string) => Draft;
}

/** Starts a fake registry with an image, and opens its repository. */
export async function startPulling(image: Pushable, options: PullingOptions = {}): Promise<Pulling> {
  await using stack = new AsyncDisposableStack();
  const fake = stack.use(await startFakeRegistry(options));
  fake.push(REPOSITORY, TAG, image);
  const directory = await mkdtemp(join(tmpdir(), 'pulling-'));
  stack.defer(() => rm(directory, { recursive: true, force: true }));
  const folder = await StoreFolder.makeTemporary(directory);
  const tampered = tamperedStore(options.tamper, options.tamperDraft);
  const store = await tampered.openStore({ folder, maxBytes: options.storeBytes ?? 0 });
  stack.defer(() => store.close());
  const wire = new HttpTransport({
    timeouts: { ...TIMEOUTS, ...options.timeouts },
    proxyEnv: undefined,
    userAgent: 'test',
  });
  stack.defer(() => wire.close());
  const memory = new MemoryBudget({
    maxBytes: options.bufferedBytes ?? BUFFERED_BYTES,
    maxWaitMs: MEMORY_WAIT_MS,
  });
  const documents = new Documents({ memory, openFile: () => openSpoolFile(store) });
  const bodyLimits = { manifestBytes: 1e6, configBytes: 2e6, tokenBytes: 1e6, errorBytes: 1e6 };
  const host = registryHost('http', fake.host);
  const repository = openRepository(
    {
      wire,
      tokens: new TokenSource(bodyLimits),
      trustedRealms: [],
      limits: bodyLimits,
      documents,
      userAgent: 'test',
      propagation: [],
      retry: QUICK_RETRY,
    },
    { host, repository: REPOSITORY, credential: { type: 'none' } },
  );
  const location = { origin: host.origin, name: REPOSITORY };
  const limits = { ...LIMITS, ...options.limits };
  const policy = {
    limits,
    documents,
    heldMemory:
      options.heldBytes === undefined
        ? ampleMemory()
        : new MemoryBudget({ maxBytes: options.heldBytes, maxWaitMs: 1 }),
    childrenBytes: childrenBytes(bodyLimits.manifestBytes),
    fetchesForeignLayers: options.fetchesForeignLayers ?? false,
    gzip: options.gzip ?? 'spliced',
    iox: DEFAULT_OPTIONS.iox,
  };
  const layers = new LayerFetcher({ store, limits, concurrentDownloads: 8, memory });
  const puller = new ArchivePuller(layers, policy, store);
  const resolve = (given: Partial<PullRequest> = {}, signal = NEVER) => {
    const { reference = { registryName: fake.host, repository: REPOSITORY, tag: TAG }, ...rest } = given;
    const request = { ...archiveRequest([{ host, reference, name: reference }], rest), ...rest };
    return resolveArchive(request, () => ({ location, repository }), policy, signal);
  };
  const pull = async (given: Partial<PullRequest> = {}, signal = NEVER): Promise<Pulled> => {
    using held = new DisposableStack();
    const resolved = await resolve(given, signal);
    held.defer(() => resolved.release());
    const { manifest } = resolved.images[0] ?? assert.fail('no image was resolved');
    const pulled = await puller.pull(resolved, { signal });
    held.defer(() => pulled.release());
    const bytes = () => pulled.bytes(undefined, { resolved, signal });
    const all = held.move();
    return { size: pulled.size, digests: digestsOf(manifest), bytes, release: () => all.dispose() };
  };
  const openFiles = async () => {
    await store.settled();
    return await openFilesIn(directory);
  };
  const all = stack.move();
  return {
    fake,
    repository,
    location,
    store,
    memory,
    layers,
    puller,
    policy,
    resolve,
    pull: (given, signal) => within(pull(given, signal), 'a pull'),
    openFiles,
    assertIdle: async () => {
      await within(fake.waitForNoActiveRequests(), 'the end of all registry requests');
      assert.equal(await openFiles(), 0);
      assert.deepEqual([memory.used, policy.heldMemory.used], [0, 0], 'no memory is reserved');
    },
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  };
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

/** The layer with this index. */
export function layerAt({ layers }: BuiltImage, index: number): BuiltLayer {
  const layer = layers[index];
  if (layer === undefined) throw new RangeError(`Cannot find layer ${index}: there are ${layers.length}`);
  return layer;
}

/** The error with this code, with which the promise must reject. */
export async function refusal(promise: Promise<unknown>, code: ErrorCode): Promise<PassthroughError> {
  const error: unknown = await promise.then(
    () => assert.fail(`the promise must reject with ${code}`),
    (reason: unknown) => reason,
  );
  assert.ok(isPassthroughError(error), String(error));
  assert.equal(error.code, code, error.message);
  return error;
}
