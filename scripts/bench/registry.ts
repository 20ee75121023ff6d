/**
 * A registry for benchmarks, as a separate process. It prints its port. For each line on standard input it prints its images.
 * In contrast to the registry of the tests, it records no requests, so it is faster.
 */

import { readdir, readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { type BuiltImage, makeImage, makeLayer } from '../../test/support/image.ts';
import { serveAsHelper } from './measure.ts';

const MIB = 1024 * 1024;

/** Smallest uncompressed size of the big image and of its layers, in bytes. */
const BIG_BYTES = 300 * MIB;
const LAYER_BYTES = 30 * MIB;

/** Number of layers in the small image, and bytes of the file in each. */
const SMALL_LAYERS = 3;
const SMALL_FILE_BYTES = 2_500;

/** Programs, sources and texts, which compress like real images. */
const MATERIAL = join(import.meta.dirname, '..', '..', 'node_modules');

/** An image of the registry, with the tag `1`. */
export interface BenchImage {
  readonly repository: string;
  readonly layers: number;
  /** Sum of all layers, in bytes. */
  readonly compressed: number;
  readonly uncompressed: number;
}

if (import.meta.main) await main();

async function main(): Promise<void> {
  const images: BenchImage[] = [];
  const served = new Map<
    string,
    { readonly type: string; readonly digest: string; readonly bytes: Buffer }
  >();
  const push = (repository: string, tars: readonly Buffer[]) => {
    const image: BuiltImage = makeImage({ layers: tars.map((tar) => ({ tar })) });
    const { mediaType: type, digest, bytes } = image.manifest;
    for (const reference of ['1', digest]) {
      served.set(`/v2/${repository}/manifests/${reference}`, { type, digest, bytes });
    }
    for (const [digest, bytes] of image.blobs) {
      served.set(`/v2/${repository}/blobs/${digest}`, { type: 'application/octet-stream', digest, bytes });
    }
    images.push({
      repository,
      layers: tars.length,
      compressed: image.layers.reduce((sum, { blob }) => sum + blob.length, 0),
      uncompressed: tars.reduce((sum, tar) => sum + tar.length, 0),
    });
  };
  push('bench/small', await smallLayers());
  push('bench/big', await bigLayers());

  const server = createServer((request, response) => {
    const found = served.get(request.url ?? '');
    if (found === undefined) {
      response.writeHead(request.url === '/v2/' ? 200 : 404).end();
      return;
    }
    response.writeHead(200, {
      'Content-Type': found.type,
      'Content-Length': found.bytes.length,
      'Docker-Content-Digest': found.digest,
    });
    response.end(request.method === 'HEAD' ? undefined : found.bytes);
  });
  // Idle connections stay open, so that no request meets a connection that closes.
  server.keepAliveTimeout = 0;
  server.listen(0, '127.0.0.1', () => serveAsHelper((server.address() as AddressInfo).port, () => images));
}

async function smallLayers(): Promise<Buffer[]> {
  const text = await readFile(join(import.meta.dirname, 'registry.ts'));
  return Array.from({ length: SMALL_LAYERS }, (_, index) =>
    makeLayer({ [`file-${index}`]: text.subarray(0, SMALL_FILE_BYTES) }),
  );
}

/** Layers with files of `node_modules`, until their sizes are reached. */
async function bigLayers(): Promise<Buffer[]> {
  const entries = await readdir(MATERIAL, { recursive: true, withFileTypes: true });
  const paths = entries
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name));
  const layers: Buffer[] = [];
  let files: Record<string, Buffer> = {};
  let bytes = 0;
  let total = 0;
  for (const [index, path] of paths.sort().entries()) {
    const content = await readFile(path);
    files[`files/${index}`] = content;
    bytes += content.length;
    total += content.length;
    if (bytes < LAYER_BYTES && total < BIG_BYTES) continue;
    layers.push(makeLayer(files));
    files = {};
    bytes = 0;
    if (total >= BIG_BYTES) return layers;
  }
  throw new Error(`Cannot make the big image: ${MATERIAL} holds no more than ${total} bytes`);
}
