import type { Archive, ArchiveEntry } from '../archive/archive.ts';
import { dockerLayout } from '../archive/docker-layout.ts';
import type { Digest } from '../image/digest.ts';
import { type ImageConfig, parseImageConfig } from '../image/image-config.ts';
import type { ImageManifest } from '../image/manifest.ts';
import { type Platform, platformDistance } from '../image/platform.ts';
import type { Reference } from '../image/reference.ts';
import type { Registry } from '../registry/registry.ts';
import type { Workspace } from '../storage/workspace.ts';
import { encodeTar, type TarSource } from '../tar/encoder.ts';
import { streamWithSpan, withSpan } from '../telemetry/span.ts';
import type { ImageLimits } from './image-limits.ts';
import { type PreparedLayer, prepareLayers } from './prepare-layers.ts';
import { platformNotFound, resolveManifest } from './resolve-manifest.ts';

/** What to pull. */
export interface PullRequest {
  readonly reference: Reference;
  readonly platform: Platform;
  /** Whether somebody asked for this platform, rather than it being the default. */
  readonly isPlatformAsked: boolean;
}

/** What a pull works with. */
export interface PullTools {
  /** The repository of the reference. */
  readonly registry: Registry;
  readonly workspace: Workspace;
  readonly limits: ImageLimits;
  /** Stops the pull, its upstream traffic included. */
  readonly signal: AbortSignal;
}

/** An image that is ready to be sent. Holds files until it is closed. */
export interface PulledImage {
  readonly reference: Reference;
  readonly manifestDigest: Digest;
  readonly configDigest: Digest;
  /** Platform that the image says it is for. */
  readonly platform: Platform | undefined;
  readonly archive: Archive;
  /** The archive's bytes, exactly `archive.size` of them; may be read several times. */
  bytes(): AsyncGenerator<Uint8Array, void, undefined>;
  /** Frees the disk space. */
  close(): Promise<void>;
}

/**
 * Pulls an image: resolves it to a manifest, prepares config and layers, and lays out the archive. When this resolves, all
 * bytes are here and verified; when it rejects, nothing is left behind.
 *
 * @throws PassthroughError of what the registry answers (see `Registry`), `PLATFORM_NOT_FOUND`, `UNSUPPORTED_IMAGE`,
 *   `VERIFICATION_FAILED`, `IMAGE_TOO_LARGE`, `NO_SPACE`, `ABORTED`
 */
export async function pullImage(request: PullRequest, tools: PullTools): Promise<PulledImage> {
  const { reference } = request;
  const { manifest, digest, isPlatformChosen } = await resolve(request, tools);
  const { configBytes, config, layers } = await prepare(manifest, tools, (found) => {
    if (!isPlatformChosen && request.isPlatformAsked) refuseOtherPlatform(request.platform, found);
  });
  const configDigest = manifest.config.digest;
  const archive = dockerLayout({ reference, configDigest, configBytes, config, layers });
  return {
    reference,
    manifestDigest: digest,
    configDigest,
    platform: config.platform,
    archive,
    bytes: () => encodeTar(archive.entries.map((entry) => tarSource(entry, layers))),
    close: () => closeFiles(layers),
  };
}

function resolve({ reference, platform }: PullRequest, { registry, signal }: PullTools) {
  const name = reference.digest ?? reference.tag ?? 'latest';
  return withSpan('resolve_manifest', {}, async (span) => {
    const resolved = await resolveManifest(registry, name, platform, signal);
    span.setAttributes({
      'oci.manifest.digest': resolved.digest,
      'oci.image.config.digest': resolved.manifest.config.digest,
    });
    return resolved;
  });
}

/**
 * Fetches config and layers side by side. The layers need the config to be verified, so the first failure of either stops
 * both, and both have ended when this does.
 */
async function prepare(
  manifest: ImageManifest,
  { registry, workspace, limits, signal }: PullTools,
  accept: (config: ImageConfig) => void,
): Promise<{ configBytes: Uint8Array; config: ImageConfig; layers: readonly PreparedLayer[] }> {
  const stop = new AbortController();
  const either = AbortSignal.any([signal, stop.signal]);
  const fetching = fetchConfig(manifest, registry, either).then((fetched) => {
    accept(fetched.config);
    return fetched;
  });
  const diffIds = fetching.then(({ config }) => config.diffIds);
  // At once, not when a layer comes to need it: until then a layer may wait for its registry, and nobody for this promise.
  diffIds.catch((error: unknown) => stop.abort(error));
  try {
    const layers = await prepareLayers({
      layers: manifest.layers,
      diffIds,
      registry,
      workspace,
      limits,
      signal: either,
    });
    return { ...(await fetching), layers };
  } catch (error) {
    stop.abort(error);
    await Promise.allSettled([fetching, diffIds]);
    throw error;
  }
}

function fetchConfig(manifest: ImageManifest, registry: Registry, signal: AbortSignal) {
  const attributes = {
    'oci.image.config.digest': manifest.config.digest,
    'container.image.id': manifest.config.digest,
  };
  return withSpan('fetch_config_blob', { attributes }, async () => {
    const configBytes = await registry.getConfig(manifest.config, signal);
    return { configBytes, config: parseImageConfig(configBytes, manifest.layers.length) };
  });
}

/**
 * A manifest whose platform no index names says nothing of it; its config does. Who asked for another one is told so, who
 * asked for none gets what there is: a private image is often built for one platform only.
 */
function refuseOtherPlatform(wanted: Platform, { platform }: ImageConfig): void {
  if (platform !== undefined && platformDistance(platform, wanted) === undefined) {
    throw platformNotFound(wanted, [platform]);
  }
}

function tarSource({ layer: index, ...entry }: ArchiveEntry, layers: readonly PreparedLayer[]): TarSource {
  const layer = index === undefined ? undefined : layers[index];
  if (index === undefined || layer === undefined) return entry;
  const attributes = {
    'oci.layer.index': index + 1,
    'oci.layer.digest': layer.digest,
    'oci.layer.decompressed_size': layer.size,
  };
  return {
    ...entry,
    content: () => streamWithSpan(`write_layer_tar_${index + 1}`, { attributes }, () => layer.file.read()),
  };
}

async function closeFiles(layers: readonly PreparedLayer[]): Promise<void> {
  await Promise.all([...new Set(layers.map(({ file }) => file))].map((file) => file.close()));
}
