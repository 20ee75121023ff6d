import { type Digest, isDigest } from '../../image/digest.ts';
import { type Descriptor, parseManifest } from '../../image/manifest.ts';
import type { Content } from '../../util/content.ts';
import type { IsWanted } from '../referrers.ts';
import type { FetchedManifest, ManifestHead, Repository } from '../repository.ts';
import type { MirrorHealth, MirrorOperation, MirrorPlace } from './mirror-health.ts';

/**
 * A repository at a mirror that is asked only while the mirror answers. Each answer and each failure is reported. It is below the
 * cache of manifests, so that what is cached says nothing about the mirror.
 */
export class GuardedRepository implements Repository {
  readonly #inner: Repository;
  readonly #health: MirrorHealth;
  readonly #place: MirrorPlace;

  constructor(inner: Repository, health: MirrorHealth, place: MirrorPlace) {
    this.#inner = inner;
    this.#health = health;
    this.#place = place;
  }

  getManifest(reference: string | Descriptor, signal: AbortSignal): Promise<FetchedManifest> {
    return this.#run('manifest', signal, async () => {
      const found = await this.#inner.getManifest(reference, signal);
      if (typeof reference === 'string' && !isDigest(reference)) checkManifest(found);
      return found;
    });
  }

  headManifest(reference: string, signal: AbortSignal): Promise<ManifestHead | undefined> {
    const ask = () => this.#inner.headManifest(reference, signal);
    return this.#run('manifest', signal, ask, (head) => head !== undefined);
  }

  getReferrers(
    digest: Digest,
    isWanted: IsWanted,
    signal: AbortSignal,
  ): ReturnType<Repository['getReferrers']> {
    const ask = () => this.#inner.getReferrers(digest, isWanted, signal);
    return this.#run('manifest', signal, ask, (referrers) => referrers !== undefined);
  }

  getConfig(descriptor: Descriptor, signal: AbortSignal): Promise<Content> {
    return this.#run('config', signal, () => this.#inner.getConfig(descriptor, signal));
  }

  openLayer(
    descriptor: Descriptor,
    signal: AbortSignal,
    offset?: number,
  ): ReturnType<Repository['openLayer']> {
    return this.#run('layer', signal, () => this.#inner.openLayer(descriptor, signal, offset));
  }

  checkLayer(descriptor: Descriptor, signal: AbortSignal): Promise<void> {
    return this.#run('layer', signal, () => this.#inner.checkLayer(descriptor, signal));
  }

  /** Mirrors are not asked for these: a part of a list would look like all of it. */
  listTags(signal: AbortSignal): ReturnType<Repository['listTags']> {
    return this.#inner.listTags(signal);
  }

  openForeignLayer(descriptor: Descriptor, signal: AbortSignal): ReturnType<Repository['openLayer']> {
    return this.#inner.openForeignLayer(descriptor, signal);
  }

  #run<T>(
    operation: MirrorOperation,
    signal: AbortSignal,
    ask: () => Promise<T>,
    isAnswer?: (value: T) => boolean,
  ): Promise<T> {
    return this.#health.run({ place: this.#place, operation, signal }, ask, isAnswer);
  }
}

/**
 * Refuses what is no manifest under a tag, such as the page of a proxy on the way: the next source may have one. By digest it could
 * only have the same. Large documents are not parsed, since that takes a while.
 *
 * @param found released if it is refused
 * @throws PassthroughError `UNSUPPORTED_IMAGE`
 */
function checkManifest({ content, contentType }: FetchedManifest): void {
  if (content.bytes === undefined) return;
  try {
    parseManifest(content.bytes, contentType, { artifacts: true });
  } catch (error) {
    content.release();
    throw error;
  }
}
