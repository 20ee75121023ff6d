/** The image of `npm run demo` and `npm run dev`: a program that says hello, for two platforms. */

import { makeImage, makeIndex, makeLayer } from '../test/support/image.ts';
import { helloProgram } from './hello-program.ts';

/** The architectures that the image is for. */
export const ARCHITECTURES = ['amd64', 'arm64'] as const;

/** An index of two images that differ in their machine code. */
export function helloIndex() {
  const images = ARCHITECTURES.map((architecture) => {
    const content = helloProgram(
      architecture,
      `Hello from an image that came over plain HTTP, ${architecture}\n`,
    );
    return makeImage({
      platform: { os: 'linux', architecture },
      layers: [{ tar: makeLayer({ hello: { content, mode: 0o755 } }), compression: 'gzip' }],
      config: { config: { Cmd: ['/hello'], Env: ['PATH=/'] } },
    });
  });
  return makeIndex(images.map((image) => ({ image })));
}
