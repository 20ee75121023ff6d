/** Images and indexes in memory, as a registry stores them. The same input always gives the same bytes. */

import { sha256 } from './collect.ts';
import { type BlobLayer, type Compression, compress } from './layer.ts';

export {
  type BlobLayer,
  type Compression,
  compress,
  type LayerFile,
  makeGzipBombLayer,
  makeLayer,
} from './layer.ts';

/** The family of media types of an image. */
export type MediaTypes = 'oci' | 'docker';

/** OCI image spec, "Image Index", `platform`. */
export interface Platform {
  readonly os: string;
  readonly architecture: string;
  readonly variant?: string;
  readonly 'os.version'?: string;
  readonly 'os.features'?: readonly string[];
}

/** The media types of both families. */
export const MEDIA_TYPES = {
  oci: {
    index: 'application/vnd.oci.image.index.v1+json',
    manifest: 'application/vnd.oci.image.manifest.v1+json',
    config: 'application/vnd.oci.image.config.v1+json',
    layer: {
      gzip: 'application/vnd.oci.image.layer.v1.tar+gzip',
      zstd: 'application/vnd.oci.image.layer.v1.tar+zstd',
      none: 'application/vnd.oci.image.layer.v1.tar',
    },
  },
  docker: {
    index: 'application/vnd.docker.distribution.manifest.list.v2+json',
    manifest: 'application/vnd.docker.distribution.manifest.v2+json',
    config: 'application/vnd.docker.container.image.v1+json',
    layer: {
      gzip: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
      zstd: 'application/vnd.docker.image.rootfs.diff.tar.zstd',
      none: 'application/vnd.docker.image.rootfs.diff.tar',
    },
  },
} as const;

/** Bytes that a registry serves under `/manifests/`. */
export interface BuiltManifest {
  /** `Content-Type` of the registry. */
  readonly mediaType: string;
  readonly bytes: Buffer;
  readonly digest: string;
}

/** What can be pushed to the fake registry: a manifest and everything that it references. */
export interface Pushable {
  readonly manifest: BuiltManifest;
  /** Blobs by digest. */
  readonly blobs: ReadonlyMap<string, Buffer>;
  readonly children?: readonly Pushable[];
  /** The config, if there is one. */
  readonly config?: { readonly digest: string };
  /** Its platform in an index, unless the index entry gives another one. */
  readonly platform?: Platform;
}

/** A layer of a built image. */
export interface BuiltLayer {
  readonly mediaType: string;
  readonly digest: string;
  readonly diffId: string;
  readonly blob: Buffer;
}

/** An image for one platform. */
export interface BuiltImage extends Pushable {
  readonly config: { readonly bytes: Buffer; readonly digest: string };
  readonly platform: Platform;
  readonly layers: readonly BuiltLayer[];
  /** Digests of the uncompressed layers, in order. */
  readonly diffIds: readonly string[];
}

/** An index and the images that it names. */
export interface BuiltIndex extends Pushable {
  readonly children: readonly Pushable[];
}

/** How to make one layer of an image. */
export interface LayerSpec {
  /** The uncompressed tar, from `makeLayer`; or a blob made elsewhere, with the diff ID that goes with it. */
  readonly tar?: Buffer;
  readonly blob?: Buffer;
  readonly diffId?: string;
  /** `gzip` unless given. Of no effect on a `blob`. */
  readonly compression?: Compression;
  /** The media type in the descriptor, right or wrong. */
  readonly mediaType?: string;
  /** Further or overriding fields of the descriptor: `urls`, `annotations`, a `size` that lies. */
  readonly descriptor?: Readonly<Record<string, unknown>>;
}

/** How to make an image. */
export interface ImageSpec {
  /** `linux/amd64` unless given. */
  readonly platform?: Platform;
  readonly layers: readonly (LayerSpec | BlobLayer)[];
  /** `oci` unless given. */
  readonly mediaTypes?: MediaTypes;
  /** Further or overriding fields of the config file: `config`, `created`, `rootfs`. */
  readonly config?: Readonly<Record<string, unknown>>;
  /** History of the config; one line a layer unless given. */
  readonly history?: readonly Readonly<Record<string, unknown>>[];
  /** Further or overriding fields of the manifest: `annotations`, `artifactType`, `mediaType: undefined`. */
  readonly manifest?: Readonly<Record<string, unknown>>;
  /** Spaces after the JSON of the config, which stays valid; digest and size include them. */
  readonly configPaddingBytes?: number;
  /** Spaces after the JSON of the manifest. */
  readonly manifestPaddingBytes?: number;
}

/** One entry of an index. */
export interface IndexEntry {
  readonly image: Pushable;
  /** The platform of the image unless given; `null` leaves the field out. */
  readonly platform?: Platform | null;
  readonly annotations?: Readonly<Record<string, string>>;
  /** Further or overriding fields of the descriptor: a `digest`, `size` or `mediaType` that lies. */
  readonly descriptor?: Readonly<Record<string, unknown>>;
}

