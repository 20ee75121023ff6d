import { createHash } from 'node:crypto';
import { PassthroughError } from '../errors.ts';
import { type Digest, digestAlgorithm } from '../image/digest.ts';
import type { Descriptor } from '../image/manifest.ts';
import { isForeignLayer } from '../image/media-type.ts';
import type { Store, Stored } from '../storage/store.ts';
import { releaseChunk } from '../streams/chunk.ts';
import { withSpan } from '../telemetry/span.ts';
import { mapConcurrently, unlessAborted } from '../util/map-concurrently.ts';
import type { KeyedSemaphore } from '../util/semaphore.ts';
import type { Budget } from './budget.ts';
import type { KnownBlobs, RepositoryLocation } from './cache/known-blobs.ts';
import { type FetchLayerOptions, fetchLayer, type LayerForm, wrongDiffId } from './fetch-layer.ts';
import type { LayerReport, ProgressCounter } from './progress.ts';

/** A layer that is ready to be written: verified, in a file. Layers of equal content share one. */
export interface PreparedLayer {
  /** The blob, as the registry has it. */
  readonly descriptor: Descriptor;
  /** Of the uncompressed bytes; verified where these are what the file holds. `undefined` for what is no layer of an image. */
  readonly diffId: Digest | undefined;
  /** Held until it is released. */
  readonly file: Stored;
}

/** What layers are prepared with, whichever image they are of. */
export interface LayerTools {
  readonly store: Store<LayerReport>;
  readonly contents: KnownBlobs;
  /** Downloads at once. */
  readonly slots: KeyedSemaphore;
  readonly progress?: ProgressCounter | undefined;
}

/** How the layers of one repository are to be had. */
export interface LayerSource {
  readonly repository: RepositoryLocation;
  /** Opens a layer; see `Repository.openLayer`. */
  readonly open: FetchLayerOptions['open'];
  /** Asks whether the repository has a layer; throws where not. */
  readonly check: (layer: Descriptor, signal: AbortSignal) => Promise<void>;
}

/** What {@link prepareLayers} works with. */
export interface PrepareLayersOptions {
  /** Base first, as the manifest has them. */
  readonly layers: readonly Descriptor[];
  /** The layers' diff IDs; they come with the config, which is fetched meanwhile. None where there is no such config. */
  readonly diffIds: Promise<readonly Digest[] | undefined>;
  readonly form: LayerForm;
  readonly source: LayerSource;
  readonly tools: LayerTools;
  /** Most layers at once. */
  readonly concurrency: number;
  readonly budget: Budget;
  /** Layers that other images of the same archive have brought, by digest of the blob. */
  readonly known: ReadonlyMap<Digest, PreparedLayer>;
  readonly signal: AbortSignal;
}

/**
 * Gets the layers of an image, several at a time: from the store, from whoever fetches one just now, or from the registry. A
 * layer that occurs twice is fetched once. When one fails, the others stop and all files that were held here are released.
 *
 * @returns the layers in the manifest's order; files that are not of `known` belong to the caller
 * @throws PassthroughError `VERIFICATION_FAILED`, `UNSUPPORTED_IMAGE`, `IMAGE_TOO_LARGE`, `NO_SPACE`, what the source throws,
 *   and what `diffIds` rejects with
 */
export async function prepareLayers(options: PrepareLayersOptions): Promise<readonly PreparedLayer[]> {
  const { layers, concurrency, signal, budget, form, known, tools } = options;
  const unique = new Map<Digest, { readonly layer: Descriptor; readonly index: number }>();
  for (const [index, layer] of layers.entries()) {
    if (!unique.has(layer.digest) && !known.has(layer.digest)) unique.set(layer.digest, { layer, index });
  }
  const items = [...unique.values()];
  const total = items.reduce((sum, { layer }) => sum + layer.size, 0);
  budget.spendCompressed(total);
  tools.progress?.expect(items.length, total);

  const held: PreparedLayer[] = [];
  try {
    await mapConcurrently(items, concurrency, signal, async ({ layer, index }, either) => {
      held.push(await prepareLayer(layer, index, { ...options, signal: either }));
    });
    const byDigest = new Map([...known, ...held.map((layer) => [layer.descriptor.digest, layer] as const)]);
    const diffIds = await options.diffIds;
    return layers.map((layer, index) => {
      const ready = byDigest.get(layer.digest);
      if (ready === undefined || (diffIds !== undefined && ready.diffId !== diffIds[index])) {
        throw diffIdsDisagree(layer, { expected: diffIds?.[index], actual: ready?.diffId });
      }
      if (form === 'unpacked' && unique.get(layer.digest)?.index !== index) budget.spend(ready.file.size);
      return ready;
    });
  } catch (error) {
    for (const { file } of held) file.release();
    throw error;
  }
}

/**
 * Gets one layer, inside the span that the operator sees it in.
 *
 * @param index of the layer in its image, from 0
 * @returns the layer; its file belongs to the caller
 * @throws PassthroughError as {@link prepareLayers}
 */
