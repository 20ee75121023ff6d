import { randomUUID } from 'node:crypto';
import { PassthroughError } from '../errors.ts';
import { stopping } from '../http/server.ts';
import type { Progress } from './progress.ts';

/** Where a preparation is: its steps, then how it ended. */
export type JobState = 'resolving' | Progress['step'] | 'done' | 'failed' | 'cancelled';

/** A preparation that was asked for beforehand. */
export interface Job {
  readonly id: string;
  /** What is prepared, as the request has named it. */
  readonly subject: JobSubject;
  readonly state: JobState;
  readonly progress: Omit<Progress, 'step'>;
  readonly startedAt: Date;
  readonly endedAt?: Date;
  /** Why it failed. */
  readonly error?: unknown;
}

/** What a job is about. */
export interface JobSubject {
  /** Path that the archive is to be had under. */
  readonly path: string;
  /** References in full. */
  readonly images: readonly string[];
}

/** Does the work of a job. */
export type JobWork = (signal: AbortSignal, onProgress: (progress: Progress) => void) => Promise<void>;

/** Most jobs, ended ones included: some hundred bytes each. */
const MAX_JOBS = 1000;

/** Milliseconds for which it can be asked how a job has ended. */
const KEPT_MS = 3_600_000;

/** Seconds after which somebody who was turned away is told to come back. */
const RETRY_AFTER_S = 60;

interface Entry {
  job: Job;
  readonly abort: AbortController;
  readonly work: Promise<void>;
}

const NOTHING: Job['progress'] = { layers: { done: 0, total: 0 }, bytes: { done: 0, total: 0 } };

/** Preparations that nobody waits for: each is begun, asked after under its id, and ends by itself or is cancelled. */
export class PreparationJobs {
  readonly #entries = new Map<string, Entry>();
  readonly #onEnd: (job: Job) => void;
  #isStopping = false;

  /** @param onEnd is told of every job that has ended */
  constructor(onEnd: (job: Job) => void = () => undefined) {
    this.#onEnd = onEnd;
  }

  /**
   * Begins a job.
   *
   * @throws PassthroughError `BUSY` when as many as there may be are under way, or the service stops
   */
  start(subject: JobSubject, work: JobWork): Job {
    // A request that came before may have been read to its end only now.
    if (this.#isStopping) throw stopping('begin a preparation');
    this.#makeRoom();
    const abort = new AbortController();
    const id = randomUUID();
    const job: Job = { id, subject, state: 'resolving', progress: NOTHING, startedAt: new Date() };
    const entry: Entry = { job, abort, work: Promise.resolve() };
    const onProgress = ({ step, ...progress }: Progress) => {
      if (entry.job.endedAt === undefined) entry.job = { ...entry.job, state: step, progress };
    };
    const ended = (state: JobState, error?: unknown) => {
      entry.job = { ...entry.job, state, endedAt: new Date(), ...(error !== undefined && { error }) };
      this.#onEnd(entry.job);
    };
    const running = Promise.try(work, abort.signal, onProgress).then(
      () => ended('done'),
      (error: unknown) => (abort.signal.aborted ? ended('cancelled') : ended('failed', error)),
    );
    this.#entries.set(id, Object.assign(entry, { work: running }));
    return job;
  }

  /** A job, while it runs and for an hour after. */
  find(id: string): Job | undefined {
    const entry = this.#entries.get(id);
    if (entry === undefined || !isOver(entry.job)) return entry?.job;
    this.#entries.delete(id);
    return undefined;
  }

  /**
   * Ends a job, or forgets one that has ended: only what nobody else has asked for stops with it.
   *
   * @returns whether there was one
   */
  async cancel(id: string): Promise<boolean> {
    const job = this.find(id);
    const entry = this.#entries.get(id);
    if (job === undefined || entry === undefined) return false;
    if (job.endedAt !== undefined) this.#entries.delete(id);
    entry.abort.abort(new PassthroughError('ABORTED', 'Stopped: the preparation was cancelled'));
    await entry.work;
    return true;
  }

  /** Cancels all that run, waits for their end, and begins no more. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    for (const { abort } of this.#entries.values()) {
      abort.abort(new PassthroughError('ABORTED', 'Stopped: the service ends'));
    }
    await Promise.all(Array.from(this.#entries.values(), ({ work }) => work));
  }

  #makeRoom(): void {
    for (const [id, { job }] of this.#entries) {
      const isFull = this.#entries.size >= MAX_JOBS;
      if (isOver(job) || (isFull && job.endedAt !== undefined)) this.#entries.delete(id);
    }
    if (this.#entries.size < MAX_JOBS) return;
    throw new PassthroughError('BUSY', `Cannot prepare it now: ${MAX_JOBS} preparations are under way`, {
      retryAfterSeconds: RETRY_AFTER_S,
    });
  }
}

function isOver({ endedAt }: Job): boolean {
  return endedAt !== undefined && Date.now() - endedAt.getTime() > KEPT_MS;
}
