import type { Config } from '../config.ts';
import { Admission } from '../pull/admission.ts';
import type { LayerTools } from '../pull/prepare-layers.ts';
import type { LayerReport, Progress } from '../pull/progress.ts';
import { ReferenceMemory } from '../pull/reference-memory.ts';
import { RegistrySlots } from '../pull/registry-slots.ts';
import type { RememberingOptions } from '../pull/remembering-registry.ts';
import { RepositoryContents } from '../pull/repository-contents.ts';
import { StaleArchives } from '../pull/stale-archives.ts';
import { openRegistryAccess, type RegistryAccess } from '../registry/open-registry.ts';
import type { RetryPolicy } from '../registry/retry.ts';
import { Shared } from '../shared.ts';
import { Store } from '../storage/store.ts';
import { StoreFolder } from '../storage/store-folder.ts';
import { VERSION } from '../version.ts';
import { ChecksumMemory, type Delivery } from './delivery.ts';
import type { PreparationTools } from './prepare-delivery.ts';
import { StartedDownloads } from './started-downloads.ts';

const GIB = 1024 ** 3;

/** Bytes of the store where nothing is said of it: for some tens of images, and never more than half of a disk. */
const USUAL_STORE_BYTES = 10 * GIB;

/** Manifests that are asked of one registry at once: a crowd that shows credentials must not be an attack on it. */
const MANIFESTS_AT_ONCE = 64;

/** What all archive requests of a service share. */
export interface ArchiveTools
  extends PreparationTools,
    Pick<RememberingOptions, 'memory' | 'flights' | 'manifestSlots'> {
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
  const archives = new StaleArchives(store, folder);
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
    memory: new ReferenceMemory({ isOn, staleMs }, archives, kept),
    flights: new Shared(),
    manifestSlots: new RegistrySlots(MANIFESTS_AT_ONCE),
    layers: {
      store,
      contents: new RepositoryContents(),
      slots: new RegistrySlots(config.registry.concurrentDownloads),
    },
    admission: new Admission(config.admission),
    checksums: new ChecksumMemory(),
    deliveries: new Shared<string, Delivery, Progress>((delivery) => delivery.release()),
    hashes: new Shared(),
    downloads: new StartedDownloads(),
    close: async () => {
      access.close();
      await archives.close();
      await store.close();
    },
  };
}
