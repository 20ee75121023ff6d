import { type ReadEntry, readTar } from '../../tar/reader.ts';
import { RandomCursor, type RandomSource, readRange } from '../source/random-source.ts';
import { EntryTable, type TableEntry } from './entry-table.ts';

/**
 * Reads the headers of an archive and checks names and links. Contents are not read.
 *
 * @throws PassthroughError as `readTar` and {@link EntryTable}
 */
export async function indexOf(source: RandomSource): Promise<EntryTable> {
  await using reader = await source.open();
  const table = new EntryTable();
  const entries: AsyncIterable<ReadEntry> = readTar(new RandomCursor(reader, source.size));
  for await (const entry of entries) table.add(entry);
  table.checkLinks();
  return table;
}

/** Reads a whole entry. The caller has checked its size. */
export async function readWhole(
  source: RandomSource,
  { offset, size }: TableEntry,
  signal?: AbortSignal,
): Promise<Uint8Array> {
  const range = { start: offset, end: offset + size };
  return Buffer.concat(await Array.fromAsync(readRange(source, range, signal)));
}
