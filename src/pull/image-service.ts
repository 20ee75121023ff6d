import type { Config } from '../config/config.ts';
import { StartedDownloads } from '../http/handlers/started-downloads.ts';
import { openRegistryAccess, type RegistryAccess } from '../registry/open-repository.ts';
import type { RetryPolicy } from '../registry/transport/retry.ts';
import { StoreFolder } from '../storage/folder.ts';
import { Store } from '../storage/store.ts';
import { KeyedSemaphore, Semaphore } from '../util/semaphore.ts';
import { SingleFlight } from '../util/single-flight.ts';
import { VERSION } from '../version.ts';
import { ChecksumCache, type Delivery } from './archive-file.ts';
import type { PreparationTools } from './archive-files.ts';
import type { CachingOptions } from './cache/caching-repository.ts';
import { KnownBlobs } from './cache/known-blobs.ts';
import { ManifestStore } from './cache/manifest-store.ts';
import { ReferenceCache } from './cache/reference-cache.ts';
import type { LayerTools } from './fetch-layers.ts';
import type { LayerReport, Progress } from './progress.ts';

const GIB = 1024 ** 3;

/** Bytes of the store where nothing is said of it: for some tens of images, and never more than half of a disk. */
const USUAL_STORE_BYTES = 10 * GIB;

/** Manifests that are asked of one registry at once: a crowd that shows credentials must not be an attack on it. */
const MANIFESTS_AT_ONCE = 64;

/** What all archive requests of a service share. */
export interface ArchiveTools
  extends PreparationTools,
    Pick<CachingOptions, 'memory' | 'flights' | 'manifestSlots'> {
  readonly config: Config;
  readonly access: RegistryAccess;
  readonly layers: LayerTools;
  readonly downloads: StartedDownloads;
}

/** What is not in the configuration. */
export interface OpenToolsOptions {
  /** Is told of a prepared file that was damaged on the disk. */
  readonly onDamage?: ((name: string) => void) | undefined;
  readonly retry?: RetryPolicy | undefined;
}

/**
 * Opens what archive requests work with: connections, the store, what is remembered.
 *
 * @returns the tools, and `close`, which frees all of it; to be called when nothing uses them any more
 * @throws PassthroughError `INVALID_CONFIGURATION` when a folder cannot be used
 */
export async function openArchiveTools(
  config: Config,
  { onDamage, retry }: OpenToolsOptions = {},
): Promise<ArchiveTools & { close(): Promise<void> }> {
  const { directory, maxBytes, staleMs } = config.cache;
  const folder =
    directory === undefined
      ? await StoreFolder.makeTemporary(config.workspaceDirectory)
      : await StoreFolder.openKept(directory);
  const store = await Store.open<LayerReport>({
    folder,
    maxBytes: maxBytes ?? Math.min(USUAL_STORE_BYTES, (await folder.capacity()) / 2),
    onDamage,
  });
  const archives = new ManifestStore(store, folder);
  const access = openRegistryAccess({
    ...config.registry,
    userAgent: `docker-http-passthrough/${VERSION}`,
    ...(retry !== undefined && { retry }),
  });
  const isOn = maxBytes !== 0;
  const kept = isOn && staleMs > 0 ? await archives.readReferences() : undefined;
  return {
    config,
    access,
    memory: new ReferenceCache({ isOn, staleMs }, archives, kept),
    flights: new SingleFlight(),
    manifestSlots: new KeyedSemaphore(MANIFESTS_AT_ONCE),
    layers: {
      store,
      contents: new KnownBlobs(),
      slots: new KeyedSemaphore(config.registry.concurrentDownloads),
    },
    admission: new Semaphore(config.admission),
    checksums: new ChecksumCache(),
    deliveries: new SingleFlight<string, Delivery, Progress>((delivery) => delivery.release()),
    hashes: new SingleFlight(),
    downloads: new StartedDownloads(),
    close: async () => {
      access.close();
      await archives.close();
      await store.close();
    },
  };
}
