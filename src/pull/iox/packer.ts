import { createHash } from 'node:crypto';
import { archiveIdentity } from '../../archive/archive.ts';
import {
  aroundRootfs,
  ioxLayout,
  PACKAGE_NAMES,
  type PackageEntry,
  rootfsEntry,
  splicedArtifactsSize,
} from '../../archive/iox-layout.ts';
import { PassthroughError } from '../../errors.ts';
import { readRepairing } from '../../storage/repairing-reader.ts';
import type { Store, Stored } from '../../storage/store.ts';
import { releaseChunk } from '../../streams/chunk.ts';
import { gzipInto } from '../../streams/gzip.ts';
import { storedMembers, storedSize } from '../../streams/stored-gzip.ts';
import { type ByteRange, encodeTar, type TarSource } from '../../tar/encoder.ts';
import { gzipMark } from '../gzip/gzip-way.ts';
import type { LayerReport, ProgressCounter } from '../progress.ts';
import type { ReadableArchive, Reader } from '../readable-archive.ts';
import {
  archiveAccount,
  archivedImage,
  type ResolvedArchive,
  type ResolvePolicy,
} from '../resolve-archive.ts';
import { type DescribedConfig, describe } from './describe.ts';

/** The archive of the image, whose layers are stored. */
export interface Rootfs {
  readonly tar: ReadableArchive;
  /** Its gzip, put together from the layers, unless gzip files are made whole. */
  readonly spliced: ReadableArchive | undefined;
  /** Whether a layer was compressed here. */
  readonly isDeflated: boolean;
  readonly config: DescribedConfig;
}

/** A package whose digests are known. */
export interface Packed {
  /** The entries are those of `ioxLayout`. */
  readonly entries: readonly PackageEntry[];
  readonly size: number;
  /** Gives an entry its content. */
  readonly sourceOf: (entry: PackageEntry, reader: Reader) => TarSource;
  /** Labels that were not taken. */
  readonly leftOut: readonly string[];
  release(): void;
}

/** What belongs to one call of {@link Packer.pack}. */
interface PackCall {
  readonly signal: AbortSignal;
  readonly progress?: ProgressCounter | undefined;
}

/**
 * Packs archives of images for Cisco IOx. `package.mf` stands before the artifacts and has their digest, so they are read once before
 * the package is sent. The store keeps the digest: parts of a package, later requests and other sizes of the application need no
 * second pass.
 */
export class Packer {
  readonly #store: Store<LayerReport>;
  readonly #policy: ResolvePolicy;

  constructor(store: Store<LayerReport>, policy: ResolvePolicy) {
    this.#store = store;
    this.#policy = policy;
  }

  /** Whether the digest of the artifacts is stored, so that packing is little work. */
  has(resolved: ResolvedArchive): boolean {
    const { iox, gzip } = this.#policy;
    if (gzip === 'whole' && !this.#store.has(this.#artifactsKey(resolved))) return false;
    if (iox.digest === 'none') return true;
    return [false, true].some((isDeflated) => this.#store.has(this.#digestKey(resolved, isDeflated)));
  }

  /**
   * Packs the archive of an image.
   *
   * @throws PassthroughError `UNSUPPORTED_IMAGE`, see `describe`; what reading the archive and the store throw
   */
  async pack(resolved: ResolvedArchive, rootfs: Rootfs, call: PackCall): Promise<Packed> {
    const { digest: algorithm } = this.#policy.iox;
    const { yaml, leftOut } = await describe(resolved.request, rootfs.config, this.#policy, call.signal);
    const descriptor = Buffer.from(yaml);
    const artifacts = await this.#artifacts(resolved, rootfs, call);
    try {
      const digests = new Map<string, string>();
      if (algorithm !== 'none') {
        const hex = await this.#digest(resolved, artifacts, rootfs.isDeflated, call.signal);
        digests.set(PACKAGE_NAMES.descriptor, createHash(algorithm).update(descriptor).digest('hex'));
        digests.set(PACKAGE_NAMES.artifacts, hex);
      }
      const { entries, size } = ioxLayout({ descriptor, artifactsSize: artifacts.size, algorithm, digests });
      const sourceOf = (entry: PackageEntry, reader: Reader): TarSource =>
        entry.content === undefined
          ? { ...entry, content: (range) => artifacts.bytes(range, reader) }
          : entry;
      return { entries, size, sourceOf, leftOut, release: artifacts.release };
    } catch (error) {
      artifacts.release();
      throw error;
    }
  }

  async #artifacts(
    resolved: ResolvedArchive,
    { tar, spliced }: Rootfs,
    call: PackCall,
  ): Promise<ReadableArchive & { release(): void }> {
    if (spliced !== undefined) return { ...splicedArtifacts(tar.size, spliced), release: () => undefined };
    call.progress?.enter('compressing');
    const file = await this.#compress(resolved, tar, call.signal);
    return {
      size: file.size,
      bytes: (range, reader) =>
        readRepairing(file, range, () => this.#compress(reader.resolved, tar, reader.signal)),
      release: () => file.release(),
    };
  }

  #compress(resolved: ResolvedArchive, tar: ReadableArchive, signal: AbortSignal): Promise<Stored> {
    return this.#store.obtain(this.#artifactsKey(resolved), {
      signal,
      account: archiveAccount(resolved),
      produce: async (draft, working) => {
        const entry = {
          ...rootfsEntry(tar.size),
          content: (range?: ByteRange) => tar.bytes(range, { resolved, signal: working }),
        };
        return { sha256: await gzipInto(draft, encodeTar([entry]), working) };
      },
    });
  }

