import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { isPassthroughError, PassthroughError } from '../../../src/errors.ts';
import { MirrorHealth } from '../../../src/registry/mirrors/mirror-health.ts';
import type { Repository } from '../../../src/registry/repository.ts';
import type { Timeouts } from '../../../src/registry/transport/transport.ts';
import { readAll } from '../../support/collect.ts';
import type { Defects } from '../../support/defects.ts';
import type { FakeRegistry, FakeRegistryOptions } from '../../support/fake-registry.ts';
import { startRawServer } from '../../support/raw-server.ts';
import { CONFIG, IMAGE, layerOf, MANIFEST, never, REPOSITORY, SHORT_MS } from '../support/scene.ts';
import { type Mirrored, startMirrored } from './mirrored.ts';

/** What is asked for, and what comes. */
const OPERATIONS = {
  manifest: async (repository: Repository) => {
    const { content, digest } = await repository.getManifest('1', never());
    content.release();
    assert.equal(digest, IMAGE.manifest.digest);
  },
  child: async (repository: Repository) => {
    const { content, digest } = await repository.getManifest(MANIFEST, never());
    content.release();
    assert.equal(digest, IMAGE.manifest.digest);
  },
  config: async (repository: Repository) => {
    const content = await repository.getConfig(CONFIG, never());
    assert.deepEqual(Buffer.from(await content.readWhole()), IMAGE.config.bytes);
    content.release();
  },
  layer: async (repository: Repository) => {
    const bytes = await readAll(await repository.openLayer(layerOf(0), never()));
    assert.deepEqual(bytes, IMAGE.layers[0]?.blob);
  },
} as const;
type Operation = keyof typeof OPERATIONS;

/** A fault of the first of two mirrors. */
interface Fault {
  readonly mirror: FakeRegistryOptions;
  readonly timeouts?: Partial<Timeouts>;
  readonly stop?: (mirror: FakeRegistry) => Promise<void>;
  /** How it is reported. */
  readonly result: 'missing' | 'refused' | 'wrong' | 'failed';
  /** Whether a failed mirror is left alone for this repository alone. */
  readonly isOfRepository?: boolean;
  /** Requests that reach the first mirror: 2 where a second attempt may succeed. */
  readonly requests: number;
  /** Operations that have the fault; all unless given. */
  readonly only?: readonly Operation[];
}

const failing = (status: number, headers: Record<string, string> = {}): FakeRegistryOptions => ({
  defects: { failWith: { status, headers } },
});
const having = (defects: Defects): FakeRegistryOptions => ({ defects });

const FAULTS: Record<string, Fault> = {
  'a 400': { mirror: failing(400), result: 'missing', requests: 1 },
  'a 401': { mirror: failing(401), result: 'refused', requests: 1 },
  'a 403': { mirror: failing(403), result: 'refused', requests: 1 },
  'a 404': { mirror: failing(404), result: 'missing', requests: 1 },
  'a 405': { mirror: failing(405), result: 'missing', requests: 1 },
  'a 429': { mirror: failing(429), result: 'failed', requests: 2 },
  'a 429 with a time': { mirror: failing(429, { 'Retry-After': '60' }), result: 'failed', requests: 1 },
  'a 500': { mirror: failing(500), result: 'failed', isOfRepository: true, requests: 2 },
  'a 502': { mirror: failing(502), result: 'failed', requests: 2 },
  'a 503 with a time': { mirror: failing(503, { 'Retry-After': '7' }), result: 'failed', requests: 1 },
  'a 501': { mirror: failing(501), result: 'failed', isOfRepository: true, requests: 1 },
  'no server': { mirror: {}, stop: (mirror) => mirror.close(), result: 'failed', requests: 0 },
  'a connection that is reset': {
    mirror: having({ resetConnections: {} }),
    result: 'failed',
    requests: 2,
  },
  'no answer': {
    mirror: having({ stallRequests: {} }),
    timeouts: { responseMs: SHORT_MS },
    result: 'failed',
    requests: 1,
  },
  'a web page': {
    mirror: {
      defects: { failWith: { status: 404, headers: { 'Content-Type': 'text/html' }, body: '<html>' } },
    },
    result: 'missing',
    requests: 1,
  },
  'a redirect without end': {
    mirror: having({ redirectLoop: { endless: true } }),
    result: 'failed',
    requests: 6,
  },
  'another realm that is not reached': {
    mirror: { auth: { mode: 'token', realm: 'http://127.0.0.1:1/token' } },
    result: 'failed',
    requests: 1,
  },
  'a token endpoint that refuses': {
    mirror: { auth: { mode: 'token', allowAnonymous: false } },
    result: 'refused',
    requests: 1,
  },
  'a wrong manifest': {
    mirror: having({ wrongManifestDigest: true }),
    result: 'wrong',
    requests: 1,
    only: ['child'],
  },
  'a wrong claim': {
    mirror: having({ wrongHeaderDigest: true }),
    result: 'wrong',
    requests: 1,
    only: ['manifest', 'child'],
  },
  'a huge manifest': {
    mirror: having({ hugeManifest: { bytes: 100_000 } }),
    result: 'wrong',
    requests: 1,
    only: ['manifest', 'child'],
  },
  'a wrong config': {
    mirror: having({ wrongBlobDigest: true }),
    result: 'wrong',
    requests: 1,
    only: ['config'],
  },
  'a config that is too long': {
    mirror: having({ wrongBlobSize: { by: 5 } }),
    result: 'wrong',
    requests: 1,
    only: ['config'],
  },
};

