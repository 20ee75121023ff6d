import { PassthroughError } from '../../errors.ts';
import type { Digest } from '../../image/digest.ts';
import type { Descriptor } from '../../image/manifest.ts';
import { releaseChunk } from '../../streams/chunk.ts';
import { verified } from '../../streams/verify.ts';
import type { Content } from '../../util/content.ts';
import { quoted } from '../../util/printable.ts';
import type { IsWanted, ReferrerList } from '../referrers.ts';
import type { FetchedManifest, ManifestHead, Repository } from '../repository.ts';
import type { Circuit, Pass } from './circuit.ts';
import {
  continuing,
  type LayerBytes,
  type LayerSource,
  type MirrorSource,
  type OpenedLayer,
} from './continued-layer.ts';
import { goesOn, isRegistryDown } from './outcome.ts';

/** The repository at its registry. */
export interface RegistrySource {
  /** Origin of the registry. */
  readonly name: string;
  readonly repository: Repository;
  /** For checks that a mirror can answer, too. */
  readonly circuit: Circuit;
}

/**
 * A repository with mirrors. They are asked in their order, and the registry itself at the end. The error is that of the registry.
 *
 * - Manifests and configs come from the first source that has them. What a mirror says of a tag is its word.
 * - A layer that breaks off is continued at the next source: its digest is checked over all its bytes. One whose digest is wrong is
 *   fetched again as a whole, without the mirrors that gave a part; see {@link rejectLayer}.
 * - Tags are listed by the registry alone. Layers outside of registries are asked for there alone, too.
 */
export class MirroredRepository implements Repository {
  readonly #registry: Repository;
  readonly #mirrors: readonly MirrorSource[];
  readonly #circuit: Circuit;
  readonly #names: ReadonlyMap<Repository, string>;
  readonly #onSource: (source: string) => void;
  /** The source of the manifest, which is asked first for what the manifest names. */
  #preferred: Repository | undefined;
  /** Mirrors that gave a part of a layer, by digest. */
  readonly #givers = new Map<Digest, Set<MirrorSource>>();
  /** Mirrors that are not asked for a layer any more. */
  readonly #rejected = new Map<Digest, ReadonlySet<MirrorSource>>();

  /** @param onSource receives the name of each source that has answered */
  constructor(
    registry: RegistrySource,
    mirrors: readonly MirrorSource[],
    onSource: (source: string) => void = () => undefined,
  ) {
    this.#registry = registry.repository;
    this.#circuit = registry.circuit;
    this.#mirrors = mirrors;
    this.#names = new Map([registry, ...mirrors].map(({ name, repository }) => [repository, name]));
    this.#onSource = onSource;
  }

