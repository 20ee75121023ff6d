import { setTimeout as delay } from 'node:timers/promises';
import { abortedError, isPassing } from './connection-error.ts';
import type { Transport, TransportRequest, TransportResponse } from './transport.ts';

/** How often and how long to try again. */
export interface RetryPolicy {
  /** Attempts in all. */
  readonly attempts: number;
  /** Longest wait before the second attempt; each further one may be twice as long. */
  readonly baseMs: number;
  /** Longest wait of all. A server that asks for more with `Retry-After` is given up: the client can wait better. */
  readonly maxMs: number;
}

/** About two seconds of waiting at the most: a registry that restarts is back by then, and a console still waits. */
export const DEFAULT_RETRY: RetryPolicy = { attempts: 4, baseMs: 250, maxMs: 5_000 };

/** Longest wait that is passed on, in seconds: a day. What a server asks for beyond it is a mistake. */
const MAX_RETRY_AFTER_S = 86_400;

/** Answers that say "not now": https://www.rfc-editor.org/rfc/rfc9110#name-status-codes, RFC 6585, RFC 8470. */
const PASSING_STATUSES = new Set([408, 425, 429, 500, 502, 503, 504]);

/**
 * Sends a request again when its connection broke or its answer says "not now". Waits a random part of a doubling limit
 * ("full jitter"), or as long as `Retry-After` says. The last answer passes, whatever it is. Time limits that ran out are
 * not tried again: they were long already.
 *
 * @see https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
 */
export class RetryTransport implements Transport {
  readonly #inner: Transport;
  readonly #policy: RetryPolicy;

  constructor(inner: Transport, policy: RetryPolicy = DEFAULT_RETRY) {
    this.#inner = inner;
    this.#policy = policy;
  }

  async send(request: TransportRequest): Promise<TransportResponse> {
    const { attempts, maxMs } = this.#policy;
    for (let attempt = 1; ; attempt += 1) {
      const isLast = attempt === attempts;
      try {
        const response = await this.#inner.send(request);
        if (isLast || !PASSING_STATUSES.has(response.status)) return response;
        const asked = retryAfterSeconds(response.headers['retry-after']);
        if (asked !== undefined && asked * 1000 > maxMs) return response;
        response.discard();
        await pause(asked === undefined ? backoffMs(attempt, this.#policy) : asked * 1000, request.signal);
      } catch (error) {
        if (isLast || !isPassing(error)) throw error;
        await pause(backoffMs(attempt, this.#policy), request.signal);
      }
    }
  }
}

/** Milliseconds to wait after the given attempt, counted from 1: a random part of the limit that doubles each time. */
export function backoffMs(attempt: number, { baseMs, maxMs }: RetryPolicy): number {
  return Math.random() * Math.min(maxMs, baseMs * 2 ** (attempt - 1));
}

/**
 * Waits.
 *
 * @throws PassthroughError `ABORTED` as soon as the signal aborts
 */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await delay(ms, undefined, { signal }).catch(() => {
    throw abortedError(signal);
  });
}

/**
 * Reads `Retry-After`.
 *
 *     Retry-After = HTTP-date / delay-seconds
 *
 * @param now milliseconds since the epoch
 * @returns seconds from now, from 0 to a day; `undefined` for a missing or unreadable value
 * @see https://www.rfc-editor.org/rfc/rfc9110#field.retry-after
 */
export function retryAfterSeconds(value: string | undefined, now = Date.now()): number | undefined {
  if (value === undefined) return undefined;
  // A date begins with its day; left alone, Date.parse would make one of "1.5" or "-5", too.
  const isDate = /^\s*(?:mon|tue|wed|thu|fri|sat|sun)/i.test(value);
  const seconds = isDate
    ? Math.ceil((Date.parse(value) - now) / 1000)
    : Number(/^\s*\d+\s*$/.test(value) ? value : Number.NaN);
  return Number.isNaN(seconds) ? undefined : Math.min(Math.max(seconds, 0), MAX_RETRY_AFTER_S);
}
