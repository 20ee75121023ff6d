/** The image that the vectors of `test/pull/signatures/vectors.json` are for. Its layer is not compressed, so its digest is always the same. */

import { makeImage, makeLayer } from './image.ts';

/** A small image for linux/amd64. */
export const SIGNED_IMAGE = makeImage({
  layers: [{ tar: makeLayer({ signed: 'an image that was signed by cosign' }), compression: 'none' }],
});
