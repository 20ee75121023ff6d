import type { Descriptor } from '../image/descriptor.ts';
import type { CredentialOwner } from '../registry/auth/credentials.ts';
import type { MirrorSnapshot } from '../registry/mirrors/mirror-health.ts';
import type { OpenedRegistryAccess } from '../registry/open-repository.ts';
import type { RegistryHost } from '../registry/registry-host.ts';
import type { Store } from '../storage/store.ts';
import { verified } from '../streams/verify.ts';
import type { Content } from '../util/content.ts';
import type { ArchiveFile } from './archive-file.ts';
import { ArchiveFiles, sharedFiles } from './archive-files.ts';
import { SharedManifests } from './cache/caching-repository.ts';
import type { ManifestStore } from './cache/manifest-store.ts';
import { openStorage, type ReplaceableParts, type Storage } from './cache/open-storage.ts';
import { Repositories } from './cache/repositories.ts';
import { DirectWriter } from './direct/direct-writer.ts';
import type { EarlyFile } from './direct/early-archives.ts';
import { type ManifestFacts, manifestFacts } from './direct/manifest-facts.ts';
import { checkTarget } from './direct/partial-file.ts';
import { pullTo, type WrittenArchive } from './direct/pull-to.ts';
import { LookUps, type ServedDescriptor } from './documents/look-ups.ts';
import { openShared } from './documents/policy.ts';
import { LayerFetcher } from './layers/fetch-layers.ts';
import { Places, withTimeLimit } from './limits.ts';
import { type ImageServiceOptions, type ResolvedOptions, resolveOptions } from './options.ts';
import { type PreparationLookUp, Preparations, type StartedPreparation, subjectOf } from './preparations.ts';
import { finished, type LayerReport } from './progress.ts';
import { ArchivePuller } from './pull-archive.ts';
import type {
  ArchiveRequest,
  Call,
  ImageRequest,
  InspectCall,
  PrepareOptions,
  PullOptions,
  PullToOptions,
} from './request.ts';
import { type ResolvedArchive, type ResolvePolicy, resolveArchive } from './resolve-archive.ts';
import type { ManifestChoice, ServedManifest } from './resolve-manifest.ts';
import { readStatus, type ServiceStatus } from './status/service-status.ts';
import type { Comparison } from './update/compare.ts';

/**
 * The application: resolves images at their registries, fetches and verifies their layers, and lays them out as archives. It is
 * made once and serves any number of concurrent calls.
 */
export class ImageService {
  readonly #options: ResolvedOptions;
  readonly #policy: ResolvePolicy;
  readonly #registries: OpenedRegistryAccess;
  readonly #repositories: Repositories;
  readonly #store: Store<LayerReport>;
  readonly #manifestStore: ManifestStore;
  readonly #files: ArchiveFiles;
  readonly #writer: DirectWriter;
  readonly #lookUps: LookUps;
  readonly #preparations = new Preparations();
  readonly #places: Places;