/**
 * Makes an image for one platform.
 *
 * @param spec its layers, base first, and other differences from a plain `linux/amd64` OCI image
 * @returns manifest, config, blobs by digest, layers and diff IDs
 */
export function makeImage(spec: ImageSpec): BuiltImage {
  const types = MEDIA_TYPES[spec.mediaTypes ?? 'oci'];
  const platform = spec.platform ?? { os: 'linux', architecture: 'amd64' };
  const layers = spec.layers.map((layer) => buildLayer(layer, types.layer));
  const diffIds = layers.map((layer) => layer.diffId);
  const config = json(
    {
      created: '2020-01-02T03:04:05Z',
      architecture: platform.architecture,
      os: platform.os,
      variant: platform.variant,
      'os.version': platform['os.version'],
      config: { Env: ['PATH=/bin'], Cmd: ['/bin/hello'] },
      rootfs: { type: 'layers', diff_ids: diffIds },
      history: spec.history ?? layers.map((_, index) => ({ created_by: `layer ${index + 1}` })),
      ...spec.config,
    },
    spec.configPaddingBytes,
  );
  const configDigest = sha256(config);
  const manifest = json(
    {
      schemaVersion: 2,
      mediaType: types.manifest,
      config: { mediaType: types.config, digest: configDigest, size: config.length },
      layers: layers.map(({ mediaType, digest, blob }, index) => {
        const layer = spec.layers[index];
        const extra = layer !== undefined && 'descriptor' in layer ? layer.descriptor : {};
        return { mediaType, digest, size: blob.length, ...extra };
      }),
      ...spec.manifest,
    },
    spec.manifestPaddingBytes,
  );
  return {
    manifest: builtManifest(types.manifest, manifest),
    config: { bytes: config, digest: configDigest },
    blobs: new Map([[configDigest, config], ...layers.map(({ digest, blob }) => [digest, blob] as const)]),
    platform,
    layers,
    diffIds,
  };
}

/**
 * Makes an index (OCI) or manifest list (Docker). An entry may be an index itself.
 *
 * @param entries in their order
 * @param options `mediaTypes`, and further or overriding `fields` of the index
 * @returns the index, with the images as its children
 */
export function makeIndex(
  entries: readonly IndexEntry[],
  options: { readonly mediaTypes?: MediaTypes; readonly fields?: Readonly<Record<string, unknown>> } = {},
): BuiltIndex {
  const mediaType = MEDIA_TYPES[options.mediaTypes ?? 'oci'].index;
  const manifests = entries.map(({ image, platform, annotations, descriptor }) => ({
    mediaType: image.manifest.mediaType,
    digest: image.manifest.digest,
    size: image.manifest.bytes.length,
    annotations,
    platform: platform === null ? undefined : (platform ?? image.platform),
    ...descriptor,
  }));
  const bytes = json({ schemaVersion: 2, mediaType, manifests, ...options.fields });
  return {
    manifest: builtManifest(mediaType, bytes),
    blobs: new Map(),
    children: entries.map(({ image }) => image),
  };
}

/**
 * Makes the entry that BuildKit adds for an image: provenance in the form of an image without a platform.
 *
 * @param image the subject of the attestation
 * @returns an entry for {@link makeIndex}
 * @see https://github.com/moby/buildkit/blob/master/docs/attestations/attestation-storage.md
 */
export function makeAttestation(image: Pushable): IndexEntry {
  const statement = Buffer.from('{"_type":"https://in-toto.io/Statement/v0.1"}');
  const platform = { os: 'unknown', architecture: 'unknown' };
  return {
    image: makeImage({
      platform,
      layers: [{ blob: statement, diffId: sha256(statement), mediaType: 'application/vnd.in-toto+json' }],
    }),
    platform,
    annotations: {
      'vnd.docker.reference.type': 'attestation-manifest',
      'vnd.docker.reference.digest': image.manifest.digest,
    },
  };
}

/**
 * @param mediaType `Content-Type` of the registry
 * @param content a value to write as JSON, or the bytes themselves, of any kind
 * @returns a manifest that can stand in a {@link Pushable}
 */
export function builtManifest(mediaType: string, content: unknown): BuiltManifest {
  const bytes = Buffer.isBuffer(content) ? content : json(content);
  return { mediaType, bytes, digest: sha256(bytes) };
}

function buildLayer(spec: LayerSpec | BlobLayer, types: Readonly<Record<Compression, string>>): BuiltLayer {
  const { tar, blob, diffId, compression = 'gzip', mediaType }: LayerSpec = spec;
  const bytes = blob ?? (tar && compress(tar, compression));
  const id = diffId ?? (tar && sha256(tar));
  if (bytes === undefined || id === undefined) {
    throw new TypeError('Cannot make layer: it needs a tar, or a blob and its diff ID');
  }
  return { mediaType: mediaType ?? types[compression], digest: sha256(bytes), diffId: id, blob: bytes };
}

function json(value: unknown, paddingBytes = 0): Buffer {
  return Buffer.concat([Buffer.from(JSON.stringify(value)), Buffer.alloc(paddingBytes, ' ')]);
}