for (const [what, text] of [
  ['a web page under another type', '<!doctype html><title>Sign in</title>'],
  ['nothing', ''],
  ['other JSON', '{"ok":true}'],
  ['a part of a manifest', IMAGE.manifest.bytes.subarray(0, 100)],
  ['a manifest of schema 1', '{"schemaVersion":1,"name":"team/app","tag":"1","fsLayers":[]}'],
] as const)
  FAULTS[`a 200 with ${what}`] = {
    mirror: having({
      wrongManifestDigest: { reference: '1', bytes: Buffer.from(text) },
      wrongHeaderDigest: null,
    }),
    result: 'wrong',
    requests: 1,
    only: ['manifest'],
  };

async function startFaulty({ mirror, timeouts, stop }: Fault): Promise<Mirrored> {
  const scene = await startMirrored({ mirrors: [mirror, {}], ...(timeouts !== undefined && { timeouts }) });
  const [first] = scene.mirrors;
  if (first !== undefined) await stop?.(first);
  return scene;
}

for (const [name, fault] of Object.entries(FAULTS)) {
  describe(`${name}: the next mirror is asked`, () => {
    for (const operation of fault.only ?? (Object.keys(OPERATIONS) as Operation[])) {
      test(operation, async () => {
        await using scene = await startFaulty(fault);
        const [first, second] = scene.mirrors;
        assert.ok(first !== undefined && second !== undefined);
        await OPERATIONS[operation](scene.open());
        const kind = operation === 'child' ? 'manifest' : operation;
        assert.deepEqual(scene.reports(), [`0 ${kind} ${fault.result}`, `1 ${kind} answered`]);
        assert.deepEqual(scene.sources(), ['1']);
        assert.equal(scene.paths(first).length, fault.requests);
        assert.equal(scene.paths(second).length, 1);
        assert.deepEqual(scene.paths(scene.registry), []);

        // A mirror that failed is left alone, any other is asked again.
        const before = scene.paths(first).length;
        const isLeftAlone = fault.result === 'failed';
        const [state] = scene.access.mirrors?.all.snapshot() ?? [];
        assert.equal(state?.state, isLeftAlone && fault.isOfRepository !== true ? 'open' : 'closed');
        // For the repository, and for another one.
        const statesOf = (repository: string) =>
          scene.access.mirrors?.all.snapshot({ host: scene.host, repository }).map((one) => one.state);
        assert.deepEqual(statesOf(REPOSITORY), [isLeftAlone ? 'open' : 'closed', 'closed']);
        assert.deepEqual(statesOf('other/app'), [state?.state, 'closed']);
        const [here] = scene.access.mirrors?.all.snapshot({ host: scene.host, repository: REPOSITORY }) ?? [];
        assert.equal(here?.lastError, isLeftAlone ? scene.all[0]?.error?.message : undefined);
        await OPERATIONS[operation](scene.open());
        assert.equal(scene.reports()[2], `0 ${kind} ${isLeftAlone ? 'skipped' : fault.result}`);
        assert.equal(scene.paths(first).length > before, !isLeftAlone);
        await Promise.all(scene.mirrors.map((mirror) => mirror.releaseStalled()));
      });
    }
  });
}

test('the registry is asked at the end, and its error is the one that counts', async () => {
  await using scene = await startMirrored({ mirrors: [failing(500), failing(403)], registry: failing(404) });
  await assert.rejects(
    OPERATIONS.manifest(scene.open()),
    (error) =>
      isPassthroughError(error, 'IMAGE_NOT_FOUND') && !JSON.stringify(error.details).includes('mirror'),
  );
  assert.deepEqual(scene.reports(), ['0 manifest failed', '1 manifest refused']);
  assert.deepEqual(scene.sources(), []);
});

