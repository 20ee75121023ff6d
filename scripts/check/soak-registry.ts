/** A registry for `soak.ts`. It records no requests, so its memory does not grow. It has a tag that moves. */

import { randomFillSync } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type BuiltImage, makeImage, makeLayer } from '../../test/support/image.ts';

const KIB = 1024;

/** Number of images with a fixed tag, and of versions of the image whose tag moves. */
const IMAGES = 8;
const VERSIONS = 3;

/** The repository whose tag `1` moves. */
export const MOVING = 'soak/moving';

/** A running registry. */
export interface SoakRegistry extends AsyncDisposable {
  readonly origin: string;
  /** Repositories whose tag `1` is fixed. */
  readonly repositories: readonly string[];
  /** Number of images of the moving tag. */
  readonly versions: number;
  /** Moves the tag to the next image. */
  moveTag(): void;
  /** Closes the idle connections of the service. */
  closeIdle(): void;
}

interface Content {
  readonly type: string;
  readonly digest: string;
  readonly bytes: Buffer;
}

/** Starts a registry on a free port of 127.0.0.1. */
export async function startSoakRegistry(): Promise<SoakRegistry> {
  const served = new Map<string, Content>();
  const push = (repository: string, image: BuiltImage): Content => {
    const { mediaType: type, digest, bytes } = image.manifest;
    const manifest = { type, digest, bytes };
    served.set(`/v2/${repository}/manifests/${digest}`, manifest);
    for (const [digest, bytes] of image.blobs) {
      served.set(`/v2/${repository}/blobs/${digest}`, { type: 'application/octet-stream', digest, bytes });
    }
    return manifest;
  };
  // Images of one family share their first layer, like images with a common base image.
  const base = layerOf(700 * KIB, 'base');
  const repositories = Array.from({ length: IMAGES }, (_, index) => `soak/app${index}`);
  for (const [index, repository] of repositories.entries()) {
    const image = makeImage({
      layers: [base, layerOf((200 + 400 * index) * KIB, repository), layerOf(10 * KIB, 'top')],
    });
    served.set(`/v2/${repository}/manifests/1`, push(repository, image));
  }
  const versions = Array.from({ length: VERSIONS }, (_, index) =>
    push(MOVING, makeImage({ layers: [base, layerOf(900 * KIB, `version ${index}`)] })),
  );
  let version = 0;
  const moveTag = () => {
    served.set(`/v2/${MOVING}/manifests/1`, versions[version % VERSIONS] as Content);
    version += 1;
  };
  moveTag();

  const server = createServer((request, response) => {
    const found = served.get(request.url ?? '');
    if (found === undefined) {
      response.writeHead(request.url === '/v2/' ? 200 : 404, { 'Content-Length': 0 }).end();
      return;
    }
    response.writeHead(200, {
      'Content-Type': found.type,
      'Content-Length': found.bytes.length,
      'Docker-Content-Digest': found.digest,
    });
    response.end(request.method === 'HEAD' ? undefined : found.bytes);
  });
  server.keepAliveTimeout = 0;
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    ...{ repositories, versions: VERSIONS, moveTag },
    closeIdle: () => server.closeIdleConnections(),
    [Symbol.asyncDispose]: async () => {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

/** One half compresses well, the other half does not compress. */
function layerOf(bytes: number, name: string) {
  const content = Buffer.alloc(bytes, `All work and no play makes ${name} a dull layer. `);
  randomFillSync(content, 0, bytes >> 1);
  return { tar: makeLayer({ [name.replaceAll(/\W/g, '-')]: content }) };
}
