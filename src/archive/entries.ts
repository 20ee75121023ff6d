import type { ArchiveEntry } from './archive.ts';

/** A folder; the name may end in `/`. */
export function directory(name: string): ArchiveEntry {
  return { name, type: 'directory', size: 0 };
}

/** A file that is held in memory. */
export function file(name: string, content: Uint8Array): ArchiveEntry {
  return { name, type: 'file', size: content.byteLength, content };
}

/** A file that holds a value as JSON, in one line. */
export function jsonFile(name: string, value: unknown): ArchiveEntry {
  return file(name, Buffer.from(`${JSON.stringify(value)}\n`));
}

/** The entries, each name once: the first that has it. For files that are named by their content. */
export function withoutRepeats(entries: readonly ArchiveEntry[]): readonly ArchiveEntry[] {
  const byName = new Map<string, ArchiveEntry>();
  for (const entry of entries) {
    if (!byName.has(entry.name)) byName.set(entry.name, entry);
  }
  return [...byName.values()];
}
