/** A pair whose registry has a small image, which fits into socket buffers, and a large one, which does not. */

import { type BuiltImage, makeGzipBombLayer, makeImage, makeLayer } from './image.ts';
import { type Pair, type PairOptions, startPair } from './pair.ts';

/** Uncompressed bytes of the large image: many times the socket buffers of both ends. */
export const LARGE_BYTES = 64 * 1024 ** 2;

/** Two layers of a file each. */
export const SMALL = makeImage({ layers: [{ tar: makeLayer({ a: 'a' }) }, { tar: makeLayer({ b: 'b' }) }] });
export const SMALL_FILE = '/docker/team_small_1.tar';
export const LARGE_FILE = '/docker/team_large_1.tar';

let large: Promise<BuiltImage> | undefined;

/** Starts the pair. The large image is made once for each process. */
export async function startTwoSizes(options: PairOptions = {}): Promise<Pair> {
  large ??= makeGzipBombLayer(LARGE_BYTES).then((layer) => makeImage({ layers: [layer] }));
  const image = await large;
  return await startPair(options, (registry) => {
    registry.push('team/small', '1', SMALL);
    registry.push('team/large', '1', image);
  });
}
