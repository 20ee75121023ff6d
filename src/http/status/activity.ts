import type { LayoutName } from '../../archive/archive.ts';
import type { Progress } from '../../pull/progress.ts';
import type { RequestContext } from '../request-context.ts';

/** A request that is being answered. */
export interface ActiveRequest {
  readonly context: RequestContext;
  /** Whether the answer is an archive. */
  readonly isPull: boolean;
  readonly startedAt: Date;
  /** Of the archive, when the request is parsed. */
  layout?: LayoutName;
  /** Of its preparation, when that has begun. */
  progress?: Progress;
}

/** The requests that are being answered. */
export class Activity {
  readonly #requests = new Map<RequestContext, ActiveRequest>();

  /**
   * Counts a request.
   *
   * @returns ends the count
   */
  begin(context: RequestContext, isPull: boolean): () => void {
    this.#requests.set(context, { context, isPull, startedAt: new Date() });
    return () => this.#requests.delete(context);
  }

  /** Adds what is known of a request only now. */
  describe(context: RequestContext, facts: Partial<Pick<ActiveRequest, 'layout' | 'progress'>>): void {
    const request = this.#requests.get(context);
    if (request !== undefined) Object.assign(request, facts);
  }

  /** The requests, those that began first at the start. */
  get requests(): readonly ActiveRequest[] {
    return [...this.#requests.values()];
  }
}