  async #digest(
    resolved: ResolvedArchive,
    artifacts: ReadableArchive,
    isDeflated: boolean,
    signal: AbortSignal,
  ): Promise<string> {
    const file = await this.#store.obtain(this.#digestKey(resolved, isDeflated), {
      signal,
      account: archiveAccount(resolved),
      produce: async (draft, working) => {
        const hash = createHash(this.#policy.iox.digest);
        for await (const chunk of artifacts.bytes(undefined, {
          resolved,
          signal: working,
          isHashing: true,
        })) {
          working.throwIfAborted();
          hash.update(chunk);
          releaseChunk(chunk);
        }
        const hex = hash.digest('hex');
        await draft.write(Buffer.from(hex));
        return { hex };
      },
    });
    const { hex } = file.description;
    file.release();
    if (typeof hex === 'string') return hex;
    throw new PassthroughError('INTERNAL', 'Cannot use a stored digest: it is missing');
  }

  /** The artifacts depend on the image and its name, and on no size or label. */
  #artifactsKey(resolved: ResolvedArchive): string {
    const places = resolved.images.map(({ location: { origin, name } }) => `${origin}/${name}`);
    return [`iox-artifacts ${gzipMark('whole', false)}`, rootfsTag(resolved), ...places].join(' ');
  }

  #digestKey(resolved: ResolvedArchive, isDeflated: boolean): string {
    const { gzip, iox } = this.#policy;
    return `iox-digest ${iox.digest} ${gzipMark(gzip, isDeflated)} ${rootfsTag(resolved)}`;
  }
}

function rootfsTag({ images }: ResolvedArchive): string {
  return archiveIdentity({ layout: 'docker', images: images.map(archivedImage) });
}

/** Puts `artifacts.tar.gz` together: nothing is compressed. */
function splicedArtifacts(tarSize: number, gzip: ReadableArchive): ReadableArchive {
  const { before, after } = aroundRootfs(tarSize);
  const beforeSize = storedSize(before.byteLength);
  const size = splicedArtifactsSize(tarSize, gzip.size);
  const bytes = async function* (
    { start: from, end: to }: ByteRange = { start: 0, end: size },
    reader: Reader,
  ): AsyncGenerator<Uint8Array, void, undefined> {
    const within = (start: number, length: number): ByteRange => ({
      start: Math.min(Math.max(from - start, 0), length),
      end: Math.min(Math.max(to - start, 0), length),
    });
    yield* storedBytes(before, within(0, beforeSize));
    const middle = within(beforeSize, gzip.size);
    if (middle.start < middle.end) yield* gzip.bytes(middle, reader);
    yield* storedBytes(after, within(beforeSize + gzip.size, storedSize(after.byteLength)));
  };
  return { size, bytes };
}

function storedBytes(bytes: Uint8Array, range: ByteRange): AsyncGenerator<Uint8Array, void, undefined> {
  const open = async function* ({ start, end }: ByteRange) {
    yield bytes.subarray(start, end);
  };
  return storedMembers(bytes.byteLength, open, range);
}
