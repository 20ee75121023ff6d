/** A process that aborts a pull in every phase, with time limits of an hour. It exits unless something stays open. */

import { systemErrorCode } from '../../../src/util/system-error.ts';
import { startRawServer } from '../../support/raw-server.ts';
import { BIG_LAYER, readLayer, startScene } from './scene.ts';

const HOUR_MS = 3_600_000;

const { server, access, open } = await startScene(
  { auth: { mode: 'token' } },
  {
    timeouts: { connectMs: HOUR_MS, responseMs: HOUR_MS, stallMs: HOUR_MS },
    retry: { attempts: 9, baseMs: HOUR_MS, maxMs: HOUR_MS },
  },
);
const silent = await startRawServer(() => undefined);

/** Starts work, waits until it is in its phase, and aborts it. */
async function abandon(
  phase: string,
  start: (signal: AbortSignal) => Promise<unknown>,
  reached: () => Promise<unknown>,
): Promise<void> {
  const controller = new AbortController();
  const started = start(controller.signal);
  await reached();
  controller.abort();
  const outcome = await started.then(
    () => 'it succeeded',
    (error: unknown) => systemErrorCode(error) ?? error,
  );
  if (outcome !== 'ABORTED') throw new Error(`Cannot abandon ${phase}: ${outcome}`);
}

const manifest = (signal: AbortSignal) => open().getManifest('1', signal);

await abandon(
  'connecting',
  (signal) => access.open({ origin: `https://${silent.host}` }).getManifest('1', signal),
  () => silent.waitForConnections(1),
);

server.auth.tokenDelayUntilReleased = true;
await abandon('a token request', manifest, () => server.waitForStalled());
server.auth.tokenDelayUntilReleased = false;

server.defects.stallManifest = true;
await abandon('waiting for a response', manifest, () => server.waitForStalled());
delete server.defects.stallManifest;

server.defects.stallBlob = { afterBytes: 1000 };
await abandon(
  'a body',
  (signal) => readLayer(open(), BIG_LAYER, signal),
  () => server.waitForStalled(),
);
delete server.defects.stallBlob;

server.defects.failWith = { status: 503, headers: { 'Retry-After': '3600' } };
await abandon('waiting to retry', manifest, async () => {
  const failed = server.requests.length + 1;
  await server.waitForRequest(/./, failed);
  await server.waitForNoActiveRequests();
});

await Promise.all([server.close(), silent.close()]);
process.stdout.write('all abandoned\n');
