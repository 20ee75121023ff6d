/** Images for archives, and the bytes of their archives. */

import assert from 'node:assert/strict';
import type { Archive } from '../../src/archive/archive.ts';
import { legacySettings } from '../../src/archive/docker-layout.ts';
import type { Document } from '../../src/archive/entries.ts';
import type { ImageContent, PackedLayer, UnpackedLayer } from '../../src/archive/image-content.ts';
import type { OciContent } from '../../src/archive/oci-layout.ts';
import { parseImageConfig } from '../../src/image/image-config.ts';
import type { Reference } from '../../src/image/reference.ts';
import { encodeTar } from '../../src/tar/encoder.ts';
import { sha256 } from '../support/collect.ts';
import { parseDigest } from '../support/digest.ts';
import { type BuiltImage, type Compression, makeImage, type Platform } from '../support/image.ts';

/** Bytes by digest: of blobs, and of layers by diff ID. */
export type Bytes = ReadonlyMap<string, Uint8Array>;

/** An image with all its bytes, to compare with an archive. */
export interface Sample {
  readonly input: ImageContent<UnpackedLayer & PackedLayer> & {
    readonly config: { readonly bytes: Uint8Array; readonly settings: Document };
  };
  readonly bytes: Bytes;
  /** The same image in the form of a registry. */
  readonly image: BuiltImage;
}

/** Settings of a sample. */
export interface SampleOptions {
  /** Uncompressed layers, base first. They need not be tar archives. */
  readonly layers: readonly string[];
  /** Default: `docker.io/library/app:1`. */
  readonly reference?: Partial<Reference>;
  /** Further or overriding fields of the config. */
  readonly config?: Readonly<Record<string, unknown>>;
  readonly platform?: Platform;
  /** Default: `gzip`. */
  readonly compression?: Compression;
  /** Further fields of the layers' descriptors, by the text of the layer. */
  readonly descriptors?: Readonly<Record<string, { readonly mediaType: string; readonly urls?: string[] }>>;
}

/** Makes an image with valid digests. */
export function makeSample(options: SampleOptions): Sample {
  const { layers, reference, config = {}, platform, compression = 'gzip', descriptors = {} } = options;
  const tars = layers.map((text) => Buffer.from(text));
  const image = makeImage({
    layers: tars.map((tar, index) => ({
      tar,
      compression,
      descriptor: descriptors[layers[index] ?? ''] ?? {},
    })),
    config,
    ...(platform && { platform }),
  });
  const input = {
    reference: { registryName: 'docker.io', repository: 'library/app', tag: '1', ...reference },
    manifest: { digest: parseDigest(image.manifest.digest), mediaType: image.manifest.mediaType },
    config: {
      digest: parseDigest(image.config.digest),
      size: image.config.bytes.length,
      bytes: image.config.bytes,
      image: parseImageConfig(image.config.bytes, layers.length),
      settings: documentOf(legacySettings(image.config.bytes)),
    },
    layers: image.layers.map(({ mediaType, digest, diffId, blob }, index) => ({
      diffId: parseDigest(diffId),
      size: tars[index]?.length ?? 0,
      descriptor: {
        mediaType,
        digest: parseDigest(digest),
        size: blob.length,
        ...descriptors[layers[index] ?? ''],
      },
    })),
  };
  const bytes = new Map([
    ...image.blobs,
    ...tars.map((tar): [string, Uint8Array] => [sha256(tar), tar]),
    [image.manifest.digest, image.manifest.bytes],
  ]);
  return { input, bytes, image };
}

/** A document in memory. */
export function documentOf(bytes: Uint8Array): Document & { readonly bytes: Uint8Array } {
  return { digest: parseDigest(sha256(bytes)), size: bytes.length, bytes };
}

/** The image for layout oci: config in memory, layers by digest. */
export function toOci({ input, image }: Sample): OciContent {
  const { reference, manifest, config, layers } = input;
  return {
    reference,
    manifest: { ...documentOf(image.manifest.bytes), ...manifest },
    blobs: [
      { digest: config.digest, size: config.bytes.byteLength, bytes: config.bytes },
      ...layers.map(({ descriptor: { digest, size } }, index) => ({
        digest,
        size,
        layer: { image: 0, index },
      })),
    ],
    image: {
      ...(config.image.platform && { platform: config.image.platform }),
      config: config.digest,
      layers: layers.map(({ descriptor }) => descriptor.digest),
    },
  };
}

/** The bytes of the archive, with its blobs. */
export async function encode(archive: Archive, ...bytes: readonly Bytes[]): Promise<Buffer> {
  const sources = archive.entries.map(({ blob, layer: _, prefix = Buffer.alloc(0), ...entry }) => {
    if (blob === undefined) return entry;
    const content = bytes.map((known) => known.get(blob)).find((found) => found !== undefined);
    if (content === undefined) assert.fail(`${entry.name}: ${blob} is not known`);
    return { ...entry, content: Buffer.concat([prefix, content]) };
  });
  return Buffer.concat(await Array.fromAsync(encodeTar(sources)));
}
