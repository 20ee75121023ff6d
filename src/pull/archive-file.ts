import type { SpanContext } from '@opentelemetry/api';
import type { ByteRange } from '../tar/encoder.ts';
import type { LayerTotals } from './layers/layer-totals.ts';
import type { Reader } from './readable-archive.ts';

/** A file that is ready to be sent, whole or in part, any number of times. */
export interface ArchiveFile {
  readonly filename: string;
  readonly contentType: string;
  /** Bytes. */
  readonly size: number;
  /** Strong entity tag, quotes included. */
  readonly etag: string;
  /** SHA-256 of the whole file in hex, if it is known. */
  readonly sha256: string | undefined;
  /** Labels of the image that the descriptor of a package does not have; none for other files. */
  readonly leftOut: readonly string[];
  /** The different layers in the archive; `undefined` for a checksum. */
  readonly layers?: LayerTotals | undefined;
  /**
   * The bytes of the whole or of a range.
   *
   * @throws PassthroughError while it is read, `DAMAGED` or what the registry throws if a damaged layer cannot be fetched again
   */
  bytes(range?: ByteRange): AsyncGenerator<Uint8Array, void, undefined>;
  /** Gives the file up. Further calls do nothing. */
  close(): void;
}

/** A file that all its readers share. */
export interface SharedFile {
  readonly contentType: string;
  readonly size: number;
  readonly etag: string;
  readonly sha256: string | undefined;
  readonly layers: LayerTotals;
  readonly leftOut: readonly string[];
  /** The span in which the file was prepared. */
  readonly preparedIn: SpanContext | undefined;
  bytes(range: ByteRange | undefined, reader: Reader): AsyncGenerator<Uint8Array, void, undefined>;
  release(): void;
}
