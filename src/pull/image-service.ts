import { formatReference } from '../image/reference.ts';
import {
  accountOf,
  type BasicCredentials,
  type CredentialOwner,
  chooseCredential,
  ownerOf,
} from '../registry/auth/credentials.ts';
import { openRegistryAccess, openRepository, type RegistryAccess } from '../registry/open-repository.ts';
import type { RegistryHost } from '../registry/registry-host.ts';
import type { Repository } from '../registry/repository.ts';
import type { RetryPolicy } from '../registry/transport/retry.ts';
import { StoreFolder } from '../storage/folder.ts';
import { Store } from '../storage/store.ts';
import { MemoryBudget } from '../util/memory-budget.ts';
import { VERSION } from '../version.ts';
import { type ArchiveFile, ArchiveFiles, sharedFiles } from './archive-files.ts';
import { CachingRepository, SharedManifests } from './cache/caching-repository.ts';
import { ManifestStore } from './cache/manifest-store.ts';
import { ReferenceCache } from './cache/reference-cache.ts';
import { LayerFetcher } from './fetch-layers.ts';
import { Places, withTimeLimit } from './limits.ts';
import { type ImageServiceOptions, type ResolvedOptions, resolveOptions, storeBytes } from './options.ts';
import { type Preparation, Preparations, type StartedPreparation } from './preparations.ts';
import type { LayerReport, Progress } from './progress.ts';
import { ArchivePuller } from './pull-archive.ts';
import type { ArchiveRequest, ImageRequest } from './request.ts';
import { type ResolvedArchive, type ResolvePolicy, resolveArchive } from './resolve-archive.ts';
import { fetchManifest, type ManifestChoice, type ServedManifest } from './resolve-manifest.ts';

/** What belongs to one call. */
export interface Call {
  /** Stops the call and its requests to the registry. */
  readonly signal: AbortSignal;
  /** The client's own credentials. They are used for this call only, and only if the request names a single registry. */
  readonly credentials?: BasicCredentials | undefined;
  /** Whether the call must bring credentials of its own: the operator's are then not used, of whatever kind. */
  readonly requiresClient?: boolean | undefined;
}

/** A call of {@link ImageService.pull}. */
export interface PullOptions {
  /** Stops the pull, and later the repair of damaged layers while the file is read. */
  readonly signal: AbortSignal;
  readonly onProgress?: ((progress: Progress) => void) | undefined;
  /** Whose pull it is, so that one client does not take all places. */
  readonly client?: string | undefined;
}

/** A call of {@link ImageService.prepare}. */
export interface PrepareOptions extends Omit<Call, 'signal'> {
  /** Path under which the archive can be requested, for those who look the preparation up. */
  readonly path: string;
  /** Whose preparation it is, so that one client does not take all places. */
  readonly client?: string | undefined;
}

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
  readonly memory: MemoryBudget;
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
  readonly #preparations = new Preparations();

  private constructor(
    options: ResolvedOptions,
    { store, manifestStore, references, memory }: Opened,
    { manifestsInFlight, filesInFlight = sharedFiles(), retry }: ReplaceableParts,
  ) {
    const { registry, limits, admission } = options;
    this.#options = options;
    this.#policy = { limits, fetchesForeignLayers: registry.foreignLayers === 'fetch' };
    this.#registries = openRegistryAccess({
      ...registry,
      userAgent: `docker-http-passthrough/${VERSION}`,
      ...(retry !== undefined && { retry }),
    });
    this.#store = store;
    this.#manifestStore = manifestStore;
    this.#manifests = new SharedManifests(references, manifestsInFlight);
    const { concurrentDownloads } = registry;
    const layers = new LayerFetcher({ store, limits, concurrentDownloads, memory });
    this.#files = new ArchiveFiles({
      store,
      limits,
      puller: new ArchivePuller(layers, this.#policy),
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
      const { bufferedBytes, admission } = resolved;
      const memory = new MemoryBudget({ maxBytes: bufferedBytes, maxWaitMs: admission.maxWaitMs });
      return new ImageService(resolved, { store, manifestStore, references, memory }, parts);
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
      const file = await this.pull(resolved, { signal, onProgress, client });
      file.close();
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
   * @throws PassthroughError `PLATFORM_NOT_FOUND`, `UNSUPPORTED_IMAGE`, and those of `Repository`
   */
  manifest({ host, reference }: ImageRequest, choice: ManifestChoice, call: Call): Promise<ServedManifest> {
    const repository = this.#openUncached(host, reference.repository, call);
    return fetchManifest({ reference, repository }, choice, call.signal);
  }

  /**
   * Lists the tags of a repository, all pages of them.
   *
   * @throws PassthroughError those of `Repository`
   */
  tags({ host, reference }: ImageRequest, call: Call): Promise<readonly string[]> {
    return this.#openUncached(host, reference.repository, call).listTags(call.signal);
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

  #openUncached(host: RegistryHost, repository: string, client: Call): Repository {
    const credential = this.#credentialFor(host, [host], client);
    return openRepository(this.#registries, { host, repository, credential });
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
