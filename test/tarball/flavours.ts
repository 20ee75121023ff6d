/** Archives of images as the programs in use write them, made by hand. */

import { createHash } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { sha256 } from '../support/collect.ts';
import {
  type BuiltImage,
  type BuiltManifest,
  MEDIA_TYPES,
  makeAttestation,
  makeImage,
  makeIndex,
  makeLayer,
} from '../support/image.ts';
import { paxEntry, rawEntry, rawTar } from '../support/raw-tar.ts';

/** A file of an archive: its bytes, JSON, or a link. A name that ends in `/` is a folder. */
export type FileOf = Buffer | string | { readonly symlink: string } | { readonly hardlink: string };

/** Files by name; several files of one name are written as a list. */
export type Files = Readonly<Record<string, FileOf>> | readonly (readonly [name: string, file: FileOf])[];

/** Two layers, the first of them twice. */
export const TARS = [makeLayer({ base: 'base' }), makeLayer({ top: 'top' })] as const;
const [BASE, TOP] = TARS;

/** The image of every flavour, with gzip layers. */
export const IMAGE = makeImage({
  layers: [{ tar: BASE }, { tar: TOP }, { tar: BASE }],
  platform: { os: 'linux', architecture: 'arm', variant: 'v7' },
});

/** The same image with layers that are not compressed. */
export const PLAIN_IMAGE = makeImage({
  layers: [BASE, TOP, BASE].map((tar) => ({ tar, compression: 'none' })),
  platform: { os: 'linux', architecture: 'arm', variant: 'v7' },
});

/** Name of the image in every flavour. */
export const TAG = 'example.com/team/app:1';

/** An archive, and how it holds the layers. */
export interface Flavour {
  readonly files: Files;
  readonly form: 'gzip' | 'none';
  /** Default: {@link TAG}. */
  readonly tags?: readonly string[];
}

/** Writes an archive. A name that is too long for a header gets a pax header. */
export function tarOf(files: Files): Buffer {
  const pairs = Array.isArray(files)
    ? (files as readonly (readonly [string, FileOf])[])
    : Object.entries(files);
  return rawTar(...pairs.map(([name, file]) => entryOf(name, file)));
}

function entryOf(name: string, file: FileOf): Buffer {
  const long = Buffer.byteLength(name) > 100 ? paxEntry({ path: name }) : Buffer.alloc(0);
  const bare = { name: Buffer.from(name).subarray(0, 100) };
  if (name.endsWith('/')) return rawEntry({ ...bare, typeflag: '5' });
  if (typeof file === 'string' || Buffer.isBuffer(file)) {
    return Buffer.concat([long, rawEntry({ ...bare, content: file })]);
  }
  const [typeflag, target] = 'symlink' in file ? ['2', file.symlink] : ['1', file.hardlink];
  const longTarget = target.length > 100 ? paxEntry({ linkpath: target }) : Buffer.alloc(0);
  return Buffer.concat([long, longTarget, rawEntry({ ...bare, typeflag, linkname: target.slice(0, 100) })]);
}

/** The hexadecimal part of a digest. */
export function hexOf(digest: string): string {
  return digest.slice(digest.indexOf(':') + 1);
}

const CONFIG = IMAGE.config.bytes;
const CONFIG_HEX = hexOf(IMAGE.config.digest);
const [BASE_ID, TOP_ID] = [hexOf(sha256(BASE)), hexOf(sha256(TOP))];
const [BASE_GZIP, TOP_GZIP] = [gzipSync(BASE), gzipSync(TOP)];
const [BASE_BLOB, TOP_BLOB] = [hexOf(sha256(BASE_GZIP)), hexOf(sha256(TOP_GZIP))];
const PLAIN = PLAIN_IMAGE.config;

/** The text of `manifest.json` with one image. */
export function manifestJson(fields: Readonly<Record<string, unknown>>): string {
  return JSON.stringify([{ Config: 'config.json', RepoTags: [TAG], Layers: [], ...fields }]);
}

/** `index.json` with one manifest. */
export function indexJson(manifest: BuiltManifest, annotations: Readonly<Record<string, string>>): string {
  const { mediaType, digest, bytes } = manifest;
  return JSON.stringify({
    schemaVersion: 2,
    manifests: [{ mediaType, digest, size: bytes.length, annotations }],
  });
}

/** The blobs of an image, its manifest among them. */
export function blobsOf(image: BuiltImage): Readonly<Record<string, Buffer>> {
  return Object.fromEntries(
    [...image.blobs, [image.manifest.digest, image.manifest.bytes] as const].map(([digest, bytes]) => [
      `blobs/${digest.replace(':', '/')}`,
      bytes,
    ]),
  );
}

const blobPath = (digest: string) => `blobs/${digest.replace(':', '/')}`;
const LAYOUT = { 'oci-layout': '{"imageLayoutVersion":"1.0.0"}' };
const NAMES = { 'io.containerd.image.name': TAG, 'org.opencontainers.image.ref.name': '1' };

