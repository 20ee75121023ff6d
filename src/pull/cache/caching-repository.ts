import { isPassthroughError } from '../../errors.ts';
import { type Digest, isDigest } from '../../image/digest.ts';
import type { Descriptor } from '../../image/manifest.ts';
import type { FetchedManifest, ManifestHead, Repository } from '../../registry/repository.ts';
import type { KeyedSemaphore } from '../../util/semaphore.ts';
import type { SingleFlight } from '../../util/single-flight.ts';
import type { RepositoryLocation } from './known-blobs.ts';
import type { ReferenceCache } from './reference-cache.ts';

/** What {@link CachingRepository} works with. */
export interface CachingOptions {
  readonly repository: RepositoryLocation;
  readonly memory: ReferenceCache;
  /** Manifests that are asked for just now by whoever has the same credentials. */
  readonly flights: SingleFlight<string, FetchedManifest>;
  /** Manifests that are asked for at once. */
  readonly manifestSlots: KeyedSemaphore;
  /** With whose credentials the registry is asked. A client's own are for that client's request alone. */
  readonly credentials: 'none' | 'operator' | 'client';
}

/**
 * A repository whose manifests and configs are remembered. A tag is asked for each time, with the pull's own credentials, by a
 * HEAD where what it stood for is known: registries count no pull for that. What hangs below a manifest that the registry has
 * just let this pull have is as it was, for it is named by its digest.
 *
 * Those who ask for the same at the same time, all of them with the operator's credentials or none, share one answer.
 */
export class CachingRepository implements Repository {
  readonly #inner: Repository;
  readonly #options: CachingOptions;
  /** Whether the registry could not be asked for what this pull is of. */
  #isStale = false;

  constructor(inner: Repository, options: CachingOptions) {
    this.#inner = inner;
    this.#options = options;
  }

  async getManifest(reference: string | Descriptor, signal: AbortSignal): Promise<FetchedManifest> {
    const { repository, flights, credentials, manifestSlots } = this.#options;
    const name = typeof reference === 'string' ? reference : reference.digest;
    const ask = (asking: AbortSignal) =>
      manifestSlots.run(repository.origin, asking, () =>
        typeof reference === 'string' ? this.#resolve(reference, asking) : this.#below(reference, asking),
      );
    if (credentials === 'client') return await ask(signal);
    const kind = typeof reference === 'string' ? 'root' : 'below';
    const key = `${credentials} ${kind} ${repository.origin} ${repository.name} ${name}`;
    const found = await flights.run(key, signal, ask);
    this.#isStale ||= found.staleMs !== undefined;
    return found;
  }

  async getConfig(descriptor: Descriptor, signal: AbortSignal): Promise<Uint8Array> {
    const known = await this.#known(descriptor);
    if (known !== undefined) return known.bytes;
    const bytes = await this.#inner.getConfig(descriptor, signal);
    this.#keep(descriptor.digest, bytes, '');
    return bytes;
  }

  headManifest(reference: string, signal: AbortSignal): Promise<ManifestHead | undefined> {
    return this.#inner.headManifest(reference, signal);
  }

  listTags(signal: AbortSignal): Promise<readonly string[]> {
    return this.#inner.listTags(signal);
  }

  openLayer(descriptor: Descriptor, signal: AbortSignal): ReturnType<Repository['openLayer']> {
    return this.#inner.openLayer(descriptor, signal);
  }

  checkLayer(descriptor: Descriptor, signal: AbortSignal): Promise<void> {
    return this.#inner.checkLayer(descriptor, signal);
  }

  openForeignLayer(descriptor: Descriptor, signal: AbortSignal): ReturnType<Repository['openLayer']> {
    return this.#inner.openForeignLayer(descriptor, signal);
  }

  /** What the registry has under a tag or digest now; where it cannot say, and that may do, what it had. */
  async #resolve(name: string, signal: AbortSignal): Promise<FetchedManifest> {
    const { repository, memory, credentials } = this.#options;
    try {
      const found = (await this.#unchanged(name, signal)) ?? (await this.#inner.getManifest(name, signal));
      this.#keep(found.digest, found.bytes, found.contentType);
      memory.confirm(repository, name, found.digest, credentials === 'none');
      return found;
    } catch (error) {
      const stale = isRegistryDown(error) ? await memory.stale(repository, name) : undefined;
      if (stale === undefined) throw error;
      this.#isStale = true;
      return { ...stale.document, staleMs: stale.staleMs };
    }
  }

  /** What is known of a reference, if the registry says that it is still the same. */
  async #unchanged(name: string, signal: AbortSignal): Promise<FetchedManifest | undefined> {
    const { repository, memory } = this.#options;
    const digest = isDigest(name) ? name : memory.reference(repository, name)?.digest;
    const document = digest && memory.document(repository, digest);
    if (document === undefined) return undefined;
    const head = await this.#inner.headManifest(name, signal);
    const isSame = head?.digest === document.digest && head.contentType === document.contentType;
    return isSame ? document : undefined;
  }

  async #below(descriptor: Descriptor, signal: AbortSignal): Promise<FetchedManifest> {
    const known = await this.#known(descriptor);
    if (known !== undefined) return known;
    const found = await this.#inner.getManifest(descriptor, signal);
    this.#keep(found.digest, found.bytes, found.contentType);
    return found;
  }

  /** What was verified before; of another size than the descriptor says it is for the registry client to refuse. */
  async #known({ digest, size }: Descriptor): Promise<FetchedManifest | undefined> {
    const { repository, memory } = this.#options;
    const known = this.#isStale
      ? await memory.staleDocument(repository, digest)
      : memory.document(repository, digest);
    return known?.bytes.byteLength === size ? known : undefined;
  }

  #keep(digest: Digest, bytes: Uint8Array, contentType: string): void {
    const { repository, memory } = this.#options;
    if (memory.document(repository, digest) !== undefined) return;
    memory.keepDocument(repository, { digest, bytes, contentType });
  }
}

/** Failures that say nothing of the image or of who asks, but that the registry cannot be asked. */
function isRegistryDown(error: unknown): boolean {
  return isPassthroughError(
    error,
    'REGISTRY_UNREACHABLE',
    'REGISTRY_TIMEOUT',
    'REGISTRY_FAILED',
    'REGISTRY_RATE_LIMITED',
  );
}
