/**
 * A process that abandons a pull in every phase, with time limits of an hour. It ends by itself, unless something of what
 * it abandoned is still there.
 */

import { startFakeRegistry } from '../support/fake-registry.ts';
import { startRawServer } from '../support/raw-server.ts';
import { BIG_LAYER, IMAGE, openAccess, REPOSITORY } from './open.ts';

const HOUR_MS = 3_600_000;

const { open } = openAccess({
  timeouts: { connectMs: HOUR_MS, responseMs: HOUR_MS, stallMs: HOUR_MS },
  retry: { attempts: 9, baseMs: HOUR_MS, maxMs: HOUR_MS },
});
const server = await startFakeRegistry({ auth: { mode: 'token' } });
server.push(REPOSITORY, '1', IMAGE);
const silent = await startRawServer(() => undefined);

/** Begins something, waits until it is in its phase, and leaves. */
async function abandon(
  phase: string,
  begin: (signal: AbortSignal) => Promise<unknown>,
  reached: () => Promise<unknown>,
): Promise<void> {
  const controller = new AbortController();
  const begun = begin(controller.signal);
  await reached();
  controller.abort();
  const outcome = await begun.then(
    () => 'it succeeded',
    (error: unknown) => (error instanceof Error && 'code' in error ? error.code : error),
  );
  if (outcome !== 'ABORTED') throw new Error(`Cannot abandon ${phase}: ${outcome}`);
}

const manifest = (signal: AbortSignal) => open(server).getManifest('1', signal);

await abandon(
  'connecting',
  (signal) => open({ origin: `https://${silent.host}` }).getManifest('1', signal),
  () => silent.waitForConnections(1),
);

server.auth.tokenDelayUntilReleased = true;
await abandon('a token request', manifest, () => server.waitForStalled());
server.auth.tokenDelayUntilReleased = false;

server.defects.stallManifest = true;
await abandon('waiting for an answer', manifest, () => server.waitForStalled());
delete server.defects.stallManifest;

server.defects.stallBlob = { afterBytes: 1000 };
await abandon(
  'a body',
  async (signal) => {
    for await (const _ of await open(server).openLayer(BIG_LAYER, signal));
  },
  () => server.waitForStalled(),
);
delete server.defects.stallBlob;

server.defects.failWith = { status: 503, headers: { 'Retry-After': '3600' } };
await abandon('waiting to try again', manifest, async () => {
  const failed = server.requests.length + 1;
  await server.waitForRequest(/./, failed);
  await server.waitForNoActiveRequests();
});

await Promise.all([server.close(), silent.close()]);
process.stdout.write('all abandoned\n');
