import { declaresGzip } from '../../image/media-type.ts';
import { releaseChunk } from '../../streams/chunk.ts';
import type { ArchiveFile } from '../archive-file.ts';
import { withTimeLimit } from '../limits.ts';
import { ProgressCounter } from '../progress.ts';
import { isPackage, type PullOptions } from '../request.ts';
import type { ResolvedArchive } from '../resolve-archive.ts';
import type { DirectWriter } from './direct-writer.ts';
import { PartialFile } from './partial-file.ts';

/** An archive that was written to a file. */
export interface WrittenArchive {
  /** Absolute path of the file, with symbolic links resolved. */
  readonly path: string;
  /** Bytes. */
  readonly size: number;
  /** What the references resolved to. Its documents are released. */
  readonly resolved: ResolvedArchive;
  /** Labels of the image that the descriptor of a package does not have; none for other layouts. */
  readonly leftOut: readonly string[];
}

/** The ways to the bytes of an archive. */
export interface Ways {
  /** Writes the archive while its layers arrive; `undefined` if they must go through the store. */
  readonly writer: DirectWriter | undefined;
  /** Prepares the archive in the store. */
  readonly pull: (options: PullOptions) => Promise<ArchiveFile>;
  /** Longest time of resolving and writing, in milliseconds. */
  readonly totalMs: number;
}

/**
 * Writes a resolved archive to a file, and releases it: directly where its bytes can be written in any order and are not compressed as a whole.
 *
 * @param destination path of the file
 * @throws PassthroughError what the ways throw, `CANNOT_WRITE`, `NO_SPACE`; the signal's reason
 */
export async function pullTo(
  destination: string,
  resolved: ResolvedArchive,
  { writer, pull, totalMs }: Ways,
  { signal, onProgress, client }: PullOptions,
): Promise<WrittenArchive> {
  using _ = { [Symbol.dispose]: () => resolved.release() };
  await using file = await PartialFile.create(destination, signal);
  // How much an update leaves out is known when the configs are there.
  const isUpdate = resolved.images.some(({ base }) => base !== undefined);
  if (takesItsBlobs(resolved) && !isUpdate) await file.checkSpace(resolved.layers.bytes);
  const limit = { totalMs, spentMs: resolved.resolveMs };
  const { request } = resolved;
  const isDirect = file.isSeekable && request.compression === 'none' && !isPackage(request);
  let leftOut: readonly string[] = [];
  const writeDirectly = async () => {
    if (writer === undefined || !isDirect) return undefined;
    const progress = new ProgressCounter(onProgress ?? (() => undefined));
    return await withTimeLimit(limit, signal, (both) =>
      writer.write(resolved, file, { signal: both, progress }),
    );
  };
  const write = async () => {
    const size = await writeDirectly();
    if (size !== undefined) return size;
    if (isDirect) await file.restart();
    const archive = await pull({ signal, onProgress, client });
    leftOut = archive.leftOut;
    return await copy(archive, file, signal);
  };
  try {
    const size = await write();
    signal.throwIfAborted();
    await file.finish();
    return { path: file.path, size, resolved, leftOut };
  } catch (error) {
    throw signal.aborted ? signal.reason : error;
  }
}

/** Whether the layers take the bytes in the archive that they take in the registry, as far as their media types tell. */
function takesItsBlobs({ form, images }: ResolvedArchive): boolean {
  if (form !== 'loadable') return form === 'compressed';
  return images.every(
    ({ manifest: { manifest } }) => manifest.kind === 'image' && manifest.layers.every(declaresGzip),
  );
}

async function copy(archive: ArchiveFile, file: PartialFile, signal: AbortSignal): Promise<number> {
  try {
    for await (const chunk of archive.bytes()) {
      signal.throwIfAborted();
      await file.write(chunk);
      releaseChunk(chunk);
    }
    return archive.size;
  } finally {
    archive.close();
  }
}
