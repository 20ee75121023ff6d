import { isPassthroughError, PassthroughError, type Setting } from '../errors.ts';
import type { RepositoryLocation } from '../registry/repository.ts';
import { ByteBudget } from '../util/byte-budget.ts';
import { Semaphore, type SemaphoreOptions, type Share } from '../util/semaphore.ts';
import { SingleFlight } from '../util/single-flight.ts';

/** What one archive may take. */
export interface ImageLimits {
  /** Most bytes of its layers as the registry stores them, each layer counted once. */
  readonly compressedBytes: number;
  /** Most bytes of its layers uncompressed, each layer counted as often as it occurs. */
  readonly uncompressedBytes: number;
  /** Most layers that are fetched at once. */
  readonly concurrentLayers: number;
}

/**
 * Checks the compressed size that the descriptors of an archive's layers declare, before a byte is fetched.
 *
 * @throws PassthroughError `IMAGE_TOO_LARGE`
 */
export function checkCompressedSize(bytes: number, { compressedBytes }: ImageLimits): void {
  if (bytes > compressedBytes)
    throw tooLarge(
      'compressedBytes',
      `its layers are ${bytes} bytes compressed, more than ${compressedBytes}`,
    );
}

/**
 * Checks the uncompressed size of an archive that is stored already.
 *
 * @throws PassthroughError `IMAGE_TOO_LARGE`
 */
export function checkUncompressedSize(bytes: number, limits: ImageLimits): void {
  new SizeBudget(limits).spend(bytes);
}

/** Counts the uncompressed bytes of one archive. Beyond the limit it throws `IMAGE_TOO_LARGE`. */
export class SizeBudget extends ByteBudget {
  constructor({ uncompressedBytes }: ImageLimits) {
    super(uncompressedBytes, (limit) =>
      tooLarge('uncompressedBytes', `its layers take more than ${limit} bytes uncompressed`),
    );
  }
}

function tooLarge(setting: Setting, why: string): PassthroughError {
  return new PassthroughError('IMAGE_TOO_LARGE', `Cannot prepare image: ${why}`, { setting });
}

/** Whose preparation it is, and where its images come from. */
export interface PlaceOwner {
  readonly client: string | undefined;
  readonly images: readonly { readonly location: RepositoryLocation }[];
}

/**
 * The places for concurrent preparations. The configured number is for one client, and for one repository. A registry has one
 * place more, for its other repositories, and there is one more for other registries. So a client, repository or registry that
 * is slow for an hour does not stop the preparations of others.
 */
export class Places {
  readonly #permits: number;
  readonly #semaphore: Semaphore;
  readonly #shared = new SingleFlight<string, () => void>((release) => release());

  constructor({ permits, ...options }: SemaphoreOptions) {
    this.#permits = permits;
    this.#semaphore = new Semaphore({ permits: permits + 2, ...options });
  }

  /** Whether no place is taken. */
  get isIdle(): boolean {
    return this.#semaphore.isIdle;
  }

  /** Number of places that are taken, and of preparations that wait for one. */
  get counts(): { readonly held: number; readonly waiting: number } {
    return this.#semaphore.counts;
  }

