import { type Digest, isDigest } from '../../image/digest.ts';
import type { Store } from '../../storage/store.ts';
import { releaseChunk } from '../../streams/chunk.ts';
import type { LayerReport } from '../progress.ts';
import type { RepositoryLocation } from './known-blobs.ts';
import type { KnownDocument } from './manifest-cache.ts';
import type { Archives, KnownReference } from './reference-cache.ts';

/** Name of the note that holds the references. */
const NOTE = 'references.json';

/** Milliseconds for which changes are rebatched before they are written: what a kill may cost. */
const WRITE_DELAY_MS = 2_000;

/** A folder that takes small texts. */
export interface Notes {
  readNote(name: string): Promise<string | undefined>;
  writeNote(name: string, text: string): Promise<void>;
}

/**
 * Keeps references, manifests and configs in the store, so that a restart while the registry is down does not take them away.
 * What cannot be kept is lost for that case alone, so nothing waits for it, and no failure is told.
 */
export class ManifestStore implements Archives {
  readonly #store: Store<LayerReport>;
  readonly #notes: Notes;
  #changed: ReadonlyMap<string, KnownReference> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<unknown> = Promise.resolve();

  constructor(store: Store<LayerReport>, notes: Notes) {
    this.#store = store;
    this.#notes = notes;
  }

  /** What an earlier process has kept. */
  async readReferences(): Promise<ReadonlyMap<string, KnownReference>> {
    const text = await this.#notes.readNote(NOTE);
    try {
      return new Map(parseReferences(JSON.parse(text ?? '[]')));
    } catch {
      return new Map();
    }
  }

  keepReferences(references: ReadonlyMap<string, KnownReference>): void {
    this.#changed = references;
    this.#timer ??= setTimeout(() => this.#write(), WRITE_DELAY_MS).unref();
  }

  keepDocument(repository: RepositoryLocation, { digest, bytes, contentType }: KnownDocument): void {
    const signal = new AbortController().signal;
    const produce: Parameters<Store<LayerReport>['obtain']>[1]['produce'] = async (draft) => {
      await draft.write(bytes);
      return { contentType };
    };
    this.#store.obtain(keyOf(repository, digest), { signal, produce }).then(
      ({ release }) => release(),
      () => undefined,
    );
  }

  async findDocument(repository: RepositoryLocation, digest: Digest): Promise<KnownDocument | undefined> {
    const file = await this.#store.find(keyOf(repository, digest), new AbortController().signal);
    if (file === undefined) return undefined;
    try {
      const pieces: Uint8Array[] = [];
      for await (const piece of file.read()) {
        pieces.push(Buffer.from(piece));
        releaseChunk(piece);
      }
      return { digest, bytes: Buffer.concat(pieces), contentType: String(file.description['contentType']) };
    } catch {
      return undefined;
    } finally {
      file.release();
    }
  }

  /** Writes what is left to be written. */
  async close(): Promise<void> {
    this.#write();
    await this.#writing;
  }

  #write(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const told = [...(this.#changed ?? [])].filter(([, { toldAt }]) => toldAt !== undefined);
    if (this.#changed === undefined) return;
    this.#changed = undefined;
    this.#writing = this.#writing
      .then(() => this.#notes.writeNote(NOTE, JSON.stringify(told)))
      .catch(() => undefined);
  }
}

/** Reads what {@link ManifestStore} writes, and leaves out what is no such thing. */
function parseReferences(value: unknown): [string, KnownReference][] {
  if (!Array.isArray(value)) return [];
  return value.flatMap((item: unknown): [string, KnownReference][] => {
    const [key, reference] = Array.isArray(item) ? (item as unknown[]) : [];
    const { digest, toldAt } = (reference ?? {}) as { readonly digest?: unknown; readonly toldAt?: unknown };
    if (typeof key !== 'string' || !isDigest(digest) || typeof toldAt !== 'number') return [];
    return [[key, { digest, toldAt }]];
  });
}

function keyOf({ origin, name }: RepositoryLocation, digest: Digest): string {
  return `document ${digest} ${name} ${origin}`;
}
