import type { IncomingMessage, ServerResponse } from 'node:http';

/** What the log tells of a request once it is over; filled in on the way. */
export interface RequestFacts {
  route?: string;
  /** Name of the registry, where the request named an image of one. */
  registry?: string;
  /** The image in full, where the request named one. */
  image?: string;
  platform?: string;
  digest?: string;
  /** Seconds since the registry has told what the reference means, where it could not be asked now. */
  staleSeconds?: number;
  /** Bytes of an archive that were handed to the connection. */
  bytes?: number;
  /** Milliseconds until the archive was ready. */
  prepareMs?: number;
  error?: string;
  message?: string;
}

/** One request and all that its handling needs. */
export interface RequestContext {
  /** Stands in the log, in error bodies and in `X-Request-Id`. */
  readonly id: string;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** Aborts when the client leaves before its answer is complete, or the service ends. */
  readonly signal: AbortSignal;
  readonly facts: RequestFacts;
}