export function prepareLayer(
  layer: Descriptor,
  index: number,
  options: PrepareLayersOptions,
): Promise<PreparedLayer> {
  const attributes = {
    'oci.layer.index': index + 1,
    'oci.layer.digest': layer.digest,
    'oci.layer.compressed_size': layer.size,
  };
  return withSpan(`download_layer_${index + 1}`, { attributes }, async (span) => {
    const file = await obtain(layer, options);
    span.setAttribute('passthrough.layer.source', file.source === 'made' ? 'registry' : file.source);
    try {
      // First, since what the next step says of the layer is not for whoever may not have it.
      await vouch(layer, file, options);
      const diffId = await verifyDiffId(layer, index, file, options);
      if (options.form === 'unpacked') span.setAttribute('oci.layer.decompressed_size', file.size);
      return { descriptor: layer, diffId, file };
    } catch (error) {
      file.release();
      throw error;
    }
  });
}

/**
 * What a layer is in the store. The registry is part of it: what one registry's manifest names must not be read from what
 * came from another. For a layer that lies outside, whose registry need not know it, the repository is, too. The size is, since
 * a manifest that gives a wrong one must neither get the layer nor spoil it for others.
 */
export function layerKey({ origin, name }: RepositoryLocation, form: LayerForm, layer: Descriptor): string {
  const { digest, size } = layer;
  return `${form} ${digest} ${size} ${liesOutside(layer) ? `${origin}/${name}` : origin}`;
}

/** Whether a layer is to be had from elsewhere than its registry. */
export function liesOutside(layer: Descriptor): boolean {
  return isForeignLayer(layer) && layer.urls !== undefined;
}

async function obtain(
  layer: Descriptor,
  { tools, source, form, budget, signal }: PrepareLayersOptions,
): Promise<Stored> {
  const { store, slots, progress } = tools;
  const { repository, open } = source;
  const seen = { packed: 0, unpacked: 0 };
  const tooMuch = new AbortController();
  const watch = ({ packed, unpacked }: LayerReport) => {
    progress?.advance(packed - seen.packed);
    const more = unpacked - seen.unpacked;
    Object.assign(seen, { packed, unpacked });
    try {
      if (form === 'unpacked') budget.spend(more);
    } catch (error) {
      tooMuch.abort(error);
    }
  };
  const file = await store.obtain(layerKey(repository, form, layer), {
    signal: AbortSignal.any([signal, tooMuch.signal]),
    onReport: watch,
    produce: (draft, working, report) =>
      slots.run(repository.origin, working, async () => {
        const fetched = await fetchLayer({ layer, form, open, draft, signal: working, report });
        return { repository: repository.name, ...(fetched !== undefined && { diffId: fetched }) };
      }),
  });
  try {
    tooMuch.signal.throwIfAborted();
    if (form === 'unpacked') budget.spend(file.size - seen.unpacked);
  } catch (error) {
    file.release();
    throw error;
  }
  progress?.advance(layer.size - seen.packed);
  progress?.finishLayer();
  return file;
}

/** The diff ID that the config gives, after it was compared with the file's where that is what it holds. */
async function verifyDiffId(
  layer: Descriptor,
  index: number,
  file: Stored,
  { diffIds, form, signal }: PrepareLayersOptions,
): Promise<Digest | undefined> {
  // The config comes from outside: waiting for it must not keep the failure of another layer from being told.
  const expected = diffIdAt(layer, index, await unlessAborted(diffIds, signal));
  if (form === 'packed' || expected === undefined) return expected;
  const known = String(file.description['diffId']);
  const algorithm = digestAlgorithm(expected);
  const actual = known.startsWith(algorithm) ? known : `${algorithm}:${await hashOf(file, algorithm)}`;
  if (actual !== expected) throw wrongDiffId(layer, expected, actual);
  return expected;
}

/** For the rare config that counts in another algorithm than all others. */
async function hashOf(file: Stored, algorithm: string): Promise<string> {
  const hash = createHash(algorithm);
  for await (const bytes of file.read()) {
    hash.update(bytes);
    releaseChunk(bytes);
  }
  return hash.digest('hex');
}

/** Makes sure that the repository has a layer that was not fetched from it just now. */
async function vouch(
  layer: Descriptor,
  file: Stored,
  { source, tools, signal }: PrepareLayersOptions,
): Promise<void> {
  const { repository, check } = source;
  const isFromThere = file.source === 'made' || file.description['repository'] === repository.name;
  if (!isFromThere && !tools.contents.has(repository, layer.digest)) await check(layer, signal);
  tools.contents.add(repository, layer.digest);
}

function diffIdAt(
  layer: Descriptor,
  index: number,
  diffIds: readonly Digest[] | undefined,
): Digest | undefined {
  const diffId = diffIds?.[index];
  if (diffIds !== undefined && diffId === undefined) throw diffIdsDisagree(layer);
  return diffId;
}

function diffIdsDisagree(
  layer: Descriptor,
  { expected, actual }: { readonly expected?: Digest | undefined; readonly actual?: Digest | undefined } = {},
): PassthroughError {
  return new PassthroughError(
    'VERIFICATION_FAILED',
    `Cannot verify layer ${JSON.stringify(layer.digest)}: the config gives it another diff ID at each place`,
    { ...(expected !== undefined && { expected }), ...(actual !== undefined && { actual }) },
  );
}
