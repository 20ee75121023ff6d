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

/** IDs of the layers' version 1 configs, which name their folders. */
const [V1_BASE, V1_TOP, V1_LAST] = ['1', '2', '3'].map((id) => hexOf(sha256(id))) as [string, string, string];
const REPOSITORIES = JSON.stringify({ 'example.com/team/app': { 1: V1_LAST } });

/** The folder of a layer, as Docker wrote it before it had `manifest.json`. */
function v1Folder(id: string, layer: FileOf): Readonly<Record<string, FileOf>> {
  return {
    [`${id}/`]: '',
    [`${id}/VERSION`]: '1.0',
    [`${id}/json`]: `{"id":"${id}"}`,
    [`${id}/layer.tar`]: layer,
  };
}

/** The text of `manifest.json` with one image. */
export function manifestJson(fields: Readonly<Record<string, unknown>>): string {
  return JSON.stringify([{ Config: 'config.json', RepoTags: [TAG], Layers: [], ...fields }]);
}

/** `index.json`: manifests with their annotations. */
export function indexJson(
  ...entries: readonly (readonly [manifest: BuiltManifest, annotations: Readonly<Record<string, string>>])[]
): string {
  const manifests = entries.map(([{ mediaType, digest, bytes }, annotations]) => ({
    ...{ mediaType, digest, size: bytes.length, annotations },
  }));
  return JSON.stringify({ schemaVersion: 2, mediaType: MEDIA_TYPES.oci.index, manifests });
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
const SECOND = 'second:2';
const SECOND_NAMES = {
  'io.containerd.image.name': 'docker.io/library/second:2',
  'org.opencontainers.image.ref.name': '2',
};

const OTHER = makeImage({ layers: [{ tar: makeLayer({ other: 'other' }) }] });
const INDEX = makeIndex([
  { image: IMAGE },
  makeAttestation(IMAGE),
  { image: OTHER },
  { image: makeIndex([]) },
]);

/** Another platform with the layers of {@link IMAGE}: its manifest is there, its config is not. */
const SHARING = makeImage({
  layers: [{ tar: BASE }, { tar: TOP }, { tar: BASE }],
  platform: { os: 'linux', architecture: 'arm64' },
});
const SHARING_INDEX = makeIndex([{ image: SHARING }, { image: IMAGE }, makeAttestation(IMAGE)]);

/** The exporter of containerd: entries in the order of their names. */
function containerd(target: BuiltManifest, blobs: Files): Files {
  const source = { 'containerd.io/distribution.source.example.com': 'team/app' };
  return {
    'blobs/': '',
    'blobs/sha256/': '',
    ...Object.fromEntries(Object.entries(blobs).toSorted(([one], [other]) => (one < other ? -1 : 1))),
    'index.json': indexJson([target, { ...source, ...NAMES }]),
    'manifest.json': manifestJson({
      Config: blobPath(IMAGE.config.digest),
      Layers: IMAGE.layers.map(({ digest }) => blobPath(digest)),
    }),
    ...LAYOUT,
  };
}

/** `docker save` of Engine 25 and newer, with a graph driver; the stray JSON is of version 1. */
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
    repositories: REPOSITORIES,
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
    'index.json': indexJson([{ mediaType: MEDIA_TYPES.oci.manifest, digest, bytes: manifest }, NAMES]),
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
      ...v1Folder(V1_BASE, BASE),
      [`${CONFIG_HEX}.json`]: CONFIG,
      ...v1Folder(V1_TOP, TOP),
      ...v1Folder(V1_LAST, { symlink: `../${V1_BASE}/layer.tar` }),
      'manifest.json': manifestJson({
        Config: `${CONFIG_HEX}.json`,
        Layers: [V1_BASE, V1_TOP, V1_LAST].map((id) => `${id}/layer.tar`),
      }),
      repositories: REPOSITORIES,
    },
  },
  // The folders are in the order of their IDs, which are hashes.
  'docker save 1.10 to 24, a link before its layer': {
    form: 'none',
    files: {
      ...v1Folder(V1_LAST, { symlink: `../${V1_BASE}/layer.tar` }),
      ...v1Folder(V1_TOP, TOP),
      ...v1Folder(V1_BASE, BASE),
      [`${CONFIG_HEX}.json`]: CONFIG,
      'manifest.json': manifestJson({
        Config: `${CONFIG_HEX}.json`,
        Layers: [V1_BASE, V1_TOP, V1_LAST].map((id) => `${id}/layer.tar`),
      }),
      repositories: REPOSITORIES,
    },
  },
  'docker save 25+, graph driver': {
    form: 'none',
    files: engine25(PLAIN_IMAGE, indexJson([PLAIN_IMAGE.manifest, NAMES])),
  },
  'docker save 25+, two names': {
    form: 'none',
    tags: [TAG, SECOND],
    files: {
      ...engine25(
        PLAIN_IMAGE,
        indexJson([PLAIN_IMAGE.manifest, NAMES], [PLAIN_IMAGE.manifest, SECOND_NAMES]),
      ),
      'manifest.json': manifestJson({
        Config: blobPath(PLAIN.digest),
        RepoTags: [TAG, SECOND],
        Layers: PLAIN_IMAGE.layers.map(({ digest }) => blobPath(digest)),
      }),
    },
  },
  'docker save of the containerd store, ctr, nerdctl, buildx: one platform': {
    form: 'gzip',
    files: containerd(IMAGE.manifest, blobsOf(IMAGE)),
  },
  'docker save of the containerd store: an index with platforms that were not pulled': {
    form: 'gzip',
    files: containerd(SHARING_INDEX.manifest, {
      ...blobsOf(IMAGE),
      [blobPath(SHARING_INDEX.manifest.digest)]: SHARING_INDEX.manifest.bytes,
      [blobPath(SHARING.manifest.digest)]: SHARING.manifest.bytes,
    }),
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
        ...engine25(PLAIN_IMAGE, indexJson([manifest, NAMES])),
        [blobPath(manifest.digest)]: bytes,
      };
    })(),
  },
  'podman save, skopeo copy docker-archive': {
    form: 'none',
    files: {
      [`${BASE_ID}.tar`]: BASE,
      [`${TOP_ID}.tar`]: TOP,
      [`${V1_BASE}/layer.tar`]: { symlink: `../${BASE_ID}.tar` },
      [`${V1_BASE}/VERSION`]: '1.0',
      [`${V1_BASE}/json`]: '{}',
      [`${CONFIG_HEX}.json`]: CONFIG,
      repositories: REPOSITORIES,
      'manifest.json': manifestJson({
        Config: `${CONFIG_HEX}.json`,
        Layers: [BASE_ID, TOP_ID, BASE_ID].map((hex) => `${hex}.tar`),
      }),
    },
  },
  'crane pull, ko, apko, rules_docker': {
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
  // One entry in manifest.json for each --destination.
  'kaniko --tar-path, two destinations': {
    form: 'gzip',
    tags: [TAG, SECOND],
    files: {
      [`sha256:${CONFIG_HEX}`]: CONFIG,
      [`${BASE_BLOB}.tar.gz`]: BASE_GZIP,
      [`${TOP_BLOB}.tar.gz`]: TOP_GZIP,
      'manifest.json': JSON.stringify(
        [TAG, SECOND].map((tag) => ({
          Config: `sha256:${CONFIG_HEX}`,
          RepoTags: [tag],
          Layers: [BASE_BLOB, TOP_BLOB, BASE_BLOB].map((hex) => `${hex}.tar.gz`),
        })),
      ),
    },
  },
  // Its manifest.json has the fields in lower case, and it writes a layer as often as it occurs.
  imgpull: {
    form: 'gzip',
    files: [
      [`${BASE_BLOB}.tar.gz`, BASE_GZIP],
      [`${TOP_BLOB}.tar.gz`, TOP_GZIP],
      [`${BASE_BLOB}.tar.gz`, BASE_GZIP],
      [
        'manifest.json',
        JSON.stringify([
          {
            config: `sha256:${CONFIG_HEX}`,
            repoTags: [TAG],
            layers: [BASE_BLOB, TOP_BLOB, BASE_BLOB].map((hex) => `${hex}.tar.gz`),
          },
        ]),
      ],
      [`sha256:${CONFIG_HEX}`, CONFIG],
    ],
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
  'jib buildTar, format OCI': {
    form: 'gzip',
    files: {
      ...blobsOf(IMAGE),
      ...LAYOUT,
      'index.json': indexJson([IMAGE.manifest, { 'org.opencontainers.image.ref.name': TAG }]),
    },
  },
  'Bazel rules_docker in Python': {
    form: 'none',
    files: {
      [`${CONFIG_HEX}.json`]: CONFIG,
      ...v1Folder(V1_BASE, BASE),
      ...v1Folder(V1_TOP, TOP),
      ...v1Folder(V1_LAST, BASE),
      repositories: REPOSITORIES,
      'manifest.json': manifestJson({
        Config: `${CONFIG_HEX}.json`,
        Layers: [V1_BASE, V1_TOP, V1_LAST].map((id) => `${id}/layer.tar`),
      }),
    },
  },
  'Bazel rules_oci': {
    form: 'gzip',
    files: {
      'manifest.json': manifestJson({
        Config: `blobs/sha256/${CONFIG_HEX}`,
        Layers: [BASE_BLOB, TOP_BLOB, BASE_BLOB].map((hex) => `blobs/sha256/${hex}.tar.gz`),
      }),
      'blobs/': '',
      'blobs/sha256/': '',
      [`blobs/sha256/${CONFIG_HEX}`]: CONFIG,
      [`blobs/sha256/${BASE_BLOB}.tar.gz`]: BASE_GZIP,
      [`blobs/sha256/${TOP_BLOB}.tar.gz`]: TOP_GZIP,
    },
  },
  'Nix buildImage': {
    form: 'none',
    files: {
      './': '',
      [`./${CONFIG_HEX}.json`]: CONFIG,
      ...Object.fromEntries(
        Object.entries({
          ...v1Folder(V1_BASE, BASE),
          ...v1Folder(V1_TOP, TOP),
          ...v1Folder(V1_LAST, BASE),
        }).map(([name, file]) => [`./${name}`, file]),
      ),
      './manifest.json': manifestJson({
        Config: `${CONFIG_HEX}.json`,
        Layers: [V1_BASE, V1_TOP, V1_LAST].map((id) => `${id}/layer.tar`),
      }),
      './repositories': REPOSITORIES,
    },
  },
  // Entries of a base image are copied from its archive: here from one of docker save 1.10 to 24, with its link.
  'Nix streamLayeredImage, buildLayeredImage': {
    form: 'none',
    files: [
      [`${V1_BASE}/layer.tar`, BASE],
      [`${TOP_ID}/layer.tar`, TOP],
      [`${V1_LAST}/layer.tar`, { symlink: `../${V1_BASE}/layer.tar` }],
      [`${CONFIG_HEX}.json`, CONFIG],
      [
        'manifest.json',
        manifestJson({
          Config: `${CONFIG_HEX}.json`,
          Layers: [V1_BASE, TOP_ID, V1_LAST].map((id) => `${id}/layer.tar`),
        }),
      ],
    ],
  },
  'regctl image export': {
    form: 'gzip',
    files: {
      ...LAYOUT,
      'index.json': indexJson([IMAGE.manifest, NAMES]),
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
      'blobs/': '',
      'blobs/sha256/': '',
      ...blobsOf(IMAGE),
    },
  },
  'OCI layout of skopeo, buildah, umoci': {
    form: 'gzip',
    tags: ['1'],
    files: {
      ...LAYOUT,
      'blobs/': '',
      ...blobsOf(IMAGE),
      'index.json': indexJson([IMAGE.manifest, { 'org.opencontainers.image.ref.name': '1' }]),
    },
  },
  'OCI layout with an index of platforms that are not in the file, and attestations': {
    form: 'gzip',
    files: {
      ...LAYOUT,
      ...blobsOf(IMAGE),
      [blobPath(INDEX.manifest.digest)]: INDEX.manifest.bytes,
      'index.json': indexJson([INDEX.manifest, NAMES]),
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
