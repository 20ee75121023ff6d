/** Reads answers of the service without the product's own code. */

import { gunzipSync } from 'node:zlib';
import { listTar } from './collect.ts';
import type { Reply } from './service.ts';

/** The line that a switch console shows of an error. */
export function firstLine({ body }: Pick<Reply, 'body'>): string {
  return body.toString().split('\n', 1)[0] ?? '';
}

/** Files of an archive by name; it is unpacked where it is compressed. */
export function filesOf({ body }: Pick<Reply, 'body'>): ReadonlyMap<string, Buffer> {
  const isGzip = body[0] === 0x1f && body[1] === 0x8b;
  const entries = listTar(isGzip ? gunzipSync(body) : body);
  return new Map(entries.filter(({ type }) => type === 'file').map(({ name, content }) => [name, content]));
}

/** One image in a `manifest.json`. */
export interface ListedImage {
  readonly Config: string;
  readonly RepoTags: readonly string[];
  readonly Layers: readonly string[];
  readonly LayerSources?: Readonly<Record<string, unknown>>;
}

/** What `manifest.json` of an archive lists. */
export function imagesOf(reply: Pick<Reply, 'body'>): readonly ListedImage[] {
  return JSON.parse(String(filesOf(reply).get('manifest.json')));
}

/** The tags of all images in an archive, in its order. */
export function tagsOf(reply: Pick<Reply, 'body'>): readonly string[] {
  return imagesOf(reply).flatMap(({ RepoTags }) => RepoTags);
}

/** Digest in the way that OCI layouts name blobs: `sha256:abc` is `blobs/sha256/abc`. */
export function blobName(digest: string): string {
  return `blobs/${digest.replace(':', '/')}`;
}

/** The hexadecimal digits of a digest. */
export function hexOf(digest: string): string {
  return digest.slice(digest.indexOf(':') + 1);
}
