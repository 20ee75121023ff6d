import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { PassthroughError } from '../../../src/errors.ts';
import { HealthTransport } from '../../../src/registry/transport/health.ts';
import type {
  Transport,
  TransportRequest,
  TransportResponse,
} from '../../../src/registry/transport/transport.ts';

/** `MAX_SERVERS`. */
const MAX_SERVERS = 100;

type Chunks = () => AsyncGenerator<Uint8Array, void, undefined>;

const twoChunks: Chunks = async function* () {
  yield Buffer.from('a');
  yield Buffer.from('b');
};

const broken: Chunks = async function* () {
  yield Buffer.from('a');
  throw new PassthroughError('REGISTRY_TIMEOUT', 'too slow');
};

const abortedBody: Chunks = async function* () {
  yield Buffer.from('a');
  throw new PassthroughError('ABORTED', 'left');
};

/** A transport whose answers have this status and body, or that throws. */
function answering(status: number | Error, body = twoChunks): HealthTransport {
  const inner: Transport = {
    send: async ({ url }): Promise<TransportResponse> => {
      if (typeof status !== 'number') throw status;
      const rest = { headers: {}, url, peer: undefined, protocolVersion: '1.1', secrets: [] };
      return { status, ...rest, body: body(), discard: () => undefined };
    },
  };
  return new HealthTransport(inner);
}

function requestTo(url: string): TransportRequest {
  return {
    ...{ method: 'GET', url: new URL(url), headers: {}, operation: 'layer', template: '/' },
    ...{ signal: new AbortController().signal, attempts: { count: 0 } },
  };
}

const URL_OF_A_LAYER = 'https://registry.example:8443/v2/app/blobs/sha256:1?token=secret';

type End = 'read' | 'discard' | 'stop';

/** Sends a request and ends it; failures of either are left out. */
async function ask(transport: HealthTransport, end: End = 'read', url = URL_OF_A_LAYER): Promise<void> {
  try {
    const response = await transport.send(requestTo(url));
    assert.equal(transport.health[0]?.inFlight, 1, 'the body has not ended');
    if (end === 'discard') return response.discard();
    for await (const _ of response.body) if (end === 'stop') break;
  } catch (error) {
    if (!(error instanceof PassthroughError)) throw error;
  }
}

describe('a request', () => {
  const unreachable = new PassthroughError('REGISTRY_UNREACHABLE', 'no');
  const table: readonly [what: string, HealthTransport, End, result: string][] = [
    ['that is answered', answering(200), 'read', 'success'],
    ['that is refused', answering(404), 'read', 'success'],
    ['that gets a challenge', answering(401), 'discard', 'success'],
    ['of which the reader stops early', answering(200), 'stop', 'success'],
    ['that is too much for the registry', answering(429), 'discard', 'HTTP 429'],
    ['that a registry fails to answer', answering(503), 'read', 'HTTP 503'],
    ['that does not reach it', answering(unreachable), 'read', 'REGISTRY_UNREACHABLE'],
    ['whose body breaks off', answering(200, broken), 'read', 'REGISTRY_TIMEOUT'],
    ['that its client gave up', answering(new PassthroughError('ABORTED', 'left')), 'read', 'nothing'],
    ['that its client gave up in the body', answering(200, abortedBody), 'read', 'nothing'],
  ];
  for (const [what, transport, end, result] of table) {
    test(`${what} counts as ${result}`, async () => {
      const from = Date.now();
      await ask(transport, end);
      const { lastSuccess, lastFailure, ...rest } = transport.health[0] ?? {};
      assert.deepEqual(rest, {
        origin: 'https://registry.example:8443',
        inFlight: 0,
        succeeded: result === 'success' ? 1 : 0,
        failed: ['success', 'nothing'].includes(result) ? 0 : 1,
      });
      assert.equal(lastSuccess !== undefined, result === 'success');
      assert.equal(lastFailure?.code, ['success', 'nothing'].includes(result) ? undefined : result);
      const at = lastSuccess ?? lastFailure?.at;
      if (at !== undefined) assert.ok(at.getTime() >= from && at.getTime() <= Date.now());
    });
  }
});

test('the servers are bounded, the last one first', async () => {
  const transport = answering(200);
  for (let at = 0; at < 2 * MAX_SERVERS; at += 1) await ask(transport, 'read', `https://r${at}.example/`);
  assert.equal(transport.health.length, MAX_SERVERS);
  assert.equal(transport.health[0]?.origin, `https://r${2 * MAX_SERVERS - 1}.example`);
  await ask(transport, 'read', `https://r${2 * MAX_SERVERS - 9}.example/`);
  assert.equal(transport.health[0]?.succeeded, 2);
});
