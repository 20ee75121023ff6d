import { createHash, type Hash } from 'node:crypto';
import { isPassthroughError } from '../../errors.ts';
import type { Descriptor } from '../../image/manifest.ts';
import type { Draft } from '../../storage/store.ts';
import { releaseChunk } from '../../streams/chunk.ts';
import { type DecompressOptions, decompressed, type StreamFacts } from '../../streams/decompress.ts';
import { endOfGzip, UnknownEndError } from '../../streams/gzip-end.ts';
import { rebatched } from '../../streams/rebatch.ts';
import { Verifier, verifying } from '../../streams/verify.ts';
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

/** A target, and where the gzip of the blob ends if that is known. */
type UnpackTarget = LayerTarget & Pick<DecompressOptions, 'end'>;

function draftsOf({ draft, inflated }: LayerTarget): readonly Draft[] {
  return inflated === undefined ? [draft] : [draft, inflated];
}

/** Whether all drafts of a layer can begin again. */
export function canRestart(target: LayerTarget): boolean {
  return draftsOf(target).every(({ restart }) => restart !== undefined);
}

/** Begins all drafts of a layer again. */
export async function restart(target: LayerTarget): Promise<void> {
  for (const draft of draftsOf(target)) await draft.restart?.();
}

/**
 * Writes a layer in a form, and verifies it; see `fetchLayer`. A gzip blob with other bytes behind its end is opened three
 * times: to find that out, to find the end, and to unpack it up to there. gzip ignores such bytes, too.
 *
 * @param open opens the blob; it is closed here
 * @throws PassthroughError as `fetchLayer`; what the blob throws
 */
export async function writeLayer<Form extends WrittenForm>(
  open: () => Promise<AsyncGenerator<Uint8Array, void>>,
  options: LayerTarget<Form>,
): Promise<Facts<Form>>;
/** Its implementation for all forms. */
export async function writeLayer(
  open: () => Promise<AsyncGenerator<Uint8Array, void>>,
  options: LayerTarget,
): Promise<LayerFacts | undefined> {
  try {
    return await writeBlob(await open(), options);
  } catch (error) {
    if (!(error instanceof UnknownEndError) || !canRestart(options)) throw error;
    const end = await endOfGzip(await open(), error.taken, options.signal);
    await restart(options);
    try {
      return await writeBlob(await open(), { ...options, end });
    } catch (failure) {
      // It has no end there either: it is damaged.
      throw failure instanceof UnknownEndError ? error : failure;
    }
  }
}

async function writeBlob(
  blob: AsyncGenerator<Uint8Array, void>,
  options: UnpackTarget,
): Promise<LayerFacts | undefined> {
  const { form, end } = options;
  try {
    if (form === 'compressed') return await writeCompressed(blob, options);
    const facts = form === 'gzip' ? writeInspected(blob, options) : writeUncompressed(blob, options);
    return { ...(await facts), ...(end !== undefined && { gzipBytes: end }) };
  } finally {
    await blob.return();
  }
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
async function writeInspected(blob: AsyncIterator<Uint8Array>, options: UnpackTarget): Promise<LayerFacts> {
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
async function writeUncompressed(
  blob: AsyncIterator<Uint8Array>,
  options: UnpackTarget,
): Promise<LayerFacts> {
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
  { layer, report, memory, signal, end }: UnpackTarget,
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
    for await (const bytes of decompressed(compressed, nameOf(layer), { memory, signal, end, onEnd })) {
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

/** Name of a layer in messages. */
export function nameOf({ digest }: Descriptor): string {
  return `layer ${quoted(digest)}`;
}
