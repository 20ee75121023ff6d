import type { ArchiveEntry } from '../../archive/archive.ts';
import { releaseChunk } from '../../streams/chunk.ts';
import { headerBlocks, TRAILER_SIZE } from '../../tar/encoder.ts';
import { paddingAfter } from '../../tar/header.ts';
import { prefixed } from '../pull-archive.ts';
import type { ComingLayers } from './coming-layers.ts';
import { documentOf, layerOf, type Plan } from './plan.ts';

/** An entry whose size is final, with the stored layer in it. */
export async function finishedEntry(
  entry: ArchiveEntry,
  plan: Plan,
  layers: ComingLayers,
  signal: AbortSignal,
) {
  const digest = layerOf(entry, plan);
  if (digest === undefined) return { entry, layer: undefined };
  const layer = await layers.get(digest, signal);
  return { entry: { ...entry, size: layer.entryBytes }, layer };
}

/**
 * The bytes of a planned archive as a tar file, in their order: each layer as soon as it and all before it are there.
 *
 * @throws PassthroughError what fetching the layers throws; the signal's reason
 */
export async function* tarInOrder(
  plan: Plan,
  layers: ComingLayers,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void, undefined> {
  for (const planned of plan.entries) {
    const { entry, layer } = await finishedEntry(planned, plan, layers, signal);
    yield Buffer.concat([headerBlocks(entry), entry.content ?? new Uint8Array()]);
    const document = documentOf(entry, plan);
    const ofLayer = layer && layers.read(layer, signal);
    const bytes = document === undefined ? ofLayer : prefixed(entry.prefix, document);
    for await (const chunk of bytes ?? []) {
      signal.throwIfAborted();
      yield chunk;
    }
    const padding = paddingAfter(entry.size);
    if (padding > 0) yield new Uint8Array(padding);
  }
  yield new Uint8Array(TRAILER_SIZE);
}

/** Releases each chunk after a reader has taken it. */
export async function writeAll(
  chunks: AsyncIterable<Uint8Array>,
  write: (chunk: Uint8Array) => Promise<void>,
): Promise<number> {
  let size = 0;
  for await (const chunk of chunks) {
    size += chunk.byteLength;
    await write(chunk);
    releaseChunk(chunk);
  }
  return size;
}
