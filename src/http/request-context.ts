import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Client } from './networks/client.ts';

/** What the log says about a request when it is over. Handlers fill it in. */
export interface RequestFacts {
  route?: string;
  /** Name of the registry, if the request names an image. */
  registry?: string;
  /** The images in full. */
  image?: string;
  platform?: string;
  /** The bases of updates, in full. */
  since?: string;
  /** Compressed bytes of layers that an update leaves out. */
  savedBytes?: number;
  digest?: string;
  /** Seconds since the registry last resolved the reference, if it cannot be asked now. */
  staleSeconds?: number;
  /** Bytes of an archive that were handed to the connection. */
  bytes?: number;
  /** Milliseconds until the archive was ready. */
  prepareMs?: number;
  /** Labels of the image that the descriptor of a package does not have. */
  leftOut?: string;
  error?: string;
  message?: string;
  /** What the system said of a failed connection. */
  cause?: string;
}

/** One request, and what its handling needs. */
export interface RequestContext {
  /** Appears in the log, in error bodies and in `X-Request-Id`. */
  readonly id: string;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly client: Client;
  /** Aborts when the client leaves before its answer is complete, or the service stops. */
  readonly signal: AbortSignal;
  readonly facts: RequestFacts;
}
