/** A tag that moves from one image to another, and clients that continue downloads. */

import type { FakeRegistry } from './fake-registry.ts';
import { type BuiltImage, makeImage, makeLayer } from './image.ts';
import { noise } from './noise.ts';
import type { Reply, TestService } from './service.ts';

/** The image before and after the move. Their uncompressed archives have the same length, so no range distinguishes them. */
export const BEFORE = imageOf('before');
export const AFTER = imageOf('after');

function imageOf(content: string): BuiltImage {
  const tar = makeLayer({ 'data/file': noise(content, 300_000) });
  return makeImage({ layers: [{ tar, compression: 'none' }] });
}

/** Moves the tag `team/app:1` to an image. */
export function pointTo(registry: FakeRegistry, image: BuiltImage): void {
  registry.push('team/app', '1', image);
}

/** Reads the first bytes of an answer and then breaks the connection. */
export async function take(service: TestService, path: string, bytes: number): Promise<Buffer> {
  const response = await service.open(path);
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    length += chunk.length;
    if (length >= bytes) break;
  }
  response.destroy();
  return Buffer.concat(chunks).subarray(0, bytes);
}

/** Requests all bytes from a position on, as `curl -C -` does. */
export function continueFrom(
  service: TestService,
  path: string,
  position: number,
  headers: Readonly<Record<string, string>> = {},
  localAddress = '127.0.0.1',
): Promise<Reply> {
  return service.request(path, { headers: { ...headers, range: `bytes=${position}-` }, localAddress });
}
