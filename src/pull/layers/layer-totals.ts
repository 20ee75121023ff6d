import type { Descriptor } from '../../image/manifest.ts';
import type { Description } from '../../storage/checked-file.ts';

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
