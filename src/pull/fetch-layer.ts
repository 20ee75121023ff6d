import { createHash } from 'node:crypto';
import type { LayerForm } from '../archive/layouts.ts';
import { isPassthroughError, PassthroughError } from '../errors.ts';
import { type Digest, digestAlgorithm } from '../image/digest.ts';
import type { Descriptor } from '../image/manifest.ts';
import type { Draft, Stored } from '../storage/store.ts';
import { releaseChunk } from '../streams/chunk.ts';
import { decompressed } from '../streams/decompress.ts';
import { rebatched } from '../streams/rebatch.ts';
import { Verifier, verifying } from '../streams/verify.ts';
import { instruments } from '../telemetry/metrics.ts';
import { unlessAborted } from '../util/map-concurrently.ts';
import type { MemoryBudget } from '../util/memory-budget.ts';
import { quoted } from '../util/printable.ts';
import type { LayerReport } from './progress.ts';

/** Bytes of one write. */
const WRITE_BYTES = 512 * 1024;

/** What {@link fetchLayer} needs for one layer. */
export interface FetchLayerOptions {
  readonly layer: Descriptor;
  readonly form: LayerForm;
  /** Opens the blob; see `Repository.openLayer`. */
  readonly open: (layer: Descriptor, signal: AbortSignal) => Promise<AsyncGenerator<Uint8Array, void>>;
  readonly draft: Draft;
  /** Counts the memory of decoders. */
  readonly memory: MemoryBudget;
  readonly signal: AbortSignal;
  readonly report: (report: LayerReport) => void;
}

/**
 * Streams a layer from the registry into a file and verifies it on the way:
 *
 *     compressed:    blob → digest and size → file
 *     uncompressed:  blob → digest and size → decompress → diff ID → file
 *
 * The file depends on the blob alone, not on the image that names it, so any image may use it.
 *
 * @returns SHA-256 of the uncompressed bytes, which is nearly always the diff ID; `undefined` in the compressed form
 * @throws PassthroughError `VERIFICATION_FAILED`, `UNSUPPORTED_IMAGE`, `NO_SPACE`, and what `open` throws
 */
export async function fetchLayer(options: FetchLayerOptions): Promise<Digest | undefined> {
  const { layer, open, form, signal } = options;
  const { activeDownloads } = instruments();
  activeDownloads.add(1);
  try {
    const blob = await open(layer, signal);
    try {
      return form === 'compressed'
        ? await writeCompressed(blob, options)
        : await writeUncompressed(blob, options);
    } finally {
      await blob.return();
    }
  } finally {
    activeDownloads.add(-1);
  }
}

/** Writes the bytes of a blob. They are verified when the promise resolves. */
async function writeCompressed(
  blob: AsyncIterator<Uint8Array>,
  { layer, draft, report }: FetchLayerOptions,
): Promise<undefined> {
  const { digest, size } = layer;
  const verifier = new Verifier({ digest, size, what: nameOf(layer) });
  for await (const bytes of rebatched(verifying(blob, verifier), WRITE_BYTES)) {
    await draft.write(bytes);
    releaseChunk(bytes);
    report({ compressed: verifier.size, uncompressed: verifier.size });
  }
  verifier.finish();
}

/** Writes the uncompressed bytes of a blob. The blob is verified when the promise resolves. */
async function writeUncompressed(
  blob: AsyncIterator<Uint8Array>,
  options: FetchLayerOptions,
): Promise<Digest> {
  const { layer, draft, report, signal } = options;
  const { digest, size } = layer;
  const verifier = new Verifier({ digest, size, what: nameOf(layer) });
  const hash = createHash('sha256');
  let uncompressed = 0;
  try {
    for await (const bytes of decompressed(verifying(blob, verifier), nameOf(layer), options)) {
      uncompressed += bytes.byteLength;
      report({ compressed: verifier.size, uncompressed });
      // One chunk of a decompression bomb yields a thousand chunks without a read from the source, which would see the abort.
      signal.throwIfAborted();
      await settledWith(draft.write(bytes), () => hash.update(bytes));
      releaseChunk(bytes);
    }
  } catch (error) {
    if (isPassthroughError(error, 'VERIFICATION_FAILED')) await verifyRest(blob, verifier);
    throw error;
  }
  verifier.finish();
  report({ compressed: verifier.size, uncompressed });
  return `sha256:${hash.digest('hex')}`;
}

/** Runs work while a promise is pending, and waits for the promise also when the work throws. */
async function settledWith(pending: Promise<void>, work: () => unknown): Promise<void> {
  try {
    work();
  } finally {
    await pending;
  }
}

/**
 * Damaged bytes fail to decompress before their digest is known. Reads the rest of the blob, so that the error names the right
 * cause: either the bytes are not those of the descriptor, or they are, and the layer was damaged before it was pushed.
 */
async function verifyRest(blob: AsyncIterator<Uint8Array>, verifier: Verifier): Promise<void> {
  for (let next = await blob.next(); next.done !== true; next = await blob.next())
    verifier.update(next.value);
  verifier.finish();
}

function nameOf({ digest }: Descriptor): string {
  return `layer ${quoted(digest)}`;
}

/** The error for a layer whose uncompressed bytes do not have the diff ID that the config names. */
export function wrongDiffId(layer: Descriptor, expected: Digest, actual: string): PassthroughError {
  return new PassthroughError(
    'VERIFICATION_FAILED',
    `Cannot verify uncompressed ${nameOf(layer)}: expected ${expected}, its bytes are ${actual}`,
    { expected, actual },
  );
}

/**
 * Compares the diff ID that the config names with that of the file, if the file holds uncompressed bytes.
 *
 * @param index of the layer in its image, counted from 0
 * @returns the diff ID; `undefined` for a layer of an artifact
 * @throws PassthroughError `VERIFICATION_FAILED`; what `diffIds` rejects with
 */
export async function verifyDiffId(
  layer: Descriptor,
  index: number,
  file: Stored,
  {
    diffIds,
    form,
    signal,
  }: {
    readonly diffIds: Promise<readonly Digest[] | undefined>;
    readonly form: LayerForm;
    readonly signal: AbortSignal;
  },
): Promise<Digest | undefined> {
  // The config comes from the registry: waiting for it must not hide that another layer has failed.
  const all = await unlessAborted(diffIds, signal);
  const expected = all?.[index];
  if (all !== undefined && expected === undefined) throw diffIdsDisagree(layer);
  if (form === 'compressed' || expected === undefined) return expected;
  const known = String(file.description['diffId']);
  const algorithm = digestAlgorithm(expected);
  const actual = known.startsWith(algorithm) ? known : `${algorithm}:${await hashOf(file, algorithm)}`;
  if (actual !== expected) throw wrongDiffId(layer, expected, actual);
  return expected;
}

/** Hashes a file again, for the rare config whose diff IDs use another algorithm than SHA-256. */
async function hashOf(file: Stored, algorithm: string): Promise<string> {
  const hash = createHash(algorithm);
  for await (const bytes of file.read()) {
    hash.update(bytes);
    releaseChunk(bytes);
  }
  return hash.digest('hex');
}

/** The error for a layer to which the config gives two diff IDs, or none. */
export function diffIdsDisagree(
  layer: Descriptor,
  { expected, actual }: { readonly expected?: Digest | undefined; readonly actual?: Digest | undefined } = {},
): PassthroughError {
  return new PassthroughError(
    'VERIFICATION_FAILED',
    `Cannot verify layer ${quoted(layer.digest)}: the config gives it another diff ID at each place`,
    { ...(expected !== undefined && { expected }), ...(actual !== undefined && { actual }) },
  );
}
