import { open } from 'node:fs/promises';
import { isatty } from 'node:tty';
import type { ImageService } from '../../pull/image-service.ts';
import type { ArchiveRequest, PullToOptions } from '../../pull/request.ts';
import type { ResolvedArchive } from '../../pull/resolve-archive.ts';
import { releaseChunk } from '../../streams/chunk.ts';
import { unlessAborted } from '../../util/map-concurrently.ts';
import { quoted } from '../../util/printable.ts';
import { misuse } from '../options/parse.ts';
import { write } from './print.ts';

/**
 * Refuses a terminal, which an archive would disturb.
 *
 * @param device path such as `/dev/stdout`; standard output unless given
 * @throws PassthroughError `INVALID_CONFIGURATION`
 */
export async function refuseTerminal(device?: string): Promise<void> {
  const isTerminal = device === undefined ? process.stdout.isTTY === true : await isTerminalAt(device);
  if (!isTerminal) return;
  const [place, hint] =
    device === undefined
      ? ['standard output', 'Name a file in place of -, or pipe it into a program']
      : [quoted(device), 'Name a file, or pipe standard output into a program'];
  throw misuse(`Cannot write the archive to ${place}: it is a terminal`, hint);
}

async function isTerminalAt(device: string): Promise<boolean> {
  await using handle = await open(device, 'w').catch(() => undefined);
  return handle !== undefined && isatty(handle.fd);
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
