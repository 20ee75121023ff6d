import { createHash, type Hash } from 'node:crypto';
import { isPassthroughError, PassthroughError } from '../../errors.ts';
import { type Digest, digestAlgorithm } from '../../image/digest.ts';
import type { Descriptor } from '../../image/manifest.ts';
import type { Draft } from '../../storage/store.ts';
import { releaseChunk } from '../../streams/chunk.ts';
import { decompressed, type StreamFacts } from '../../streams/decompress.ts';
import { rebatched } from '../../streams/rebatch.ts';
import { Verifier, verifying } from '../../streams/verify.ts';
import { instruments } from '../../telemetry/metrics.ts';
import { unlessAborted } from '../../util/map-concurrently.ts';
import type { MemoryBudget } from '../../util/memory-budget.ts';
import { quoted } from '../../util/printable.ts';
import type { LayerReport } from '../progress.ts';
import type { LayerFacts } from './layer-facts.ts';

/** Bytes of one write. */
const WRITE_BYTES = 512 * 1024;

/** What is written of a layer: its blob; the same, and the facts of unpacking it; or its uncompressed bytes, and the facts. */
export type WrittenForm = 'compressed' | 'gzip' | 'uncompressed';

/** What writing a layer in a form shows. */
export type Facts<Form extends WrittenForm> = Form extends 'compressed' ? undefined : LayerFacts;

/** What {@link writeLayer} needs for one layer. */
export interface LayerTarget<Form extends WrittenForm = WrittenForm> {
  readonly layer: Descriptor;
  readonly form: Form;
  readonly draft: Draft;
  /** Receives the uncompressed bytes beside the blob in form `gzip`. */
  readonly inflated?: Draft | undefined;
  /** Counts the memory of decoders. */
  readonly memory: MemoryBudget;
  readonly signal: AbortSignal;
  readonly report: (report: LayerReport) => void;
}

/** What {@link fetchLayer} needs for one layer. */
export interface FetchLayerOptions<Form extends WrittenForm> extends LayerTarget<Form> {
  /** Opens the blob; see `Repository.openLayer`. */
  readonly open: (layer: Descriptor, signal: AbortSignal) => Promise<AsyncGenerator<Uint8Array, void>>;
  /** Takes note of wrong bytes, and returns whether another source can be asked; see `Repository.rejectLayer`. */
  readonly reject?: ((layer: Descriptor) => boolean | undefined) | undefined;
}

/**
 * Streams a layer from the registry into a file and verifies it on the way:
 *
 *     compressed:    blob → digest and size → file
 *     gzip:          blob → digest and size → file, and → decompress → diff ID (→ another file)
 *     uncompressed:  blob → digest and size → decompress → diff ID → file
 *
 * The file depends on the blob alone, not on the image that names it, so any image may use it.
 *
 * @returns what unpacking has shown; `undefined` in the compressed form
 * @throws PassthroughError `VERIFICATION_FAILED`, `UNSUPPORTED_IMAGE`, `NO_SPACE`, and what `open` throws
 */
export async function fetchLayer<Form extends WrittenForm>(
  options: FetchLayerOptions<Form>,
): Promise<Facts<Form>> {
  const { layer, open, reject, draft, inflated, signal } = options;
  const drafts = inflated === undefined ? [draft] : [draft, inflated];
  const canRestart = drafts.every(({ restart }) => restart !== undefined);
  const { activeDownloads } = instruments();
  activeDownloads.add(1);
  try {
    for (;;) {
      const blob = await open(layer, signal);
      try {
        return await writeLayer(blob, options);
      } catch (error) {
        if (!isOfBlob(error, layer) || !canRestart || reject?.(layer) !== true) throw error;
      } finally {
        await blob.return();
      }
      for (const one of drafts) await one.restart?.();
    }
  } finally {
    activeDownloads.add(-1);
  }
}

/** Whether the bytes of a blob are not those of its descriptor. Others that cannot be unpacked are so in the registry. */
function isOfBlob(error: unknown, { digest }: Descriptor): boolean {
  return isPassthroughError(error, 'VERIFICATION_FAILED') && error.details.expected === digest;
}

/**
 * Writes a layer in a form, and verifies it; see {@link fetchLayer}.
 *
 * @param blob stays open when this fails
 * @throws PassthroughError as {@link fetchLayer}; what the blob throws
 */
export async function writeLayer<Form extends WrittenForm>(
  blob: AsyncIterator<Uint8Array>,
  options: LayerTarget<Form>,
): Promise<Facts<Form>>;
/** Its implementation for all forms. */
export async function writeLayer(
  blob: AsyncIterator<Uint8Array>,
  options: LayerTarget,
): Promise<LayerFacts | undefined> {
  const { form } = options;
  if (form === 'compressed') return await writeCompressed(blob, options);
  return form === 'gzip' ? await writeInspected(blob, options) : await writeUncompressed(blob, options);
}

