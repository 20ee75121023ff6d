/** A tag that moves from one image to another, and clients that ask for parts of what it means. */

import type { FakeRegistry } from './fake-registry.ts';
import { makeImage, makeLayer } from './image.ts';
import type { Reply, TestService } from './service.ts';

/** Bytes that no compressor makes smaller, the same on any day: a download of them takes several pieces. */
function noise(seed: number, length: number): Buffer {
  let state = seed;
  return Buffer.from(
    Uint8Array.from({ length }, () => {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
      return state >>> 24;
    }),
  );
}

/** What the tag means at first, and what it means then; of one length, so that no range tells them apart. */
export const BEFORE = makeImage({ layers: [{ tar: makeLayer({ 'data/file': noise(1, 300_000) }) }] });
export const AFTER = makeImage({ layers: [{ tar: makeLayer({ 'data/file': noise(2, 300_000) }) }] });

/** Lets the tag `team/app:1` mean an image. */
export function pointTo(registry: FakeRegistry, image: typeof BEFORE): void {
  registry.push('team/app', '1', image);
}

/** Reads so many bytes of an answer and leaves, as a connection does that breaks. */
export async function take(service: TestService, path: string, bytes: number): Promise<Buffer> {
  const response = await service.open(path);
  const pieces: Buffer[] = [];
  let length = 0;
  for await (const piece of response) {
    pieces.push(piece as Buffer);
    length += (piece as Buffer).length;
    if (length >= bytes) break;
  }
  response.destroy();
  return Buffer.concat(pieces).subarray(0, bytes);
}

/** Asks for all from a position on, as `curl -C -` does. */
export function continueFrom(
  service: TestService,
  path: string,
  position: number,
  headers: Readonly<Record<string, string>> = {},
  localAddress = '127.0.0.1',
): Promise<Reply> {
  return service.request(path, { headers: { ...headers, range: `bytes=${position}-` }, localAddress });
}
