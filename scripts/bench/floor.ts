/**
 * The least work of a first pull: read the blobs of an image from its registry, hash them, inflate them, hash that, and write it.
 * All layers at once, with Node's own zlib and OpenSSL, and nothing else: no retries, no checks on the way, no spans, no tar. It
 * gives the limit of this machine, which benchmarks print beside the service.
 *
 *     node scripts/bench/floor.ts ORIGIN REPOSITORY TAG FOLDER
 *
 * prints one line of JSON, a {@link Floor}. Only gzip layers.
 */

import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { Agent, get, type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { createGunzip } from 'node:zlib';
import { run } from '../../test/real/parts.ts';

/** Output bytes of one call of zlib. More is no faster. */
const OUTPUT_BYTES = 256 * 1024;

/** Bytes that a file may queue. */
const WRITE_BYTES = 512 * 1024;

/** Longest run, in milliseconds. */
const LIMIT_MS = 600_000;

/** What the least work has taken. */
export interface Floor {
  /** From the request of the manifest to the last written byte. */
  readonly seconds: number;
  /** Processor time of the process meanwhile, with all threads. */
  readonly cpuSeconds: number;
}

/** A manifest, or an index of manifests, as far as this needs it. */
interface Manifest {
  readonly layers: readonly { readonly digest: string }[];
  readonly config: { readonly digest: string };
}

/** Runs the least work in a process of its own, so that nothing else shares its threads. */
export async function measureFloor(
  origin: string,
  repository: string,
  tag: string,
  folder: string,
): Promise<Floor> {
  const own = join(folder, 'floor');
  await mkdir(own, { recursive: true });
  try {
    // Otherwise this turn could wait for the writes of earlier turns.
    await run('sync', [], { timeout: LIMIT_MS });
    const nodeArguments = ['--max-semi-space-size=4', import.meta.filename];
    const said = await run(process.execPath, [...nodeArguments, origin, repository, tag, own], {
      timeout: LIMIT_MS,
    });
    return JSON.parse(said) as Floor;
  } finally {
    await rm(own, { recursive: true, force: true });
  }
}

if (import.meta.main) {
  const [origin = '', repository = '', tag = '', folder = ''] = process.argv.slice(2);
  console.log(JSON.stringify(await pull(`${origin}/v2/${repository}`, tag, folder)));
}

async function pull(base: string, tag: string, folder: string): Promise<Floor> {
  const begun = performance.now();
  const before = process.cpuUsage();
  const agent = new Agent({ keepAlive: true });
  const manifest = await readManifest(await open(`${base}/manifests/${tag}`, agent));
  await Promise.all([
    drain(await open(`${base}/blobs/${manifest.config.digest}`, agent)),
    ...manifest.layers.map(async ({ digest }, index) => {
      const blob = await open(`${base}/blobs/${digest}`, agent);
      await fetchLayer(blob, digest, join(folder, `${index}`));
    }),
  ]);
  agent.destroy();
  const { user, system } = process.cpuUsage(before);
  return { seconds: (performance.now() - begun) / 1000, cpuSeconds: (user + system) / 1e6 };
}

async function open(url: string, agent: Agent): Promise<IncomingMessage> {
  const headers = { Accept: 'application/vnd.oci.image.manifest.v1+json, */*' };
  const [response] = (await once(get(url, { agent, headers }), 'response')) as [IncomingMessage];
  if (response.statusCode !== 200) throw new Error(`${url} has answered ${response.statusCode}`);
  return response;
}

async function readManifest(response: IncomingMessage): Promise<Manifest> {
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return JSON.parse(Buffer.concat(chunks).toString()) as Manifest;
}

async function drain(response: IncomingMessage): Promise<void> {
  response.resume();
  await once(response, 'end');
}

async function fetchLayer(blob: IncomingMessage, digest: string, path: string): Promise<void> {
  const blobHash = createHash('sha256');
  const layerHash = createHash('sha256');
  const gunzip = createGunzip({ chunkSize: OUTPUT_BYTES });
  const file = createWriteStream(path, { highWaterMark: WRITE_BYTES });
  const written = once(file, 'finish');
  const inflated = (async () => {
    for await (const chunk of gunzip) {
      layerHash.update(chunk as Buffer);
      if (!file.write(chunk)) await once(file, 'drain');
    }
    file.end();
  })();
  for await (const chunk of blob) {
    blobHash.update(chunk as Buffer);
    if (!gunzip.write(chunk)) await once(gunzip, 'drain');
  }
  gunzip.end();
  await Promise.all([inflated, written]);
  if (`sha256:${blobHash.digest('hex')}` !== digest) throw new Error(`${digest} has other bytes`);
  layerHash.digest();
}