  /**
   * Waits for a place. Clients take turns.
   *
   * @param signal ends the wait
   * @returns gives the place back; further calls do nothing
   * @throws PassthroughError `BUSY` when the queue is full or the wait took too long; the signal's reason
   */
  acquire(signal: AbortSignal, { client, images }: PlaceOwner): Promise<() => void> {
    const shares = new Map<string, Share>();
    const add = (key: string, permits: number) => shares.set(key, { key, permits });
    if (client !== undefined) add(`client ${client}`, this.#permits);
    for (const { origin, name } of images.map(({ location }) => location)) {
      add(`repository ${origin}/${name}`, this.#permits);
      add(`registry ${origin}`, this.#permits + 1);
    }
    return this.#semaphore.acquire(signal, [...shares.values()]);
  }

  /**
   * Waits for a place that all callers with one key share: they do the same work. It is given back with the last of them.
   *
   * @throws as {@link acquire}
   */
  async share(key: string, signal: AbortSignal, owner: PlaceOwner): Promise<() => void> {
    const produce = (working: AbortSignal) => this.acquire(working, owner);
    return (await this.#shared.join(key, { signal, produce })).release;
  }
}

/** Longest waits for disk space that others hold, in milliseconds. */
export interface SpaceWaits {
  /** While an image is being prepared. */
  readonly preparingMs: number;
  /** While files are only being sent. */
  readonly sendingMs: number;
}

/**
 * The preparation of a large image takes minutes. A file that is sent at full speed is out in seconds; for a slow client it is no
 * use to wait.
 */
const SPACE_WAITS: SpaceWaits = { preparingMs: 300_000, sendingMs: 5_000 };

/** Most attempts of work that meets a full disk. Each fetches its layers again. */
const MAX_SPACE_ATTEMPTS = 3;

/** Work that waits for disk space. */
interface SpaceWaiter {
  readonly wake: () => void;
  /** Begins the wait again, with the limit that holds now. */
  readonly restart: () => void;
}

/** Work that keeps files in use after its end, until it calls `leave`. It holds nothing when it fails. */
type DiskWork<T> = (leave: () => void) => Promise<T>;

/**
 * Repeats work that meets a full disk while others hold files there. Without it, two images that fit one after the other fail
 * together. Those that wait take turns, so that they do not meet again.
 */
export class DiskTurns {
  readonly #turn = new Semaphore({ permits: 1 });
  readonly #waiters = new Set<SpaceWaiter>();
  readonly #waits: SpaceWaits;
  #users = 0;
  /** Those of the users that are not ready yet. */
  #preparing = 0;
  /** Number of uses so far. */
  #begun = 0;

  constructor(waits: SpaceWaits = SPACE_WAITS) {
    this.#waits = waits;
  }

  /**
   * Runs work that keeps files in use.
   *
   * @param signal ends the wait
   * @throws what the work throws, `NO_SPACE` if nothing else uses the disk or it took too long; the signal's reason
   */
  async run<T>(signal: AbortSignal, work: DiskWork<T>): Promise<T> {
    const isAlone = this.#users === 0 && this.#turn.isIdle;
    const begun = this.#begun + 1;
    try {
      return await this.#use(work);
    } catch (error) {
      const wasAlone = isAlone && this.#begun === begun;
      if (wasAlone || !isPassthroughError(error, 'NO_SPACE')) throw error;
      const release = await this.#turn.acquire(signal);
      try {
        return await this.#repeat(signal, work, error);
      } finally {
        release();
      }
    }
  }

  async #repeat<T>(signal: AbortSignal, work: DiskWork<T>, first: unknown): Promise<T> {
    let failure = first;
    for (let attempt = 2; attempt <= MAX_SPACE_ATTEMPTS; attempt += 1) {
      if (this.#users > 0 && !(await this.#changed(signal))) break;
      try {
        return await this.#use(work);
      } catch (error) {
        failure = error;
        if (!isPassthroughError(error, 'NO_SPACE') || this.#users === 0) break;
      }
    }
    throw failure;
  }

  async #use<T>(work: DiskWork<T>): Promise<T> {
    this.#users += 1;
    this.#begun += 1;
    let hasLeft = false;
    const leave = () => {
      if (hasLeft) return;
      hasLeft = true;
      this.#users -= 1;
      for (const { wake } of this.#waiters) wake();
    };
    this.#preparing += 1;
    try {
      return await work(leave);
    } catch (error) {
      leave();
      throw error;
    } finally {
      this.#preparing -= 1;
      for (const { restart } of this.#waiters) restart();
    }
  }

  /** Waits until another use has ended; returns `false` if that took too long. */
  async #changed(signal: AbortSignal): Promise<boolean> {
    signal.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<boolean>();
    let timer: NodeJS.Timeout | undefined;
    const restart = () => {
      const { preparingMs, sendingMs } = this.#waits;
      clearTimeout(timer);
      timer = setTimeout(resolve, this.#preparing > 0 ? preparingMs : sendingMs, false);
    };
    const waiter: SpaceWaiter = { wake: () => resolve(true), restart };
    const abort = () => reject(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    this.#waiters.add(waiter);
    restart();
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', abort);
      this.#waiters.delete(waiter);
    }
  }
}

/** A time limit over several steps. */
export interface TimeLimit {
  readonly totalMs: number;
  /** What earlier steps have taken, in milliseconds. */
  readonly spentMs: number;
}

/** A signal that aborts with `REGISTRY_TIMEOUT` at a time limit, until it is disposed of. */
export function timeLimit({ totalMs, spentMs }: TimeLimit): Disposable & { readonly signal: AbortSignal } {
  const limit = new AbortController();
  const expire = () =>
    limit.abort(
      new PassthroughError(
        'REGISTRY_TIMEOUT',
        `Cannot prepare the image: it took more than ${totalMs / 1000} s`,
      ),
    );
  const timer = setTimeout(expire, Math.max(0, totalMs - spentMs));
  return { signal: limit.signal, [Symbol.dispose]: () => clearTimeout(timer) };
}

/**
 * Runs a step within a time limit.
 *
 * @param signal stops the step
 * @param work receives a signal for both, and one for the limit alone
 * @throws what the work throws; `REGISTRY_TIMEOUT` and the reason of `signal` by way of the work's signals
 */
export async function withTimeLimit<T>(
  time: TimeLimit,
  signal: AbortSignal,
  work: (both: AbortSignal, limit: AbortSignal) => Promise<T>,
): Promise<T> {
  using limit = timeLimit(time);
  return await work(AbortSignal.any([signal, limit.signal]), limit.signal);
}
