import { formatReference } from '../image/reference.ts';
import { accountOf, type CredentialOwner, chooseCredential, ownerOf } from '../registry/auth/credentials.ts';
import { openRegistryAccess, openRepository, type RegistryAccess } from '../registry/open-repository.ts';
import type { RegistryHost } from '../registry/registry-host.ts';
import type { RetryPolicy } from '../registry/transport/retry.ts';
import { StoreFolder } from '../storage/folder.ts';
import { Store } from '../storage/store.ts';
import type { Content } from '../util/content.ts';
import { Documents } from '../util/documents.ts';
import { MemoryBudget } from '../util/memory-budget.ts';
import { VERSION } from '../version.ts';
import { type ArchiveFile, ArchiveFiles, sharedFiles } from './archive-files.ts';
import { CachingRepository, SharedManifests } from './cache/caching-repository.ts';
import { ManifestStore } from './cache/manifest-store.ts';
import { ReferenceCache } from './cache/reference-cache.ts';
import { childrenBytes } from './documents/children-budget.ts';
import { divideMemory } from './documents/held-memory.ts';
import { LookUps } from './documents/look-ups.ts';
import { openSpoolFile } from './documents/stored-content.ts';
import { LayerFetcher } from './fetch-layers.ts';
import { Places, withTimeLimit } from './limits.ts';
import { type ImageServiceOptions, type ResolvedOptions, resolveOptions, storeBytes } from './options.ts';
import { type Preparation, Preparations, type StartedPreparation } from './preparations.ts';
import type { LayerReport } from './progress.ts';
import { ArchivePuller } from './pull-archive.ts';
import type {
  ArchiveRequest,
  Call,
  ImageRequest,
  InspectCall,
  PrepareOptions,
  PullOptions,
} from './request.ts';
import { type ResolvedArchive, type ResolvePolicy, resolveArchive } from './resolve-archive.ts';
import type { ManifestChoice, ServedManifest } from './resolve-manifest.ts';

/** Parts that tests replace, to observe or to damage them. */
export interface ReplaceableParts {
  readonly openStore?: typeof Store.open<LayerReport>;
  readonly manifestsInFlight?: SharedManifests['inFlight'];
  readonly filesInFlight?: ReturnType<typeof sharedFiles>;
  readonly retry?: RetryPolicy | undefined;
}

/** What {@link ImageService.open} opens. */
interface Opened {
  readonly store: Store<LayerReport>;
  readonly manifestStore: ManifestStore;
  readonly references: ReferenceCache;
}

/**
 * The application: resolves images at their registries, fetches and verifies their layers, and lays them out as archives. It is
 * made once and serves any number of concurrent calls.
 */
export class ImageService {
  readonly #options: ResolvedOptions;
  readonly #policy: ResolvePolicy;
  readonly #registries: RegistryAccess & { close(): void };
  readonly #manifests: SharedManifests;
  readonly #store: Store<LayerReport>;
  readonly #manifestStore: ManifestStore;
  readonly #files: ArchiveFiles;
  readonly #lookUps: LookUps;
  readonly #preparations = new Preparations();

