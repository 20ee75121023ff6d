import { setTimeout as delay } from 'node:timers/promises';
import { abortedError, isTransient } from './connection-error.ts';
import type { Transport, TransportRequest, TransportResponse } from './transport.ts';

/** How often to send a request, and how long to wait in between. */
export interface RetryPolicy {
  /** Most attempts, the first included. */
  readonly attempts: number;
  /** Longest wait before the second attempt; the limit doubles with each further attempt. */
  readonly baseMs: number;
  /** Longest wait. If `Retry-After` asks for more, the response is returned, and the client may wait. */
  readonly maxMs: number;
  /** Consecutive failures without a new byte that end a large body; 3 unless given. */
  readonly bodyFailures?: number | undefined;
}

/** Waits up to 1.75 s in total: a registry that restarts is available again, and a user at a console still waits. */
export const DEFAULT_RETRY: RetryPolicy = { attempts: 4, baseMs: 250, maxMs: 5_000 };

/** Longest accepted `Retry-After`, in seconds: one day. A longer wait is an error of the server. */
const MAX_RETRY_AFTER_S = 86_400;

/** Statuses of transient failures: https://www.rfc-editor.org/rfc/rfc9110#name-status-codes, RFC 6585, RFC 8470. */
const TRANSIENT_STATUSES = new Set([408, 425, 429, 500, 502, 503, 504]);

/**
 * Sends a request again after a transient failure of the connection or a transient status. Waits a random part of a
 * doubling limit ("full jitter"), or as long as `Retry-After` says. Returns the last response with any status. A
 * timeout is not retried, because the caller has already waited a whole time limit.
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
        if (isLast || !TRANSIENT_STATUSES.has(response.status)) return response;
        const retryAfterS = retryAfterSeconds(response.headers['retry-after']);
        const waitMs = retryAfterS === undefined ? backoffMs(attempt, this.#policy) : retryAfterS * 1000;
        if (waitMs > maxMs) return response;
        response.discard();
        await pause(waitMs, request.signal);
      } catch (error) {
        if (isLast || !isTransient(error)) throw error;
        await pause(backoffMs(attempt, this.#policy), request.signal);
      }
    }
  }
}

/**
 * The wait after an attempt: a random part of a limit that doubles with each attempt.
 *
 * @param attempt counted from 1
 * @returns milliseconds
 */
export function backoffMs(attempt: number, { baseMs, maxMs }: RetryPolicy): number {
  return Math.random() * Math.min(maxMs, baseMs * 2 ** (attempt - 1));
}

/**
 * Waits.
 *
 * @throws PassthroughError `ABORTED`, or the signal's reason as in {@link abortedError}
 */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await delay(ms, undefined, { signal }).catch(() => {
    throw abortedError(signal);
  });
}

/**
 * Parses `Retry-After`.
 *
 *     Retry-After = HTTP-date / delay-seconds
 *
 * @param now milliseconds since the epoch
 * @returns seconds from now, from 0 to a day; `undefined` for a missing or malformed value
 * @see https://www.rfc-editor.org/rfc/rfc9110#field.retry-after
 */
export function retryAfterSeconds(value: string | undefined, now = Date.now()): number | undefined {
  if (value === undefined) return undefined;
  // Date.parse also accepts "1.5" and "-5". A date of this header starts with the name of a day.
  const isDate = /^\s*(?:mon|tue|wed|thu|fri|sat|sun)/i.test(value);
  const seconds = isDate
    ? Math.ceil((Date.parse(value) - now) / 1000)
    : Number(/^\s*\d+\s*$/.test(value) ? value : Number.NaN);
  return Number.isNaN(seconds) ? undefined : Math.min(Math.max(seconds, 0), MAX_RETRY_AFTER_S);
}