  private constructor(
    options: ResolvedOptions,
    storage: Storage,
    { manifestsInFlight, filesInFlight = sharedFiles(), retry }: ReplaceableParts,
  ) {
    const { registry, limits, admission } = options;
    const { store, manifestStore, references } = storage;
    const { policy, memory, registries } = openShared(options, storage, retry);
    this.#options = options;
    this.#policy = policy;
    this.#registries = registries;
    this.#store = store;
    this.#manifestStore = manifestStore;
    const manifests = new SharedManifests(references, manifestsInFlight);
    this.#repositories = new Repositories(registry, this.#registries, manifests);
    this.#lookUps = new LookUps({
      store,
      documents: policy.documents,
      resolving: policy,
      maxWaitMs: admission.maxWaitMs,
      totalMs: options.prepareTimeoutMs,
    });
    this.#places = new Places(admission);
    const { concurrentDownloads } = registry;
    const layers = new LayerFetcher({ store, limits, concurrentDownloads, memory });
    this.#writer = new DirectWriter(layers, policy, store);
    this.#files = new ArchiveFiles({
      store,
      policy,
      layers,
      puller: new ArchivePuller(layers, policy, store),
      places: this.#places,
      inFlight: filesInFlight,
    });
  }

  /**
   * Opens a service: its store and its connections. The caller must close it.
   *
   * @throws PassthroughError `INVALID_CONFIGURATION` if a folder, a certificate, a key or the namespace cannot be used
   */
  static async open(options: ImageServiceOptions = {}, parts: ReplaceableParts = {}): Promise<ImageService> {
    const resolved = resolveOptions(options);
    return await openStorage(
      resolved,
      parts.openStore,
      (storage) => new ImageService(resolved, storage, parts),
    );
  }

  /** Whether prepared archives are kept for later requests. */
  get keepsArchives(): boolean {
    return this.#options.cache.maxBytes !== 0;
  }

  /**
   * Whose credentials a request would use: the client's own if it has some and names a single registry, else the operator's
   * where they belong to the registry and the call does not require the client's, else none.
   *
   * @param hosts the registries of the request
   */
  credentialOwners(
    hosts: readonly RegistryHost[],
    client: Omit<Call, 'signal'>,
  ): ReadonlySet<CredentialOwner> {
    return this.#repositories.owners(hosts, client);
  }

  /**
   * Resolves the images of an archive to verified manifests, so that its entity tag is known.
   *
   * @returns the archive, which the caller must release when its file is closed
   * @throws PassthroughError `IMAGE_NOT_FOUND`, `PLATFORM_NOT_FOUND`, `UNSUPPORTED_IMAGE`, `VERIFICATION_FAILED`,
   *   `IMAGE_TOO_LARGE`, those of `Repository`, `REGISTRY_TIMEOUT` when it takes longer than `prepareTimeoutMs`
   */
  resolve(request: ArchiveRequest, { signal, ...client }: Call): Promise<ResolvedArchive> {
    const hosts = request.images.map(({ host }) => host);
    const limits = { totalMs: this.#options.prepareTimeoutMs, spentMs: 0 };
    return withTimeLimit(limits, signal, async (both) =>
      resolveArchive(request, await this.#repositories.opener(hosts, client), this.#policy, both),
    );
  }

  /**
   * Pulls a resolved archive: all its bytes are stored and verified when the promise resolves. Concurrent pulls of one archive
   * share their work.
   *
   * @returns the file, which the caller must close
   * @throws PassthroughError `UNSUPPORTED_IMAGE`, `VERIFICATION_FAILED`, `IMAGE_TOO_LARGE`, `NO_SPACE`, `BUSY`, those of
   *   `Repository`, `REGISTRY_TIMEOUT` when it takes, together with resolving, longer than `prepareTimeoutMs`
   */
  pull(resolved: ResolvedArchive, { signal, ...options }: PullOptions): Promise<ArchiveFile> {
    const limits = { totalMs: this.#options.prepareTimeoutMs, spentMs: resolved.resolveMs };
    return withTimeLimit(limits, signal, (_, limit) =>
      this.#files.open(resolved, { signal, limit, ...options }),
    );
  }

  /**
   * Begins an archive before its layers are there, which the caller must close. `undefined` if {@link pull} is to be called.
   *
   * @throws PassthroughError those of {@link pull}
   */
  pullEarly(resolved: ResolvedArchive, { signal, client }: PullOptions): Promise<EarlyFile | undefined> {
    const time = { totalMs: this.#options.prepareTimeoutMs, spentMs: resolved.resolveMs };
    return this.#files.openEarly(resolved, { signal, time, client });
  }

  /**
   * Resolves and pulls an archive to a file, which has its name only when all its bytes are verified.
   *
   * @throws PassthroughError those of {@link resolve} and {@link pull}; `CANNOT_WRITE`, `NO_SPACE`
   */
  async pullTo(
    request: ArchiveRequest,
    destination: string,
    { signal, onProgress, client, ...access }: PullToOptions,
  ): Promise<WrittenArchive> {
    await checkTarget(destination);
    const resolved = await this.resolve(request, { signal, ...access });
    // Through a kept store, a later pull finds the layers of one that broke off.
    const writer = this.#options.cache.directory === undefined ? this.#writer : undefined;
    const pull = (options: PullOptions) => this.pull(resolved, options);
    const ways = { writer, pull, totalMs: this.#options.prepareTimeoutMs };
    return pullTo(destination, resolved, ways, { signal, onProgress, client });
  }

  /**
   * Starts to resolve and pull an archive without a waiting client.
   *
   * @throws PassthroughError `BUSY` when too many preparations run, or the service stops
   */
  prepare(request: ArchiveRequest, { path, client, ...access }: PrepareOptions): StartedPreparation {
    return this.#preparations.start(subjectOf(request, path), async (signal, onProgress) => {
      const resolved = await this.resolve(request, { signal, ...access });
      try {
        const { layers = resolved.layers, close } = await this.pull(resolved, { signal, onProgress, client });
        close();
        onProgress(finished(layers));
      } finally {
        resolved.release();
      }
    });
  }

  /** The preparations that {@link prepare} has started. */
  get preparations(): PreparationLookUp {
    return this.#preparations;
  }

  /**
   * Fetches a manifest, byte for byte as the registry has it.
   *
   * @returns the manifest, whose content the caller must release
   * @throws PassthroughError `PLATFORM_NOT_FOUND`, `UNSUPPORTED_IMAGE`, `BUSY`, those of `Repository`, `REGISTRY_TIMEOUT` when it
   *   takes longer than `prepareTimeoutMs`
   */
  async manifest(image: ImageRequest, choice: ManifestChoice, call: InspectCall): Promise<ServedManifest> {
    const { repository, ...place } = await this.#repositories.openUncached(image, call);
    return this.#lookUps.manifest({ reference: image.reference, repository }, choice, place);
  }

  /**
   * Writes the descriptor of an image for Cisco IOx, as a package has it. No layer is fetched.
   *
   * @param request for layout iox
   * @throws PassthroughError those of {@link resolve}; `UNSUPPORTED_IMAGE` for an image that has no valid descriptor; `BUSY`
   */
  descriptor(request: ArchiveRequest, { client, ...call }: InspectCall): Promise<ServedDescriptor> {
    const place = this.#repositories.placeOf(request, { ...call, client });
    const resolve = (signal: AbortSignal) => this.resolve(request, { ...call, signal });
    return this.#lookUps.descriptor(resolve, this.#policy, place);
  }

  /**
   * Asks for digest, media type and size of a manifest, which is fetched where HEAD does not tell them all.
   *
   * @throws PassthroughError those of {@link manifest}
   */
  async headManifest(image: ImageRequest, call: InspectCall): Promise<ManifestFacts> {
    const { repository, signal } = await this.#repositories.openUncached(image, call);
    const fetch = () => this.manifest(image, { type: undefined, platform: undefined }, call);
    return manifestFacts(image.reference, repository, fetch, signal);
  }

  /**
   * Opens a blob of an image. Its bytes are verified when they have been read to the end, not before.
   *
   * @throws PassthroughError those of `Repository`; while reading, `VERIFICATION_FAILED`
   */
  async openBlob(image: ImageRequest, descriptor: Descriptor, call: Call) {
    const { repository } = await this.#repositories.openUncached(image, call);
    return verified(await repository.openLayer(descriptor, call.signal), descriptor);
  }

  /**
   * Lists the tags of a repository, all pages of them, as JSON text: a list.
   *
   * @returns the text, which the caller must release
   * @throws PassthroughError `BUSY`, those of `Repository`, `REGISTRY_TIMEOUT` when it takes longer than `prepareTimeoutMs`
   */
  async tags(image: ImageRequest, call: InspectCall): Promise<Content> {
    const { repository, ...place } = await this.#repositories.openUncached(image, call);
    return this.#lookUps.tags(repository, place);
  }

  /**
   * Compares an image with the base of its update, without pulling either.
   *
   * @param request of a single image, with a base, for one platform
   * @throws PassthroughError those of {@link resolve}, `BUSY`
   */
  compare(request: ArchiveRequest, call: InspectCall): Promise<Comparison> {
    const place = this.#repositories.placeOf(request, call);
    return this.#lookUps.compare((signal) => this.resolve(request, { ...call, signal }), place);
  }

  /** What is known of each mirror; for an image, of those that it may come from. No mirror is asked. */
  mirrors(image?: ImageRequest): readonly MirrorSnapshot[] {
    const place = image && { host: image.host, repository: image.reference.repository };
    return this.#registries.mirrors?.all.snapshot(place) ?? [];
  }

  /** Checks that files can be written. @throws PassthroughError `NO_SPACE`, `INTERNAL` */
  probe(): Promise<void> {
    return this.#store.probe();
  }

  /** What the service is doing. No registry is asked. */
  get status(): ServiceStatus {
    const { maxWaiters: maxWaiting } = this.#options.admission;
    return readStatus({ places: this.#places, maxWaiting, store: this.#store, registries: this.#registries });
  }

  /** Stops all work and frees connections and files. A temporary store is removed. */
  async close(): Promise<void> {
    await this.#preparations.stop();
    this.#registries.close();
    await this.#manifestStore.close();
    await this.#store.close();
  }
}
