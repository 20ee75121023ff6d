/**
 * Things that registries keep under `/manifests/` and that are no image, or not clearly one.
 */

import { sha256 } from './collect.ts';
import { type BuiltImage, builtManifest, MEDIA_TYPES, type Pushable } from './image.ts';
import { compress, makeLayer } from './layer.ts';

/**
 * Make a manifest of schema 1, the kind before 2016.
 *
 * @param options `signed` chooses between the two media types: with a JWS signature, or without
 * @returns a manifest with one layer
 * @see https://distribution.github.io/distribution/spec/deprecated-schema-v1/
 */
export function makeSchema1Manifest(options: { readonly signed?: boolean } = {}): Pushable {
  const signed = options.signed ?? true;
  const layer = compress(makeLayer({ 'etc/old': 'schema 1' }), 'gzip');
  const manifest = builtManifest(
    `application/vnd.docker.distribution.manifest.v1+${signed ? 'prettyjws' : 'json'}`,
    {
      schemaVersion: 1,
      name: 'library/old',
      tag: 'latest',
      architecture: 'amd64',
      fsLayers: [{ blobSum: sha256(layer) }],
      history: [
        { v1Compatibility: JSON.stringify({ id: '0'.repeat(64), architecture: 'amd64', os: 'linux' }) },
      ],
      signatures: signed
        ? [{ header: { alg: 'ES256' }, signature: 'c2lnbmF0dXJl', protected: 'e30' }]
        : undefined,
    },
  );
  return { manifest, blobs: new Map([[sha256(layer), layer]]) };
}

/**
 * Make a Helm chart: an OCI image manifest whose config is that of a chart.
 *
 * @returns a manifest with one layer and its blobs
 * @see https://helm.sh/docs/topics/registries/
 */
export function makeHelmChart(): Pushable {
  const chart = compress(
    makeLayer({ 'demo/Chart.yaml': 'apiVersion: v2\nname: demo\nversion: 0.1.0\n' }),
    'gzip',
  );
  const config = Buffer.from('{"apiVersion":"v2","name":"demo","version":"0.1.0"}');
  const manifest = builtManifest(MEDIA_TYPES.oci.manifest, {
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.oci.manifest,
    config: {
      mediaType: 'application/vnd.cncf.helm.config.v1+json',
      digest: sha256(config),
      size: config.length,
    },
    layers: [
      {
        mediaType: 'application/vnd.cncf.helm.chart.content.v1.tar+gzip',
        digest: sha256(chart),
        size: chart.length,
      },
    ],
  });
  return {
    manifest,
    config: { digest: sha256(config) },
    blobs: new Map([
      [sha256(config), config],
      [sha256(chart), chart],
    ]),
  };
}

/**
 * Make a document that is both an index and an image manifest: which of the two it is depends on who reads it.
 *
 * @param asManifest the image that it is when read as a manifest
 * @param asIndex the image that it names when read as an index
 * @param options `mediaType` of the answer (an OCI index unless said); `field` is what the document says of itself
 * (left out unless said)
 * @see https://github.com/opencontainers/distribution-spec/security/advisories/GHSA-mc8v-mgrf-8f4m
 */
export function makeAmbiguousIndex(
  asManifest: BuiltImage,
  asIndex: BuiltImage,
  options: { readonly mediaType?: string; readonly field?: string } = {},
): Pushable {
  const { config, layers } = JSON.parse(asManifest.manifest.bytes.toString()) as Record<string, unknown>;
  const { mediaType, digest, bytes } = asIndex.manifest;
  return {
    manifest: builtManifest(options.mediaType ?? MEDIA_TYPES.oci.index, {
      schemaVersion: 2,
      mediaType: options.field,
      config,
      layers,
      manifests: [{ mediaType, digest, size: bytes.length, platform: asIndex.platform }],
    }),
    blobs: asManifest.blobs,
    children: [asIndex],
  };
}

/**
 * Make any manifest: JSON of another kind, JSON that is cut, no JSON at all.
 *
 * @param mediaType what the registry says in `Content-Type`
 * @param content a value to write as JSON, or the bytes themselves
 * @param blobs blobs that the repository holds beside it, by digest
 */
export function makeRawManifest(
  mediaType: string,
  content: unknown,
  blobs: ReadonlyMap<string, Buffer> = new Map(),
): Pushable {
  return { manifest: builtManifest(mediaType, content), blobs };
}
