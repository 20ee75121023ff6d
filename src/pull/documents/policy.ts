import { type OpenedRegistryAccess, openRegistryAccess } from '../../registry/open-repository.ts';
import type { RetryPolicy } from '../../registry/transport/retry.ts';
import { Documents } from '../../util/documents.ts';
import { MemoryBudget } from '../../util/memory-budget.ts';
import { VERSION } from '../../version.ts';
import type { Storage } from '../cache/open-storage.ts';
import { markSource, watchMirrors } from '../mirrors/watch-mirrors.ts';
import type { ResolvedOptions } from '../options.ts';
import type { ResolvePolicy } from '../resolve-archive.ts';
import { EvidenceStore } from '../signatures/evidence-store.ts';
import { SignatureVerifier } from '../signatures/verifier.ts';
import { childrenBytes } from './children-budget.ts';
import { divideMemory } from './held-memory.ts';
import { openSpoolFile } from './stored-content.ts';

/** What all requests of a service share. */
export interface SharedParts {
  readonly policy: ResolvePolicy;
  /** Memory of decoders. */
  readonly memory: MemoryBudget;
  readonly registries: OpenedRegistryAccess;
}

/**
 * Makes what all requests of a service share. The caller must close the registries.
 *
 * @param storage its store holds documents that are not small
 */
export function openShared(
  { registry, limits, gzip, iox, admission, bufferedBytes, ...options }: ResolvedOptions,
  { store, references, keys }: Storage,
  retry: RetryPolicy | undefined,
): SharedParts {
  const { maxWaitMs } = admission;
  const { brief, held } = divideMemory(bufferedBytes);
  const memory = new MemoryBudget({ maxBytes: brief, maxWaitMs });
  const documents = new Documents({ memory, openFile: () => openSpoolFile(store) });
  const evidence = new EvidenceStore(references);
  const { signatures: rules, onSignature: onReport } = options;
  const policy = {
    limits,
    gzip,
    iox,
    documents,
    signatures: keys && new SignatureVerifier({ rules, keys, documents, evidence, onReport }),
    heldMemory: new MemoryBudget({ maxBytes: held, maxWaitMs }),
    childrenBytes: childrenBytes(registry.bodyLimits.manifestBytes),
    fetchesForeignLayers: registry.foreignLayers === 'fetch',
  };
  const registries = openRegistryAccess({
    ...registry,
    onMirror: watchMirrors(registry.onMirror),
    onSource: markSource,
    documents: policy.documents,
    userAgent: `docker-http-passthrough/${VERSION}`,
    ...(retry !== undefined && { retry }),
  });
  return { policy, memory, registries };
}
