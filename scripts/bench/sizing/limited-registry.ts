/**
 * A registry with a slow line, as a separate process: all blobs together pass {@link UPSTREAM_BYTES_PER_SECOND}. It prints its
 * port. For each line on standard input it prints what it has sent.
 */

import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { makeImage, makeLayer } from '../../../test/support/image.ts';
import { noise } from '../../../test/support/noise.ts';
import { serveAsHelper } from '../measure.ts';

/** Number of images. Image 0 has the repository `bench/image0`, and so on. */
export const IMAGES = 8;

/** The line between the registry and all replicas: a first pull takes seconds, as in a real window. */
export const UPSTREAM_BYTES_PER_SECOND = 2e6;

/** Half of an image does not compress, and the other half compresses to next to nothing. */
const HALF_BYTES = 4e6;

/** Interval in which bytes are handed out, in milliseconds. */
const TICK_MS = 20;

/** Larger bodies pass the line; manifests and configs do not count. */
const LARGE_BYTES = 100_000;

/** One answer of the registry. */
export interface SentByRegistry {
  /** Of each image, at the registry. */
  readonly compressedBytes: number;
  /** Bytes of all layers that were sent. */
  readonly sentBytes: number;
  /** Number of layers that were asked for. */
  readonly layers: number;
}

/** A layer on its way. */
interface Sending {
  readonly response: ServerResponse;
  rest: Buffer;
}

if (import.meta.main) main();

function main(): void {
  const served = new Map<string, { readonly type: string; readonly bytes: Buffer }>();
  let compressedBytes = 0;
  for (let index = 0; index < IMAGES; index += 1) {
    const files = { noise: noise(`${index}`, HALF_BYTES), zeros: Buffer.alloc(HALF_BYTES) };
    const image = makeImage({ layers: [{ tar: makeLayer(files) }] });
    const base = `/v2/bench/image${index}`;
    const { mediaType, digest, bytes } = image.manifest;
    for (const name of ['1', digest]) served.set(`${base}/manifests/${name}`, { type: mediaType, bytes });
    for (const [digest, bytes] of image.blobs) {
      served.set(`${base}/blobs/${digest}`, { type: 'application/octet-stream', bytes });
    }
    compressedBytes = image.layers[0]?.blob.length ?? 0;
  }

  let sentBytes = 0;
  let layers = 0;
  const under = new Set<Sending>();
  const server = createServer((request, response) => {
    const found = served.get(request.url ?? '');
    if (found === undefined) {
      response.writeHead(request.url === '/v2/' ? 200 : 404).end();
      return;
    }
    response.writeHead(200, { 'Content-Type': found.type, 'Content-Length': found.bytes.length });
    if (request.method === 'HEAD' || found.bytes.length < LARGE_BYTES) {
      response.end(request.method === 'HEAD' ? undefined : found.bytes);
      return;
    }
    layers += 1;
    const sending = { response, rest: found.bytes };
    under.add(sending);
    response.once('close', () => under.delete(sending));
  });
  let before = performance.now();
  setInterval(() => {
    const now = performance.now();
    // An idle line saves nothing up.
    const share = Math.floor(((now - before) / 1000) * (UPSTREAM_BYTES_PER_SECOND / under.size));
    before = now;
    for (const sending of under) {
      const part = sending.rest.subarray(0, share);
      sending.rest = sending.rest.subarray(share);
      sentBytes += part.length;
      sending.response.write(part);
      if (sending.rest.length > 0) continue;
      under.delete(sending);
      sending.response.end();
    }
  }, TICK_MS);
  // Idle connections stay open, so that no request meets a connection that closes.
  server.keepAliveTimeout = 0;
  server.listen(0, '127.0.0.1', () => {
    const { port } = server.address() as AddressInfo;
    serveAsHelper(port, (): SentByRegistry => ({ compressedBytes, sentBytes, layers }));
  });
}
