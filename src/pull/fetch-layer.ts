import { createHash } from 'node:crypto';
import { isPassthroughError, PassthroughError } from '../errors.ts';
import type { Digest } from '../image/digest.ts';
import type { Descriptor } from '../image/manifest.ts';
import type { Draft } from '../storage/store.ts';
import { releaseChunk } from '../streams/chunk.ts';
import { decompressed } from '../streams/decompress.ts';
import { rebatched } from '../streams/rebatch.ts';
import { Verifier, verifying } from '../streams/verify.ts';
import { instruments } from '../telemetry/metrics.ts';
import type { LayerReport } from './progress.ts';

/** Bytes that are written at once. */
const WRITE_BYTES = 512 * 1024;

/** What is to be had of layers: their bytes as the registry has them, or uncompressed. */
export type LayerForm = 'packed' | 'unpacked';

/** What {@link fetchLayer} works with. */
export interface FetchLayerOptions {
  readonly layer: Descriptor;
  readonly form: LayerForm;
  /** Opens the blob; see `Repository.openLayer`. */
  readonly open: (layer: Descriptor, signal: AbortSignal) => Promise<AsyncGenerator<Uint8Array, void>>;
  readonly draft: Draft;
  readonly signal: AbortSignal;
  readonly report: (report: LayerReport) => void;
}

/**
 * Fetches a layer into a file, streamed: blob → digest and size → file, and in the unpacked form blob → digest and size →
 * inflate → diff ID → file. What it writes depends on the blob alone, never on the image that names it, so that any image
 * may have it.
 *
 * @returns SHA-256 of what was written in the unpacked form: almost always the diff ID; `undefined` in the packed form
 * @throws PassthroughError `VERIFICATION_FAILED`, `UNSUPPORTED_IMAGE`, `NO_SPACE`, and what `open` throws
 */
export async function fetchLayer(options: FetchLayerOptions): Promise<Digest | undefined> {
  const { layer, open, form, signal } = options;
  const { activeDownloads } = instruments();
  activeDownloads.add(1);
  try {
    const blob = await open(layer, signal);
    try {
      return form === 'packed' ? await keep(blob, options) : await unpack(blob, options);
    } finally {
      await blob.return();
    }
  } finally {
    activeDownloads.add(-1);
  }
}

/** Writes a blob's bytes; they are verified when this resolves. */
async function keep(
  blob: AsyncIterator<Uint8Array>,
  { layer, draft, report }: FetchLayerOptions,
): Promise<undefined> {
  const { digest, size } = layer;
  const verifier = new Verifier({ digest, size, what: nameOf(layer) });
  for await (const bytes of rebatched(verifying(blob, verifier), WRITE_BYTES)) {
    await draft.write(bytes);
    releaseChunk(bytes);
    report({ packed: verifier.size, unpacked: verifier.size });
  }
  verifier.finish();
}

/** Writes a blob's uncompressed bytes; those of the blob are verified when this resolves. */
async function unpack(
  blob: AsyncIterator<Uint8Array>,
  { layer, draft, report, signal }: FetchLayerOptions,
): Promise<Digest> {
  const { digest, size } = layer;
  const packed = new Verifier({ digest, size, what: nameOf(layer) });
  const hash = createHash('sha256');
  let unpacked = 0;
  try {
    for await (const bytes of decompressed(verifying(blob, packed), nameOf(layer))) {
      unpacked += bytes.byteLength;
      report({ packed: packed.size, unpacked });
      // A piece of a bomb unpacks to a thousand of them, and the source is not asked for another meanwhile.
      signal.throwIfAborted();
      await settledWith(draft.write(bytes), () => hash.update(bytes));
      releaseChunk(bytes);
    }
  } catch (error) {
    if (isPassthroughError(error, 'VERIFICATION_FAILED')) await blameDigest(blob, packed);
    throw error;
  }
  packed.finish();
  report({ packed: packed.size, unpacked });
  return `sha256:${hash.digest('hex')}`;
}

/** Does something while other work goes on, and leaves neither of them unheard of. */
async function settledWith(work: Promise<void>, meanwhile: () => unknown): Promise<void> {
  try {
    meanwhile();
  } finally {
    await work;
  }
}

/**
 * Damaged bytes fail to inflate before their digest is known. Reads what is left, so that the error can say the truth: the
 * bytes are not those of the descriptor, or they are and were damaged when they were pushed.
 */
async function blameDigest(blob: AsyncIterator<Uint8Array>, packed: Verifier): Promise<void> {
  for (let next = await blob.next(); next.done !== true; next = await blob.next()) packed.update(next.value);
  packed.finish();
}

function nameOf({ digest }: Descriptor): string {
  return `layer ${JSON.stringify(digest)}`;
}

/** The error for a layer whose uncompressed bytes are not those that the config names. */
export function wrongDiffId(layer: Descriptor, expected: Digest, actual: string): PassthroughError {
  return new PassthroughError(
    'VERIFICATION_FAILED',
    `Cannot verify uncompressed ${nameOf(layer)}: expected ${expected}, its bytes are ${actual}`,
    { expected, actual },
  );
}
