/**
 * Images of realistic size in a real registry. They are made of the machine's own programs, libraries and texts, so they
 * compress like real images.
 */

import { createHash, randomBytes } from 'node:crypto';
import { openAsBlob } from 'node:fs';
import { mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { isInstalled, run } from '../../test/real/parts.ts';
import { MEDIA_TYPES, makeImage, makeLayer } from '../../test/support/image.ts';

/** Folders whose files are the content of layers. */
const MATERIAL = '/usr';

/** Uncompressed bytes of the files in each layer of a big image: unequal, and none is more than half of the image. */
const LAYER_BYTES = [160e6, 240e6, 280e6, 360e6] as const;

/** Larger files are left out: most images have none, and no program can share one file among workers. */
const MAX_FILE = '64M';

/** Number of layers in the small image, and bytes of the file in each: about 10 KB as an archive. */
const SMALL_LAYERS = 3;
const SMALL_FILE_BYTES = 1_000;

/** Longest run of one command, in milliseconds. */
const COMMAND_MS = 600_000;

/** Bytes of the file in the layer that an update adds. */
const UPDATE_BYTES = 10_000;

/** An image in the registry, with the tag `1`. A big one has the tag `2`, too: the same with one small layer more. */
export interface FleetImage {
  /** Of two components. */
  readonly repository: string;
  /** File name in a request, without its ending. */
  readonly fileName: string;
  readonly layers: number;
  /** Number of blobs: config and layers. */
  readonly blobs: number;
  /** Sum of all layers, in bytes. */
  readonly compressed: number;
  readonly uncompressed: number;
}

/** Settings of a big image. */
export interface BigOptions {
  /** How often all files are repeated, each time in new layers. */
  readonly copies: number;
  /** Options of gzip. */
  readonly level: number;
  /** Uncompressed bytes of the files in each layer. */
  readonly layerBytes?: readonly number[];
}

/** An image to push. Large blobs are in files. */
export interface Pushable {
  readonly manifest: { readonly mediaType: string; readonly bytes: Buffer };
  readonly blobs: ReadonlyMap<string, Blob>;
}

interface Layer {
  readonly path: string;
  readonly digest: string;
  readonly size: number;
  readonly diffId: string;
  readonly uncompressed: number;
}

/**
 * Makes and pushes an image. Each copy has four layers and about 1 GB uncompressed.
 *
 * @param folder temporary files; they are removed
 */
export async function pushBigImage(
  origin: string,
  repository: string,
  folder: string,
  { copies, level, layerBytes = LAYER_BYTES }: BigOptions,
): Promise<FleetImage> {
  const making = join(folder, 'making');
  const shares = await shareFiles(layerBytes);
  const layers: Layer[] = [];
  // The layers of a copy are compressed concurrently: nothing is measured yet, and most machines have several cores.
  for (let copy = 1; copy <= copies; copy += 1) {
    const made = shares.map((files, share) => makeTarLayer(join(making, `${copy}-${share}`), files, level));
    layers.push(...(await Promise.all(made)));
  }
  const update = await makeUpdateLayer(join(making, 'update'), level);
  const tags = new Map([
    ['1', layers],
    ['2', [...layers, update]],
  ]);
  for (const [tag, content] of tags) {
    const { config, manifest } = describe(content);
    // The registry has the blobs of the first tag already.
    const fresh = tag === '1' ? content : [update];
    const opened = fresh.map(async ({ digest, path }) => [digest, await openAsBlob(path)] as const);
    const blobs = new Map([[digestOf(config), new Blob([config])], ...(await Promise.all(opened))]);
    await push(origin, repository, tag, { manifest, blobs });
  }
  await rm(making, { recursive: true });
  const sum = (values: readonly number[]) => values.reduce((all, value) => all + value, 0);
  return factsOf(repository, layers.length, {
    compressed: sum(layers.map(({ size }) => size)),
    uncompressed: sum(layers.map(({ uncompressed }) => uncompressed)),
  });
}

/** Makes and pushes a tiny image: pulling it costs only the constant work of a pull. */
export async function pushSmallImage(origin: string, repository: string): Promise<FleetImage> {
  const text = await readFile(import.meta.filename);
  const tars = Array.from({ length: SMALL_LAYERS }, (_, index) =>
    makeLayer({ [`file-${index}`]: text.subarray(0, SMALL_FILE_BYTES) }),
  );
  const { manifest, blobs, layers } = makeImage({ layers: tars.map((tar) => ({ tar })) });
  const asBlobs = new Map(
    Array.from(blobs, ([digest, bytes]) => [digest, new Blob([new Uint8Array(bytes)])]),
  );
  await push(origin, repository, '1', { manifest, blobs: asBlobs });
  return factsOf(repository, layers.length, {
    compressed: layers.reduce((sum, { blob }) => sum + blob.length, 0),
    uncompressed: tars.reduce((sum, tar) => sum + tar.length, 0),
  });
}

function factsOf(
  repository: string,
  layers: number,
  bytes: Pick<FleetImage, 'compressed' | 'uncompressed'>,
): FleetImage {
  return { repository, fileName: `${repository.replace('/', '_')}_1`, layers, blobs: layers + 1, ...bytes };
}

/**
 * Distributes files to layers. Files of a folder stay together. Folders are ordered by a hash of their names, so each layer is
 * a mix of all kinds of files and is the same in each run.
 *
 * @returns the paths of each layer
 */
async function shareFiles(layerBytes: readonly number[]): Promise<string[][]> {
  const tests = ['-xdev', '-type', 'f', '-links', '1', '-size', `-${MAX_FILE}`];
  const said = await run('find', [MATERIAL, ...tests, '-printf', '%s %p\\0'], { timeout: COMMAND_MS });
  const files = said
    .split('\0')
    .filter((line) => line !== '')
    .map((line) => ({ bytes: Number.parseInt(line, 10), path: line.slice(line.indexOf(' ') + 1) }));
  const folders = [...Map.groupBy(files, ({ path }) => dirname(path))]
    .map(([folder, within]) => ({ key: createHash('sha1').update(folder).digest('hex'), within }))
    .toSorted((one, other) => (one.key < other.key ? -1 : 1));
  const left = folders
    .flatMap(({ within }) => within.toSorted((one, other) => (one.path < other.path ? -1 : 1)))
    .values();
  return layerBytes.map((wanted) => {
    const paths: string[] = [];
    for (let bytes = 0; bytes < wanted; ) {
      const { value } = left.next();
      if (value === undefined) break;
      paths.push(value.path);
      bytes += value.bytes;
    }
    return paths;
  });
}

/**
 * Packs files. The first entry has the layer's name, so all layers differ.
 *
 * @param folder a new folder for this layer
 */
async function makeTarLayer(folder: string, files: readonly string[], level: number): Promise<Layer> {
  await mkdir(folder, { recursive: true });
  const tar = join(folder, 'layer.tar');
  const list = join(folder, 'list');
  const mark = join(folder, 'mark');
  await writeFile(mark, folder.slice(folder.lastIndexOf('/')));
  await writeFile(list, [mark, ...files].map((path) => `${path}\0`).join(''));
  const facts = ['--format=gnu', '--numeric-owner', '--owner=0', '--group=0', '--mtime=@0'];
  // The name of the temporary folder differs in each run.
  const names = ['--transform=s|^.*/making/[^/]*/||', '--no-recursion', '--null'];
  await run('tar', ['-cf', tar, ...facts, ...names, '--files-from', list], { timeout: COMMAND_MS });
  const diffId = await digestOfFile(tar);
  const { size: uncompressed } = await stat(tar);
  await run(isInstalled('pigz') ? 'pigz' : 'gzip', ['-n', `-${level}`, tar], { timeout: COMMAND_MS });
  const path = `${tar}.gz`;
  const { size } = await stat(path);
  return { path, digest: await digestOfFile(path), size, diffId, uncompressed };
}

/** The layer that the tag `2` of a big image adds: one file of random bytes, which do not compress. */
async function makeUpdateLayer(folder: string, level: number): Promise<Layer> {
  await mkdir(folder, { recursive: true });
  const file = join(folder, 'update');
  await writeFile(file, randomBytes(UPDATE_BYTES));
  return await makeTarLayer(folder, [file], level);
}

function describe(layers: readonly Layer[]): {
  readonly config: string;
  readonly manifest: Pushable['manifest'];
} {
  const types = MEDIA_TYPES.oci;
  const config = JSON.stringify({
    created: '2020-01-02T03:04:05Z',
    architecture: 'amd64',
    os: 'linux',
    config: { Cmd: ['/usr/bin/true'] },
    rootfs: { type: 'layers', diff_ids: layers.map(({ diffId }) => diffId) },
    history: layers.map(() => ({ created: '2020-01-02T03:04:05Z', created_by: 'tar' })),
  });
  const manifest = {
    schemaVersion: 2,
    mediaType: types.manifest,
    config: { mediaType: types.config, digest: digestOf(config), size: Buffer.byteLength(config) },
    layers: layers.map(({ digest, size }) => ({ mediaType: types.layer.gzip, digest, size })),
  };
  return { config, manifest: { mediaType: types.manifest, bytes: Buffer.from(JSON.stringify(manifest)) } };
}

/** Pushes an image, or what is stored like one, under a tag. */
export async function push(
  origin: string,
  repository: string,
  tag: string,
  { manifest, blobs }: Pushable,
): Promise<void> {
  const base = `${origin}/v2/${repository}`;
  for (const [digest, blob] of blobs) {
    const begun = await send(`${base}/blobs/uploads/`, { method: 'POST' });
    const target = new URL(begun.headers.get('Location') ?? '', origin);
    target.searchParams.set('digest', digest);
    await send(target, {
      method: 'PUT',
      body: blob,
      headers: { 'Content-Type': 'application/octet-stream' },
    });
  }
  const headers = { 'Content-Type': manifest.mediaType };
  await send(`${base}/manifests/${tag}`, { method: 'PUT', body: new Uint8Array(manifest.bytes), headers });
}

async function send(url: string | URL, init: RequestInit): Promise<Response> {
  const response = await fetch(url, { ...init, signal: AbortSignal.timeout(COMMAND_MS) });
  const text = await response.text();
  if (!response.ok) throw new Error(`${init.method} ${url} has answered ${response.status}: ${text}`);
  return response;
}

function digestOf(text: string): string {
  return `sha256:${createHash('sha256').update(text).digest('hex')}`;
}

async function digestOfFile(path: string): Promise<string> {
  const said = await run('sha256sum', [path], { timeout: COMMAND_MS });
  return `sha256:${said.slice(0, 64)}`;
}
