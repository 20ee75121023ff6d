/** Fetches the layers of an image, for tests of `fetch-layers`. */

import type { PassthroughError } from '../../../src/errors.ts';
import type { FetchedLayer, FetchLayersCall } from '../../../src/pull/layers/fetch-layers.ts';
import { SizeBudget } from '../../../src/pull/limits.ts';
import { readAll } from '../../support/collect.ts';
import {
  type BlobLayer,
  type BuiltImage,
  type LayerSpec,
  makeImage,
  makeLayer,
} from '../../support/image.ts';
import { noise } from '../../support/noise.ts';
import { within } from '../../support/within.ts';
import {
  descriptors,
  diffIdsOf,
  NEVER,
  type Pulling,
  type PullingOptions,
  refusal,
  startPulling,
} from '../pulling.ts';

/** The requests for blobs. */
export const BLOB = /^GET .*\/blobs\//;

/** Three layers of several chunks, one for each compression. */
export const IMAGE = makeImage({
  layers: (['gzip', 'zstd', 'none'] as const).map((compression) => {
    return { tar: makeLayer({ [compression]: noise(compression, 300_000) }), compression };
  }),
});

/** Uncompressed bytes of each of these layers. */
export const LAYER_BYTES = makeLayer({ gzip: noise('gzip', 300_000) }).length;

/** Fetches all layers of an image, uncompressed. */
export function fetchAll(
  pulling: Pulling,
  image: BuiltImage,
  call: Partial<Pick<FetchLayersCall, 'diffIds' | 'signal' | 'onLayer' | 'isFirstAlone'>> = {},
): Promise<readonly FetchedLayer[]> {
  const fetching = pulling.layers.fetchAll(descriptors(image), {
    source: pulling,
    form: 'uncompressed',
    diffIds: Promise.resolve(diffIdsOf(image)),
    budget: new SizeBudget(pulling.policy.limits),
    known: new Map(),
    signal: NEVER,
    ...call,
  });
  return within(fetching, 'the layers');
}

/** The bytes of the file of a layer. */
export function contentOf(layer: FetchedLayer | undefined): Promise<Buffer> {
  if (layer === undefined) throw new RangeError('Cannot read layer: there is none');
  return readAll(layer.file.read());
}

/** Releases the files of layers. */
export function release(layers: readonly FetchedLayer[]): void {
  for (const { file } of layers) file.release();
}

/** Fetches layers that cannot be fetched; returns the error after checking that nothing is left of the fetch. */
export async function failing(
  image: BuiltImage,
  options: PullingOptions,
  code: Parameters<typeof refusal>[1],
): Promise<PassthroughError> {
  await using pulling = await startPulling(image, options);
  const error = await refusal(fetchAll(pulling, image), code);
  await pulling.assertIdle();
  return error;
}

/** An image with one layer. */
export function oneLayer(layer: LayerSpec | BlobLayer): BuiltImage {
  return makeImage({ layers: [layer] });
}