  async getManifest(reference: string | Descriptor, signal: AbortSignal): Promise<FetchedManifest> {
    const stale = new Map<Repository, FetchedManifest>();
    const ask = async (source: Repository) => {
      const found = await source.getManifest(reference, signal);
      if (found.staleMs === undefined) return found;
      // Remembered of a source that is down. Another one may know better.
      stale.set(source, found);
      throw new PassthroughError(
        'REGISTRY_UNREACHABLE',
        'Cannot reach the registry: it is served from memory',
      );
    };
    let chosen: FetchedManifest | undefined;
    try {
      const { source, value } = await this.#first(ask, () => true, signal);
      if (typeof reference === 'string') this.#preferred = source;
      return value;
    } catch (error) {
      // What the registry itself has said last comes before a mirror's word.
      const [source, found] = [...stale].findLast(([from]) => from === this.#registry) ?? [...stale][0] ?? [];
      if (signal.aborted || !isRegistryDown(error) || source === undefined || found === undefined)
        throw error;
      this.#preferred = source;
      this.#tell(source);
      chosen = found;
      return found;
    } finally {
      for (const found of stale.values()) if (found !== chosen) found.content.release();
    }
  }

  async headManifest(reference: string, signal: AbortSignal): Promise<ManifestHead | undefined> {
    const ask = (source: Repository) => source.headManifest(reference, signal);
    return (await this.#first(ask, (head) => head !== undefined, signal)).value;
  }

  /** A mirror without the API, or whose list is broken or has nothing that is wanted, may only lack what the registry has. */
  async getReferrers(
    digest: Digest,
    isWanted: IsWanted,
    signal: AbortSignal,
  ): ReturnType<Repository['getReferrers']> {
    const ask = (source: Repository) => source.getReferrers(digest, isWanted, signal);
    const isAnswer = (list: ReferrerList | undefined) =>
      list?.failure === undefined && (list?.referrers.length ?? 0) > 0;
    return (await this.#first(ask, isAnswer, signal)).value;
  }

  async getConfig(descriptor: Descriptor, signal: AbortSignal): Promise<Content> {
    const ask = (source: Repository) => source.getConfig(descriptor, signal);
    return (await this.#first(ask, () => true, signal)).value;
  }

  listTags(signal: AbortSignal): ReturnType<Repository['listTags']> {
    return this.#registry.listTags(signal);
  }

  async openLayer(descriptor: Descriptor, signal: AbortSignal, offset = 0): Promise<LayerBytes> {
    const sources = this.#layerSources(descriptor, signal);
    const open = (at: number) => this.#openNext(sources, descriptor, signal, at);
    const first = await open(offset);
    const givers = new Set<MirrorSource>();
    this.#givers.set(descriptor.digest, givers);
    return continuing(first, { open, signal, offset, givers });
  }

  rejectLayer({ digest }: Descriptor): boolean {
    const givers = this.#givers.get(digest);
    if (givers === undefined || givers.size === 0) return false;
    this.#givers.delete(digest);
    this.#rejected.set(digest, new Set([...(this.#rejected.get(digest) ?? []), ...givers]));
    for (const { health } of givers) health.note('layer', wrongBytes(digest));
    return true;
  }

  /**
   * Asks the registry. Where it refuses or is down, a mirror whose answers count for this request can prove that it has the layer: by
   * its bytes, since one that says yes to everything would open what is stored here of other repositories.
   */
  async checkLayer(descriptor: Descriptor, signal: AbortSignal): Promise<void> {
    const mirrors = this.#mirrors.filter(({ isTrusted }) => isTrusted);
    if (mirrors.length === 0) return await this.#registry.checkLayer(descriptor, signal);
    // A registry that is down would else cost each layer a time-out.
    const pass = this.#circuit.enter();
    const failure = pass && (await this.#refusal(descriptor, signal, pass));
    if (pass !== undefined && failure === undefined) return;
    for (const { repository } of mirrors) {
      try {
        const bytes = verified(await repository.openLayer(descriptor, signal), descriptor);
        for await (const chunk of bytes) releaseChunk(chunk);
        return;
      } catch (error) {
        if (!goesOn(error, signal)) throw error;
      }
    }
    if (failure !== undefined) throw failure;
    await this.#registry.checkLayer(descriptor, signal);
  }

  /** @returns why the registry does not confirm a layer; `undefined` if it does */
  async #refusal(descriptor: Descriptor, signal: AbortSignal, pass: Pass): Promise<unknown> {
    try {
      await this.#registry.checkLayer(descriptor, signal);
      pass.succeed();
      return undefined;
    } catch (error) {
      if (!goesOn(error, signal)) {
        pass.cancel();
        throw error;
      }
      if (isRegistryDown(error)) pass.fail();
      else pass.succeed();
      return error;
    }
  }

  openForeignLayer(descriptor: Descriptor, signal: AbortSignal): ReturnType<Repository['openLayer']> {
    return this.#registry.openForeignLayer(descriptor, signal);
  }

  /** The sources whose answers count, in their order: the source of the manifest first. */
  #trusted(): readonly Repository[] {
    const trusted = this.#mirrors.filter(({ isTrusted }) => isTrusted).map(({ repository }) => repository);
    const all = [...trusted, this.#registry];
    const first = this.#preferred;
    return first === undefined ? all : [first, ...all.filter((source) => source !== first)];
  }

  /** The first answer, and who gave it. A refusal of the registry is final; else its error is the one that counts. */
  async #first<T>(
    ask: (source: Repository) => Promise<T>,
    isAnswer: (value: T) => boolean,
    signal: AbortSignal,
  ): Promise<{ readonly source: Repository; readonly value: T }> {
    let failure: unknown;
    for (const source of this.#trusted()) {
      try {
        const value = await ask(source);
        if (source === this.#registry || isAnswer(value)) {
          this.#tell(source);
          return { source, value };
        }
      } catch (error) {
        if (!goesOn(error, signal)) throw error;
        if (source !== this.#registry) continue;
        if (!isRegistryDown(error)) throw error;
        failure = error;
      }
    }
    throw failure;
  }

  #tell(source: Repository): void {
    const name = this.#names.get(source);
    if (name !== undefined) this.#onSource(name);
  }

  /** Opens a layer at the next source that has it. @throws PassthroughError the error of the registry */
  async #openNext(
    sources: AsyncGenerator<LayerSource, void>,
    descriptor: Descriptor,
    signal: AbortSignal,
    offset: number,
  ): Promise<OpenedLayer> {
    for (let next = await sources.next(); next.done !== true; next = await sources.next()) {
      const { repository, mirror } = next.value;
      try {
        const bytes = await repository.openLayer(descriptor, signal, offset);
        this.#tell(repository);
        return { bytes, mirror };
      } catch (error) {
        if (mirror === undefined || !goesOn(error, signal)) throw error;
      }
    }
    throw noSource();
  }

  /** The sources of a layer, each once. */
  async *#layerSources(descriptor: Descriptor, signal: AbortSignal): AsyncGenerator<LayerSource, void> {
    const rejected = this.#rejected.get(descriptor.digest);
    let isConfirmed: boolean | undefined;
    for (const mirror of this.#mirrors) {
      if (rejected?.has(mirror) === true) continue;
      if (!mirror.isTrusted) {
        if (!mirror.isPassable()) continue;
        isConfirmed ??= await this.#confirms(descriptor, signal);
        if (!isConfirmed) continue;
      }
      yield { repository: mirror.repository, mirror };
    }
    yield { repository: this.#registry, mirror: undefined };
  }

  /** Whether the registry has a layer, and this request may read it. If not, the request for the layer itself gives the reason. */
  async #confirms(descriptor: Descriptor, signal: AbortSignal): Promise<boolean> {
    try {
      await this.#registry.checkLayer(descriptor, signal);
      return true;
    } catch (error) {
      if (!goesOn(error, signal)) throw error;
      return false;
    }
  }
}

function wrongBytes(digest: Digest): PassthroughError {
  return new PassthroughError(
    'VERIFICATION_FAILED',
    `Cannot verify layer ${quoted(digest)}: its bytes are wrong`,
  );
}

/** The registry is a source always. */
function noSource(): PassthroughError {
  return new PassthroughError('INTERNAL', 'Cannot ask the registry: it is not among the sources');
}
