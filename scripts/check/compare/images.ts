/** What the registries of a comparison hold. The same bytes on any day. */

import { createHash } from 'node:crypto';
import type { FakeRegistry } from '../../../test/support/fake-registry.ts';
import {
  type BuiltImage,
  type ImageSpec,
  MEDIA_TYPES,
  makeAttestation,
  makeGzipBombLayer,
  makeImage,
  makeIndex,
  makeLayer,
  type Platform,
  type Pushable,
} from '../../../test/support/image.ts';
import {
  makeAmbiguousIndex,
  makeHelmChart,
  makeRawManifest,
  makeSchema1Manifest,
} from '../../../test/support/odd-images.ts';
import { SIGNED_QUERY } from '../../../test/support/signed-blobs.ts';

/** Uncompressed bytes of the layer that no connection buffers: a client that leaves has not received it. */
const LARGE_BYTES = 24 * 1024 ** 2;

/** Bytes that no compressor makes smaller. */
function noise(seed: string, length: number): Buffer {
  return createHash('shake256', { outputLength: length }).update(seed).digest();
}

function layer(seed: string, bytes = 2_000): { readonly tar: Buffer } {
  return { tar: makeLayer({ 'data/': '', [`data/${seed}`]: noise(seed, bytes) }) };
}

function imageFor(os: string, architecture: string, more: Partial<Platform> = {}): BuiltImage {
  const name = [os, architecture, more.variant, more['os.version']].filter(Boolean).join('-');
  return makeImage({ platform: { os, architecture, ...more }, layers: [BASE, layer(name)] });
}

/** A layer that several images share; it spans several blocks of 64 KiB. */
const BASE = layer('base', 150_000);

const AMD64 = imageFor('linux', 'amd64');
const ARM64 = imageFor('linux', 'arm64');
const [ARM_V7, ARM_V6] = ['v7', 'v6'].map((variant) => imageFor('linux', 'arm', { variant }));
const WINDOWS = ['10.0.17763.1', '10.0.20348.1'].map((version) =>
  imageFor('windows', 'amd64', { 'os.version': version }),
);

/** For many platforms, with attestations; `team/app:1`. */
const APP = makeIndex([
  ...[AMD64, ARM64, ARM_V7, ARM_V6, ...WINDOWS].flatMap((image) => (image === undefined ? [] : [{ image }])),
  makeAttestation(AMD64),
]);

/** For one platform, without an index, in Docker's media types; `lab/hello:1`. */
const HELLO = makeImage({ mediaTypes: 'docker', layers: [layer('hello')] });

/** Layers of each compression, one that says another one than it has, and one that occurs twice; `team/mixed:1`. */
const MIXED = makeImage({
  layers: [
    BASE,
    { ...layer('zstd', 5_000), compression: 'zstd' },
    { ...layer('plain', 5_000), compression: 'none' },
    { ...layer('claims', 5_000), compression: 'zstd', mediaType: MEDIA_TYPES.oci.layer.gzip },
    layer('twice'),
    layer('twice'),
    { tar: makeLayer({}) },
  ],
});

const TOOL = makeImage({ layers: [BASE, layer('tool', 70_000)] });

/** One layer, large enough for several pieces. `MOVED` has the same length. */
const DATA = makeImage({ layers: [layer('before', 300_000)] });
const MOVED = makeImage({ layers: [layer('after', 300_000)] });

/** One layer alone: nothing runs beside its download, so that a failure is the same each time. */
const ONE = makeImage({ layers: [layer('one', 200_000)] });

const FOREIGN_LAYER = makeImage({ layers: [layer('foreign', 5_000)] });

