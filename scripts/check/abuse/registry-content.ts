/**
 * The content of the registry of `abuse.ts`. Repository and tag say what a document is like, and most of it is made when it is
 * requested: the attacks need more bytes than a machine should hold.
 */

import { createHash, randomFillSync } from 'node:crypto';
import { constants, createZstdCompress, gzipSync } from 'node:zlib';
import { MEDIA_TYPES } from '../../../test/support/image.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
const { index: INDEX, manifest: MANIFEST, config: CONFIG, layer: LAYER } = MEDIA_TYPES.oci;

/** Largest manifest and config that the service accepts by default, less a little for the frame around the padding. */
const MANIFEST_BYTES = 4 * MIB - 4 * KIB;
const CONFIG_BYTES = 8 * MIB - 4 * KIB;

/** Children of the index that is requested for all platforms. */
const BIG_CHILDREN = 100;

/** Manifests and layers of the image with many small layers. */
const SMALL_CHILDREN = 10;
const SMALL_LAYERS = 995;

/** Layers that are compressed with the largest window, and that window: 2 to the power of 27 bytes. */
const ZSTD_LAYERS = 16;
const ZSTD_WINDOW_LOG = 27;

/** Bytes of such a layer, unpacked: longer than the window, so that the decoder fills it. */
const ZSTD_BYTES = 2 ** ZSTD_WINDOW_LOG + 16 * MIB;

/** Entries of the index that takes long to read: as many as 4 MiB hold. */
const WIDE_ENTRIES = 25_000;

/** Bytes of each layer of an image of the well-behaved client, and their number. */
const GOOD_LAYER_BYTES = 2 * MIB;
const GOOD_LAYERS = 3;

/** What the registry answers with. */
export interface Content {
  readonly type: string;
  readonly digest: string;
  readonly bytes: Uint8Array;
}

/** Layers with the same uncompressed bytes. */
interface ZstdLayers {
  readonly diffId: string;
  readonly blobs: readonly Uint8Array[];
}

/** Makes a manifest for a tag of a repository. */
type MakeManifest = (tag: string) => Content;

/** Manifests and blobs, by what they are requested by. */
export class RegistryContent {
  readonly #blobs = new Map<string, Uint8Array>();
  /** Manifests that are made when they are requested, by digest. */
  readonly #children = new Map<string, () => Content>();
  readonly #repositories: Readonly<Record<string, MakeManifest>>;

