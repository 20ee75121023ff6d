import type { Digest } from '../../image/digest.ts';
import { storedSize } from '../../streams/stored-gzip.ts';
import { tarSize } from '../../tar/encoder.ts';
import { SplicedArchive } from '../gzip/spliced-archive.ts';
import { entryDigest } from '../layers/layer-key.ts';
import { type ImageLimits, SizeBudget } from '../limits.ts';
import { layerOf, type Plan } from './plan.ts';
import type { PlannedLayer } from './planned-layers.ts';

/** Bytes of a layer: in its entry, and in the file that is sent. */
interface LayerLength {
  readonly entryBytes: number;
  readonly fileBytes: number;
}

/**
 * The length of an archive whose layers are not fetched.
 *
 * @param isGzip whether it is sent as gzip that is put together
 * @returns `undefined` if it follows from a layer of which not enough is known
 */
export function lengthOf(plan: Plan, isGzip: boolean): number | undefined {
  const { form } = plan;
  const lengths = new Map<Digest | undefined, LayerLength>();
  for (const layer of plan.layers.values()) {
    const length = lengthOfLayer(layer, form);
    if (length === undefined) return undefined;
    lengths.set(entryDigest(layer, form), length);
  }
  const entries = plan.entries.map((entry) => {
    const size = lengths.get(layerOf(entry, plan))?.entryBytes ?? entry.size;
    return { ...entry, size };
  });
  if (!isGzip) return tarSize(entries);
  if (form !== 'gzip') return storedSize(tarSize(entries));
  return new SplicedArchive(entries, (entry) => lengths.get(layerOf(entry, plan))?.fileBytes).size;
}

/**
 * Checks the uncompressed bytes of the layers as a pull would.
 *
 * @throws PassthroughError `IMAGE_TOO_LARGE`
 */
export function checkKnownBytes({ images, layers, form }: Plan, limits: ImageLimits): void {
  if (form === 'compressed') return;
  const budget = new SizeBudget(limits);
  for (const { descriptor } of images.flatMap((image) => image.layers)) {
    const layer = layers.get(descriptor.digest);
    if (form !== 'loadable' || layer?.isDeflated === true) budget.spend(layer?.known?.uncompressedBytes ?? 0);
  }
}

function lengthOfLayer(
  { descriptor, known, isDeflated }: PlannedLayer,
  form: Plan['form'],
): LayerLength | undefined {
  const fileBytes = isDeflated ? known?.deflatedBytes : descriptor.size;
  if (fileBytes === undefined) return undefined;
  if (form === 'compressed' || form === 'loadable') return { entryBytes: fileBytes, fileBytes };
  return known && { entryBytes: known.uncompressedBytes, fileBytes };
}
