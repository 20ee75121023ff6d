/** An image for two platforms. */

import { makeImage, makeIndex, makeLayer } from './image.ts';

export const AMD64 = makeImage({
  layers: [
    { tar: makeLayer({ 'bin/': '', 'bin/hello': 'amd64' }) },
    { tar: makeLayer({ 'etc/hello': 'hello' }), compression: 'zstd' },
    { tar: makeLayer({ 'etc/plain': 'plain' }), compression: 'none' },
  ],
});
export const ARM64 = makeImage({
  platform: { os: 'linux', architecture: 'arm64' },
  layers: [{ tar: makeLayer({ 'bin/hello': 'arm64' }) }],
  mediaTypes: 'docker',
});
export const INDEX = makeIndex([{ image: AMD64 }, { image: ARM64 }]);
