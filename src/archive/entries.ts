import type { ArchiveEntry } from './archive.ts';

/** A folder. The `/` at the end of its name is optional. */
export function directory(name: string): ArchiveEntry {
  return { name, type: 'directory', size: 0 };
}

/** A file in memory. */
export function file(name: string, content: Uint8Array): ArchiveEntry {
  return { name, type: 'file', size: content.byteLength, content };
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
