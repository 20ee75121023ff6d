/** Reads the manifests and the config of an image for the page. Nothing of them is trusted to have its form. */

import { fieldsOf } from '../image/json-shape.ts';
import { formatPlatform, parsePlatform, platformOfFields } from '../image/platform.ts';

/** A layer as the registry has it. */
export interface LayerDetails {
  readonly digest: string;
  /** In bytes, compressed. */
  readonly size: number;
  /** Whether an update archive leaves it out. */
  readonly isShared: boolean;
}

/** What is known of an image. Texts are the registry's. */
export interface ImageDetails {
  /** Platforms of its index, in order; empty without one. */
  readonly platforms: readonly string[];
  /** Platform whose layers these are. */
  readonly platform?: string | undefined;
  /** Digest of the manifest of the platform. */
  readonly digest?: string | undefined;
  readonly created?: string | undefined;
  readonly command?: string | undefined;
  readonly labels: readonly (readonly [name: string, value: string])[];
  /** `undefined` if there is no manifest of an image. */
  readonly layers?: readonly LayerDetails[] | undefined;
  readonly update?: { readonly bytes: number; readonly whole: number } | undefined;
  /** Size of the archive, once it is prepared. */
  readonly archiveBytes?: number | undefined;
}

/** Most platforms of an index that are offered: a hostile one may have ten thousand. */
const MAX_PLATFORMS = 60;

/** Platforms of an index that can be asked for, each once, the first ones of many: no attestations. Empty for any other document. */
export function platformsOf(manifest: unknown): readonly string[] {
  const found = listOf(fieldsOf(manifest)['manifests']).flatMap((entry) => {
    const platform = platformOfFields(fieldsOf(entry)['platform']);
    return platform === undefined ? [] : [formatPlatform(platform)];
  });
  return [...new Set(found)].filter(isPlatform).slice(0, MAX_PLATFORMS);
}

function isPlatform(text: string): boolean {
  try {
    parsePlatform(text);
    return true;
  } catch {
    return false;
  }
}

/** Layers of a manifest, base first; `undefined` for a document without layers. */
export function layersOf(manifest: unknown): readonly LayerDetails[] | undefined {
  const { layers } = fieldsOf(manifest);
  return Array.isArray(layers) ? layers.map(layerOf) : undefined;
}

/** Layers and sums of a comparison with the base of an update. */
export function comparedLayers(comparison: unknown): Pick<ImageDetails, 'layers' | 'update'> {
  const { layers, bytes, updateBytes } = fieldsOf(comparison);
  return {
    layers: listOf(layers).map(layerOf),
    update: { bytes: numberOf(updateBytes), whole: numberOf(bytes) },
  };
}

function layerOf(value: unknown): LayerDetails {
  const { digest, size, shared } = fieldsOf(value);
  return { digest: textOf(digest) ?? '', size: numberOf(size), isShared: shared === true };
}

/** What a config says about its image. */
export function configDetails(
  config: unknown,
): Pick<ImageDetails, 'platform' | 'created' | 'command' | 'labels'> {
  const { created, config: settings } = fieldsOf(config);
  const { Labels: labels, Entrypoint: entrypoint, Cmd: command } = fieldsOf(settings);
  const platform = platformOfFields(config);
  const words = [...listOf(entrypoint), ...listOf(command)].filter((word) => typeof word === 'string');
  return {
    platform: platform && formatPlatform(platform),
    created: textOf(created)?.replace(/^(\d{4}-\d\d-\d\d)T(\d\d:\d\d).*$/s, '$1 $2'),
    command: words.length === 0 ? undefined : words.join(' '),
    labels: Object.entries(fieldsOf(labels)).map(([name, value]) => [name, textOf(value) ?? ''] as const),
  };
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

function numberOf(value: unknown): number {
  return typeof value === 'number' && Number.isFinite(value) && value > 0 ? value : 0;
}
