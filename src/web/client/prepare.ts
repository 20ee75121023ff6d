/** Prepares an archive and follows how far it is. */

import { EventReader, hasEnded, type PreparationStatus, readPreparation, STARTING } from '../preparation.ts';
import type { Target } from '../target.ts';
import { TEXTS } from '../texts.ts';
import { debounce } from './dom.ts';
import { ask, askJson, pieces, ServiceError } from './service.ts';

/** Milliseconds between two looks at a preparation, where the service sends no events. */
const POLL_MS = 1_000;

/**
 * Milliseconds of silence after which a stream of events is given up: the service sends a sign of life every 15 s, and a proxy that
 * gathers answers holds them back.
 */
const SILENCE_MS = 40_000;

/** What is asked for: events, or the state as it is now. */
const EVENTS = 'text/event-stream, application/json;q=0.5';
const STATE = 'application/json';

/** Milliseconds until a service that cannot be reached is asked again. */
const RETRY_MS = 2_000;

/** Times that a service may not be reached, one after another: a minute, in which it restarts. */
const MAX_RETRIES = 30;

/** Times that a preparation is begun again, because a service that has restarted does not know it. */
const MAX_STARTS = 3;

/**
 * Times that a preparation is found cancelled before that is believed: a service that stops cancels all, and its successor does not know
 * them.
 */
const MAX_CANCELLED = 3;

/** Reason to stop that also cancels the preparation at the service. For any other reason it goes on there, and is only not followed. */
export const CANCELLED = new Error(TEXTS.progress.states.cancelled);

/** Receives what happens to a preparation. */
export interface Listener {
  update(status: PreparationStatus): void;
  announce(text: string): void;
}

/**
 * Prepares an archive.
 *
 * @returns how the preparation ended
 * @throws ServiceError if it cannot be begun or followed
 */
export async function prepare(
  origin: string,
  { path, query }: Target,
  listener: Listener,
  signal: AbortSignal,
): Promise<PreparationStatus> {
  for (let start = 0; start < MAX_STARTS; start += 1) {
    listener.update(STARTING);
    const begun = readPreparation(
      await askJson(origin, `/prepare${path}${query}`, { method: 'POST', signal }),
    );
    listener.update(begun);
    const cancel = () => {
      if (signal.reason === CANCELLED) void cancelPreparation(origin, begun.id);
    };
    signal.addEventListener('abort', cancel, { once: true });
    try {
      const ended = await follow(origin, begun.id, listener, signal);
      if (ended !== undefined) return ended;
    } finally {
      signal.removeEventListener('abort', cancel);
    }
    listener.announce(TEXTS.progress.again);
  }
  throw new ServiceError(404, TEXTS.progress.unknown);
}

/** Cancels a preparation; one that has ended already stays as it is. A page of another origin may not. */
async function cancelPreparation(origin: string, id: string): Promise<void> {
  if (origin !== location.origin) return;
  const signal = AbortSignal.timeout(10_000);
  await ask(origin, `/preparations/${encodeURIComponent(id)}`, { method: 'DELETE', signal }).catch(
    () => undefined,
  );
}

/**
 * Follows a preparation to its end: by events, and where none come, by looking at it again and again.
 *
 * @returns `undefined` if the service does not know it
 */
async function follow(
  origin: string,
  id: string,
  listener: Listener,
  signal: AbortSignal,
): Promise<PreparationStatus | undefined> {
  let retries = 0;
  let cancelled = 0;
  let lastEvent: string | undefined;
  let accept = EVENTS;
  for (;;) {
    const silence = new AbortController();
    const alive = debounce(SILENCE_MS, () => silence.abort());
    try {
      alive();
      const response = await ask(origin, `/preparations/${encodeURIComponent(id)}`, {
        accept,
        signal: AbortSignal.any([signal, silence.signal]),
        headers: lastEvent === undefined ? {} : { 'Last-Event-ID': lastEvent },
      });
      // It has ended, and its last event has been sent; that event may be lost.
      if (response.status === 204) lastEvent = undefined;
      for await (const { data, id: event } of states(response, alive)) {
        retries = 0;
        lastEvent = event ?? lastEvent;
        const status = readPreparation(JSON.parse(data));
        listener.update(status);
        if (status.state === 'cancelled') cancelled += 1;
        if (hasEnded(status) && (cancelled === 0 || cancelled === MAX_CANCELLED)) return status;
      }
      await wait(POLL_MS, signal);
    } catch (error) {
      if (signal.aborted) throw error;
      const status = error instanceof ServiceError ? error.status : 0;
      if (status === 404) return undefined;
      // Too many listen already, or events do not come through.
      if (accept === EVENTS && (status === 503 || silence.signal.aborted)) {
        accept = STATE;
        continue;
      }
      retries += 1;
      if ((status !== 0 && status !== 503) || retries > MAX_RETRIES) throw error;
      if (retries === 1) listener.announce(TEXTS.progress.lost);
      await wait(RETRY_MS, signal);
    }
  }
}

/**
 * The states in an answer: one after another from a stream of events, else the one that it is.
 *
 * @param alive is called for each piece of a stream
 */
async function* states(
  response: Response,
  alive: () => void,
): AsyncGenerator<{ readonly data: string; readonly id: string | undefined }> {
  if (response.status === 204) return;
  if (response.headers.get('Content-Type')?.startsWith('text/event-stream') !== true) {
    yield { data: await response.text(), id: undefined };
    return;
  }
  const reader = new EventReader();
  for await (const piece of pieces(response)) {
    alive();
    yield* reader.read(piece);
  }
}

function wait(ms: number, signal: AbortSignal): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  const stop = () => {
    clearTimeout(timer);
    reject(signal.reason);
  };
  signal.addEventListener('abort', stop, { once: true });
  return promise.finally(() => signal.removeEventListener('abort', stop));
}