  private constructor(
    options: ResolvedOptions,
    { store, manifestStore, references }: Opened,
    { manifestsInFlight, filesInFlight = sharedFiles(), retry }: ReplaceableParts,
  ) {
    const { registry, limits, admission, bufferedBytes } = options;
    const { concurrentDownloads } = registry;
    const { maxWaitMs } = admission;
    const { brief, held } = divideMemory(bufferedBytes);
    const memory = new MemoryBudget({ maxBytes: brief, maxWaitMs });
    const documents = new Documents({ memory, openFile: () => openSpoolFile(store) });
    this.#options = options;
    this.#policy = {
      limits,
      documents,
      heldMemory: new MemoryBudget({ maxBytes: held, maxWaitMs }),
      childrenBytes: childrenBytes(registry.bodyLimits.manifestBytes),
      fetchesForeignLayers: registry.foreignLayers === 'fetch',
    };
    this.#registries = openRegistryAccess({
      ...registry,
      documents,
      userAgent: `docker-http-passthrough/${VERSION}`,
      ...(retry !== undefined && { retry }),
    });
    this.#store = store;
    this.#manifestStore = manifestStore;
    this.#manifests = new SharedManifests(references, manifestsInFlight);
    this.#lookUps = new LookUps({
      store,
      documents,
      resolving: this.#policy,
      maxWaitMs,
      totalMs: options.prepareTimeoutMs,
    });
    const layers = new LayerFetcher({ store, limits, concurrentDownloads, memory });
    this.#files = new ArchiveFiles({
      store,
      limits,
      puller: new ArchivePuller(layers, this.#policy, store),
      places: new Places(admission),
      inFlight: filesInFlight,
    });
  }

  /**
   * Opens a service: its store and its connections. The caller must close it.
   *
   * @throws PassthroughError `INVALID_CONFIGURATION` if a folder cannot be used
   */
  static async open(options: ImageServiceOptions = {}, parts: ReplaceableParts = {}): Promise<ImageService> {
    const resolved = resolveOptions(options);
    const { cache, workspaceDirectory, onDamage } = resolved;
    const { directory, staleMs } = cache;
    const folder =
      directory === undefined
        ? await StoreFolder.makeTemporary(workspaceDirectory)
        : await StoreFolder.openKept(directory);
    try {
      const openStore = parts.openStore ?? Store.open<LayerReport>;
      const maxBytes = storeBytes(cache, await folder.capacity());
      const store = await openStore({ folder, maxBytes, onDamage });
      const manifestStore = new ManifestStore(store, folder);
      const isOn = cache.maxBytes !== 0;
      const stored = isOn && staleMs > 0 ? await manifestStore.readReferences() : undefined;
      const references = new ReferenceCache({ isOn, staleMs, store: manifestStore, stored });
      return new ImageService(resolved, { store, manifestStore, references }, parts);
    } catch (error) {
      await folder.close();
      throw error;
    }
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
    return new Set(hosts.map((host) => ownerOf(this.#credentialFor(host, hosts, client))));
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
    const open = ({ host, reference: { repository: name } }: ImageRequest) => {
      const credential = this.#credentialFor(host, hosts, client);
      const location = { origin: host.origin, name };
      const inner = openRepository(this.#registries, { host, repository: name, credential });
      const repository = new CachingRepository(
        inner,
        { location, owner: ownerOf(credential) },
        this.#manifests,
      );
      return { location, repository, account: accountOf(credential) };
    };
    return withTimeLimit({ totalMs: this.#options.prepareTimeoutMs, spentMs: 0 }, signal, (both) =>
      resolveArchive(request, open, this.#policy, both),
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
  pull(resolved: ResolvedArchive, { signal, onProgress, client }: PullOptions): Promise<ArchiveFile> {
    const limits = { totalMs: this.#options.prepareTimeoutMs, spentMs: resolved.resolveMs };
    return withTimeLimit(limits, signal, (_, limit) =>
      this.#files.open(resolved, { signal, limit, onProgress, client }),
    );
  }

  /**
   * Starts to resolve and pull an archive without a waiting client.
   *
   * @throws PassthroughError `BUSY` when too many preparations run, or the service stops
   */
  prepare(request: ArchiveRequest, { path, client, ...access }: PrepareOptions): StartedPreparation {
    const images = request.images.map(({ reference }) => formatReference(reference));
    return this.#preparations.start({ path, images }, async (signal, onProgress) => {
      const resolved = await this.resolve(request, { signal, ...access });
      try {
        const file = await this.pull(resolved, { signal, onProgress, client });
        file.close();
      } finally {
        resolved.release();
      }
    });
  }

  /** Returns a preparation while it runs, and for an hour after. */
  findPreparation(id: string): Preparation | undefined {
    return this.#preparations.find(id);
  }

  /** Cancels a preparation, or removes one that has ended; returns whether the ID is known. */
  cancelPreparation(id: string): Promise<boolean> {
    return this.#preparations.cancel(id);
  }

  /** Cancels all preparations and refuses new ones. */
  stopPreparations(): Promise<void> {
    return this.#preparations.stop();
  }

  /**
   * Fetches a manifest, byte for byte as the registry has it.
   *
   * @returns the manifest, whose content the caller must release
   * @throws PassthroughError `PLATFORM_NOT_FOUND`, `UNSUPPORTED_IMAGE`, `BUSY`, those of `Repository`, `REGISTRY_TIMEOUT` when it
   *   takes longer than `prepareTimeoutMs`
   */
  manifest(image: ImageRequest, choice: ManifestChoice, call: InspectCall): Promise<ServedManifest> {
    const { repository, ...place } = this.#openUncached(image, call);
    return this.#lookUps.manifest({ reference: image.reference, repository }, choice, place);
  }

  /**
   * Lists the tags of a repository, all pages of them, as JSON text: a list.
   *
   * @returns the text, which the caller must release
   * @throws PassthroughError `BUSY`, those of `Repository`, `REGISTRY_TIMEOUT` when it takes longer than `prepareTimeoutMs`
   */
  tags(image: ImageRequest, call: InspectCall): Promise<Content> {
    const { repository, ...place } = this.#openUncached(image, call);
    return this.#lookUps.tags(repository, place);
  }

  /**
   * Checks that files can be written.
   *
   * @throws PassthroughError `NO_SPACE`, `INTERNAL`
   */
  probe(): Promise<void> {
    return this.#store.probe();
  }

  /** Stops all work and frees connections and files. A temporary store is removed. */
  async close(): Promise<void> {
    await this.#preparations.stop();
    this.#registries.close();
    await this.#manifestStore.close();
    await this.#store.close();
  }

  #openUncached({ host, reference }: ImageRequest, { signal, client, ...access }: InspectCall) {
    const credential = this.#credentialFor(host, [host], access);
    const { repository: name } = reference;
    const repository = openRepository(this.#registries, { host, repository: name, credential });
    return { repository, signal, client, location: { origin: host.origin, name } };
  }

  /** Credentials in a request that names several registries do not say for which of them they are. */
  #credentialFor(
    host: RegistryHost,
    hosts: readonly RegistryHost[],
    { credentials, requiresClient }: Omit<Call, 'signal'>,
  ) {
    const isSingle = hosts.every(({ origin }) => origin === host.origin);
    const client = isSingle ? credentials : undefined;
    return chooseCredential(host, client, this.#options.registry.credentials, { requiresClient });
  }
}
