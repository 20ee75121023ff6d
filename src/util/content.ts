/** Bytes from `start` up to but not including `end`. */
interface Range {
  readonly start: number;
  readonly end: number;
}

/** Most bytes of a document that stay in memory. Nearly all manifests and configs have less: 1 to 50 KB. */
export const MAX_SMALL_BYTES = 64 * 1024;

/** A file with complete bytes. */
export interface ContentFile {
  /** Bytes. */
  readonly size: number;
  read(range?: Range): AsyncGenerator<Uint8Array, void, undefined>;
  /** All bytes at once, in memory of their own. */
  readWhole(): Promise<Uint8Array>;
  /** Gives the file up. */
  release(): void;
}

/**
 * The complete bytes of a document: in memory if they are few, else in a file. So slow registries and slow clients hold next to
 * no memory. The holder must release it.
 */
export interface Content {
  /** Number of bytes. */
  readonly size: number;
  /** All bytes, if they are in memory: at most `MAX_SMALL_BYTES`. */
  readonly bytes: Uint8Array | undefined;
  /** Reads the bytes, or a part of them. */
  read(range?: Range): AsyncGenerator<Uint8Array, void, undefined>;
  /** All bytes at once, for content in a file in memory of their own. The caller must have reserved it; see `Documents.use`. */
  readWhole(): Promise<Uint8Array>;
  /** Another hold on the same bytes, which its holder must release. */
  retain(): Content;
  /** Ends this hold. Further calls do nothing. */
  release(): void;
}

/** Content in memory. */
export function contentOfBytes(bytes: Uint8Array): Content {
  const content: Content = {
    size: bytes.byteLength,
    bytes,
    async *read({ start, end } = { start: 0, end: bytes.byteLength }) {
      if (end > start) yield bytes.subarray(start, end);
    },
    readWhole: async () => bytes,
    retain: () => content,
    release: () => undefined,
  };
  return content;
}

/** Content in a file, which is released with the last hold. */
export function contentOfFile(file: ContentFile): Content {
  let holds = 0;
  const hold = (): Content => {
    holds += 1;
    let isHeld = true;
    return {
      size: file.size,
      bytes: undefined,
      read: (range) => file.read(range),
      readWhole: () => file.readWhole(),
      retain: hold,
      release: () => {
        if (!isHeld) return;
        isHeld = false;
        holds -= 1;
        if (holds === 0) file.release();
      },
    };
  };
  return hold();
}
