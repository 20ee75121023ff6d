/** Reads answers of the service without the code of the product. */

import assert from 'node:assert/strict';
import { gunzipSync } from 'node:zlib';
import { listTar } from './collect.ts';
import type { Reply } from './service.ts';

/** The line that a switch console shows of an error. */
export function firstLine({ body }: Pick<Reply, 'body'>): string {
  // An archive of megabytes is not decoded for its first line, which a message of an assertion shows only when that fails.
  const end = body.indexOf('\n');
  return body.toString('utf8', 0, end === -1 ? body.length : end);
}

/**
 * Checks an error in plain text: its status, and its first line, which begins with the reason phrase.
 *
 * @param line what the first line matches; an error code stands for a line `error: {code}` in the body
 */
export function assertError(
  reply: Reply,
  status: number,
  line: RegExp | string,
  what = firstLine(reply),
): void {
  assert.equal(reply.status, status, what);
  assert.equal(firstLine(reply).slice(0, reply.reason.length + 2), `${reply.reason}: `, what);
  if (typeof line === 'string')
    assert.match(reply.body.toString(), new RegExp(`^error: ${line}$`, 'm'), what);
  else assert.match(firstLine(reply), line, what);
}

/** Checks that the answer says when to repeat the request. */
export function assertRetryAfter({ headers }: Pick<Reply, 'headers'>): void {
  assert.match(headers['retry-after'] ?? '', /^[1-9]\d*$/);
}

/** The headers that do not differ between two answers to the same request. */
export function stableHeaders({ headers }: Reply): Record<string, unknown> {
  const { date: _, 'x-request-id': __, ...rest } = headers;
  return rest;
}

/** Files of an archive by name. A compressed archive is unpacked. */
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

/** The images in `manifest.json` of an archive, or of its files. */
export function imagesOf(archive: Pick<Reply, 'body'> | ReturnType<typeof filesOf>): readonly ListedImage[] {
  const files = 'body' in archive ? filesOf(archive) : archive;
  return JSON.parse(String(files.get('manifest.json')));
}

/** The tags of all images in an archive, in its order. */
export function tagsOf(reply: Pick<Reply, 'body'>): readonly string[] {
  return imagesOf(reply).flatMap(({ RepoTags }) => RepoTags);
}

/** The name of a blob in an OCI layout: `blobs/sha256/abc` for `sha256:abc`. */
export function blobName(digest: string): string {
  return `blobs/${digest.replace(':', '/')}`;
}

/** Checks that an OCI layout has these blobs and no others. */
export function assertBlobs(reply: Pick<Reply, 'body'>, blobs: ReadonlyMap<string, Buffer>): void {
  const files = filesOf(reply);
  for (const [digest, bytes] of blobs) assert.deepEqual(files.get(blobName(digest)), bytes, digest);
  assert.deepEqual(
    [...files.keys()].filter((name) => name.startsWith('blobs/')).toSorted(),
    [...blobs.keys()].map(blobName).toSorted(),
  );
}

/** The hexadecimal digits of a digest. */
export function hexOf(digest: string): string {
  return digest.slice(digest.indexOf(':') + 1);
}
