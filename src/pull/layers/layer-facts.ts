import { type Digest, isDigest } from '../../image/digest.ts';
import type { Descriptor } from '../../image/manifest.ts';
import type { RepositoryLocation } from '../../registry/repository.ts';
import type { Description } from '../../storage/checked-file.ts';
import type { Store } from '../../storage/store.ts';
import type { LayerReport } from '../progress.ts';
import { layerKey } from './layer-key.ts';

/** What unpacking a layer has shown. It follows from the blob alone. */
export interface LayerFacts {
  /** SHA-256 of the uncompressed bytes: nearly always the diff ID. */
  readonly diffId: Digest;
  readonly uncompressedBytes: number;
  /** Whether the blob is gzip. */
  readonly isGzip: boolean;
  /** Whether the blob is gzip that can stand among other members of a gzip file. */
  readonly isPlainGzip: boolean;
  /** Bytes of the blob up to the end of its gzip, if bytes that are no padding stand behind it. */
  readonly gzipBytes?: number | undefined;
}

/** What is known of a layer after it was unpacked. */
export interface KnownLayer extends LayerFacts {
  /** The repository that the blob came from. Whether others have it, only the registry can tell. */
  readonly repository: string;
  /** Bytes of the layer as this version of zlib compresses it, if it was compressed anew. */
  readonly deflatedBytes: number | undefined;
}

/** Facts as they are stored with a file. */
export function describeFacts({ isGzip, isPlainGzip, gzipBytes, ...facts }: LayerFacts): Description {
  const { diffId, uncompressedBytes } = facts;
  return {
    ...{ diffId, uncompressedBytes, isGzip: isGzip ? 1 : 0, isPlainGzip: isPlainGzip ? 1 : 0 },
    ...(gzipBytes !== undefined && { gzipBytes }),
  };
}

/** The facts that are stored with a file, if it was unpacked. */
export function factsIn(description: Description): LayerFacts | undefined {
  const { diffId, uncompressedBytes, isGzip, isPlainGzip, gzipBytes } = description;
  if (typeof diffId !== 'string' || !isDigest(diffId) || isGzip === undefined) return undefined;
  return {
    diffId,
    uncompressedBytes: Number(uncompressedBytes),
    isGzip: isGzip === 1,
    isPlainGzip: isPlainGzip === 1,
    ...(gzipBytes !== undefined && { gzipBytes: Number(gzipBytes) }),
  };
}

/** zlib's output differs between versions. */
const DEFLATED_BYTES = `deflated-${process.versions.zlib}`;

/** What is known of layers. It outlives their files, and with a kept folder also the process. */
export class KnownLayers {
  readonly #store: Store<LayerReport>;

  constructor(store: Store<LayerReport>) {
    this.#store = store;
  }

  /** What is known of a layer. The caller must check that its client may pull the blob. */
  get(layer: Descriptor, location: RepositoryLocation): KnownLayer | undefined {
    const description = this.#store.facts.get(keyOf(layer, location));
    const facts = description && factsIn(description);
    if (description === undefined || facts === undefined) return undefined;
    const deflatedBytes = description[DEFLATED_BYTES];
    return {
      ...facts,
      repository: String(description['repository']),
      deflatedBytes: deflatedBytes === undefined ? undefined : Number(deflatedBytes),
    };
  }

  /** Adds what unpacking has shown. */
  add(layer: Descriptor, location: RepositoryLocation, facts: LayerFacts, repository: string): void {
    if (this.get(layer, location) !== undefined) return;
    this.#store.facts.set(keyOf(layer, location), { ...describeFacts(facts), repository });
  }

  /** Adds what compressing a layer anew has shown. */
  addDeflated(layer: Descriptor, location: RepositoryLocation, bytes: number): void {
    const key = keyOf(layer, location);
    const facts = this.#store.facts.get(key);
    if (facts === undefined || facts[DEFLATED_BYTES] === bytes) return;
    this.#store.facts.set(key, { ...facts, [DEFLATED_BYTES]: bytes });
  }
}

function keyOf(layer: Descriptor, location: RepositoryLocation): string {
  return layerKey(layer, 'facts', location);
}
