import { createHash } from 'node:crypto';
import { isPassthroughError, PassthroughError } from '../../errors.ts';
import { type Digest, digestAlgorithm } from '../../image/digest.ts';
import type { Descriptor } from '../../image/manifest.ts';
import { releaseChunk } from '../../streams/chunk.ts';
import { instruments } from '../../telemetry/metrics.ts';
import { unlessAborted } from '../../util/map-concurrently.ts';
import { quoted } from '../../util/printable.ts';
import {
  canRestart,
  type Facts,
  type LayerTarget,
  nameOf,
  restart,
  type WrittenForm,
  writeLayer,
} from './write-layer.ts';

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
  const { layer, open, reject, signal } = options;
  const { activeDownloads } = instruments();
  activeDownloads.add(1);
  try {
    for (;;) {
      try {
        return await writeLayer(() => open(layer, signal), options);
      } catch (error) {
        if (!isOfBlob(error, layer) || !canRestart(options) || reject?.(layer) !== true) throw error;
      }
      await restart(options);
    }
  } finally {
    activeDownloads.add(-1);
  }
}

/** Whether the bytes of a blob are not those of its descriptor. Others that cannot be unpacked are so in the registry. */
function isOfBlob(error: unknown, { digest }: Descriptor): boolean {
  return isPassthroughError(error, 'VERIFICATION_FAILED') && error.details.expected === digest;
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
