import type { ByteRange } from '../tar/encoder.ts';
import type { ResolvedArchive } from './resolve-archive.ts';

/** Who reads a shared archive: a damaged layer is fetched again with the reader's credentials, until its signal aborts. */
export interface Reader {
  readonly resolved: ResolvedArchive;
  readonly signal: AbortSignal;
  /** Whether the bytes are only hashed, so that no layer is sent. */
  readonly isHashing?: boolean;
}

/** An archive whose bytes are stored. */
export interface ReadableArchive {
  /** Bytes. */
  readonly size: number;
  /** The bytes of the whole or of a range; may be read several times, also at once. */
  bytes(range: ByteRange | undefined, reader: Reader): AsyncGenerator<Uint8Array, void, undefined>;
}