const OTHER = makeImage({ layers: [{ tar: makeLayer({ other: 'other' }) }] });
const INDEX = makeIndex([
  { image: IMAGE },
  makeAttestation(IMAGE),
  { image: OTHER },
  { image: makeIndex([]) },
]);

/** `docker save` of Engine 25 and newer; the stray JSON is of version 1. */
function engine25(image: BuiltImage, index: string): Files {
  const layers = image.layers.map(({ digest }) => blobPath(digest));
  return {
    'blobs/': '',
    'blobs/sha256/': '',
    ...blobsOf(image),
    [blobPath(sha256('{"id":"1"}'))]: '{"id":"1"}',
    'index.json': index,
    'manifest.json': manifestJson({
      Config: blobPath(image.config.digest),
      Layers: layers,
      LayerSources: Object.fromEntries(
        image.layers.map(({ diffId, mediaType, digest, blob }) => [
          diffId,
          { mediaType, digest, size: blob.length },
        ]),
      ),
    }),
    ...LAYOUT,
    repositories: '{}',
  };
}

/** An OCI layout with blobs by SHA-512, whose names have 141 bytes. */
function sha512Layout(): Files {
  const digests = new Map([CONFIG, BASE_GZIP, TOP_GZIP].map((bytes) => [bytes, sha512(bytes)] as const));
  const descriptor = (bytes: Buffer, mediaType: string) => ({
    mediaType,
    digest: digests.get(bytes),
    size: bytes.length,
  });
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.oci.manifest,
      config: descriptor(CONFIG, MEDIA_TYPES.oci.config),
      layers: [BASE_GZIP, TOP_GZIP, BASE_GZIP].map((blob) => descriptor(blob, MEDIA_TYPES.oci.layer.gzip)),
    }),
  );
  const digest = sha512(manifest);
  return {
    ...LAYOUT,
    'index.json': indexJson({ mediaType: MEDIA_TYPES.oci.manifest, digest, bytes: manifest }, NAMES),
    [blobPath(digest)]: manifest,
    ...Object.fromEntries(Array.from(digests, ([bytes, own]) => [blobPath(own), bytes])),
  };
}

function sha512(bytes: Buffer): string {
  return `sha512:${createHash('sha512').update(bytes).digest('hex')}`;
}

