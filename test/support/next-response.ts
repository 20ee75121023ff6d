/** The server's side of an answer. */

import diagnostics from 'node:diagnostics_channel';
import type { ServerResponse } from 'node:http';
import { within } from './within.ts';

/**
 * Resolves with the `ServerResponse` of the next request.
 *
 * @param isMeant selects the request by its path
 */
export function nextResponse(isMeant: (path: string) => boolean): Promise<ServerResponse> {
  const { promise, resolve } = Promise.withResolvers<ServerResponse>();
  const channel = 'http.server.request.start';
  const listener = (message: unknown): void => {
    const { response, request } = message as { response: ServerResponse; request: { url?: string } };
    if (!isMeant(request.url ?? '')) return;
    diagnostics.unsubscribe(channel, listener);
    resolve(response);
  };
  diagnostics.subscribe(channel, listener);
  return within(promise, 'a request');
}
