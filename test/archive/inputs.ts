/** Images to archive, and their archives as they go over the wire. */

import type { Archive, ArchiveInput } from '../../src/archive/archive.ts';
import { parseDigest } from '../../src/image/digest.ts';
import { parseImageConfig } from '../../src/image/image-config.ts';
import type { Reference } from '../../src/image/reference.ts';
import { encodeTar } from '../../src/tar/encoder.ts';
import { makeImage, type Platform } from '../support/image.ts';

/** An image with its layers' bytes, to compare with what comes out of an archive. */
export interface Sample {
  readonly input: ArchiveInput;
  readonly tars: readonly Uint8Array[];
}

/** How to make a sample. */
export interface SampleOptions {
  /** Uncompressed layers, base first; what they hold does not matter to an archive. */
  readonly layers: readonly string[];
  /** `docker.io/library/app:1` unless said. */
  readonly reference?: Partial<Reference>;
  /** Further or overriding fields of the config. */
  readonly config?: Readonly<Record<string, unknown>>;
  readonly platform?: Platform;
}

/** Make an image whose digests are those of its bytes. */
export function makeSample({ layers, reference, config = {}, platform }: SampleOptions): Sample {
  const tars = layers.map((text) => Buffer.from(text));
  const image = makeImage({
    layers: tars.map((tar) => ({ tar, compression: 'none' })),
    config,
    ...(platform && { platform }),
  });
  const input = {
    reference: { registryName: 'docker.io', repository: 'library/app', tag: '1', ...reference },
    configDigest: parseDigest(image.config.digest),
    configBytes: image.config.bytes,
    config: parseImageConfig(image.config.bytes, layers.length),
    layers: tars.map((tar, index) => ({ diffId: parseDigest(image.diffIds[index] ?? ''), size: tar.length })),
  };
  return { input, tars };
}

/** The archive's bytes, the layers filled in. */
export async function encode(archive: Archive, tars: readonly Uint8Array[]): Promise<Buffer> {
  const sources = archive.entries.map(({ layer, ...entry }) =>
    layer === undefined ? entry : { ...entry, content: tars[layer] ?? new Uint8Array() },
  );
  return Buffer.concat(await Array.fromAsync(encodeTar(sources)));
}
