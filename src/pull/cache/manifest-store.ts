import { type Digest, isDigest } from '../../image/digest.ts';
import { fieldsOf } from '../../image/json.ts';
import type { RepositoryLocation } from '../../registry/repository.ts';
import type { Store } from '../../storage/store.ts';
import { releaseChunk } from '../../streams/chunk.ts';
import { contentOfBytes, MAX_SMALL_BYTES } from '../../util/content.ts';
import { contentOfStored, storeContent } from '../documents/stored-content.ts';
import type { LayerReport } from '../progress.ts';
import type { CachedDocument } from './manifest-cache.ts';

/** What a tag or digest resolved to when the registry was last asked. */
export interface CachedReference {
  readonly digest: Digest;
  /** When the registry last resolved it without credentials, in milliseconds since 1970; absent if it never did. */
  readonly resolvedAt?: number;
}

/** References by key; see {@link ManifestStore.keepReferences}. */
export interface References {
  entries(): Iterable<readonly [string, CachedReference]>;
}

/** Name of the note that holds the references. */
const NOTE = 'references.json';

/** No caller stops a look into the store: it takes milliseconds. */
const NEVER = new AbortController().signal;

/** Delay in milliseconds before changes are written. A killed process loses the changes of this time. */
const WRITE_DELAY_MS = 2_000;

/** A folder that takes small texts. */
export interface Notes {
  readNote(name: string): Promise<string | undefined>;
  writeNote(name: string, text: string): Promise<void>;
}

/**
 * Keeps references, manifests and configs on disk, so that a restart during a registry outage can still serve them. A failed
 * write costs only that, so no caller waits for one and no failure is reported.
 */
export class ManifestStore {
  readonly #store: Store<LayerReport>;
  readonly #notes: Notes;
  #changed: References | undefined;
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<unknown> = Promise.resolve();

  constructor(store: Store<LayerReport>, notes: Notes) {
    this.#store = store;
    this.#notes = notes;
  }

  /** Reads the references that an earlier process has kept. A damaged note counts as empty. */
  async readReferences(): Promise<ReadonlyMap<string, CachedReference>> {
    const text = await this.#notes.readNote(NOTE);
    try {
      return new Map(parseReferences(JSON.parse(text ?? '[]')));
    } catch {
      return new Map();
    }
  }

  /**
   * Writes the references, as they are then: after a short delay, or now, where a killed process must not lose the change.
   */
  keepReferences(references: References, when: 'soon' | 'now' = 'soon'): void {
    this.#changed = references;
    if (when === 'now') this.#write();
    else this.#timer ??= setTimeout(() => this.#write(), WRITE_DELAY_MS).unref();
  }

  /**
   * Writes a manifest or config.
   *
   * @param document its content is taken over
   * @returns the document in its file, or as it came where it cannot be written; the caller must release its content
   */
  async keepDocument(repository: RepositoryLocation, document: CachedDocument): Promise<CachedDocument> {
    const { digest, content, contentType } = document;
    const key = keyOf(repository, digest);
    return { ...document, content: await storeContent(this.#store, key, content, { contentType }) };
  }

  /**
   * Finds a manifest or config; `undefined` if it is missing or damaged.
   *
   * @returns the document, whose content the caller must release
   */
  async findDocument(repository: RepositoryLocation, digest: Digest): Promise<CachedDocument | undefined> {
    const file = await this.#store.find(keyOf(repository, digest), NEVER);
    if (file === undefined) return undefined;
    const contentType = String(file.description['contentType']);
    const content = contentOfStored(file);
    try {
      if (content.size <= MAX_SMALL_BYTES) {
        const bytes = await content.readWhole();
        content.release();
        return { digest, content: contentOfBytes(bytes), contentType };
      }
      // Damage is found now, while the document can still be fetched again.
      for await (const chunk of content.read()) releaseChunk(chunk);
      return { digest, content, contentType };
    } catch {
      content.release();
      return undefined;
    }
  }

  /** Writes what is left to write. */
  async close(): Promise<void> {
    this.#write();
    await this.#writing;
  }

  /** Changes that come while a note is being written are written together, after it. */
  #write(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#writing = this.#writing.then(() => this.#writeChanged()).catch(() => undefined);
  }

  async #writeChanged(): Promise<void> {
    if (this.#changed === undefined) return;
    const references = [...this.#changed.entries()].filter(([, { resolvedAt }]) => resolvedAt !== undefined);
    this.#changed = undefined;
    await this.#notes.writeNote(NOTE, JSON.stringify(references));
  }
}

/** Reads what {@link ManifestStore} writes. Entries of another form are left out. */
function parseReferences(value: unknown): [string, CachedReference][] {
  if (!Array.isArray(value)) return [];
  return value.flatMap((item: unknown): [string, CachedReference][] => {
    const [key, reference] = Array.isArray(item) ? (item as unknown[]) : [];
    const { digest, resolvedAt } = fieldsOf(reference);
    if (typeof key !== 'string' || !isDigest(digest) || typeof resolvedAt !== 'number') return [];
    return [[key, { digest, resolvedAt }]];
  });
}

function keyOf({ origin, name }: RepositoryLocation, digest: Digest): string {
  return `document ${digest} ${name} ${origin}`;
}
