import { isPassthroughError, PassthroughError } from '../errors.ts';
import type { Digest } from '../image/digest.ts';
import type { Descriptor } from '../image/manifest.ts';
import { release } from '../pieces.ts';
import { decompressed } from '../storage/decompress.ts';
import type { TemporaryFile } from '../storage/temporary-file.ts';
import { observed, Verifier } from '../storage/verify.ts';
import type { Workspace } from '../storage/workspace.ts';
import { instruments } from '../telemetry/metrics.ts';
import { withSpan } from '../telemetry/span.ts';
import type { Budget } from './budget.ts';
import { mapConcurrently } from './concurrency.ts';
import type { ImageLimits } from './image-limits.ts';

/** What is to be had of layers: their bytes as the registry has them, or uncompressed. */
export type LayerForm = 'packed' | 'unpacked';

/** A layer that is ready to be written: verified, in a file. Layers of equal content share one. */
export interface PreparedLayer {
  /** Of the blob, as the registry has it. */
  readonly digest: Digest;
  /** Of the uncompressed bytes; verified where these are what the file holds. `undefined` for what is no layer of an image. */
  readonly diffId: Digest | undefined;
  /** Bytes of the blob. */
  readonly compressedSize: number;
  /** Bytes of the file. */
  readonly size: number;
  readonly file: TemporaryFile;
}

/** What {@link prepareLayers} works with. */
export interface PrepareLayersOptions {
  /** Base first, as the manifest has them. */
  readonly layers: readonly Descriptor[];
  /** The layers' diff IDs; they come with the config, which is fetched meanwhile. None where there is no such config. */
  readonly diffIds: Promise<readonly Digest[] | undefined>;
  readonly form: LayerForm;
  /** Opens a layer; see `Registry.openLayer`. */
  readonly open: (layer: Descriptor, signal: AbortSignal) => Promise<AsyncGenerator<Uint8Array, void>>;
  readonly workspace: Pick<Workspace, 'createFile'>;
  readonly limits: ImageLimits;
  readonly budget: Budget;
  /** Layers that other images of the same archive have brought, by digest of the blob. */
  readonly known: ReadonlyMap<Digest, PreparedLayer>;
  readonly signal: AbortSignal;
}

/**
 * Fetches and verifies the layers of an image, several at a time, each streamed: blob → digest and size → file, and in the
 * unpacked form blob → digest and size → inflate → diff ID → file. A layer that occurs twice is fetched once. When one
 * fails, the others stop and all files that were made here are closed.
 *
 * @returns the layers in the manifest's order; files that are not of `known` belong to the caller
 * @throws PassthroughError `VERIFICATION_FAILED`, `UNSUPPORTED_IMAGE`, `IMAGE_TOO_LARGE`, `NO_SPACE`, what `open` throws,
 *   and what `diffIds` rejects with
 */
export async function prepareLayers(options: PrepareLayersOptions): Promise<readonly PreparedLayer[]> {
  const { layers, limits, signal, budget, form, known } = options;
  const unique = new Map<Digest, { readonly layer: Descriptor; readonly index: number }>();
  for (const [index, layer] of layers.entries()) {
    if (!unique.has(layer.digest) && !known.has(layer.digest)) unique.set(layer.digest, { layer, index });
  }
  const items = [...unique.values()];
  budget.spendCompressed(items.reduce((sum, { layer }) => sum + layer.size, 0));

  const files: TemporaryFile[] = [];
  try {
    const prepared = await mapConcurrently(
      items,
      limits.concurrentLayers,
      signal,
      ({ layer, index }, either) => downloadLayer(layer, index, { ...options, signal: either }, files),
    );
    const byDigest = new Map([...known, ...prepared.map((layer) => [layer.digest, layer] as const)]);
    const diffIds = await options.diffIds;
    return layers.map((layer, index) => {
      const ready = byDigest.get(layer.digest);
      if (ready === undefined || (diffIds !== undefined && ready.diffId !== diffIds[index])) {
        throw diffIdsDisagree(layer, { expected: diffIds?.[index], actual: ready?.diffId });
      }
      if (form === 'unpacked' && unique.get(layer.digest)?.index !== index) budget.spend(ready.size);
      return ready;
    });
  } catch (error) {
    await Promise.all(files.map((file) => file.close()));
    throw error;
  }
}

/** One layer, inside the span that the operator sees it in. */
function downloadLayer(
  layer: Descriptor,
  index: number,
  options: PrepareLayersOptions,
  files: TemporaryFile[],
): Promise<PreparedLayer> {
  const attributes = {
    'oci.layer.index': index + 1,
    'oci.layer.digest': layer.digest,
    'oci.layer.compressed_size': layer.size,
  };
  return withSpan(`download_layer_${index + 1}`, { attributes }, async (span) => {
    const { activeDownloads } = instruments();
    activeDownloads.add(1);
    try {
      const prepared = await fetchLayer(layer, index, options, files);
      if (options.form === 'unpacked') span.setAttribute('oci.layer.decompressed_size', prepared.size);
      return prepared;
    } finally {
      activeDownloads.add(-1);
    }
  });
}

async function fetchLayer(
  layer: Descriptor,
  index: number,
  { open, workspace, diffIds, form, budget, signal }: PrepareLayersOptions,
  files: TemporaryFile[],
): Promise<PreparedLayer> {
  const blob = await open(layer, signal);
  try {
    const all = await diffIds;
    const diffId = all?.[index];
    if (all !== undefined && diffId === undefined) throw diffIdsDisagree(layer);
    const file = await workspace.createFile();
    files.push(file);
    if (form === 'packed') await keep(blob, file, layer);
    else if (diffId !== undefined) await unpack(blob, file, layer, diffId, budget);
    return { digest: layer.digest, diffId, compressedSize: layer.size, size: file.size, file };
  } finally {
    await blob.return();
  }
}

/** Writes a blob's bytes to a file; they are verified when this resolves. */
async function keep(blob: AsyncIterator<Uint8Array>, file: TemporaryFile, layer: Descriptor): Promise<void> {
  const what = `layer ${JSON.stringify(layer.digest)}`;
  const verifier = new Verifier({ digest: layer.digest, size: layer.size, what });
  for await (const bytes of observed(blob, verifier)) {
    await file.write(bytes);
    release(bytes);
  }
  verifier.finish();
}

/** Writes a blob's uncompressed bytes to a file; both are verified when this resolves. */
async function unpack(
  blob: AsyncIterator<Uint8Array>,
  file: TemporaryFile,
  layer: Descriptor,
  diffId: Digest,
  budget: Budget,
): Promise<void> {
  const what = `layer ${JSON.stringify(layer.digest)}`;
  const packed = new Verifier({ digest: layer.digest, size: layer.size, what });
  const unpacked = new Verifier({ digest: diffId, what: `uncompressed ${what}` });
  try {
    for await (const bytes of decompressed(observed(blob, packed), what)) {
      budget.spend(bytes.byteLength);
      unpacked.update(bytes);
      await file.write(bytes);
      release(bytes);
    }
  } catch (error) {
    if (isPassthroughError(error, 'VERIFICATION_FAILED')) await blameDigest(blob, packed);
    throw error;
  }
  packed.finish();
  unpacked.finish();
}

/**
 * Damaged bytes fail to inflate before their digest is known. Reads what is left, so that the error can say the truth: the
 * bytes are not those of the descriptor, or they are and were damaged when they were pushed.
 */
async function blameDigest(blob: AsyncIterator<Uint8Array>, packed: Verifier): Promise<void> {
  for (let next = await blob.next(); next.done !== true; next = await blob.next()) packed.update(next.value);
  packed.finish();
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
