import type { Archive, ArchiveEntry } from '../archive/archive.ts';
import { dockerLayout } from '../archive/docker-layout.ts';
import { isPassthroughError } from '../errors.ts';
import type { Digest } from '../image/digest.ts';
import { type ImageConfig, parseImageConfig } from '../image/image-config.ts';
import type { ImageManifest } from '../image/manifest.ts';
import { type Platform, platformDistance } from '../image/platform.ts';
import type { Reference } from '../image/reference.ts';
import type { Registry } from '../registry/registry.ts';
import type { Workspace } from '../storage/workspace.ts';
import { encodeTar, type TarSource } from '../tar/encoder.ts';
import { streamWithSpan, withSpan } from '../telemetry/span.ts';
import { stoppedBy } from './concurrency.ts';
import { type ResolvedImage, referenceAttributes, resolvedAttributes } from './image-attributes.ts';
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
  /** Is told what the reference means, as soon as that is known. */
  readonly resolved?: (image: ResolvedImage) => void;
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
  const configDigest = manifest.config.digest;
  const resolved = { reference, manifestDigest: digest, configDigest };
  tools.resolved?.(resolved);
  const { configBytes, config, layers } = await prepare(manifest, resolved, tools, (found) => {
    if (!isPlatformChosen && request.isPlatformAsked) refuseOtherPlatform(request.platform, found);
  });
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
  return withSpan('resolve_manifest', { attributes: referenceAttributes(reference) }, async (span) => {
    const resolved = await resolveManifest(registry, name, platform, signal);
    const { digest: manifestDigest, manifest } = resolved;
    span.setAttributes(
      resolvedAttributes({ reference, manifestDigest, configDigest: manifest.config.digest }),
    );
    return resolved;
  });
}

/**
 * Fetches config and layers side by side. The layers need the config to be verified, so the first failure of either stops
 * both, and both have ended when this does.
 */
async function prepare(
  manifest: ImageManifest,
  resolved: ResolvedImage,
  { registry, workspace, limits, signal }: PullTools,
  accept: (config: ImageConfig) => void,
): Promise<{ configBytes: Uint8Array; config: ImageConfig; layers: readonly PreparedLayer[] }> {
  const stop = new AbortController();
  const either = AbortSignal.any([signal, stop.signal]);
  const fetching = fetchConfig(manifest, resolved, registry, either, accept);
  const diffIds = fetching.then(({ config }) => config.diffIds);
  // At once, not when a layer comes to need it: until then a layer may wait for its registry, and nobody for this promise.
  diffIds.catch((error: unknown) => stop.abort(stoppedBy(error)));
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
    stop.abort(stoppedBy(error));
    const [config] = await Promise.allSettled([fetching, diffIds]);
    // Layers that stopped because the config failed are not to blame.
    throw config.status === 'rejected' && isPassthroughError(error, 'ABORTED') ? config.reason : error;
  }
}

function fetchConfig(
  manifest: ImageManifest,
  resolved: ResolvedImage,
  registry: Registry,
  signal: AbortSignal,
  accept: (config: ImageConfig) => void,
) {
  const attributes = { ...referenceAttributes(resolved.reference), ...resolvedAttributes(resolved) };
  return withSpan('fetch_config_blob', { attributes }, async () => {
    const configBytes = await registry.getConfig(manifest.config, signal);
    const config = parseImageConfig(configBytes, manifest.layers.length);
    accept(config);
    return { configBytes, config };
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
    'oci.layer.compressed_size': layer.compressedSize,
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
