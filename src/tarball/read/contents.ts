import { isPassthroughError, PassthroughError } from '../../errors.ts';
import { type Digest, digestAlgorithm, digestHex } from '../../image/digest.ts';
import { tooLarge } from '../../tar/reader.ts';
import { quoted } from '../../util/printable.ts';
import { MAX_DOCUMENT_SIZE, MAX_DOCUMENT_VALUES, MAX_KEPT_DOCUMENTS } from '../limits.ts';
import type { EntryTable, TableEntry } from './entry-table.ts';

/** The entries of an archive, and its documents. A document is read once. */
export class Contents {
  readonly table: EntryTable;
  readonly #read: (entry: TableEntry) => Promise<Uint8Array>;
  readonly #documents = new Map<string, Promise<Uint8Array>>();
  #kept = 0;
  #values = 0;

  /** @param read reads a whole entry, which is not larger than {@link MAX_DOCUMENT_SIZE} */
  constructor(table: EntryTable, read: (entry: TableEntry) => Promise<Uint8Array>) {
    this.table = table;
    this.#read = read;
  }

  /**
   * Reads a document.
   *
   * @param limit largest size, in bytes
   * @throws PassthroughError `IMAGE_TOO_LARGE` for a larger document, and when all documents together are too large
   */
  document(entry: TableEntry, limit = MAX_DOCUMENT_SIZE): Promise<Uint8Array> {
    const { name, size } = entry;
    if (size > limit) throw tooLarge(`entry ${quoted(name)} has ${size} bytes, more than ${limit}`);
    const known = this.#documents.get(name);
    if (known !== undefined) return known;
    this.#kept += size;
    if (this.#kept > MAX_KEPT_DOCUMENTS) {
      throw tooLarge(`its documents have more than ${MAX_KEPT_DOCUMENTS} bytes`);
    }
    const document = this.#read(entry).then((bytes) => this.#counted(bytes));
    this.#documents.set(name, document);
    return document;
  }

  #counted(bytes: Uint8Array): Uint8Array {
    for (const byte of bytes) if (isSeparator(byte)) this.#values += 1;
    if (this.#values > MAX_DOCUMENT_VALUES) {
      throw tooLarge(`its documents have more than ${MAX_DOCUMENT_VALUES} values`);
    }
    return bytes;
  }
}

/** Whether a byte is one of `,`, `[`, `{`: there is one before each value in JSON. Those in texts are counted, too. */
function isSeparator(byte: number): boolean {
  return byte === 0x2c || byte === 0x5b || byte === 0x7b;
}

/**
 * Checks the size that a descriptor gives.
 *
 * @throws PassthroughError `VERIFICATION_FAILED`
 */
export function checkSize(
  entry: TableEntry,
  { digest, size }: { readonly digest: Digest; readonly size: number },
): void {
  if (entry.size === size) return;
  throw new PassthroughError(
    'VERIFICATION_FAILED',
    `Cannot verify archive entry ${quoted(entry.name)}: it has ${entry.size} bytes, its descriptor says ${size}`,
    { expected: digest },
  );
}

/** Path of a blob in an archive. */
export function blobName(digest: Digest): string {
  return `blobs/${digestAlgorithm(digest)}/${digestHex(digest)}`;
}

/** Runs a parser, and adds the name of the document to its error, unless it names one. */
export function inDocument<T>(name: string, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (!isPassthroughError(error) || error.code === 'INVALID_ARCHIVE') throw error;
    throw new PassthroughError(error.code, `Cannot read archive entry ${quoted(name)}: ${error.message}`, {
      ...error.details,
      cause: error,
    });
  }
}
