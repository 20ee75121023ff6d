import { randomUUID } from 'node:crypto';
import type { LayoutName } from '../archive/archive.ts';
import { PassthroughError } from '../errors.ts';
import { formatPlatform } from '../image/platform.ts';
import { formatReference } from '../image/reference.ts';
import type { LayerStatus, Progress } from './progress.ts';
import type { ArchiveRequest } from './request.ts';

/** The state of a preparation: its current step, or how it ended. */
export type PreparationState = 'resolving' | Progress['step'] | 'done' | 'failed' | 'cancelled';

/** What is prepared. */
export interface PreparationSubject {
  /** Path under which the archive can be requested. */
  readonly path: string;
  readonly layout: LayoutName;
  /** `os/arch[/variant]` or `all`. */
  readonly platform: string;
  /** References of the images, in full. */
  readonly images: readonly string[];
}

/** What an archive request prepares. */
export function subjectOf({ images, layout, platform }: ArchiveRequest, path: string): PreparationSubject {
  return {
    ...{ path, layout },
    platform: platform === 'all' ? 'all' : formatPlatform(platform),
    images: images.map(({ reference }) => formatReference(reference)),
  };
}

/** A preparation that runs without a waiting client. */
export interface Preparation {
  readonly id: string;
  readonly subject: PreparationSubject;
  readonly state: PreparationState;
  readonly progress: Pick<Progress, 'layers' | 'bytes'>;
  /** See {@link Progress.listLayers}. */
  readonly layerStatuses: readonly LayerStatus[];
  /** Grows with each change, from 1. */
  readonly revision: number;
  readonly startedAt: Date;
  readonly endedAt?: Date;
  /** Why it failed. */
  readonly error?: unknown;
}

/** See {@link PreparationLookUp.watch}. */
export type PreparationListener = (hasEnded: boolean) => void;

/** Looks preparations up by their IDs. An ID is known while its preparation runs, and for an hour after. */
export interface PreparationLookUp {
  /** Returns the present state of a preparation. */
  find(id: string): Preparation | undefined;
  /** The preparations that run, those that began first at the start. */
  running(): readonly Preparation[];
  /**
   * Calls a listener after each change, which may be thousands of times a second.
   *
   * @param listener receives whether this was the last change. Must not throw
   * @returns ends the calls; `undefined` for an unknown ID
   */
  watch(id: string, listener: PreparationListener): (() => void) | undefined;
  /**
   * Cancels a preparation, or removes one that has ended. Downloads that other requests share go on.
   *
   * @returns whether the ID is known
   */
  cancel(id: string): Promise<boolean>;
  /** Cancels all preparations, waits for their end, and refuses new ones. */
  stop(): Promise<void>;
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

/** Most preparations that are known, ended ones included: each takes some hundred bytes, and as much for each listed layer. */
const MAX_PREPARATIONS = 1000;

/** Milliseconds for which an ended preparation can be looked up. */
const KEPT_MS = 3_600_000;

/** `Retry-After` when too many preparations run, in seconds. */
const RETRY_AFTER_FULL_S = 60;

/** `Retry-After` while the service stops, in seconds: its successor runs by then. */
const RETRY_AFTER_STOP_S = 5;

const NO_PROGRESS: Preparation['progress'] = { layers: { done: 0, total: 0 }, bytes: { done: 0, total: 0 } };

interface Entry {
  preparation: Omit<Preparation, 'layerStatuses'>;
  listLayers: () => readonly LayerStatus[];
  readonly listeners: Set<PreparationListener>;
  readonly abort: AbortController;
  readonly ended: Promise<Preparation>;
}

/** Preparations that run without a waiting client. Each can be looked up and cancelled by its ID. */
export class Preparations implements PreparationLookUp {
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
    const { promise: ended, resolve } = Promise.withResolvers<Preparation>();
    const entry: Entry = {
      preparation: {
        id,
        subject,
        state: 'resolving',
        progress: NO_PROGRESS,
        revision: 1,
        startedAt: new Date(),
      },
      listLayers: () => [],
      listeners: new Set(),
      abort,
      ended,
    };
    const change = (changes: Partial<Preparation>) => {
      const { preparation } = entry;
      entry.preparation = { ...preparation, ...changes, revision: preparation.revision + 1 };
      for (const listener of entry.listeners) listener(entry.preparation.endedAt !== undefined);
    };
    const onProgress: Parameters<PreparationWork>[1] = ({ step, layers, bytes, listLayers }) => {
      if (entry.preparation.endedAt !== undefined) return;
      if (listLayers !== undefined) entry.listLayers = listLayers;
      change({ state: step, progress: { layers, bytes } });
    };
    const end = (state: PreparationState, error?: unknown) => {
      // What has made the list need not stay in memory.
      const layers = entry.listLayers();
      entry.listLayers = () => layers;
      change({ state, endedAt: new Date(), ...(error !== undefined && { error }) });
      resolve(snapshot(entry));
    };
    this.#entries.set(id, entry);
    Promise.try(work, abort.signal, onProgress).then(
      () => end('done'),
      (error: unknown) => (abort.signal.aborted ? end('cancelled') : end('failed', error)),
    );
    return { preparation: snapshot(entry), ended };
  }

  find(id: string): Preparation | undefined {
    const entry = this.#find(id);
    return entry && snapshot(entry);
  }

  running(): readonly Preparation[] {
    const entries = [...this.#entries.values()];
    return entries.filter(({ preparation }) => preparation.endedAt === undefined).map(snapshot);
  }

  watch(id: string, listener: PreparationListener): (() => void) | undefined {
    const listeners = this.#find(id)?.listeners;
    listeners?.add(listener);
    return listeners && (() => listeners.delete(listener));
  }

  async cancel(id: string): Promise<boolean> {
    const entry = this.#find(id);
    if (entry === undefined) return false;
    if (entry.preparation.endedAt !== undefined) this.#entries.delete(id);
    entry.abort.abort(new PassthroughError('ABORTED', 'Stopped: the preparation was cancelled'));
    await entry.ended;
    return true;
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    for (const { abort } of this.#entries.values()) {
      abort.abort(new PassthroughError('ABORTED', 'Stopped: the service ends'));
    }
    await Promise.all(Array.from(this.#entries.values(), ({ ended }) => ended));
  }

  #find(id: string): Entry | undefined {
    const entry = this.#entries.get(id);
    if (entry === undefined || !isExpired(entry.preparation)) return entry;
    this.#entries.delete(id);
    return undefined;
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

function snapshot({ preparation, listLayers }: Entry): Preparation {
  return { ...preparation, layerStatuses: listLayers() };
}

function isExpired({ endedAt }: Pick<Preparation, 'endedAt'>): boolean {
  return endedAt !== undefined && Date.now() - endedAt.getTime() > KEPT_MS;
}
