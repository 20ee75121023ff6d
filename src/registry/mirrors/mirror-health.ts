import { isPassthroughError, PassthroughError } from '../../errors.ts';
import { BoundedMap } from '../../util/bounded-map.ts';
import { quoted } from '../../util/printable.ts';
import { Circuit, type CircuitState, FIRST_PAUSE_MS, type Pass } from './circuit.ts';
import { concernsRepository, type MirrorResult, resultOf } from './outcome.ts';

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
  /** The repository for which alone it is left alone; absent if for all. */
  readonly repository?: string;
  /** Whether it answers again after it was left alone. */
  readonly isRecovered?: boolean;
}

/** A repository at a mirror. */
export interface MirrorPlace {
  /** Name of the repository at the mirror. */
  readonly repository: string;
  /** The registry that the mirror stands for: it has other images for another one under the same name. */
  readonly namespace: string;
}

/** One request to a mirror. */
export interface MirrorRequest {
  readonly place: MirrorPlace;
  readonly operation: MirrorOperation;
  readonly signal: AbortSignal;
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
  /** Milliseconds since the first of these failures; 0 while it answers. */
  readonly downMs: number;
  /** Milliseconds until the next request may go to it. */
  readonly waitMs: number;
  /** Message of the last failure, if it does not answer. */
  readonly lastError: string | undefined;
}

/** Most repositories of a mirror whose failures are remembered: clients name them. */
const MAX_REPOSITORIES = 1000;

/** A repository for which a mirror has failed. */
interface FailedRepository {
  readonly circuit: Circuit;
  lastError?: string;
}

/** Whether a mirror answers, and who is told about it. All pulls of a process share it. */
export class MirrorHealth {
  readonly #mirror: string;
  readonly #circuit: Circuit;
  readonly #watch: MirrorWatch;
  /** Repositories for which it has failed last; see {@link keyOf}. */
  readonly #repositories = new BoundedMap<string, FailedRepository>({ maxCost: MAX_REPOSITORIES });
  #lastError: string | undefined;
  /** Pauses after layers that broke off, since the last whole one. Each is twice as long as the one before. */
  #broken = 0;

  /** @param mirror see `Mirror.url` */
  constructor(mirror: string, watch: MirrorWatch, circuit = new Circuit()) {
    this.#mirror = mirror;
    this.#watch = watch;
    this.#circuit = circuit;
  }

  /** Whether a request for a repository would go to it now. */
  isPassable(place: MirrorPlace): boolean {
    return this.#circuit.isPassable && this.#repositories.get(keyOf(place))?.circuit.isPassable !== false;
  }

  /**
   * What is known of it.
   *
   * @param place for which it may be left alone although it answers for others
   */
  snapshot(place?: MirrorPlace): MirrorSnapshot {
    const own = place === undefined ? undefined : this.#repositories.get(keyOf(place));
    const isOwn = own !== undefined && own.circuit.waitMs > this.#circuit.waitMs;
    const { circuit, lastError } = isOwn ? own : { circuit: this.#circuit, lastError: this.#lastError };
    const { state, failures, downMs, waitMs } = circuit;
    const why = failures === 0 ? undefined : lastError;
    return { mirror: this.#mirror, state, failures, downMs, waitMs, lastError: why };
  }

  /**
   * Asks the mirror, unless it is left alone.
   *
   * @param signal of the request: what fails after it was aborted says nothing about the mirror
   * @param isAnswer whether a result is an answer; else the mirror does not have it
   * @throws PassthroughError `REGISTRY_UNREACHABLE` if it is left alone; what `ask` throws
   */
  async run<T>(
    { place, operation, signal }: MirrorRequest,
    ask: () => Promise<T>,
    isAnswer: (value: T) => boolean = () => true,
  ): Promise<T> {
    const mirror = this.#mirror;
    const passes = this.#enter(place);
    if (passes === undefined) {
      this.#watch({ mirror, operation, result: 'skipped' });
      throw new PassthroughError(
        'REGISTRY_UNREACHABLE',
        `Cannot ask mirror ${quoted(mirror)}: it has failed`,
      );
    }
    const { pass, own } = passes;
    const answered = () => {
      if (own?.succeed() === true) this.#repositories.delete(keyOf(place));
      return pass.succeed();
    };
    try {
      const value = await ask();
      const isRecovered = answered();
      this.#watch({ mirror, operation, result: isAnswer(value) ? 'answered' : 'missing', isRecovered });
      return value;
    } catch (error) {
      const result = signal.aborted ? undefined : resultOf(error);
      if (result === undefined || !isPassthroughError(error)) {
        pass.cancel();
        own?.cancel();
      } else if (result !== 'failed') {
        this.#watch({ mirror, operation, result, error, isRecovered: answered() });
      } else if (concernsRepository(error)) {
        const isRecovered = pass.succeed();
        const pauseMs = (own ?? this.#passOf(place))?.fail(waitOf(error));
        const failed = this.#repositories.get(keyOf(place));
        if (pauseMs !== undefined && failed !== undefined) failed.lastError = error.message;
        const pause = pauseMs === undefined ? {} : { pauseMs, repository: place.repository };
        this.#watch({ mirror, operation, result, error, isRecovered, ...pause });
      } else {
        own?.cancel();
        const pauseMs = this.#noted(error, pass.fail(waitOf(error)));
        this.#watch({ mirror, operation, result, error, ...(pauseMs !== undefined && { pauseMs }) });
      }
      throw error;
    }
  }

  #enter(place: MirrorPlace): { readonly pass: Pass; readonly own: Pass | undefined } | undefined {
    if (!this.isPassable(place)) return undefined;
    const own = this.#repositories.get(keyOf(place))?.circuit.enter();
    const pass = this.#circuit.enter();
    return pass && { pass, own };
  }

  /** A pass of a repository that has not failed before; `undefined` if another request has failed meanwhile. */
  #passOf(place: MirrorPlace): Pass | undefined {
    if (this.#repositories.get(keyOf(place)) !== undefined) return undefined;
    const circuit = new Circuit();
    this.#repositories.set(keyOf(place), { circuit });
    return circuit.enter();
  }

  /** Notes that an answer broke off, or that its bytes are wrong. Wrong bytes do not close a mirror: an image may name a wrong size. */
  note(operation: MirrorOperation, error: PassthroughError): void {
    const result = resultOf(error) ?? 'failed';
    const fail = () => this.#circuit.enter()?.fail(FIRST_PAUSE_MS * 2 ** this.#broken);
    const pauseMs = result === 'failed' ? this.#noted(error, fail()) : undefined;
    if (pauseMs !== undefined) this.#broken += 1;
    const mirror = this.#mirror;
    this.#watch({ mirror, operation, result, error, ...(pauseMs !== undefined && { pauseMs }) });
  }

  /** Notes that a layer came to its end. The header of an answer says less: a server may give that and then stall each time. */
  noteWhole(): void {
    this.#broken = 0;
  }

  #noted(error: PassthroughError, pauseMs: number | undefined): number | undefined {
    if (pauseMs !== undefined) this.#lastError = error.message;
    return pauseMs;
  }
}

function keyOf({ repository, namespace }: MirrorPlace): string {
  return `${namespace} ${repository}`;
}

/** Milliseconds for which a server asks to be left alone. */
function waitOf({ details }: PassthroughError): number {
  return (details.retryAfterSeconds ?? 0) * 1000;
}
