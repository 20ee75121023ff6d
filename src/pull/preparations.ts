import { randomUUID } from 'node:crypto';
import { PassthroughError } from '../errors.ts';
import type { Progress } from './progress.ts';

/** The state of a preparation: its current step, or how it ended. */
export type PreparationState = 'resolving' | Progress['step'] | 'done' | 'failed' | 'cancelled';

/** What is prepared. */
export interface PreparationSubject {
  /** Path under which the archive can be requested. */
  readonly path: string;
  /** References of the images, in full. */
  readonly images: readonly string[];
}

/** A preparation that runs without a waiting client. */
export interface Preparation {
  readonly id: string;
  readonly subject: PreparationSubject;
  readonly state: PreparationState;
  readonly progress: Pick<Progress, 'layers' | 'bytes'>;
  readonly startedAt: Date;
  readonly endedAt?: Date;
  /** Why it failed. */
  readonly error?: unknown;
}

/** The work of a preparation. */
export type PreparationWork = (
  signal: AbortSignal,
  onProgress: (progress: Omit<Progress, 'inFlight'>) => void,
) => Promise<void>;

/** A preparation that has just started. */
export interface StartedPreparation {
  readonly preparation: Preparation;
  /** Resolves when it has ended, however it ended. */
  readonly ended: Promise<Preparation>;
}

/** Most preparations that are known, ended ones included: each takes some hundred bytes. */
const MAX_PREPARATIONS = 1000;

/** Milliseconds for which an ended preparation can be looked up. */
const KEPT_MS = 3_600_000;

/** `Retry-After` when too many preparations run, in seconds. */
const RETRY_AFTER_FULL_S = 60;

/** `Retry-After` while the service stops, in seconds: its successor runs by then. */
const RETRY_AFTER_STOP_S = 5;

const NO_PROGRESS: Preparation['progress'] = { layers: { done: 0, total: 0 }, bytes: { done: 0, total: 0 } };

interface Entry {
  preparation: Preparation;
  readonly abort: AbortController;
  readonly ended: Promise<Preparation>;
}

/** Preparations that run without a waiting client. Each can be looked up and cancelled by its ID. */
export class Preparations {
  readonly #entries = new Map<string, Entry>();
  #isStopping = false;

  /**
   * Starts a preparation.
   *
   * @throws PassthroughError `BUSY` when too many run, or the service stops
   */
  start(subject: PreparationSubject, work: PreparationWork): StartedPreparation {
    // The body of a request that came earlier may have ended only now.
    if (this.#isStopping) throw stopping('begin a preparation');
    this.#makeRoom();
    const abort = new AbortController();
    const id = randomUUID();
    const preparation: Preparation = {
      id,
      subject,
      state: 'resolving',
      progress: NO_PROGRESS,
      startedAt: new Date(),
    };
    const { promise: ended, resolve } = Promise.withResolvers<Preparation>();
    const entry: Entry = { preparation, abort, ended };
    const onProgress = ({ step, layers, bytes }: Omit<Progress, 'inFlight'>) => {
      if (entry.preparation.endedAt !== undefined) return;
      entry.preparation = { ...entry.preparation, state: step, progress: { layers, bytes } };
    };
    const end = (state: PreparationState, error?: unknown) => {
      entry.preparation = {
        ...entry.preparation,
        state,
        endedAt: new Date(),
        ...(error !== undefined && { error }),
      };
      resolve(entry.preparation);
    };
    this.#entries.set(id, entry);
    Promise.try(work, abort.signal, onProgress).then(
      () => end('done'),
      (error: unknown) => (abort.signal.aborted ? end('cancelled') : end('failed', error)),
    );
    return { preparation, ended };
  }

  /** Returns a preparation while it runs, and for an hour after. */
  find(id: string): Preparation | undefined {
    const entry = this.#entries.get(id);
    if (entry === undefined || !isExpired(entry.preparation)) return entry?.preparation;
    this.#entries.delete(id);
    return undefined;
  }

  /**
   * Cancels a preparation, or removes one that has ended. Downloads that other requests share go on.
   *
   * @returns whether the ID is known
   */
  async cancel(id: string): Promise<boolean> {
    const preparation = this.find(id);
    const entry = this.#entries.get(id);
    if (preparation === undefined || entry === undefined) return false;
    if (preparation.endedAt !== undefined) this.#entries.delete(id);
    entry.abort.abort(new PassthroughError('ABORTED', 'Stopped: the preparation was cancelled'));
    await entry.ended;
    return true;
  }

  /** Cancels all preparations, waits for their end, and refuses new ones. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    for (const { abort } of this.#entries.values()) {
      abort.abort(new PassthroughError('ABORTED', 'Stopped: the service ends'));
    }
    await Promise.all(Array.from(this.#entries.values(), ({ ended }) => ended));
  }

  #makeRoom(): void {
    for (const [id, { preparation }] of this.#entries) {
      const isFull = this.#entries.size >= MAX_PREPARATIONS;
      if (isExpired(preparation) || (isFull && preparation.endedAt !== undefined)) this.#entries.delete(id);
    }
    if (this.#entries.size < MAX_PREPARATIONS) return;
    throw new PassthroughError(
      'BUSY',
      `Cannot prepare it now: ${MAX_PREPARATIONS} preparations are under way`,
      {
        retryAfterSeconds: RETRY_AFTER_FULL_S,
      },
    );
  }
}

/**
 * The error for requests that arrive while the service stops.
 *
 * @param action what the service no longer does: `begin a download`
 */
export function stopping(action: string): PassthroughError {
  return new PassthroughError('BUSY', `Cannot ${action}: the service is stopping`, {
    retryAfterSeconds: RETRY_AFTER_STOP_S,
  });
}

function isExpired({ endedAt }: Preparation): boolean {
  return endedAt !== undefined && Date.now() - endedAt.getTime() > KEPT_MS;
}
