import { createHash } from 'node:crypto';
import { mkdir, open, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { PassthroughError } from '../errors.ts';
import { digestAlgorithm, digestHex } from '../image/digest.ts';
import { type Descriptor, parseManifest } from '../image/manifest.ts';
import { isForeignLayer } from '../image/media-type.ts';
import { PartialFile } from '../pull/direct/partial-file.ts';
import { DEFAULT_OPTIONS } from '../pull/options.ts';
import { type Progress, ProgressCounter } from '../pull/progress.ts';
import { releaseChunk } from '../streams/chunk.ts';
import { rebatched } from '../streams/rebatch.ts';
import { mapConcurrently } from '../util/map-concurrently.ts';
import { quoted } from '../util/printable.ts';
import { systemErrorCode } from '../util/system-error.ts';

/** Bytes of one write. */
const WRITE_BYTES = 512 * 1024;

/** A blob that was pulled to a file. */
export interface PulledBlob {
  readonly descriptor: Descriptor;
  /** Path of the file. */
  readonly path: string;
  /** Whether the file was there already, with the right digest. */
  readonly wasThere: boolean;
}

/** How blobs are pulled. */
export interface PullBlobsCall {
  /** Opens a blob, whose bytes are verified at their end. */
  readonly open: (
    descriptor: Descriptor,
    signal: AbortSignal,
  ) => Promise<AsyncGenerator<Uint8Array, void, undefined>>;
  readonly signal: AbortSignal;
  readonly onProgress?: ((progress: Progress) => void) | undefined;
}

/**
 * Pulls config and layers of an image into a folder, each as a file that is named by the hex digits of its digest. A file that is
 * there is kept if its digest is right, and else replaced.
 *
 * @param manifest of one image or artifact
 * @returns config first, then the layers in the order of the manifest, each blob once
 * @throws PassthroughError `UNSUPPORTED_IMAGE` for an index and for foreign layers, `VERIFICATION_FAILED`, `CANNOT_WRITE`,
 *   `NO_SPACE`, what `open` throws
 */
export async function pullBlobs(
  manifest: { readonly bytes: Uint8Array; readonly mediaType: string },
  folder: string,
  { open, signal, onProgress }: PullBlobsCall,
): Promise<readonly PulledBlob[]> {
  const blobs = blobsOf(manifest);
  await makeFolder(folder);
  const progress = new ProgressCounter(onProgress ?? (() => undefined));
  progress.enter('fetching');
  progress.expect(blobs);
  const { concurrentLayers } = DEFAULT_OPTIONS.limits;
  return await mapConcurrently(blobs, concurrentLayers, signal, async (descriptor, either) => {
    const path = join(folder, digestHex(descriptor.digest));
    const wasThere = await isIn(path, descriptor, either);
    const advance = (bytes: number) => progress.advance(descriptor, bytes);
    if (wasThere) advance(descriptor.size);
    else await pullBlob(path, await open(descriptor, either), advance);
    progress.finishLayer(descriptor);
    return { descriptor, path, wasThere };
  });
}

function blobsOf({ bytes, mediaType }: { readonly bytes: Uint8Array; readonly mediaType: string }) {
  const manifest = parseManifest(bytes, mediaType, { artifacts: true });
  if (manifest.kind === 'index') {
    throw new PassthroughError(
      'UNSUPPORTED_IMAGE',
      'Cannot pull the blobs of a manifest list: it names manifests, and each of them has blobs of its own',
    );
  }
  const foreign = manifest.layers.find(isForeignLayer);
  if (foreign !== undefined) {
    throw new PassthroughError(
      'UNSUPPORTED_IMAGE',
      `Cannot fetch layer ${quoted(foreign.digest)}: it lies outside of the registry`,
      { setting: 'foreignLayers' },
    );
  }
  return [...new Map([manifest.config, ...manifest.layers].map((blob) => [blob.digest, blob])).values()];
}

async function pullBlob(
  path: string,
  blob: AsyncGenerator<Uint8Array, void, undefined>,
  advance: (bytes: number) => void,
): Promise<void> {
  try {
    await using file = await PartialFile.create(path);
    for await (const chunk of rebatched(blob, WRITE_BYTES)) {
      const { byteLength } = chunk;
      await file.write(chunk);
      releaseChunk(chunk);
      advance(byteLength);
    }
    await file.finish();
  } finally {
    await blob.return();
  }
}

/** Whether a file has the bytes of a blob. A file of another size is not read. */
async function isIn(path: string, { digest, size }: Descriptor, signal: AbortSignal): Promise<boolean> {
  const found = await stat(path).catch(() => undefined);
  if (found?.isFile() !== true || found.size !== size) return false;
  const algorithm = digestAlgorithm(digest);
  const hash = createHash(algorithm);
  try {
    await using file = await open(path);
    for await (const chunk of file.createReadStream({ autoClose: false, highWaterMark: WRITE_BYTES, signal }))
      hash.update(chunk as Buffer);
  } catch (error) {
    signal.throwIfAborted();
    if (systemErrorCode(error) !== undefined) return false;
    throw error;
  }
  return `${algorithm}:${hash.digest('hex')}` === digest;
}

async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path, { recursive: true });
  } catch (cause) {
    const reason = `it is no folder and cannot become one (${systemErrorCode(cause)})`;
    throw new PassthroughError('CANNOT_WRITE', `Cannot write to ${quoted(path)}: ${reason}`, {
      reason,
      cause,
    });
  }
}
