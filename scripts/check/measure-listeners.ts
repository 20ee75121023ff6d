/**
 * `npm run measure:listeners [layers]`: a thousand clients listen to a preparation of 16 layers while it runs. Prints what that adds to
 * the resident memory of the built service, beside the same preparation with one client. Ends with exit code 1 above the bound.
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

/** Requests before the first measurement: what they add stays, with listeners and without. */
const FIRST_REQUESTS = 1000;

const LAYERS = Number(process.argv[2] ?? 16);

/** Milliseconds between two layers: a little more than the interval of events. */
const ROUND_MS = 260;

/** What a preparation with some listeners has taken, in bytes. */
interface Measured {
  readonly before: number;
  /** After all clients have connected, before the preparation goes on. */
  readonly quiet: number;
  /** While it runs. */
  readonly peak: number;
  /** Bytes of events while it runs. */
  readonly sent: number;
}

console.log(`node ${process.version}, ${process.platform}/${process.arch}, ${LAYERS} layers`);
const one = await measure(1);
const many = await measure(LISTENERS);
const added = many.peak - many.before - (one.peak - one.before);
const mb = (bytes: number) => `${(bytes / MB).toFixed(1)} MB`;
for (const [name, { before, quiet, peak, sent }] of Object.entries({
  '1 listener': one,
  '1000 listeners': many,
})) {
  console.log(
    `${name.padEnd(15)} before ${mb(before)}, connected + ${mb(quiet - before)}, running + ${mb(peak - before)}; events ${mb(sent)}`,
  );
}
console.log(`999 listeners   running + ${mb(added)}, bound ${mb(BOUND_BYTES)}`);
process.exitCode = many.sent > 500 * one.sent && added < BOUND_BYTES ? 0 : 1;

async function measure(listeners: number): Promise<Measured> {
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
  for (let at = 0; at < FIRST_REQUESTS; at += 1) await service.request(location);
  const resident = async () => (await residentBytes(service.pid)).now;
  const before = await resident();

  let received = 0;
  const responses: IncomingMessage[] = [];
  for (let at = 0; at < listeners; at += 1) {
    const response = await service.open(location, {
      headers: { accept: 'text/event-stream' },
      localAddress: `127.0.0.${1 + Math.floor(at / LISTENERS_PER_CLIENT)}`,
    });
    if (response.statusCode !== 200) throw new Error(`Listener ${at} got ${response.statusCode}`);
    responses.push(response);
    response.on('data', (chunk: Buffer) => {
      received += chunk.byteLength;
    });
  }
  const quiet = await resident();
  const fromStart = received;
  let peak = quiet;
  for (let round = 0; round < LAYERS; round += 1) {
    registry.releaseStalled();
    await new Promise((resolve) => setTimeout(resolve, ROUND_MS));
    peak = Math.max(peak, await resident());
  }
  for (const response of responses) response.destroy();
  return { before, quiet, peak, sent: received - fromStart };
}