/** Writes the bytes of a blob. They are verified when the promise resolves. */
async function writeCompressed(
  blob: AsyncIterator<Uint8Array>,
  { layer, draft, report }: LayerTarget,
): Promise<undefined> {
  const { digest, size } = layer;
  const verifier = new Verifier({ digest, size, what: nameOf(layer) });
  for await (const bytes of rebatched(verifying(blob, verifier), WRITE_BYTES)) {
    await draft.write(bytes);
    releaseChunk(bytes);
    report({ compressed: verifier.size, uncompressed: 0 });
  }
  verifier.finish();
}

/**
 * Writes the bytes of a blob, and unpacks them meanwhile. They are verified when the promise resolves. A chunk goes to the file and
 * then to the decoder as it is, without a copy.
 */
async function writeInspected(blob: AsyncIterator<Uint8Array>, options: LayerTarget): Promise<LayerFacts> {
  const { inflated } = options;
  const write = async function* (verified: AsyncIterable<Uint8Array>) {
    for await (const bytes of rebatched(verified, WRITE_BYTES)) {
      await options.draft.write(bytes);
      yield bytes;
    }
  };
  return await unpack(blob, options, write, (bytes, hash) => {
    if (inflated === undefined) return void hash.update(bytes);
    return settledWith(inflated.write(bytes), () => hash.update(bytes));
  });
}

/** Writes the uncompressed bytes of a blob. The blob is verified when the promise resolves. */
async function writeUncompressed(blob: AsyncIterator<Uint8Array>, options: LayerTarget): Promise<LayerFacts> {
  const { draft } = options;
  return await unpack(
    blob,
    options,
    (verified) => verified,
    (bytes, hash) => settledWith(draft.write(bytes), () => hash.update(bytes)),
  );
}

/**
 * Unpacks a blob, and verifies it.
 *
 * @param through what the compressed bytes pass before they are unpacked
 * @param take receives the uncompressed bytes, and must hash them
 */
async function unpack(
  blob: AsyncIterator<Uint8Array>,
  { layer, report, memory, signal }: LayerTarget,
  through: (verified: AsyncIterable<Uint8Array>) => AsyncIterable<Uint8Array>,
  take: (bytes: Uint8Array, hash: Hash) => Promise<void> | void,
): Promise<LayerFacts> {
  const { digest, size } = layer;
  const verifier = new Verifier({ digest, size, what: nameOf(layer) });
  const hash = createHash('sha256');
  let uncompressed = 0;
  const kind = { isGzip: false, isPlainGzip: false };
  const onEnd = ({ compression, isPlainGzip }: StreamFacts) => {
    kind.isGzip = compression === 'gzip';
    kind.isPlainGzip = isPlainGzip;
  };
  try {
    const compressed = through(verifying(blob, verifier));
    for await (const bytes of decompressed(compressed, nameOf(layer), { memory, signal, onEnd })) {
      uncompressed += bytes.byteLength;
      report({ compressed: verifier.size, uncompressed });
      // One chunk of a decompression bomb yields a thousand chunks without a read from the source, which would see the abort.
      signal.throwIfAborted();
      await take(bytes, hash);
      releaseChunk(bytes);
    }
  } catch (error) {
    if (isPassthroughError(error, 'VERIFICATION_FAILED')) await verifyRest(blob, verifier);
    throw error;
  }
  verifier.finish();
  report({ compressed: verifier.size, uncompressed });
  return { diffId: `sha256:${hash.digest('hex')}`, uncompressedBytes: uncompressed, ...kind };
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
 * Compares the diff ID that the config names with what unpacking has shown, if the layer was unpacked.
 *
 * @param index of the layer in its image, counted from 0
 * @param known SHA-256 of the uncompressed bytes; `undefined` if they are not known
 * @param uncompressed opens them, for the rare config whose diff IDs use another algorithm than SHA-256
 * @returns the diff ID; `undefined` for a layer of an artifact
 * @throws PassthroughError `VERIFICATION_FAILED`; what `diffIds` rejects with
 */
export async function verifyDiffId(
  layer: Descriptor,
  index: number,
  known: Digest | undefined,
  { diffIds, uncompressed, signal }: DiffIdCheck,
): Promise<Digest | undefined> {
  // The config comes from the registry: waiting for it must not hide that another layer has failed.
  const all = await unlessAborted(diffIds, signal);
  const expected = all?.[index];
  if (all !== undefined && expected === undefined) throw diffIdsDisagree(layer);
  if (known === undefined || expected === undefined) return expected;
  const algorithm = digestAlgorithm(expected);
  const actual = known.startsWith(algorithm)
    ? known
    : `${algorithm}:${await hashOf(uncompressed(), algorithm)}`;
  if (actual !== expected) throw wrongDiffId(layer, expected, actual);
  return expected;
}

/** What {@link verifyDiffId} checks against. */
export interface DiffIdCheck {
  readonly diffIds: Promise<readonly Digest[] | undefined>;
  readonly uncompressed: () => AsyncIterable<Uint8Array>;
  readonly signal: AbortSignal;
}

async function hashOf(content: AsyncIterable<Uint8Array>, algorithm: string): Promise<string> {
  const hash = createHash(algorithm);
  for await (const bytes of content) {
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
