import { cannotRead, cannotReadEntry, type ReadEntry, tooLarge } from '../../tar/reader.ts';
import { quoted } from '../../util/printable.ts';
import { MAX_LINKS, MAX_NAMES_SIZE } from '../limits.ts';

/** An entry of an archive, found by its name. */
export interface TableEntry {
  /** Without `./` and without a `/` at its end. */
  readonly name: string;
  readonly type: ReadEntry['type'];
  readonly size: number;
  readonly offset: number;
  /** Name of the entry that a link leads to; it need not exist. */
  readonly target: string | undefined;
}

/**
 * The entries of an archive by name. Names come from the archive, so they are keys of a `Map`: `__proto__` is a name like any
 * other.
 */
export class EntryTable {
  readonly #entries = new Map<string, TableEntry>();
  readonly #repeats: [first: TableEntry, repeat: TableEntry][] = [];
  #namesSize = 0;

  /**
   * Adds an entry.
   *
   * @returns the entry under its plain name; `undefined` for the folder of the archive itself
   * @throws PassthroughError `INVALID_ARCHIVE` for a name or link that leads out of the archive, and for a second entry of a
   *   name that differs from the first
   */
  add(read: ReadEntry): TableEntry | undefined {
    const { size, type, offset } = read;
    this.#namesSize += read.name.length + (read.linkName?.length ?? 0);
    if (this.#namesSize > MAX_NAMES_SIZE) {
      throw tooLarge(`the names of its entries have more than ${MAX_NAMES_SIZE} characters`);
    }
    const name = plainPath(read.name, (why) => cannotReadEntry(read.name, `its name ${why}`));
    if (name === '') {
      if (type === 'directory') return undefined;
      throw cannotReadEntry(read.name, 'its name is that of the archive itself');
    }
    const entry = { name, type, size, offset, target: targetOf(read, name) };
    const first = this.#entries.get(name);
    if (first === undefined) {
      this.#entries.set(name, entry);
      return entry;
    }
    if (first.type !== type || first.size !== size || first.target !== entry.target) throw differs(name);
    if (type === 'file') this.#repeats.push([first, entry]);
    return entry;
  }

  /** Pairs of files of one name and size, whose contents must be equal. */
  get repeats(): readonly (readonly [first: TableEntry, repeat: TableEntry])[] {
    return this.#repeats;
  }

  /** All files that are no repeats, in the order of the archive. */
  files(): readonly TableEntry[] {
    return [...this.#entries.values()].filter(({ type }) => type === 'file');
  }

  /**
   * Finds a file by its path in the archive, through links.
   *
   * @param path as a document of the archive has it
   * @returns `undefined` if there is none
   * @throws PassthroughError `INVALID_ARCHIVE` for a path that leads out of the archive, for links in a circle, for what is no
   *   file
   */
  file(path: string): TableEntry | undefined {
    const name = plainPath(path, (why) => cannotRead(`it refers to ${quoted(path)}, which ${why}`));
    let entry = this.#entries.get(name);
    for (let links = 0; entry?.target !== undefined; links += 1) {
      if (links >= MAX_LINKS) throw cannotReadEntry(name, 'its links lead in a circle, or too far');
      const target: string = entry.target;
      entry = this.#entries.get(target);
      if (entry === undefined) {
        throw cannotReadEntry(name, `it links to ${quoted(target)}, which is not in the archive`);
      }
    }
    if (entry !== undefined && entry.type !== 'file') throw cannotReadEntry(name, 'it is no file');
    return entry;
  }

  /**
   * Follows every link, also those that no document refers to.
   *
   * @throws PassthroughError `INVALID_ARCHIVE` for links in a circle
   */
  checkLinks(): void {
    // Entries that were followed already, so that long chains of links are not followed again from each of their links.
    const done = new Set<string>();
    for (const { name, target } of this.#entries.values()) {
      const path: string[] = [];
      for (let at: string | undefined = target === undefined ? undefined : name; at !== undefined; ) {
        if (done.has(at)) break;
        if (path.length > MAX_LINKS) throw cannotReadEntry(name, 'its links lead in a circle, or too far');
        path.push(at);
        at = this.#entries.get(at)?.target;
      }
      for (const followed of path) done.add(followed);
    }
  }
}

/** The error for a second entry of a name. Readers disagree on which of the two counts. */
export function differs(name: string): Error {
  return cannotReadEntry(name, 'the archive has two entries of this name, and they differ');
}

/** Target of a link as the name of an entry: a symbolic link counts from its folder, a hard link from the archive's root. */
function targetOf({ name: written, type, linkName }: ReadEntry, name: string): string | undefined {
  if (linkName === undefined) return undefined;
  const folder = type === 'symlink' ? name.split('/').slice(0, -1) : [];
  const refuse = (why: string) => cannotReadEntry(written, `its link target ${quoted(linkName)} ${why}`);
  if (type === 'hardlink') return plainPath(linkName, refuse);
  if (linkName.startsWith('/')) throw refuse('is absolute');
  const path = [...folder];
  for (const segment of linkName.split('/')) {
    if (segment === '..') {
      if (path.pop() === undefined) throw refuse('leads out of the archive');
    } else if (segment !== '' && segment !== '.') {
      path.push(segment);
    }
  }
  return path.join('/');
}

/** A path without `.` and empty segments. */
function plainPath(path: string, refuse: (why: string) => Error): string {
  if (path.startsWith('/')) throw refuse('is absolute');
  const segments = path.split('/').filter((segment) => segment !== '' && segment !== '.');
  if (segments.includes('..')) throw refuse('contains ".."');
  return segments.join('/');
}