/** Every flavour by the program that writes it. */
export const FLAVOURS: Readonly<Record<string, Flavour>> = {
  'docker save 1.10 to 24': {
    form: 'none',
    files: {
      'b1/': '',
      'b1/VERSION': '1.0',
      'b1/json': '{}',
      'b1/layer.tar': BASE,
      't1/': '',
      't1/VERSION': '1.0',
      't1/json': '{}',
      't1/layer.tar': TOP,
      'b2/': '',
      'b2/layer.tar': { symlink: '../b1/layer.tar' },
      [`${CONFIG_HEX}.json`]: CONFIG,
      'manifest.json': manifestJson({
        Config: `${CONFIG_HEX}.json`,
        Layers: ['b1/layer.tar', 't1/layer.tar', 'b2/layer.tar'],
      }),
      repositories: '{}',
    },
  },
  'docker save 25+, graph driver': {
    form: 'none',
    files: engine25(PLAIN_IMAGE, indexJson(PLAIN_IMAGE.manifest, NAMES)),
  },
  'docker save 25+, containerd store': {
    form: 'gzip',
    files: engine25(IMAGE, indexJson(IMAGE.manifest, NAMES)),
  },
  'docker save 25+, no names': {
    form: 'none',
    tags: [],
    files: {
      ...blobsOf(PLAIN_IMAGE),
      'index.json': '{"schemaVersion":2,"manifests":null}',
      'manifest.json': manifestJson({
        Config: blobPath(PLAIN.digest),
        RepoTags: null,
        Layers: PLAIN_IMAGE.layers.map(({ digest }) => blobPath(digest)),
      }),
      ...LAYOUT,
    },
  },
  'docker save 25.0, a manifest without layers (moby 47065)': {
    form: 'none',
    files: (() => {
      const empty = makeImage({ layers: [], config: { rootfs: undefined } });
      const document = JSON.parse(PLAIN_IMAGE.manifest.bytes.toString()) as Record<string, unknown>;
      const bytes = Buffer.from(JSON.stringify({ ...document, layers: [] }));
      const manifest = { ...empty.manifest, bytes, digest: sha256(bytes) };
      return {
        ...engine25(PLAIN_IMAGE, indexJson(manifest, NAMES)),
        [blobPath(manifest.digest)]: bytes,
      };
    })(),
  },
  'podman save, skopeo copy docker-archive': {
    form: 'none',
    files: {
      [`${BASE_ID}.tar`]: BASE,
      [`${TOP_ID}.tar`]: TOP,
      'x1/layer.tar': { symlink: `../${BASE_ID}.tar` },
      'x1/VERSION': '1.0',
      'x1/json': '{}',
      [`${CONFIG_HEX}.json`]: CONFIG,
      repositories: '{}',
      'manifest.json': manifestJson({
        Config: `${CONFIG_HEX}.json`,
        Layers: [BASE_ID, TOP_ID, BASE_ID].map((hex) => `${hex}.tar`),
      }),
    },
  },
  'crane pull, kaniko, ko': {
    form: 'gzip',
    files: {
      [`sha256:${CONFIG_HEX}`]: CONFIG,
      [`${BASE_BLOB}.tar.gz`]: BASE_GZIP,
      [`${TOP_BLOB}.tar.gz`]: TOP_GZIP,
      'manifest.json': manifestJson({
        Config: `sha256:${CONFIG_HEX}`,
        Layers: [BASE_BLOB, TOP_BLOB, BASE_BLOB].map((hex) => `${hex}.tar.gz`),
      }),
    },
  },
  'jib buildTar': {
    form: 'gzip',
    files: {
      [`${BASE_BLOB}.tar.gz`]: BASE_GZIP,
      [`${TOP_BLOB}.tar.gz`]: TOP_GZIP,
      'config.json': CONFIG,
      'manifest.json': manifestJson({
        Layers: [BASE_BLOB, TOP_BLOB, BASE_BLOB].map((hex) => `${hex}.tar.gz`),
      }),
    },
  },
  'Bazel rules_oci': {
    form: 'gzip',
    files: {
      [`blobs/sha256/${CONFIG_HEX}`]: CONFIG,
      [`blobs/sha256/${BASE_BLOB}.tar.gz`]: BASE_GZIP,
      [`blobs/sha256/${TOP_BLOB}.tar.gz`]: TOP_GZIP,
      'manifest.json': manifestJson({
        Config: `blobs/sha256/${CONFIG_HEX}`,
        Layers: [BASE_BLOB, TOP_BLOB, BASE_BLOB].map((hex) => `blobs/sha256/${hex}.tar.gz`),
      }),
    },
  },
  'Nix dockerTools': {
    form: 'none',
    files: {
      './': '',
      [`./${BASE_ID}/layer.tar`]: BASE,
      [`./${TOP_ID}/layer.tar`]: TOP,
      [`./${CONFIG_HEX}.json`]: CONFIG,
      './manifest.json': manifestJson({
        Config: `${CONFIG_HEX}.json`,
        Layers: [BASE_ID, TOP_ID, BASE_ID].map((hex) => `${hex}/layer.tar`),
      }),
    },
  },
  'regctl image export': {
    form: 'gzip',
    files: {
      ...LAYOUT,
      'index.json': indexJson(IMAGE.manifest, { 'org.opencontainers.image.ref.name': TAG }),
      ...blobsOf(IMAGE),
      'manifest.json': manifestJson({
        Config: blobPath(IMAGE.config.digest),
        Layers: IMAGE.layers.map(({ digest }) => blobPath(digest)),
        LayerSources: Object.fromEntries(
          IMAGE.layers.map(({ digest, mediaType, blob }) => [
            digest,
            { mediaType, digest, size: blob.length },
          ]),
        ),
      }),
    },
  },
  'OCI layout of skopeo, buildah, umoci': {
    form: 'gzip',
    tags: ['1'],
    files: {
      ...LAYOUT,
      'blobs/': '',
      ...blobsOf(IMAGE),
      'index.json': indexJson(IMAGE.manifest, { 'org.opencontainers.image.ref.name': '1' }),
    },
  },
  'OCI layout with an index of platforms that are not in the file, and attestations': {
    form: 'gzip',
    files: {
      ...LAYOUT,
      ...blobsOf(IMAGE),
      [blobPath(INDEX.manifest.digest)]: INDEX.manifest.bytes,
      'index.json': indexJson(INDEX.manifest, NAMES),
    },
  },
  'OCI layout by SHA-512': { form: 'gzip', files: sha512Layout() },
  'hard links, which count from the root': {
    form: 'none',
    files: {
      'b1/layer.tar': BASE,
      't1/layer.tar': TOP,
      'b2/layer.tar': { hardlink: './b1/layer.tar' },
      'config.json': CONFIG,
      'manifest.json': manifestJson({ Layers: ['b1/layer.tar', 't1/layer.tar', 'b2/layer.tar'] }),
    },
  },
  'equal entries of one name': {
    form: 'none',
    files: [
      ['a.tar', BASE],
      ['b.tar', TOP],
      ['a.tar', BASE],
      ['config.json', CONFIG],
      ['manifest.json', manifestJson({ Layers: ['a.tar', 'b.tar', 'a.tar'] })],
      ['manifest.json', manifestJson({ Layers: ['a.tar', 'b.tar', 'a.tar'] })],
    ],
  },
};
