import { BoundedMap } from '../../util/bounded-map.ts';
import type { Problem } from '../problem.ts';

/** Most failures that are remembered. Equal ones count once. */
const MAX_FAILURES = 50;

/** Most of them with one code: a client that asks for images that do not exist displaces no other failures. */
const MAX_OF_CODE = 10;

/** A failure of the service or of a registry. */
export interface Failure {
  /** Of the last one of its kind. */
  readonly at: Date;
  /** How often it has occurred. */
  readonly count: number;
  readonly code: string;
  readonly status: number;
  /** The first line of the error, without the address of the client. */
  readonly line: string;
  /** The template of the route; `undefined` if the path fits none. */
  readonly route: string | undefined;
  /** The request of the last one, as in the log; `undefined` for a preparation. */
  readonly requestId: string | undefined;
  /** The address of the last client, if there is one. */
  readonly client: string | undefined;
}

/** Where a failure occurred. */
export type FailurePlace = Pick<Failure, 'route' | 'requestId' | 'client'>;

/** The last failures, for operators. A failure that repeats, or a code that does, does not displace others. */
export class RecentFailures {
  readonly #failures = new BoundedMap<string, Failure>({ maxCost: MAX_FAILURES });

  /** Remembers a failure. */
  add({ status, title, detail, error: { code } }: Problem, place: FailurePlace): void {
    const line = withoutClient(`${title}: ${detail}`, place.client);
    const key = JSON.stringify([code, line, place.route]);
    const count = (this.#failures.get(key)?.count ?? 0) + 1;
    const same = [...this.#failures.entries()].filter(
      ([other, failure]) => other !== key && failure.code === code,
    );
    for (const [oldest] of same.slice(0, Math.max(0, same.length + 1 - MAX_OF_CODE)))
      this.#failures.delete(oldest);
    this.#failures.set(key, { ...{ at: new Date(), count, code, status, line }, ...place });
  }

  /** The last failure first. */
  get list(): readonly Failure[] {
    return Array.from(this.#failures.entries(), ([, failure]) => failure).toReversed();
  }
}

/** Errors about limits for one client quote its name; see `clientOf`. */
function withoutClient(line: string, client: string | undefined): string {
  return client === undefined || client === '' ? line : line.replaceAll(`"${client}"`, 'a client');
}
