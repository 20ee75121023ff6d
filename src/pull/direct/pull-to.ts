import { releaseChunk } from '../../streams/chunk.ts';
import type { ArchiveFile } from '../archive-files.ts';
import type { ResolvedArchive } from '../resolve-archive.ts';
import { PartialFile } from './partial-file.ts';

/** An archive that was written to a file. */
export interface WrittenArchive {
  /** Absolute path of the file, with symbolic links resolved. */
  readonly path: string;
  /** Bytes. */
  readonly size: number;
  /** What the references resolved to. */
  readonly resolved: ResolvedArchive;
}

/**
 * Copies a pulled archive to a file.
 *
 * @param pull pulls the archive; its file is closed
 * @throws PassthroughError what `pull` and reading throw, `CANNOT_WRITE`, `NO_SPACE`; the signal's reason
 */
export async function copyTo(
  destination: string,
  resolved: ResolvedArchive,
  pull: () => Promise<ArchiveFile>,
  signal: AbortSignal,
): Promise<WrittenArchive> {
  await using target = await PartialFile.create(destination);
  const archive = await pull();
  try {
    for await (const chunk of archive.bytes()) {
      signal.throwIfAborted();
      await target.write(chunk);
      releaseChunk(chunk);
    }
    await target.finish();
    return { path: target.path, size: archive.size, resolved };
  } finally {
    archive.close();
  }
}
