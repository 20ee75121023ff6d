import { isPassthroughError } from '../../errors.ts';
import type { Repository } from '../repository.ts';
import type { MirrorHealth } from './mirror-health.ts';
import { goesOn } from './outcome.ts';

/** A mirror's copy of the repository. */
export interface MirrorSource {
  /** See `Mirror.url`. */
  readonly name: string;
  readonly repository: Repository;
  readonly health: MirrorHealth;
  /** Whether a request would go to it now. */
  readonly isPassable: () => boolean;
  /**
   * Whether its answers count for this request. Otherwise it gives layers alone, each after the registry has confirmed with the
   * credentials of this request that it has it: the mirror's account must not open what the request may not read.
   */
  readonly isTrusted: boolean;
}

/** The bytes of a layer; see `Repository.openLayer`. */
export type LayerBytes = AsyncGenerator<Uint8Array, void, undefined>;

/** A source of a layer. */
export interface LayerSource {
  readonly repository: Repository;
  /** `undefined` for the registry itself. */
  readonly mirror: MirrorSource | undefined;
}

/** A source that has opened a layer. */
export interface OpenedLayer extends Pick<LayerSource, 'mirror'> {
  readonly bytes: LayerBytes;
}

/** What {@link continuing} reads. */
export interface ContinuedLayer {
  /** Opens it at the next source, from an offset on. */
  readonly open: (offset: number) => Promise<OpenedLayer>;
  readonly signal: AbortSignal;
  /** Bytes that the reader has already. */
  readonly offset: number;
  /** Receives each mirror that gives a part. */
  readonly givers: Set<MirrorSource>;
}

/**
 * Reads a layer. Where a mirror breaks off, the next source continues. `return()` frees the connection, even before the first byte.
 *
 * @throws PassthroughError what the last source throws; what `open` throws
 */
export function continuing(first: OpenedLayer, layer: ContinuedLayer): LayerBytes {
  let isStarted = false;
  async function* start() {
    isStarted = true;
    yield* readOn(first, layer);
  }
  const stream = start();
  const end = stream.return.bind(stream);
  // `return()` on a generator that has not started runs none of its code, not even `finally`.
  stream.return = async (value) => {
    if (!isStarted) await first.bytes.return();
    return await end(value);
  };
  return stream;
}

async function* readOn(first: OpenedLayer, layer: ContinuedLayer): LayerBytes {
  const { open, signal, givers } = layer;
  let { offset } = layer;
  for (let opened = first; ; opened = await open(offset)) {
    const { bytes, mirror } = opened;
    try {
      if (mirror === undefined) return yield* bytes;
      givers.add(mirror);
      for (let next = await bytes.next(); next.done !== true; next = await bytes.next()) {
        offset += next.value.byteLength;
        yield next.value;
      }
      mirror.health.noteWhole();
      return;
    } catch (error) {
      if (mirror === undefined || !goesOn(error, signal) || !isPassthroughError(error)) throw error;
      mirror.health.note('layer', error);
    } finally {
      await bytes.return();
    }
  }
}
