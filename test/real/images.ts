/** Images to pull, built from busybox and pushed to a real registry with the tools that people use. */
import { randomBytes } from 'node:crypto';
import { mkdir, readFile, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { type Descriptor, digestOf, type Layer, OciLayout } from './oci-layout.ts';
import { run, temporaryDirectory } from './parts.ts';
import type { Registry } from './registry.ts';

/** busybox-static: a shell and all its commands in one file that needs no libraries. */
const BUSYBOX = '/bin/busybox';

/** A place to make images in, with the layer that most of them start from. */
export interface Bench {
  readonly directory: string;
  readonly layout: OciLayout;
  /** busybox, for amd64. */
  readonly base: Layer;
}

/** Makes a place to build images in; it goes when `stack` is undone. */
export async function openBench(stack: AsyncDisposableStack): Promise<Bench> {
  const directory = await temporaryDirectory(stack, 'images');
  const layout = await OciLayout.create(join(directory, 'layout'));
  const base = await layout.layer({ 'bin/busybox': await readFile(BUSYBOX), 'bin/sh': { link: 'busybox' } });
  return { directory, layout, base };
}

/** An amd64 image that prints `words`, with `layers` over the base. */
export function image(bench: Bench, words: string, ...layers: readonly Layer[]): Promise<Descriptor> {
  return bench.layout.image([bench.base, ...layers], 'amd64', words);
}

/** An index that offers amd64 and arm64; the two differ in config and in one layer. */
export async function twoPlatforms(bench: Bench, words: string): Promise<Descriptor> {
  const { layout, base } = bench;
  const manifests = ['arm64', 'amd64'].map(async (architecture) => {
    const layer = await layout.layer({ 'etc/architecture': architecture });
    return layout.image([base, layer], architecture, `${words} on ${architecture}`);
  });
  return layout.index(await Promise.all(manifests));
}

/** `count` layers: the base, one file each, and at the end one that takes the first file away again. */
export async function manyLayers(bench: Bench, count: number): Promise<Descriptor> {
  const files = Array.from({ length: count - 2 }, (_, index) => ({
    [`layers/${index + 2}`]: `${index + 2}`,
  }));
  const layers = [...files, { 'layers/.wh.2': '' }].map((content) => bench.layout.layer(content));
  return image(bench, `${count} layers`, ...(await Promise.all(layers)));
}

/** An image with a layer of `size` random bytes, which no compression makes smaller. */
export async function largeImage(bench: Bench, size: number): Promise<Descriptor> {
  return image(bench, 'large', await bench.layout.layer({ 'large/file': randomBytes(size) }));
}

/** An image of layers of random bytes, one for each size, with nothing below them; and those layers. */
export async function randomImage(
  bench: Bench,
  ...sizes: readonly number[]
): Promise<{ readonly image: Descriptor; readonly layers: readonly Layer[] }> {
  const layers = await Promise.all(
    sizes.map((size, index) => bench.layout.layer({ [`random/${index}`]: randomBytes(size) })),
  );
  return { image: await bench.layout.image(layers, 'amd64', 'random'), layers };
}

/** Copies `source` (skopeo's notation) to `reference` in `registry`. */
async function copy(registry: Registry, source: string, reference: string, option: string): Promise<void> {
  const target = `docker://${registry.host}/${reference}`;
  await run('skopeo', [
    '--insecure-policy',
    'copy',
    '--all',
    option,
    ...registry.pushArguments,
    source,
    target,
  ]);
}

/** How {@link push} writes manifests: as they are, or in Docker's own types (manifest list and v2, schema 2). */
export type PushAs = 'as it is' | 'docker';

/** Pushes an image or index of the bench as `reference`, `team/app:1` for example. */
export async function push(
  registry: Registry,
  bench: Bench,
  what: Descriptor,
  reference: string,
  as: PushAs = 'as it is',
): Promise<void> {
  const name = reference.replaceAll(/[/:]/g, '-');
  await bench.layout.name(what, name);
  const option = as === 'docker' ? '--format=v2s2' : '--preserve-digests';
  await copy(registry, `oci:${bench.layout.directory}:${name}`, reference, option);
}

/** Builds an image with umoci and pushes it: OCI types, gzip by another hand, entries with real times. */
export async function pushWithUmoci(
  registry: Registry,
  bench: Bench,
  words: string,
  reference: string,
): Promise<void> {
  const layout = join(bench.directory, 'umoci');
  const bundle = join(bench.directory, 'bundle');
  const named = ['--image', `${layout}:built`];
  await run('umoci', ['init', '--layout', layout]);
  await run('umoci', ['new', ...named]);
  await run('umoci', ['unpack', ...named, bundle]);
  await mkdir(join(bundle, 'rootfs/bin'));
  await run('cp', [BUSYBOX, join(bundle, 'rootfs/bin/busybox')]);
  await symlink('busybox', join(bundle, 'rootfs/bin/sh'));
  await run('umoci', ['repack', ...named, bundle]);
  const command = ['/bin/busybox', 'echo', words].flatMap((word) => ['--config.cmd', word]);
  await run('umoci', ['config', ...named, '--architecture', 'amd64', ...command]);
  await copy(registry, `oci:${layout}:built`, reference, '--preserve-digests');
}

/** Builds an image with buildah and pushes it: Docker types, a history with dates of today. */
export async function pushWithBuildah(
  registry: Registry,
  bench: Bench,
  words: string,
  reference: string,
): Promise<void> {
  const storage = (name: string) => join(bench.directory, 'buildah', name);
  const options = ['--root', storage('root'), '--runroot', storage('run'), '--storage-driver', 'vfs'];
  const buildah = (...args: string[]) => run('buildah', [...options, ...args]);
  const container = (await buildah('from', 'scratch')).trim();
  await buildah('copy', container, BUSYBOX, '/bin/busybox');
  await buildah('config', '--cmd', JSON.stringify(['/bin/busybox', 'echo', words]), container);
  const target = `docker://${registry.host}/${reference}`;
  await buildah('commit', '--format', 'docker', '--tls-verify=false', container, target);
}

/** What a registry holds under a reference, read with skopeo. */
export interface Published {
  /** Media type that the manifest or index names; umoci's name none. */
  readonly mediaType: string | undefined;
  /** Digest of the manifest or index that the reference names. */
  readonly digest: string;
  /** Digest of the platform's manifest; the same as `digest` where there is no index. */
  readonly manifestDigest: string;
  readonly configDigest: string;
  readonly layers: readonly Descriptor[];
}

interface Manifest {
  readonly mediaType?: string;
  readonly manifests?: readonly Descriptor[];
  readonly config?: Descriptor;
  readonly layers?: readonly Descriptor[];
}

/** Reads what `reference` names, for one architecture. */
export async function published(
  registry: Registry,
  reference: string,
  architecture = 'amd64',
): Promise<Published> {
  const options = registry.pushArguments.map((argument) => argument.replace('--dest-', '--'));
  const inspect = (name: string) =>
    run('skopeo', ['inspect', '--raw', ...options, `docker://${registry.host}/${name}`]);

  const text = await inspect(reference);
  const top = JSON.parse(text) as Manifest;
  const digest = digestOf(Buffer.from(text));
  const entry = top.manifests?.find(({ platform }) => platform?.architecture === architecture);
  const repository = reference.replace(/:[^/]*$/, '');
  const manifest =
    entry === undefined ? top : (JSON.parse(await inspect(`${repository}@${entry.digest}`)) as Manifest);
  if (manifest.config === undefined || manifest.layers === undefined) {
    throw new Error(`Cannot find an image for ${architecture} under "${reference}": ${text}`);
  }
  return {
    ...{ mediaType: top.mediaType, digest, manifestDigest: entry?.digest ?? digest },
    ...{ configDigest: manifest.config.digest, layers: manifest.layers },
  };
}
