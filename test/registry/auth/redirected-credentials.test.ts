import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Credential } from '../../../src/registry/auth/credentials.ts';
import type { Repository } from '../../../src/registry/repository.ts';
import type { FakeRegistry, FakeRegistryOptions } from '../../support/fake-registry.ts';
import type { TlsSettings } from '../../support/listening.ts';
import { startScriptedServer } from '../../support/scripted-server.ts';
import { serveSignedBlobs } from '../../support/signed-blobs.ts';
import { trustTestAuthority } from '../support/certificates.ts';
import { serveNames } from '../support/name-server.ts';
import {
  alias,
  BIG,
  CLIENT,
  headersOf,
  IMAGE,
  LOOPBACK,
  OPERATOR,
  pull,
  REPOSITORY,
  readLayer,
  STATIC_TOKEN,
  startRealm,
  startRegistry,
  startScene,
} from '../support/scene.ts';

const CREDENTIAL = /^(?:Basic|Bearer) /;

const startStorage = (tls?: TlsSettings) => startScriptedServer(serveSignedBlobs(IMAGE.blobs), { tls });

describe('a redirect', () => {
  const methods: [name: string, auth: FakeRegistryOptions['auth'], credential: Credential][] = [
    ['Basic', { mode: 'basic' }, CLIENT],
    ['a fetched token', { mode: 'token', allowAnonymous: false }, OPERATOR],
    ['a static token', {}, STATIC_TOKEN],
  ];
  const readBig = async (client: Repository) => assert.deepEqual(await readLayer(client), BIG);
  /** Starts the target of a redirect, points the registry at it, and returns the target's requests. */
  type Target = (
    registry: FakeRegistry,
    stack: AsyncDisposableStack,
  ) => Promise<Pick<FakeRegistry, 'requests'>>;
  const targets: [
    name: string,
    start: Target,
    run: (client: Repository) => Promise<unknown>,
    requests?: { readonly path?: RegExp; readonly count?: number },
  ][] = [
    [
      'to another port',
      async ({ defects }, stack) => {
        const storage = stack.use(await startStorage());
        defects.redirectBlobsTo = storage.origin;
        return storage;
      },
      readBig,
    ],
    [
      'to another host on the same port',
      async (registry) => {
        registry.defects.redirectBlobsTo = alias(registry, 'localhost');
        return registry;
      },
      readBig,
      { path: /^\/signed/ },
    ],
    [
      'to another port, of a layer that is resumed',
      async ({ defects }, stack) => {
        const truncateBlob = { afterBytes: 1000, times: 1 };
        const storage = stack.use(await startRegistry({ defects: { truncateBlob } }));
        defects.redirectBlobsTo = storage.origin;
        return storage;
      },
      readBig,
      { count: 2 },
    ],
    [
      'to another port and back',
      async (registry, stack) => {
        const storage = await startScriptedServer((_, response) => {
          response.writeHead(307, { Location: `${registry.origin}/home` }).end();
        });
        registry.defects.redirectBlobsTo = stack.use(storage).origin;
        return {
          get requests() {
            return [...storage.requests, ...registry.requests.filter(({ path }) => path === '/home')];
          },
        };
      },
      async (client) => assert.rejects(readLayer(client), { code: 'IMAGE_NOT_FOUND' }),
      { count: 2 },
    ],
  ];
  for (const [method, auth = {}, credential] of methods) {
    for (const [name, start, run, { path, count = 1 } = {}] of targets) {
      test(`${name} does not carry ${method}`, async (t) => {
        serveNames(t, LOOPBACK);
        await using stack = new AsyncDisposableStack();
        await using scene = await startScene({ auth });
        const target = await start(scene.server, stack);
        await run(scene.open(credential));
        assert.match(headersOf(scene.server, 'authorization', /^\/v2/).at(-1) ?? '', CREDENTIAL);
        assert.deepEqual(headersOf(target, 'authorization', path), Array(count).fill(undefined));
      });
    }

    test(`within the origin carries ${method}`, async () => {
      await using scene = await startScene({ auth });
      const path = `/v2/${REPOSITORY}/manifests/${IMAGE.manifest.digest}`;
      scene.server.defects.redirectManifestsTo = { to: () => path, times: 1 };
      await pull(scene.open(credential));
      const [from, to] = headersOf(scene.server, 'authorization', /manifests/).slice(-2);
      assert.match(to ?? '', CREDENTIAL);
      assert.equal(to, from);
    });
  }

  test('from https to http is refused, at the first step and at a later one', async () => {
    const tls = await trustTestAuthority();
    await using storage = await startStorage();
    await using middle = await startScriptedServer(
      ({ url }, response) => void response.writeHead(307, { Location: storage.origin + url }).end(),
      { tls },
    );
    const refused = { code: 'REGISTRY_FAILED', message: /it redirects from https to http/ };
    await using secure = await startScene({ tls, defects: { redirectBlobsTo: storage.origin } });
    await assert.rejects(readLayer(secure.client), refused);
    await using plain = await startScene({ defects: { redirectBlobsTo: middle.origin } });
    await assert.rejects(readLayer(plain.client), refused);
    assert.deepEqual([middle.requests.length, storage.requests.length], [1, 0]);
  });

  for (const mode of ['basic', 'token'] as const) {
    for (const challenge of ['Bearer realm="REALM",service="fake-registry"', 'Basic realm="storage"']) {
      test(`does not let its target ask for ${challenge}, with ${mode} at the registry`, async () => {
        await using realm = await startRealm();
        await using storage = await startScriptedServer((_, response) => {
          const value = challenge.replace('REALM', `${realm.origin}/token`);
          response.writeHead(401, { 'WWW-Authenticate': value }).end();
        });
        await using scene = await startScene({
          auth: { mode },
          defects: { redirectBlobsTo: storage.origin },
        });
        const client = scene.open(CLIENT);
        await pull(client);
        const tokens = scene.server.tokenRequests.length;
        await assert.rejects(readLayer(client), { code: 'REGISTRY_DENIED' });
        assert.deepEqual([headersOf(storage), headersOf(realm)], [[undefined], []]);
        assert.equal(scene.server.tokenRequests.length, tokens);
      });
    }
  }
});
