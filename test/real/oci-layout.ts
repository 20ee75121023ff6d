/**
 * An OCI image layout written by hand: exact control over what a layer, a manifest and an index hold.
 * https://github.com/opencontainers/image-spec/blob/v1.1.0/image-layout.md
 */
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { run } from './parts.ts';

/** A descriptor as it stands in manifests and indexes. */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly platform?: { readonly os: string; readonly architecture: string; readonly variant?: string };
  readonly annotations?: Readonly<Record<string, string>>;
}

/** A layer blob and the digest of the tar inside it. */
export interface Layer {
  readonly descriptor: Descriptor;
  readonly diffId: string;
}

/** What a layer is packed with. */
export type Compression = 'gzip' | 'zstd' | 'none';

const LAYER = 'application/vnd.oci.image.layer.v1.tar';

/** The type that each compression has by the image specification. */
const LAYER_TYPES: Readonly<Record<Compression, string>> = {
  gzip: `${LAYER}+gzip`,
  zstd: `${LAYER}+zstd`,
  none: LAYER,
};

export const OCI_MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
export const OCI_INDEX = 'application/vnd.oci.image.index.v1+json';
const OCI_CONFIG = 'application/vnd.oci.image.config.v1+json';

/** A file's content, or where a link points. */
export type LayerFile = string | Buffer | { readonly link: string };

/** Files by their path in the image. A path that ends in `.wh.x` removes `x` of the layers below. */
export type LayerFiles = Readonly<Record<string, LayerFile>>;

/** `sha256:` and the digest of `bytes` in hexadecimal. */
export function digestOf(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

async function writeTar(directory: string, files: LayerFiles): Promise<Buffer> {
  const root = await mkdtemp(join(directory, 'rootfs-'));
  for (const [path, content] of Object.entries(files)) {
    const place = join(root, path);
    await mkdir(dirname(place), { recursive: true });
    if (typeof content === 'string' || Buffer.isBuffer(content)) {
      await writeFile(place, content, { mode: path.startsWith('bin/') ? 0o755 : 0o644 });
    } else {
      await symlink(content.link, place);
    }
  }
  const archive = `${root}.tar`;
  const reproducible = ['--sort=name', '--mtime=@0', '--owner=0', '--group=0', '--numeric-owner'];
  // By name, not as `.`: there is no entry for the root itself, as in the layers that builders write.
  const names = [...new Set(Object.keys(files).map((path) => path.split('/')[0] ?? path))];
  await run('tar', [...reproducible, '-cf', archive, '-C', root, ...names]);
  const bytes = await readFile(archive);
  await Promise.all([rm(root, { recursive: true }), rm(archive)]);
  return bytes;
}

function pack(tar: Buffer, compression: Compression): Buffer {
  switch (compression) {
    case 'gzip':
      return gzipSync(tar);
    case 'zstd':
      return zstdCompressSync(tar);
    case 'none':
      return tar;
  }
}

/** One OCI image layout in a directory. */
export class OciLayout {
  readonly directory: string;
  readonly #entries = new Map<string, Descriptor>();

  private constructor(directory: string) {
    this.directory = directory;
  }

  /** Makes an empty layout; `directory` is created. */
  static async create(directory: string): Promise<OciLayout> {
    await mkdir(join(directory, 'blobs/sha256'), { recursive: true });
    await writeFile(join(directory, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }));
    return new OciLayout(directory);
  }

  /** Adds a blob. */
  async blob(mediaType: string, bytes: Buffer): Promise<Descriptor> {
    const digest = digestOf(bytes);
    await writeFile(this.#path(digest), bytes);
    return { mediaType, digest, size: bytes.length };
  }

  /** The bytes of a blob. */
  read(descriptor: Descriptor): Promise<Buffer> {
    return readFile(this.#path(descriptor.digest));
  }

  /** Adds a layer that holds `files`, root's, of 1970. */
  async layer(files: LayerFiles, compression: Compression = 'gzip'): Promise<Layer> {
    const tar = await writeTar(this.directory, files);
    const descriptor = await this.blob(LAYER_TYPES[compression], pack(tar, compression));
    return { descriptor, diffId: digestOf(tar) };
  }

  /** Adds config and manifest of an image whose container prints `words`. */
  async image(layers: readonly Layer[], architecture: string, words: string): Promise<Descriptor> {
    const platform = { os: 'linux', architecture };
    const config = await this.#json(OCI_CONFIG, {
      created: '2026-01-02T03:04:05Z',
      ...platform,
      config: { Cmd: ['/bin/busybox', 'echo', words], Env: ['PATH=/bin'], WorkingDir: '/' },
      rootfs: { type: 'layers', diff_ids: layers.map(({ diffId }) => diffId) },
      history: layers.map((_, index) => ({
        created: '2026-01-02T03:04:05Z',
        created_by: `layer ${index + 1}`,
      })),
    });
    const manifest = await this.#json(OCI_MANIFEST, {
      ...{ schemaVersion: 2, mediaType: OCI_MANIFEST, config },
      layers: layers.map(({ descriptor }) => descriptor),
    });
    return { ...manifest, platform };
  }

  /** Adds an index over `manifests`. */
  index(manifests: readonly Descriptor[]): Promise<Descriptor> {
    return this.#json(OCI_INDEX, { schemaVersion: 2, mediaType: OCI_INDEX, manifests });
  }

  /** Names an image or index, so that `oci:DIRECTORY:NAME` finds it. A name that is given again moves. */
  async name(descriptor: Descriptor, name: string): Promise<void> {
    this.#entries.set(name, { ...descriptor, annotations: { 'org.opencontainers.image.ref.name': name } });
    const index = { schemaVersion: 2, mediaType: OCI_INDEX, manifests: [...this.#entries.values()] };
    await writeFile(join(this.directory, 'index.json'), JSON.stringify(index));
  }

  #json(mediaType: string, value: object): Promise<Descriptor> {
    return this.blob(mediaType, Buffer.from(JSON.stringify(value)));
  }

  #path(digest: string): string {
    return join(this.directory, 'blobs', ...digest.split(':'));
  }
}
