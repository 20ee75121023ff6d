/**
 * The registry of `abuse.ts`, in a thread of its own, so that its work does not delay the measurements. What a repository is
 * named decides how it answers:
 *
 * - `hang…` never answers, and `drip…` sends a byte a second
 * - `token…` asks for a bearer token, which is as long as the service accepts
 * - all others as {@link RegistryContent} says
 */

import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { isMainThread, parentPort, Worker } from 'node:worker_threads';
import { RegistryContent } from './registry-content.ts';

/** Bytes of a token: a little less than the service accepts, with the JSON around it. */
const TOKEN_BYTES = 255 * 1024;

/** Tags of a list, and characters of a tag: 13 MB, a little less than the service accepts. */
const TAGS = 99_000;
const TAG_CHARACTERS = 128;

/** A running registry. */
export interface AbuseRegistry extends AsyncDisposable {
  readonly origin: string;
}

/** Starts the registry on a free port of 127.0.0.1. */
export async function startAbuseRegistry(): Promise<AbuseRegistry> {
  const worker = new Worker(new URL(import.meta.url));
  const [port] = (await once(worker, 'message')) as [number];
  return {
    origin: `http://127.0.0.1:${port}`,
    [Symbol.asyncDispose]: async () => {
      await worker.terminate();
    },
  };
}

if (!isMainThread) {
  const content = await RegistryContent.make();
  const tagList = Buffer.from(
    JSON.stringify({
      name: 'tags',
      tags: Array.from({ length: TAGS }, (_, index) => String(index).padStart(TAG_CHARACTERS, 't')),
    }),
  );
  const server = createServer((request, response) => answer(request, response, content, tagList));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  parentPort?.postMessage((server.address() as AddressInfo).port);
}

function answer(
  { url = '', headers, method }: IncomingMessage,
  response: ServerResponse,
  content: RegistryContent,
  tagList: Uint8Array,
): void {
  const [, repository = '', kind, reference = ''] =
    /^\/v2\/(.+)\/(manifests|blobs|tags)\/([^/?]+)/.exec(url) ?? [];
  const send = (type: string, bytes: Uint8Array, digest = '') => {
    response.writeHead(200, {
      'Content-Type': type,
      'Content-Length': bytes.byteLength,
      ...(digest !== '' && { 'Docker-Content-Digest': digest }),
    });
    response.end(method === 'HEAD' ? undefined : bytes);
  };
  if (url.startsWith('/token')) {
    send(
      'application/json',
      Buffer.from(JSON.stringify({ token: 't'.repeat(TOKEN_BYTES), expires_in: 3600 })),
    );
  } else if (repository.startsWith('hang')) {
    // No answer.
  } else if (repository.startsWith('drip')) {
    response.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': 3_000_000 });
    const timer = setInterval(() => response.write(' '), 1_000);
    response.once('close', () => clearInterval(timer));
  } else if (repository.startsWith('token') && headers.authorization === undefined) {
    const realm = `http://${headers.host}/token`;
    response.writeHead(401, {
      'WWW-Authenticate': `Bearer realm="${realm}",service="abuse"`,
      'Content-Length': 0,
    });
    response.end();
  } else if (kind === 'tags') {
    send('application/json', tagList);
  } else if (kind === 'blobs') {
    const bytes = content.blob(reference);
    if (bytes === undefined) response.writeHead(404, { 'Content-Length': 0 }).end();
    else send('application/octet-stream', bytes, reference);
  } else {
    const found = content.manifest(repository, reference);
    if (found === undefined) response.writeHead(404, { 'Content-Length': 0 }).end();
    else send(found.type, found.bytes, found.digest);
  }
}