test('what a mirror has is not asked for at the registry, in its order', async () => {
  await using scene = await startMirrored({ mirrors: [{}, {}] });
  const repository = scene.open();
  for (const run of Object.values(OPERATIONS)) await run(repository);
  const [first, second] = scene.mirrors;
  assert.ok(first !== undefined && second !== undefined);
  const place = '/v2/proxy/cache/team/app';
  const ns = `?ns=${encodeURIComponent(new URL(scene.registry.origin).host)}`;
  assert.deepEqual(scene.paths(first), [
    `GET ${place}/manifests/1${ns}`,
    `GET ${place}/manifests/${MANIFEST.digest}${ns}`,
    `GET ${place}/blobs/${CONFIG.digest}${ns}`,
    `GET ${place}/blobs/${layerOf(0).digest}${ns}`,
  ]);
  assert.deepEqual([scene.paths(second), scene.paths(scene.registry)], [[], []]);
});

test('what the manifest names is asked for first where the manifest came from', async () => {
  await using scene = await startMirrored({ mirrors: [failing(404)] });
  const repository = scene.open();
  await OPERATIONS.manifest(repository);
  await OPERATIONS.config(repository);
  assert.deepEqual(scene.reports(), ['0 manifest missing']);
  assert.deepEqual(scene.sources(), ['registry', 'registry']);
});

test('a HEAD goes on where there is no result', async () => {
  await using scene = await startMirrored({ mirrors: [failing(404), {}] });
  const head = await scene.open().headManifest('1', never());
  assert.equal(head?.digest, IMAGE.manifest.digest);
  assert.deepEqual(scene.reports(), ['0 manifest missing', '1 manifest answered']);
});

test('tags are those of the registry', async () => {
  await using scene = await startMirrored();
  scene.registry.push('team/app', '2', IMAGE);
  assert.deepEqual((await Array.fromAsync(scene.open().listTags(never()))).flat(), ['1', '2']);
  assert.deepEqual(scene.reports(), []);
});

for (const [why, reason, code] of [
  ['is given up', undefined, 'ABORTED'],
  ['takes too long as a whole', new PassthroughError('REGISTRY_TIMEOUT', 'too long'), 'REGISTRY_TIMEOUT'],
] as const)
  test(`a request that ${why} says nothing about the mirror`, async () => {
    await using scene = await startMirrored({ mirrors: [having({ stallRequests: {} })] });
    const stop = new AbortController();
    const asking = scene.open().getManifest('1', stop.signal);
    await scene.mirrors[0]?.waitForStalled();
    stop.abort(reason);
    await assert.rejects(asking, (error) => isPassthroughError(error, code));
    assert.deepEqual(scene.reports(), []);
    assert.equal(scene.access.mirrors?.all.snapshot()[0]?.state, 'closed');
    assert.deepEqual(scene.paths(scene.registry), []);
  });

test('the wait for a connection to a mirror is shorter than that to a registry', async () => {
  await using silent = await startRawServer(() => undefined);
  await using scene = await startMirrored({
    mirrors: [],
    urls: [`https://${silent.host}`],
    timeouts: { connectMs: 60_000 },
  });
  await OPERATIONS.manifest(scene.open());
  const [{ error } = {}] = scene.all;
  assert.match(error?.message ?? '', /no connection within 3 s/);
});

test('a mirror that failed for a repository of one registry is asked for that of another', async () => {
  const health = new MirrorHealth('http://cache:5000', () => undefined);
  const ask = (namespace: string, answer: () => Promise<string>) =>
    health.run(
      { place: { repository: 'team/app', namespace }, operation: 'manifest', signal: never() },
      answer,
    );
  const failed = new PassthroughError('REGISTRY_FAILED', 'no such host', { registryStatus: 500 });
  await assert.rejects(
    ask('unknown.test', () => Promise.reject(failed)),
    failed,
  );
  await assert.rejects(
    ask('unknown.test', async () => 'asked'),
    { code: 'REGISTRY_UNREACHABLE' },
  );
  assert.equal(await ask('docker.io', async () => 'asked'), 'asked');
});

test('a mirror that failed for one repository is asked for another, and by one request at a time for the first', async () => {
  await using scene = await startMirrored({ mirrors: [failing(500)] });
  const [mirror] = scene.mirrors;
  assert.ok(mirror !== undefined);
  for (const repository of ['team/app', 'team/other']) scene.registry.push(repository, '1', IMAGE);
  await Promise.all([1, 2, 3].map(() => OPERATIONS.manifest(scene.open())));
  const [{ pauseMs, repository } = {}, ...others] = scene.all.filter(
    (report) => report.pauseMs !== undefined,
  );
  assert.deepEqual([pauseMs, repository, others], [30_000, 'proxy/cache/team/app', []]);
  mirror.defects.failWith = undefined;
  mirror.push('proxy/cache/team/other', '1', IMAGE);
  await OPERATIONS.manifest(scene.open({ repository: 'team/other' }));
  await OPERATIONS.manifest(scene.open());
  assert.deepEqual(scene.reports().slice(3), ['0 manifest answered', '0 manifest skipped']);
});
