import type { ServerHealth } from '../../registry/transport/health.ts';
import type { Store, StoreStatistics } from '../../storage/store.ts';
import type { Places } from '../limits.ts';
import type { LayerReport } from '../progress.ts';

/** What an `ImageService` is doing, as far as it is known without asking a registry or the disk. */
export interface ServiceStatus {
  /** Preparations that run, and those that wait for a place. */
  readonly queue: { readonly running: number; readonly waiting: number; readonly maxWaiting: number };
  readonly store: StoreStatistics;
  /** Registries, and the servers that they name, the one that was asked last first. */
  readonly servers: readonly ServerHealth[];
}

/** What {@link readStatus} reads. */
export interface StatusParts {
  readonly places: Places;
  readonly maxWaiting: number;
  readonly store: Store<LayerReport>;
  readonly registries: { readonly health: readonly ServerHealth[] };
}

/** Reads the status. It takes microseconds. */
export function readStatus({ places, maxWaiting, store, registries }: StatusParts): ServiceStatus {
  const { held: running, waiting } = places.counts;
  return { queue: { running, waiting, maxWaiting }, store: store.statistics, servers: registries.health };
}
