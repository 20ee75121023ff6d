import { createHash } from 'node:crypto';
import type { IoxDescriptor } from '../../archive/iox/descriptor.ts';
import { PassthroughError } from '../../errors.ts';
import type { Digest } from '../../image/digest.ts';
import type { Repository, RepositoryLocation } from '../../registry/repository.ts';
import type { Store } from '../../storage/store.ts';
import type { Content } from '../../util/content.ts';
import type { Documents } from '../../util/documents.ts';
import { printableJson } from '../../util/printable.ts';
import { describe } from '../iox/describe.ts';
import { Places, withTimeLimit } from '../limits.ts';
import type { LayerReport } from '../progress.ts';
import type { ResolvedArchive, ResolvePolicy } from '../resolve-archive.ts';
import {
  fetchManifest,
  type ManifestChoice,
  type ResolveOptions,
  type ServedManifest,
} from '../resolve-manifest.ts';
import type { CheckedImage } from '../signatures/verifier.ts';
import { type Comparison, compareWithBase } from '../update/compare.ts';
import { fetchConfig, type OpenedImage } from './fetch-config.ts';
import { shareFile } from './stored-content.ts';

/** What belongs to one look-up. */
export interface LookUpCall {
  readonly signal: AbortSignal;
  readonly location: RepositoryLocation;
  /** Whose look-up it is, so that one client does not take all places. */
  readonly client: string | undefined;
}

/** A look-up of a manifest. */
export interface ManifestCall extends LookUpCall {
  /** The image, whose signature is checked where it must have one. */
  readonly checked: Omit<CheckedImage, 'digests'>;
}

/** The descriptor of a package, and the digest of the manifest of its image. */
export interface ServedDescriptor extends IoxDescriptor {
  readonly digest: Digest;
}

/** Settings of {@link LookUps}. */
export interface LookUpsOptions {
  readonly store: Store<LayerReport>;
  readonly documents: Documents;
  readonly resolving: Omit<ResolveOptions, 'artifacts'> & Pick<ResolvePolicy, 'signatures'>;
  /** Longest wait for a place, in milliseconds. */
  readonly maxWaitMs: number;
  /** Longest time for a look-up, in milliseconds. */
  readonly totalMs: number;
}

/**
 * Most look-ups at once of one client, and in one repository. A look-up takes some requests to a registry. A list of 100,000 tags
 * takes 2 MB of memory for their hashes, and a page of 4 MB some 15 MB while it is read and written.
 */
const MAX_LOOK_UPS = 4;

/** Tags that are written at once: 64 KB. The engine keeps texts of 128 KB and more until it collects the whole heap. */
const TAGS_PER_TEXT = 512;

/** What can be asked about images without pulling them. Results that are not small lie in files. */
export class LookUps {
  readonly #options: LookUpsOptions;
  readonly #places: Places;

  constructor(options: LookUpsOptions) {
    this.#options = options;
    this.#places = new Places({ permits: MAX_LOOK_UPS, maxWaitMs: options.maxWaitMs });
  }

  /**
   * Fetches a manifest, byte for byte as the registry has it, and checks that it is signed where it must be.
   *
   * @throws PassthroughError what `fetchManifest` throws; `BUSY`; `REGISTRY_TIMEOUT` when it takes too long
   */
  manifest(image: OpenedImage, choice: ManifestChoice, call: ManifestCall): Promise<ServedManifest> {
    return this.#run(call, async (signal) => {
      const { resolving, store } = this.#options;
      const check = async (digests: readonly Digest[]) =>
        await resolving.signatures?.check({ ...call.checked, digests }, signal);
      const { content, ...served } = await fetchManifest(image, choice, signal, check, resolving);
      const { origin, name } = call.location;
      const key = `served-manifest ${served.digest} ${origin} ${name}`;
      return { ...served, content: await shareFile(store, key, content) };
    });
  }

  /**
   * Lists the tags of a repository, all pages of them, as JSON text: a list.
   *
   * @returns the text, which the caller must release
   * @throws PassthroughError what `Repository.listTags` throws; `BUSY`; `REGISTRY_TIMEOUT` when it takes too long
   */
  tags(repository: Repository, call: LookUpCall): Promise<Content> {
    return this.#run(call, async (signal) => {
      const { documents, store } = this.#options;
      const hash = createHash('sha256');
      const spool = documents.spool();
      const write = async (text: string) => {
        const bytes = Buffer.from(text);
        hash.update(bytes);
        await spool.write(bytes);
      };
      try {
        let separator = '[';
        for await (const tags of repository.listTags(signal)) {
          for (let at = 0; at < tags.length; at += TAGS_PER_TEXT) {
            await write(`${separator}${printableJson(tags.slice(at, at + TAGS_PER_TEXT)).slice(1, -1)}`);
            separator = ',';
          }
          await documents.turn();
        }
        await write(separator === '[' ? '[]' : ']');
        const content = await spool.finish();
        return await shareFile(store, `tags ${hash.digest('hex')}`, content);
      } catch (error) {
        await spool.abandon();
        throw error;
      }
    });
  }

  /**
   * Compares an image with the base of its update.
   *
   * @param resolve resolves both
   * @throws PassthroughError what `resolve` and `compareWithBase` throw; `BUSY`; `REGISTRY_TIMEOUT` when it takes too long
   */
  compare(resolve: (signal: AbortSignal) => Promise<ResolvedArchive>, call: LookUpCall): Promise<Comparison> {
    return this.#run(call, async (signal) => {
      const resolved = await resolve(signal);
      try {
        return await compareWithBase(resolved, this.#options.documents, signal);
      } finally {
        resolved.release();
      }
    });
  }

  /**
   * Writes the descriptor that a package of an archive has. No layer is fetched.
   *
   * @param resolve resolves the archive
   * @throws PassthroughError what `resolve`, `fetchConfig` and `describe` throw; `BUSY`; `REGISTRY_TIMEOUT` when it takes too long
   */
  descriptor(
    resolve: (signal: AbortSignal) => Promise<ResolvedArchive>,
    policy: Pick<ResolvePolicy, 'documents' | 'iox'>,
    call: LookUpCall,
  ): Promise<ServedDescriptor> {
    return this.#run(call, async (signal) => {
      const resolved = await resolve(signal);
      using _ = { [Symbol.dispose]: () => resolved.release() };
      const [image] = resolved.images;
      if (image === undefined || image.manifest.manifest.kind !== 'image')
        throw new PassthroughError('INTERNAL', 'Cannot describe what is no image');
      const { reference } = image.request;
      const { manifest, digest } = image.manifest;
      const known = image.manifest.config;
      const config =
        known === undefined
          ? await fetchConfig(
              { reference, repository: image.repository },
              manifest,
              digest,
              signal,
              policy.documents,
            )
          : { ...known, content: known.content.retain() };
      using __ = { [Symbol.dispose]: () => config.content.release() };
      const described = { ...config, platform: config.image?.platform };
      return { digest, ...(await describe(resolved.request, described, policy, signal)) };
    });
  }

  /** Runs a look-up in a place, and within the time limit. */
  #run<T>({ signal, client, location }: LookUpCall, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    return withTimeLimit({ totalMs: this.#options.totalMs, spentMs: 0 }, signal, async (both) => {
      const leave = await this.#places.acquire(both, { client, images: [{ location }] });
      try {
        return await work(both);
      } finally {
        leave();
      }
    });
  }
}
