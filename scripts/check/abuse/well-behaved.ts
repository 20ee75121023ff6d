/** The clients of `abuse.ts` that the attacks must not disturb. They have an address of their own. */

import { once } from 'node:events';
import http from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';

/** Address of these clients. The attacking ones have others. */
const ADDRESS = '127.0.0.2';

/** Longest wait for an answer, in milliseconds. */
const LIMIT_MS = 30_000;

/** Most tries of one archive: a client that gets 503 comes back. */
const MAX_TRIES = 20;
const RETRY_MS = 500;

/** Requests `/health`, and returns the milliseconds that it took; infinite if it failed. */
export async function healthMs(port: number): Promise<number> {
  const begun = performance.now();
  const { status } = await get(port, '/health').catch(() => ({ status: 0 }));
  return status === 200 ? performance.now() - begun : Number.POSITIVE_INFINITY;
}

/**
 * Fetches the archive of an image that was not requested before.
 *
 * @param tag of the image
 * @returns milliseconds until its last byte, with the waits of a client that was told to come back
 */
export async function fetchGood(
  port: number,
  tag: string,
): Promise<{ readonly ms: number; readonly failure?: string }> {
  const begun = performance.now();
  let failure = '';
  for (let count = 0; count < MAX_TRIES; count += 1) {
    try {
      const { status, text } = await get(port, `/docker/abuse_good_${tag}.tar`);
      if (status === 200) return { ms: performance.now() - begun };
      failure = `${status} ${text}`;
      if (status !== 503) break;
    } catch (error) {
      failure = String(error);
    }
    await delay(RETRY_MS);
  }
  return { ms: performance.now() - begun, failure: failure.split('\n')[0] ?? '' };
}

async function get(port: number, path: string): Promise<{ readonly status: number; readonly text: string }> {
  const request = http.get({
    port,
    path,
    host: '127.0.0.1',
    localAddress: ADDRESS,
    agent: false,
    signal: AbortSignal.timeout(LIMIT_MS),
  });
  const [response] = (await once(request, 'response')) as [http.IncomingMessage];
  const { statusCode: status = 0 } = response;
  let text = '';
  for await (const chunk of response) if (status !== 200) text += String(chunk);
  if (!response.complete) throw new Error('the answer is cut');
  return { status, text };
}