  private constructor(windows: ZstdLayers) {
    const layer = this.#keep(gzipSync(Buffer.alloc(KIB)));
    const zeros = digestOf(Buffer.alloc(KIB));
    const noise = Array.from({ length: GOOD_LAYERS }, () => {
      const tar = randomFillSync(Buffer.alloc(GOOD_LAYER_BYTES));
      return { diffId: digestOf(tar), layer: this.#keep(gzipSync(tar, { level: 1 })) };
    });
    const small = this.#image([layer], [zeros]);
    const bigIndex = this.#bigIndex(small);
    const wide = this.#wideIndex();
    const manyLayers = this.#manyLayers();
    const zstd = this.#zstdImage(windows);
    this.#repositories = {
      // The first layer differs with the tag, so that each tag is a new image.
      'abuse/good': (tag) => {
        const tar = Buffer.alloc(KIB, tag);
        const first = this.#keep(gzipSync(tar));
        return this.#image(
          [first, ...noise.map((one) => one.layer)],
          [digestOf(tar), ...noise.map(({ diffId }) => diffId)],
        );
      },
      'abuse/manifest': (tag) => this.#image([layer], [zeros], { padding: MANIFEST_BYTES, tag }),
      'abuse/config': (tag) => this.#image([layer], [zeros], { configPadding: CONFIG_BYTES, tag }),
      'abuse/all': () => bigIndex,
      'abuse/wide': () => wide,
      'abuse/layers': () => manyLayers,
      'abuse/zstd': () => zstd,
      'abuse/small': (tag) => this.#image([layer], [zeros], { tag }),
    };
  }

  /** Makes the content; compressing takes a second. */
  static async make(): Promise<RegistryContent> {
    return new RegistryContent(await zstdLayers());
  }

  /** A manifest by tag or digest; the repository may have a number behind it, which does not matter. */
  manifest(repository: string, reference: string): Content | undefined {
    return (
      this.#children.get(reference)?.() ?? this.#repositories[repository.replace(/\d+$/, '')]?.(reference)
    );
  }

  blob(digest: string): Uint8Array | undefined {
    return this.#blobs.get(digest);
  }

  #keep(bytes: Uint8Array): { readonly digest: string; readonly size: number } {
    const digest = digestOf(bytes);
    this.#blobs.set(digest, bytes);
    return { digest, size: bytes.byteLength };
  }

  /** An image; with a tag, one of its own. */
  #image(
    layers: readonly { readonly digest: string; readonly size: number }[],
    diffIds: readonly string[],
    { padding = 0, configPadding = 0, tag = '' } = {},
  ): Content {
    const config = {
      architecture: 'amd64',
      os: 'linux',
      config: { Labels: { tag, padding: 'x'.repeat(configPadding) } },
      rootfs: { type: 'layers', diff_ids: diffIds },
    };
    const kept = this.#keep(Buffer.from(JSON.stringify(config)));
    return documentOf(MANIFEST, {
      config: { mediaType: CONFIG, ...kept },
      layers: layers.map((one) => ({ mediaType: LAYER.gzip, ...one })),
      annotations: { tag, padding: 'x'.repeat(padding) },
    });
  }

  #bigIndex(child: Content): Content {
    const { config, layers } = JSON.parse(Buffer.from(child.bytes).toString()) as Record<string, unknown>;
    const make = (index: number) => () =>
      documentOf(MANIFEST, {
        config,
        layers,
        annotations: { index: String(index), padding: 'x'.repeat(MANIFEST_BYTES) },
      });
    const manifests = Array.from({ length: BIG_CHILDREN }, (_, index) => {
      const { digest, bytes } = make(index)();
      this.#children.set(digest, make(index));
      return {
        mediaType: MANIFEST,
        digest,
        size: bytes.byteLength,
        platform: { os: 'linux', architecture: 'amd64', variant: `v${index}` },
      };
    });
    return documentOf(INDEX, { manifests });
  }

  #wideIndex(): Content {
    const manifests = Array.from({ length: WIDE_ENTRIES }, (_, index) => ({
      digest: digestOf(Buffer.from(String(index))),
      size: 9,
      platform: { os: 'linux', architecture: `a${index}` },
    }));
    return documentOf(INDEX, { manifests });
  }

  #manyLayers(): Content {
    const manifests = Array.from({ length: SMALL_CHILDREN }, (_, child) => {
      const layers = Array.from({ length: SMALL_LAYERS }, (_, index) =>
        this.#keep(Buffer.from(`layer ${child} ${index}`)),
      );
      const made = this.#image(
        layers,
        layers.map(({ digest }) => digest),
        { tag: String(child) },
      );
      this.#children.set(made.digest, () => made);
      const platform = { os: 'linux', architecture: 'amd64', variant: `v${child}` };
      return { mediaType: MANIFEST, digest: made.digest, size: made.bytes.byteLength, platform };
    });
    return documentOf(INDEX, { manifests });
  }

  #zstdImage({ diffId, blobs }: ZstdLayers): Content {
    const layers = blobs.map((bytes) => this.#keep(bytes));
    const config = {
      architecture: 'amd64',
      os: 'linux',
      rootfs: { type: 'layers', diff_ids: blobs.map(() => diffId) },
    };
    return documentOf(MANIFEST, {
      config: { mediaType: CONFIG, ...this.#keep(Buffer.from(JSON.stringify(config))) },
      layers: layers.map((one) => ({ mediaType: LAYER.zstd, ...one })),
    });
  }
}

function documentOf(mediaType: string, fields: object): Content {
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, ...fields }));
  return { type: mediaType, digest: digestOf(bytes), bytes };
}

function digestOf(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

/**
 * Layers of some kilobytes whose decoder needs the largest window: zeros that are longer than the window. A skippable frame in
 * front makes each a blob of its own: https://www.rfc-editor.org/rfc/rfc8878#section-3.1.2
 */
async function zstdLayers(): Promise<ZstdLayers> {
  const encoder = createZstdCompress({
    params: { [constants.ZSTD_c_windowLog]: ZSTD_WINDOW_LOG, [constants.ZSTD_c_contentSizeFlag]: 0 },
  });
  const chunks: Uint8Array[] = [];
  const compressed = (async () => {
    for await (const chunk of encoder as AsyncIterable<Uint8Array>) chunks.push(chunk);
  })();
  const zeros = Buffer.alloc(MIB);
  const hash = createHash('sha256');
  for (let written = 0; written < ZSTD_BYTES; written += MIB) {
    encoder.write(zeros);
    hash.update(zeros);
  }
  encoder.end();
  await compressed;
  const frame = Buffer.concat(chunks);
  const blobs = Array.from({ length: ZSTD_LAYERS }, (_, index) =>
    Buffer.concat([Buffer.from([0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, index]), frame]),
  );
  return { diffId: `sha256:${hash.digest('hex')}`, blobs };
}
