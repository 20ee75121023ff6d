import { isPassthroughError } from '../../errors.ts';
import { BoundedMap } from '../../util/bounded-map.ts';
import type { Transport, TransportRequest, TransportResponse } from './transport.ts';

/** Most servers that are remembered. Requests and redirects can name any number of them. */
const MAX_SERVERS = 100;

/** What the last requests to a server say about it: a registry, a token endpoint, or a server that a registry redirects to. */
export interface ServerHealth {
  /** Scheme, host and port. */
  readonly origin: string;
  /** Requests that are being answered, their bodies included. */
  readonly inFlight: number;
  /** Number of requests that were answered, and of those that failed. */
  readonly succeeded: number;
  readonly failed: number;
  readonly lastSuccess?: Date;
  readonly lastFailure?: ServerFailure;
}

/** Why a server has failed. */
export interface ServerFailure {
  readonly at: Date;
  /** The code of the error, such as `REGISTRY_UNREACHABLE`, or the status of the answer, such as `HTTP 503`. */
  readonly code: string;
}

/**
 * Records how requests to each server end. A refusal (4xx) is a success, since the server works: 401 is a usual challenge. 429 and 5xx
 * are failures, and so is a body that breaks off. A request that its client gave up says nothing.
 */
export class HealthTransport implements Transport {
  readonly #inner: Transport;
  readonly #servers = new BoundedMap<string, Server>({ maxCost: MAX_SERVERS });

  constructor(inner: Transport) {
    this.#inner = inner;
  }

  /** The servers that were asked, the last one first. */
  get health(): readonly ServerHealth[] {
    return Array.from(this.#servers.entries(), ([, server]) => server.health).toReversed();
  }

  async send(request: TransportRequest): Promise<TransportResponse> {
    const { origin } = request.url;
    const server = this.#servers.get(origin) ?? new Server(origin);
    this.#servers.set(origin, server);
    const end = server.begin();
    try {
      const response = await this.#inner.send(request);
      const { status } = response;
      const failure = status === 429 || status >= 500 ? `HTTP ${status}` : undefined;
      return {
        ...response,
        body: watched(response.body, failure, end),
        discard: () => {
          response.discard();
          end(failure);
        },
      };
    } catch (error) {
      end(codeOf(error));
      throw error;
    }
  }
}

/** Ends a request: with why it failed, `undefined` if it did not, and `null` if nothing can be said. Further calls do nothing. */
type EndRequest = (failure: string | undefined | null) => void;

class Server {
  readonly #origin: string;
  #inFlight = 0;
  #succeeded = 0;
  #failed = 0;
  #lastSuccess: Date | undefined;
  #lastFailure: ServerFailure | undefined;

  constructor(origin: string) {
    this.#origin = origin;
  }

  begin(): EndRequest {
    this.#inFlight += 1;
    let isEnded = false;
    return (failure) => {
      if (isEnded) return;
      isEnded = true;
      this.#inFlight -= 1;
      if (failure === null) return;
      if (failure === undefined) {
        this.#succeeded += 1;
        this.#lastSuccess = new Date();
      } else {
        this.#failed += 1;
        this.#lastFailure = { at: new Date(), code: failure };
      }
    };
  }

  get health(): ServerHealth {
    return {
      origin: this.#origin,
      inFlight: this.#inFlight,
      succeeded: this.#succeeded,
      failed: this.#failed,
      ...(this.#lastSuccess && { lastSuccess: this.#lastSuccess }),
      ...(this.#lastFailure && { lastFailure: this.#lastFailure }),
    };
  }
}

async function* watched(
  body: TransportResponse['body'],
  failure: string | undefined,
  end: EndRequest,
): AsyncGenerator<Uint8Array, void, undefined> {
  try {
    yield* body;
  } catch (error) {
    end(codeOf(error));
    throw error;
  } finally {
    // A reader that stops early has had an answer.
    end(failure);
  }
}

function codeOf(error: unknown): string | null {
  if (isPassthroughError(error, 'ABORTED')) return null;
  return isPassthroughError(error) ? error.code : 'INTERNAL';
}
