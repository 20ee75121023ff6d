import type { CheckedFile } from '../checked-file.ts';
import type { IncomingFile, StoreFolder } from '../folder.ts';
import type { FileIndex } from '../index/file-index.ts';

/** Where a draft is written, and where its bytes are counted. */
export interface DraftPlace {
  readonly folder: StoreFolder;
  readonly index: FileIndex;
}

/** A file of a store that is being written. Its bytes count until it is kept or abandoned. */
export class FileDraft {
  readonly #place: DraftPlace;
  incoming: IncomingFile;
  /** Bytes that are counted. */
  taken = 0;

  private constructor(place: DraftPlace, incoming: IncomingFile) {
    this.#place = place;
    this.incoming = incoming;
  }

  /**
   * Creates a file.
   *
   * @throws PassthroughError `NO_SPACE`, `BUSY` when too many files are open, `INTERNAL`
   */
  static async create(place: DraftPlace): Promise<FileDraft> {
    return new FileDraft(place, await place.folder.create(() => place.index.makeRoom()));
  }

  /** Appends bytes; see `CheckedFileWriter.write`. */
  readonly write = async (bytes: Uint8Array): Promise<void> => {
    const { index } = this.#place;
    this.taken += bytes.byteLength;
    index.count(bytes.byteLength);
    index.trim();
    await this.incoming.writer.write(bytes);
  };

  /** Begins again with an empty file. */
  readonly restart = async (): Promise<void> => {
    const { folder, index } = this.#place;
    const { incoming, taken } = this;
    this.incoming = await folder.create(() => index.makeRoom());
    index.count(-taken);
    this.taken = 0;
    await folder.abandon(incoming);
  };

  /**
   * Ends a file that only this holder reads: no other caller finds it.
   *
   * @returns the file; `release` removes it from the disk, and further calls do nothing
   * @throws PassthroughError `NO_SPACE`, `INTERNAL`
   */
  async finishTemporary(): Promise<Pick<CheckedFile, 'size' | 'read'> & { release(): void }> {
    const file = await this.incoming.writer.finish({});
    let isHeld = true;
    const release = () => {
      if (!isHeld) return;
      isHeld = false;
      this.#place.index.discard({ close: () => this.abandon() });
    };
    return { size: file.size, read: (range) => file.read(range), release };
  }

  /** Removes the file. */
  async abandon(): Promise<void> {
    this.#place.index.count(-this.taken);
    await this.#place.folder.abandon(this.incoming);
  }
}
