import { isPassthroughError, PassthroughError } from '../../errors.ts';
import { quoted } from '../../util/printable.ts';
import { Circuit, type CircuitState } from './circuit.ts';
import { type MirrorResult, resultOf } from './outcome.ts';

/** What a mirror is asked for. */
export type MirrorOperation = 'manifest' | 'config' | 'layer';

/** How a mirror answered one request, for logs, metrics and traces. */
export interface MirrorReport {
  /** See `Mirror`. */
  readonly mirror: string;
  readonly operation: MirrorOperation;
  readonly result: MirrorResult;
  /** Why it has no answer. */
  readonly error?: PassthroughError;
  /** Milliseconds for which it is left alone from now on, if this failure decides that. */
  readonly pauseMs?: number;
  /** Whether it answers again after it was left alone. */
  readonly isRecovered?: boolean;
}

/** Receives each report; must not throw. */
export type MirrorWatch = (report: MirrorReport) => void;

/** What is known of a mirror. */
export interface MirrorSnapshot {
  /** See `Mirror`. */
  readonly mirror: string;
  readonly state: CircuitState;
  /** Consecutive failures, each after it was left alone; 0 while it answers. */
  readonly failures: number;
  /** Milliseconds until the next request may go to it. */
  readonly waitMs: number;
  /** Message of the last failure, if it does not answer. */
  readonly lastError: string | undefined;
}

/** Whether a mirror answers, and who is told about it. All pulls of a process share it. */
export class MirrorHealth {
  readonly #mirror: string;
  readonly #circuit: Circuit;
  readonly #watch: MirrorWatch;
  #lastError: string | undefined;

  /** @param mirror see `Mirror.url` */
  constructor(mirror: string, watch: MirrorWatch, circuit = new Circuit()) {
    this.#mirror = mirror;
    this.#watch = watch;
    this.#circuit = circuit;
  }

  /** Whether a request would go to it now. */
  get isPassable(): boolean {
    return this.#circuit.isPassable;
  }

  /** What is known of it. */
  snapshot(): MirrorSnapshot {
    const { state, failures, waitMs } = this.#circuit;
    const lastError = failures === 0 ? undefined : this.#lastError;
    return { mirror: this.#mirror, state, failures, waitMs, lastError };
  }

  /**
   * Asks the mirror, unless it is left alone.
   *
   * @param signal of the request: what fails after it was aborted says nothing about the mirror
   * @param isAnswer whether a result is an answer; else the mirror does not have it
   * @throws PassthroughError `REGISTRY_UNREACHABLE` if it is left alone; what `ask` throws
   */
  async run<T>(
    operation: MirrorOperation,
    signal: AbortSignal,
    ask: () => Promise<T>,
    isAnswer: (value: T) => boolean = () => true,
  ): Promise<T> {
    const pass = this.#circuit.enter();
    const mirror = this.#mirror;
    if (pass === undefined) {
      this.#watch({ mirror, operation, result: 'skipped' });
      throw new PassthroughError(
        'REGISTRY_UNREACHABLE',
        `Cannot ask mirror ${quoted(mirror)}: it has failed`,
      );
    }
    try {
      const value = await ask();
      const isRecovered = pass.succeed();
      this.#watch({ mirror, operation, result: isAnswer(value) ? 'answered' : 'missing', isRecovered });
      return value;
    } catch (error) {
      const result = signal.aborted ? undefined : resultOf(error);
      if (result === undefined || !isPassthroughError(error)) pass.cancel();
      else if (result === 'failed') {
        const pauseMs = this.#noted(error, pass.fail((error.details.retryAfterSeconds ?? 0) * 1000));
        this.#watch({ mirror, operation, result, error, ...(pauseMs !== undefined && { pauseMs }) });
      } else {
        this.#watch({ mirror, operation, result, error, isRecovered: pass.succeed() });
      }
      throw error;
    }
  }

  /** Notes that an answer broke off, or that its bytes are wrong. Wrong bytes do not close a mirror: an image may name a wrong size. */
  note(operation: MirrorOperation, error: PassthroughError): void {
    const result = resultOf(error) ?? 'failed';
    const pauseMs = result === 'failed' ? this.#noted(error, this.#circuit.enter()?.fail()) : undefined;
    const mirror = this.#mirror;
    this.#watch({ mirror, operation, result, error, ...(pauseMs !== undefined && { pauseMs }) });
  }

  #noted(error: PassthroughError, pauseMs: number | undefined): number | undefined {
    if (pauseMs !== undefined) this.#lastError = error.message;
    return pauseMs;
  }
}
