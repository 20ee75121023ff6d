import type { ImageService } from '../../pull/image-service.ts';
import type { ArchiveRequest, PullToOptions } from '../../pull/request.ts';
import type { ResolvedArchive } from '../../pull/resolve-archive.ts';
import { releaseChunk } from '../../streams/chunk.ts';
import { unlessAborted } from '../../util/map-concurrently.ts';
import { misuse } from '../options/parse.ts';
import { write } from './print.ts';

/** @throws PassthroughError `INVALID_CONFIGURATION` if standard output is a terminal, which an archive would disturb */
export function refuseTerminal(): void {
  if (process.stdout.isTTY !== true) return;
  throw misuse(
    'Cannot write the archive to standard output: it is a terminal',
    'Name a file in place of -, or pipe it into a program',
  );
}

/**
 * Resolves and pulls an archive to standard output. Nothing is written before all of it is verified.
 *
 * @throws PassthroughError those of `ImageService.resolve` and `ImageService.pull`; `ABORTED` when the reader has ended
 */
export async function pullToOutput(
  service: ImageService,
  request: ArchiveRequest,
  { signal, onProgress, ...client }: PullToOptions,
): Promise<{ readonly resolved: ResolvedArchive; readonly size: number }> {
  const resolved = await service.resolve(request, { signal, ...client });
  using _ = { [Symbol.dispose]: () => resolved.release() };
  const archive = await service.pull(resolved, { signal, onProgress });
  try {
    for await (const chunk of archive.bytes()) {
      // A reader that stands still must not keep the program from ending.
      await unlessAborted(write(process.stdout, chunk), signal);
      releaseChunk(chunk);
    }
    return { resolved, size: archive.size };
  } finally {
    archive.close();
  }
}
