import type { Digest } from '../image/digest.ts';
import type { ArchiveEntry } from './archive.ts';

/** A manifest, a config or a part of one, whose bytes are in memory or stored. */
export interface Document {
  readonly digest: Digest;
  readonly size: number;
  /** All bytes, if they are in memory. */
  readonly bytes?: Uint8Array | undefined;
}

/** A folder. The `/` at the end of its name is optional. */
export function directory(name: string): ArchiveEntry {
  return { name, type: 'directory', size: 0 };
}

/** A file in memory. */
export function file(name: string, content: Uint8Array): ArchiveEntry {
  return { name, type: 'file', size: content.byteLength, content };
}

/** A file with the bytes of a document. Without them, they are read by its digest when the archive is written. */
export function documentFile(name: string, { digest, size, bytes }: Document): ArchiveEntry {
  return bytes === undefined ? { name, type: 'file', size, blob: digest } : file(name, bytes);
}

/** A file with a value as JSON in one line. */
export function jsonFile(name: string, value: unknown): ArchiveEntry {
  return file(name, Buffer.from(`${JSON.stringify(value)}\n`));
}

/** Removes later entries of the same name. For files that are named by their content. */
export function withoutRepeats(entries: readonly ArchiveEntry[]): readonly ArchiveEntry[] {
  const byName = new Map<string, ArchiveEntry>();
  for (const entry of entries) {
    if (!byName.has(entry.name)) byName.set(entry.name, entry);
  }
  return [...byName.values()];
}
