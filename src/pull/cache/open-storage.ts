import type { RetryPolicy } from '../../registry/transport/retry.ts';
import { StoreFolder } from '../../storage/folder.ts';
import { Store } from '../../storage/store.ts';
import type { sharedFiles } from '../archive-files.ts';
import { type ResolvedOptions, storeBytes } from '../options.ts';
import type { LayerReport } from '../progress.ts';
import { KeyRing } from '../signatures/key-ring.ts';
import type { SharedManifests } from './caching-repository.ts';
import { ManifestStore } from './manifest-store.ts';
import { ReferenceCache } from './reference-cache.ts';

/** The storage of a service. */
export interface Storage {
  readonly store: Store<LayerReport>;
  readonly manifestStore: ManifestStore;
  readonly references: ReferenceCache;
  /** The keys that images must be signed with, if there are some. */
  readonly keys: KeyRing | undefined;
}

/** Opens a store. A test may replace it. */
export type OpenStore = typeof Store.open<LayerReport>;

/** Parts that tests replace, to observe or to damage them. */
export interface ReplaceableParts {
  readonly openStore?: OpenStore;
  readonly manifestsInFlight?: SharedManifests['inFlight'];
  readonly filesInFlight?: ReturnType<typeof sharedFiles>;
  readonly retry?: RetryPolicy | undefined;
}

/**
 * Opens the folder of a service with all that is stored in it, and uses it.
 *
 * @param use its failure closes the folder
 * @throws PassthroughError `INVALID_CONFIGURATION` if the folder or a key cannot be used; what `use` throws
 */
export async function openStorage<T>(
  { cache, workspaceDirectory, signatures, onDamage, onKeyFault }: ResolvedOptions,
  openStore: OpenStore | undefined,
  use: (storage: Storage) => T,
): Promise<T> {
  const keys = signatures.keys.length === 0 ? undefined : await KeyRing.open(signatures.keys, onKeyFault);
  const { directory, staleMs } = cache;
  const folder =
    directory === undefined
      ? await StoreFolder.makeTemporary(workspaceDirectory)
      : await StoreFolder.openKept(directory);
  try {
    const maxBytes = storeBytes(cache, await folder.capacity());
    const store = await (openStore ?? Store.open<LayerReport>)({ folder, maxBytes, onDamage });
    const manifestStore = new ManifestStore(store, folder);
    const isOn = cache.maxBytes !== 0;
    const stored = isOn && staleMs > 0 ? await manifestStore.readReferences() : undefined;
    const references = new ReferenceCache({ isOn, staleMs, store: manifestStore, stored });
    return use({ store, manifestStore, references, keys });
  } catch (error) {
    await folder.close();
    throw error;
  }
}
