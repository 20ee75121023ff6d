/** A registry whose documents are as large as the limits allow, and clients that read nothing of them. */

import { connect, type Socket } from 'node:net';
import type { BuiltService } from '../support/built-service.ts';
import { startFakeRegistry } from '../support/fake-registry.ts';
import { type BuiltImage, builtManifest, makeImage, makeIndex, makeLayer } from '../support/image.ts';
import { residentBytes } from '../support/process-state.ts';
import { startScriptedServer } from '../support/scripted-server.ts';

/** Tags on a page of the tag server, each of 128 characters, and its pages: 13 MB. */
const [TAGS_PER_PAGE, TAG_PAGES] = [10_000, 10];

const LAYERS = [{ tar: makeLayer({ 'etc/motd': 'hello\n' }) }];

/** An image that differs from others in its config. */
function imageOf(author: string): BuiltImage {
  return makeImage({ layers: LAYERS, config: { author } });
}

/** The same image with a manifest of 4 MB. */
function withLargeManifest(image: BuiltImage): BuiltImage {
  const document = JSON.parse(image.manifest.bytes.toString());
  const annotations = { padding: 'p'.repeat(4_000_000) };
  return { ...image, manifest: builtManifest(image.manifest.mediaType, { ...document, annotations }) };
}

/**
 * A registry with large documents: `team/manifest:1` has a manifest of 4 MB, `team/index:1` an index with 100 of them, and
 * `team/config` one image with a config of 8 MB under 80 tags, `t0` to `t79`. `team/small:1` is a usual image.
 */
export async function startLargeRegistry() {
  const registry = await startFakeRegistry();
  registry.push('team/small', '1', imageOf('small'));
  registry.push('team/manifest', '1', withLargeManifest(imageOf('manifest')));
  const children = Array.from({ length: 100 }, (_, index) => ({
    image: withLargeManifest(imageOf(`child ${index}`)),
    platform: { os: 'linux', architecture: 'amd64', variant: `v${index}` },
  }));
  registry.push('team/index', '1', makeIndex(children));
  const history = [{ created_by: 'p'.repeat(8_000_000) }];
  const image = makeImage({ layers: LAYERS, config: { history } });
  for (let tag = 0; tag < 80; tag += 1) registry.push('team/config', `t${tag}`, image);
  return registry;
}

/** A registry in which each repository has the same 100,000 tags. */
export function startTagServer() {
  return startScriptedServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://registry.example');
    const page = Number(searchParams.get('page') ?? 0);
    const tags = Array.from({ length: TAGS_PER_PAGE }, (_, index) =>
      `${page * TAGS_PER_PAGE + index}-`.padEnd(128, 'x'),
    );
    const link = page + 1 < TAG_PAGES ? { link: `<${pathname}?page=${page + 1}>; rel="next"` } : {};
    response.writeHead(200, { 'content-type': 'application/json', ...link });
    response.end(JSON.stringify({ tags }));
  });
}

/** Clients that send a request and read nothing. Disposing of them closes their connections. */
export class IdleClients implements Disposable {
  readonly #sockets: readonly Socket[];

  /** @param paths one for each client */
  constructor(port: number, paths: readonly string[]) {
    this.#sockets = paths.map((path) => {
      const socket = connect({ port, host: '127.0.0.1' });
      socket.on('error', () => undefined);
      socket.pause();
      socket.write(`GET ${path} HTTP/1.1\r\nHost: registry.example\r\n\r\n`);
      return socket;
    });
  }

  [Symbol.dispose](): void {
    for (const socket of this.#sockets) socket.destroy();
  }
}

/** Bytes of resident memory, at their peak, above those at the start of the watch. */
export async function watchMemory(service: BuiltService): Promise<() => Promise<number>> {
  const { now, peak } = await residentBytes(service.pid);
  const idle = Math.max(now, peak);
  return async () => (await residentBytes(service.pid)).peak - idle;
}
