/**
 * `npm run measure:listeners [layers]`: a thousand clients listen to a preparation of 16 layers while it runs. Prints what that adds to the
 * resident memory of the built service. Ends with exit code 1 above the bound.
 *
 * The clients and the registry run in this process, so their memory does not count.
 */

import type { IncomingMessage } from 'node:http';
import { startBuiltService } from '../../test/support/built-service.ts';
import { startFakeRegistry } from '../../test/support/fake-registry.ts';
import { makeImage, makeLayer } from '../../test/support/image.ts';
import { residentBytes } from '../../test/support/process-state.ts';

const MB = 1_000_000;

/** The documented bound, in bytes. */
const BOUND_BYTES = 30 * MB;

/** `MAX_LISTENERS` and `MAX_LISTENERS_PER_CLIENT` of the service. */
const LISTENERS = 1000;
const LISTENERS_PER_CLIENT = 100;

const LAYERS = Number(process.argv[2] ?? 16);

/** Events that all listeners get: one for each layer, at most. */
const ROUNDS = Math.min(40, LAYERS);

/** Milliseconds between two layers: a little more than the interval of events. */
const ROUND_MS = 260;

await using registry = await startFakeRegistry();
const image = makeImage({
  layers: Array.from({ length: LAYERS }, (_, at) => ({ tar: makeLayer({ [`file-${at}`]: String(at) }) })),
});
registry.push('measure/listeners', '1', image);
// Each layer waits for its turn, and so does the whole preparation.
registry.defects.stallRequests = { pattern: /\/blobs\// };
await using service = await startBuiltService(
  { REGISTRY_URL: registry.origin, MAX_CONCURRENT_LAYERS: '1' },
  { nodeArgs: ['--max-semi-space-size=4'] },
);
const started = await service.request('/prepare/docker/measure_listeners_1.tar', { method: 'POST' });
const { location = '' } = started.headers;

// What the first requests add stays, with listeners and without.
for (let at = 0; at < LISTENERS; at += 1) await service.request(location);
const { now: before } = await residentBytes(service.pid);

const received: number[] = [];
const responses: IncomingMessage[] = [];
for (let at = 0; at < LISTENERS; at += 1) {
  const response = await service.open(location, {
    headers: { accept: 'text/event-stream' },
    localAddress: `127.0.0.${1 + Math.floor(at / LISTENERS_PER_CLIENT)}`,
  });
  if (response.statusCode !== 200) throw new Error(`Listener ${at} got ${response.statusCode}`);
  responses.push(response);
  received.push(0);
  response.on('data', (chunk: Buffer) => {
    received[at] = (received[at] ?? 0) + chunk.byteLength;
  });
}
const { now: quiet } = await residentBytes(service.pid);
const fromStart = received.reduce((sum, bytes) => sum + bytes, 0);
let peak = quiet;
for (let round = 0; round < ROUNDS; round += 1) {
  registry.releaseStalled();
  await new Promise((resolve) => setTimeout(resolve, ROUND_MS));
  const { now } = await residentBytes(service.pid);
  peak = Math.max(peak, now);
}
const sent = received.reduce((sum, bytes) => sum + bytes, 0) - fromStart;
for (const response of responses) response.destroy();

const mb = (bytes: number) => `${(bytes / MB).toFixed(1)} MB`;
console.log(`node ${process.version}, ${process.platform}/${process.arch}`);
console.log(`resident before               ${mb(before)}`);
console.log(`${LISTENERS} listeners, nothing changes  + ${mb(quiet - before)}`);
console.log(`${LISTENERS} listeners, at the peak      + ${mb(peak - before)}, bound ${mb(BOUND_BYTES)}`);
console.log(`events meanwhile              ${mb(sent)}, ${mb(sent / LISTENERS)} for each listener`);
process.exitCode = sent > 0 && peak - before < BOUND_BYTES ? 0 : 1;