/** An image whose layer is at these addresses, and not in its registry. */
function foreign(urls: readonly string[]): Pushable {
  const descriptor = { mediaType: 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip', urls };
  const { config, manifest } = makeImage({ layers: [{ ...layer('foreign', 5_000), descriptor }] });
  return { config, manifest, blobs: new Map([[config.digest, config.bytes]]) };
}

function odd(spec: Partial<ImageSpec>): BuiltImage {
  return makeImage({ layers: [layer('odd')], ...spec });
}

const ODD_BLOB = layer('odd').tar;

/** Images that are refused, or nearly, by repository below `odd/`; all have the tag 1. */
const ODD: Readonly<Record<string, Pushable>> = {
  chart: makeHelmChart(),
  schema1: makeSchema1Manifest(),
  'schema1-unsigned': makeSchema1Manifest({ signed: false }),
  ambiguous: makeAmbiguousIndex(AMD64, ARM64),
  'ambiguous-field': makeAmbiguousIndex(AMD64, ARM64, { field: MEDIA_TYPES.oci.index }),
  'not-json': makeRawManifest(MEDIA_TYPES.oci.manifest, Buffer.from('{"schemaVersion":2,')),
  array: makeRawManifest(MEDIA_TYPES.oci.manifest, []),
  'no-config': makeRawManifest(MEDIA_TYPES.oci.manifest, { schemaVersion: 2, layers: [] }),
  'unknown-type': makeRawManifest('application/vnd.example+json', { schemaVersion: 2 }),
  'no-layers': makeImage({ layers: [] }),
  'one-platform': makeIndex([{ image: ARM64 }]),
  'only-attestations': makeIndex([makeAttestation(AMD64)]),
  'empty-index': makeIndex([]),
  nested: makeIndex([{ image: APP, platform: null }]),
  nearest: makeIndex([
    { image: imageFor('linux', '386') },
    { image: imageFor('linux', 'arm', { variant: 'v6' }) },
  ]),
  'docker-list': makeIndex([{ image: HELLO }], { mediaTypes: 'docker' }),
  'wrong-child-size': makeIndex([{ image: AMD64, descriptor: { size: 10 } }]),
  'wrong-child-digest': makeIndex([{ image: AMD64, descriptor: { digest: `sha256:${'1'.repeat(64)}` } }]),
  'wrong-diff-id': odd({ layers: [{ ...layer('odd'), diffId: `sha256:${'2'.repeat(64)}` }] }),
  'wrong-layer-size': odd({ layers: [{ ...layer('odd'), descriptor: { size: 10 } }] }),
  'few-diff-ids': odd({ config: { rootfs: { type: 'layers', diff_ids: [] } } }),
  'not-gzip': odd({ layers: [{ blob: noise('no gzip', 1_000), diffId: `sha256:${'3'.repeat(64)}` }] }),
  'cut-gzip': odd({
    layers: [{ blob: DATA.layers[0]?.blob.subarray(0, 1_000) ?? ODD_BLOB, diffId: DATA.diffIds[0] ?? '' }],
  }),
  'config-not-json': odd({ config: { rootfs: 'none' } }),
  'other-architecture': odd({ config: { architecture: 's390x' } }),
  history: odd({ history: [{ created_by: 'a' }, { created_by: 'b', empty_layer: true }] }),
};

/** Images that a scenario refers to by digest or by part. */
export const IMAGES = { APP, AMD64, ARM64, HELLO, MIXED, TOOL, DATA, MOVED, ONE, FOREIGN_LAYER };

/** Names of the images that are refused, or nearly: `odd/{name}:1`. */
export const ODD_NAMES = Object.keys(ODD);

let large: Promise<BuiltImage> | undefined;

/** Resolves with `team/large:1`, which is made once. */
export function largeImage(): Promise<BuiltImage> {
  large ??= makeGzipBombLayer(LARGE_BYTES).then((bomb) => makeImage({ layers: [bomb] }));
  return large;
}

/**
 * Puts every image into a registry. Done again, it moves all tags back.
 *
 * @param elsewhere origin of a server that has the foreign layers
 */
export async function fillRegistry(registry: FakeRegistry, elsewhere: string): Promise<void> {
  const named: Readonly<Record<string, Pushable>> = {
    'team/app': APP,
    'lab/hello': HELLO,
    'team/mixed': MIXED,
    'team/tool': TOOL,
    'team/data': DATA,
    'team/one': ONE,
    'team/large': await largeImage(),
    'team/foreign': foreign([`${elsewhere}/signed/${FOREIGN_LAYER.layers[0]?.digest}?${SIGNED_QUERY}`]),
    'team/foreign-nowhere': foreign(['ftp://example.org/layer', 'http://user:hunter2@127.0.0.1:1/layer']),
    // Each spelling of a file name.
    nginx: HELLO,
    'library/nginx': HELLO,
    my_great_app: HELLO,
    'team/platform/api': HELLO,
    ...Object.fromEntries(Object.entries(ODD).map(([name, image]) => [`odd/${name}`, image])),
  };
  for (const [repository, image] of Object.entries(named)) registry.push(repository, '1', image);
  registry.push('nginx', '1.25', HELLO);
  registry.push('nginx', 'latest', HELLO);
  registry.push('library/nginx', 'latest', HELLO);
  registry.push('team/platform/api', '2026.06', APP);
  registry.push('team/app', 'rc_1', APP);
  for (const tag of ['2', '3', '4', '5']) registry.push('team/tool', tag, TOOL);
}
