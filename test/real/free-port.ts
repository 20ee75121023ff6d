/** Ports for programs that cannot choose one themselves and tell it. */

import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';

/**
 * Ports below those that a system gives to connections and to servers that ask for any: 32768 and up on Linux. So no other process
 * gets the port between this look and its use.
 */
const [FIRST, COUNT] = [20_000, 12_000];

/** Most ports to try. */
const ATTEMPTS = 100;

/** A port that no address of this machine has in use. */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const port = FIRST + randomInt(COUNT);
    if (await isFree(port)) return port;
  }
  throw new Error('Cannot find a free port');
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  const { promise, resolve } = Promise.withResolvers<boolean>();
  server.once('error', () => resolve(false));
  server.listen(port, () => server.close(() => resolve(true)));
  return await promise;
}
