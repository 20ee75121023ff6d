import type { Store } from '../../storage/store.ts';
import { Documents } from '../../util/documents.ts';
import { MemoryBudget } from '../../util/memory-budget.ts';
import type { ResolvedOptions } from '../options.ts';
import type { LayerReport } from '../progress.ts';
import type { ResolvePolicy } from '../resolve-archive.ts';
import { childrenBytes } from './children-budget.ts';
import { divideMemory } from './held-memory.ts';
import { openSpoolFile } from './stored-content.ts';

/**
 * What all requests of a service are resolved by, with the memory that they share.
 *
 * @param store holds documents that are not small
 * @returns the policy, and the memory of decoders
 */
export function openPolicy(
  { registry, limits, gzip, iox, admission, bufferedBytes }: ResolvedOptions,
  store: Store<LayerReport>,
): { readonly policy: ResolvePolicy; readonly memory: MemoryBudget } {
  const { maxWaitMs } = admission;
  const { brief, held } = divideMemory(bufferedBytes);
  const memory = new MemoryBudget({ maxBytes: brief, maxWaitMs });
  const policy = {
    limits,
    gzip,
    iox,
    documents: new Documents({ memory, openFile: () => openSpoolFile(store) }),
    heldMemory: new MemoryBudget({ maxBytes: held, maxWaitMs }),
    childrenBytes: childrenBytes(registry.bodyLimits.manifestBytes),
    fetchesForeignLayers: registry.foreignLayers === 'fetch',
  };
  return { policy, memory };
}
