import { PassthroughError } from '../../errors.ts';
import type { Digest } from '../../image/digest.ts';
import type { Descriptor } from '../../image/manifest.ts';
import type { Description } from '../../storage/checked-file.ts';
import { quoted } from '../../util/printable.ts';

/** Number and compressed bytes of different layers. */
export interface LayerTotals {
  readonly count: number;
  readonly bytes: number;
}

/** Adds up layers. One that occurs several times counts once. */
export function totalsOf(layers: readonly Pick<Descriptor, 'digest' | 'size'>[]): LayerTotals {
  const unique = new Map(layers.map(({ digest, size }) => [digest, size]));
  return { count: unique.size, bytes: unique.values().reduce((sum, size) => sum + size, 0) };
}

/**
 * Checks that descriptors of one blob give it one size. A blob is fetched once, by the first of them, so a wrong size in another would not
 * show.
 *
 * @throws PassthroughError `VERIFICATION_FAILED`
 */
export function checkSizes(layers: readonly Pick<Descriptor, 'digest' | 'size'>[]): void {
  const sizes = new Map<Digest, number>();
  for (const { digest, size } of layers) {
    const known = sizes.get(digest) ?? size;
    sizes.set(digest, known);
    if (known === size) continue;
    throw new PassthroughError(
      'VERIFICATION_FAILED',
      `Cannot verify layer ${quoted(digest)}: one descriptor says ${known} bytes, another one ${size}`,
    );
  }
}

/** Totals as they are stored with the file of an archive. */
export function describeTotals({ count, bytes }: LayerTotals): Description {
  return { layerCount: count, layerBytes: bytes };
}

/**
 * Totals that were stored with the file of an archive.
 *
 * @param whole those of the whole images: files of older versions have none, and are no updates
 */
export function totalsIn({ layerCount, layerBytes }: Description, whole: LayerTotals): LayerTotals {
  return { count: Number(layerCount ?? whole.count), bytes: Number(layerBytes ?? whole.bytes) };
}
