import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { loadConfig } from '../../../src/config/config.ts';
import { isPassthroughError } from '../../../src/errors.ts';
import { type Credential, chooseCredential } from '../../../src/registry/auth/credentials.ts';
import { openRepository } from '../../../src/registry/open-repository.ts';
import type { Repository } from '../../../src/registry/repository.ts';
import type { Transport } from '../../../src/registry/transport/transport.ts';
import { readAll } from '../../support/collect.ts';
import type { FakeRegistry, FakeRegistryOptions } from '../../support/fake-registry.ts';
import { startScriptedServer } from '../../support/scripted-server.ts';
import { makeCertificates } from '../../support/tls.ts';
import { answering, authOf, makeAuthFolder } from '../auth/auth-files.ts';
import {
  BASIC,
  BIG,
  BIG_LAYER,
  CLIENT,
  CONFIG,
  headersOf,
  NO_CREDENTIAL,
  never,
  OPERATOR,
  pull,
  REPOSITORY,
  STATIC_TOKEN,
} from '../support/scene.ts';
import { type Mirrored, type MirroredOptions, PREFIX, startMirrored } from './mirrored.ts';

const PRIVATE: FakeRegistryOptions = { auth: { mode: 'basic' } };
const WRONG: Credential = {
  type: 'basic',
  basic: { username: 'user', password: 'wrong' },
  source: 'client',
};
const IDENTITY: Credential = { type: 'identity', identity: { identityToken: 'identity-9Z' } };

const everything = async (repository: Repository): Promise<void> => {
  (await pull(repository)).content.release();
  (await repository.getConfig(CONFIG, never())).release();
  assert.ok((await readAll(await repository.openLayer(BIG_LAYER, never()))).equals(BIG));
};

/** What is asked of a server: `manifests`, `blobs`, or both. */
const kindsAt = (scene: Mirrored, server: FakeRegistry) => [
  ...new Set(scene.paths(server).map((path) => /\/(manifests|blobs)\//.exec(path)?.[1])),
];

describe('who resolves the image, and who gives its layers', () => {
  interface Row {
    readonly name: string;
    readonly options?: MirroredOptions;
    readonly credential: Credential;
    readonly requiresClient?: boolean;
    readonly hasAccount: boolean;
    /** Whether the mirror resolves. */
    readonly resolves: boolean;
  }
  const rows: readonly Row[] = [
    { name: 'no credentials, open mirror', credential: NO_CREDENTIAL, hasAccount: false, resolves: true },
    { name: 'no credentials, account', credential: NO_CREDENTIAL, hasAccount: true, resolves: false },
    {
      name: 'no credentials, account, and no client has rights of its own',
      options: { accounts: 'all' },
      credential: NO_CREDENTIAL,
      hasAccount: true,
      resolves: true,
    },
    { name: "the operator's, open mirror", credential: OPERATOR, hasAccount: false, resolves: true },
    { name: "the operator's, account", credential: OPERATOR, hasAccount: true, resolves: true },
    { name: "the client's, open mirror", credential: CLIENT, hasAccount: false, resolves: false },
    { name: "the client's, account", credential: CLIENT, hasAccount: true, resolves: false },
    {
      name: "the client's, account that is for all",
      options: { accounts: 'all' },
      credential: CLIENT,
      hasAccount: true,
      resolves: false,
    },
    {
      name: "the client's are required",
      options: { accounts: 'all' },
      credential: NO_CREDENTIAL,
      requiresClient: true,
      hasAccount: false,
      resolves: false,
    },
  ];
  for (const { name, options, credential, requiresClient, hasAccount, resolves } of rows) {
    test(name, async () => {
      await using scene = await startMirrored({ mirrors: [hasAccount ? PRIVATE : {}], ...options });
      const fixed = scene.fixed(hasAccount ? [0] : []);
      await everything(scene.open({ credential, requiresClient, fixed }));
      const [mirror] = scene.mirrors;
      assert.ok(mirror !== undefined);
      assert.deepEqual(kindsAt(scene, mirror), resolves ? ['manifests', 'blobs'] : ['blobs']);
      // The registry confirms each layer that a mirror gives to such a request.
      const { digest } = BIG_LAYER;
      const heads = scene.paths(scene.registry).filter((path) => path.startsWith('HEAD '));
      assert.deepEqual(heads, resolves ? [] : [`HEAD /v2/${REPOSITORY}/blobs/${digest}`]);
      assert.equal(scene.paths(scene.registry).length > 0, !resolves);
      assert.equal(scene.sources().at(-1), '0');
    });
  }
});

describe("a mirror's account opens nothing to a client without rights", () => {
  for (const [name, credential, requiresClient] of [
    ['with wrong credentials', WRONG, false],
    ['with wrong credentials that are required', WRONG, true],
    ['without credentials', NO_CREDENTIAL, false],
    ['without credentials that are required', NO_CREDENTIAL, true],
  ] as const) {
    test(name, async () => {
      await using scene = await startMirrored({ registry: PRIVATE, mirrors: [PRIVATE] });
      const repository = scene.open({ credential, requiresClient, fixed: scene.fixed([0]) });
      const isDenied = (error: unknown) => isPassthroughError(error, 'REGISTRY_DENIED');
      await assert.rejects(pull(repository), isDenied);
      await assert.rejects(repository.getConfig(CONFIG, never()), isDenied);
      await assert.rejects(repository.openLayer(BIG_LAYER, never()), isDenied);
      await assert.rejects(repository.checkLayer(BIG_LAYER, never()), isDenied);
      assert.deepEqual(scene.reports(), []);
      assert.deepEqual(scene.mirrors[0]?.requests, []);
    });
  }

  test('nor does it while the registry is down', async () => {
    const down: FakeRegistryOptions = { defects: { failWith: { status: 503 } } };
    await using scene = await startMirrored({ registry: down, mirrors: [PRIVATE] });
    const repository = scene.open({ fixed: scene.fixed([0]) });
    const isDown = (error: unknown) => isPassthroughError(error, 'REGISTRY_FAILED');
    await assert.rejects(pull(repository), isDown);
    await assert.rejects(repository.openLayer(BIG_LAYER, never()), isDown);
    assert.deepEqual(scene.mirrors[0]?.requests, []);
  });

  test('nor does an open mirror confirm what the registry refuses to a client', async () => {
    await using scene = await startMirrored({ registry: PRIVATE, mirrors: [{}] });
    const checking = scene.open({ credential: WRONG }).checkLayer(BIG_LAYER, never());
    await assert.rejects(checking, (error) => isPassthroughError(error, 'REGISTRY_DENIED'));
    assert.deepEqual(scene.mirrors[0]?.requests, []);
  });
});

describe('an auth file with an account of the mirror', () => {
  const isDenied = (error: unknown) => isPassthroughError(error, 'REGISTRY_DENIED');

  /** A private registry with a private mirror, and a service that has this auth file. */
  async function start(contentOf: (registry: string, mirror: string) => unknown, helper = '') {
    await using stack = new AsyncDisposableStack();
    const scene = stack.use(await startMirrored({ registry: PRIVATE, mirrors: [PRIVATE] }));
    const folder = stack.use(await makeAuthFolder());
    await folder.addHelper('test', helper);
    const { host: mirror = '' } = scene.mirrors[0] ?? {};
    const write = (more: typeof contentOf) => folder.write('auth.json', more(scene.registry.host, mirror));
    const variables = { ...folder.environment, REGISTRY_AUTH_FILE: await write(contentOf) };
    const { credentials: fixed, files } = loadConfig(variables).registry;
    const all = stack.move();
    return {
      scene,
      write,
      refresh: () => files?.watched.refresh(true),
      open: () => {
        const credential = chooseCredential(scene.host, undefined, fixed, { repository: REPOSITORY });
        return scene.open({ credential, fixed });
      },
      [Symbol.asyncDispose]: () => all.disposeAsync(),
    };
  }

  for (const [what, entry] of [
    ['an entry without credentials', (registry: string) => ({ auths: { [registry]: {} } })],
    ['a program that has none', (registry: string) => ({ credHelpers: { [registry]: 'test' }, auths: {} })],
  ] as const)
    test(`opens nothing by ${what} for the registry`, async () => {
      await using service = await start((registry, mirror) => {
        const { auths, ...rest } = entry(registry);
        return { ...rest, auths: { ...auths, [mirror]: authOf('user', 'secret') } };
      }, 'echo "credentials not found"; exit 1\n');
      const [mirror] = service.scene.mirrors;
      for (let time = 0; time < 2; time += 1) await assert.rejects(pull(service.open()), isDenied);
      assert.deepEqual(mirror?.requests, []);
    });

  test('serves all where a program has given the operator an account at the registry', async () => {
    await using service = await start(
      (registry, mirror) => ({
        credHelpers: { [registry]: 'test' },
        auths: { [mirror]: authOf('user', 'secret') },
      }),
      answering('user', 'secret'),
    );
    const [mirror] = service.scene.mirrors;
    assert.ok(mirror !== undefined);
    await pull(service.open());
    await pull(service.open());
    assert.deepEqual(service.scene.sources(), ['registry', '0']);
  });

  test('opens nothing to a request that began before it had one', async () => {
    await using service = await start(() => ({}));
    const repository = service.open();
    await service.write((_, mirror) => ({ auths: { [mirror]: authOf('user', 'secret') } }));
    await service.refresh();
    await assert.rejects(pull(repository), isDenied);
    const [mirror] = service.scene.mirrors;
    assert.ok(mirror !== undefined);
    assert.deepEqual([...new Set(headersOf(mirror))], [undefined]);
  });
});

describe('credentials of the registry do not reach its mirrors', () => {
  for (const [name, credential] of [
    ['of the client', CLIENT],
    ['of the operator', OPERATOR],
    ['a token', STATIC_TOKEN],
    ['an identity token', IDENTITY],
  ] as const) {
    for (const mode of ['basic', 'token'] as const) {
      test(`${name}, to a mirror that asks for ${mode}`, async () => {
        await using scene = await startMirrored({ mirrors: [{ auth: { mode, allowAnonymous: false } }] });
        const fixed = scene.fixed([], {
          bearerToken: 'static-token-7Q',
          basic: { username: 'user', password: 'secret' },
          // Even a mirror that is listed: it is asked as a mirror here, not as the registry of a request.
          hosts: [],
        });
        await everything(scene.open({ credential, fixed }));
        const [mirror] = scene.mirrors;
        assert.ok(mirror !== undefined && mirror.requests.length > 0);
        const sent = mirror.requests
          .map(({ path, headers }) => `${path} ${JSON.stringify(headers)}`)
          .join('\n');
        for (const secret of ['secret', 'static-token-7Q', 'identity-9Z', BASIC.slice('Basic '.length)])
          assert.ok(!sent.includes(secret), secret);
        assert.deepEqual([...new Set(headersOf(mirror))], [undefined]);
      });
    }
  }

  test('nor the other way round', async () => {
    await using scene = await startMirrored({
      registry: PRIVATE,
      mirrors: [
        { auth: { mode: 'basic', users: new Map([['user', 'secret']]) }, defects: { dropBlob: true } },
      ],
      accounts: 'all',
    });
    const repository = scene.open({ fixed: scene.fixed([0]) });
    (await pull(repository)).content.release();
    await assert.rejects(repository.openLayer(BIG_LAYER, never()), (error) =>
      isPassthroughError(error, 'REGISTRY_DENIED'),
    );
    const [mirror] = scene.mirrors;
    assert.ok(mirror !== undefined && headersOf(mirror).includes(BASIC));
    assert.ok(scene.registry.requests.length > 0);
    assert.deepEqual([...new Set(headersOf(scene.registry))], [undefined]);
  });

  test('and an entry for another path of the mirror is not sent', async () => {
    await using scene = await startMirrored({ mirrors: [PRIVATE] });
    const fixed = scene.fixed([0]);
    const elsewhere = (fixed.listed ?? []).map((entry) => ({ ...entry, repository: `other/${REPOSITORY}` }));
    await everything(scene.open({ fixed: { ...fixed, listed: elsewhere } }));
    const [mirror] = scene.mirrors;
    assert.ok(mirror !== undefined && mirror.requests.length > 0);
    assert.deepEqual([...new Set(headersOf(mirror))], [undefined]);
  });
});

describe("a mirror's account", () => {
  test('goes to its realm, for its own repository, and its token to the mirror alone', async () => {
    await using scene = await startMirrored({
      mirrors: [{ auth: { mode: 'token', allowAnonymous: false } }],
      accounts: 'all',
    });
    await everything(scene.open({ fixed: scene.fixed([0]) }));
    const [mirror] = scene.mirrors;
    assert.deepEqual(scene.paths(scene.registry), []);
    const [request] = mirror?.tokenRequests ?? [];
    assert.equal(request?.headers.authorization, BASIC);
    const { searchParams } = new URL(request?.path ?? '', scene.registry.origin);
    assert.equal(searchParams.get('scope'), `repository:${PREFIX}/${REPOSITORY}:pull`);
    assert.equal(searchParams.has('ns'), false);
  });

  test('does not go to a realm elsewhere', async () => {
    await using realm = await startScriptedServer((_, response) => void response.end('{"token":"t"}'));
    const elsewhere = Object.assign(new URL('/token', realm.origin), { hostname: '127.0.0.2' });
    await using scene = await startMirrored({
      mirrors: [{ auth: { mode: 'token', realm: elsewhere.href } }],
      accounts: 'all',
    });
    await everything(scene.open({ fixed: scene.fixed([0]) }));
    assert.deepEqual(
      [...new Set(headersOf(realm))].filter((header) => header !== undefined),
      [],
    );
  });

  test('does not follow a redirect to another origin', async () => {
    await using scene = await startMirrored({ mirrors: [PRIVATE, {}], accounts: 'all' });
    const [mirror, target] = scene.mirrors;
    assert.ok(mirror !== undefined && target !== undefined);
    mirror.defects.redirectBlobsTo = target.origin;
    const repository = scene.open({ fixed: scene.fixed([0]) });
    await everything(repository);
    const redirected = target.requests.filter(({ path }) => path.startsWith('/signed/'));
    assert.ok(redirected.length > 0);
    assert.deepEqual([...new Set(redirected.map(({ headers }) => headers.authorization))], [undefined]);
    assert.ok(headersOf(mirror).includes(BASIC));
  });
});

describe('TLS settings of the registry', () => {
  for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const)
    test(`do not show its client certificate to a mirror: ${maxVersion}`, async () => {
      const { ca, cert, key, clientCert, clientKey } = await makeCertificates();
      const asking = { cert, key, clientCa: ca };
      const tls = { caCert: ca, clientCert, clientKey };
      await using scene = await startMirrored({
        registry: { tls: asking },
        mirrors: [
          { tls: { ...asking, maxVersion } },
          { tls: { ...asking, maxVersion, isClientCertOptional: true } },
        ],
        tls,
      });
      await everything(scene.open());
      // The first mirror serves no client without a certificate, and the second one has seen none.
      assert.equal(scene.reports()[0], '0 manifest refused');
      assert.equal(scene.access.mirrors?.all.snapshot()[0]?.state, 'closed');
      assert.deepEqual(new Set(scene.sources()), new Set(['1']));
      await scene.open({ credential: CLIENT }).checkLayer(BIG_LAYER, never());
      assert.ok(scene.registry.requests.length > 0, 'the registry has got it');
    });

  for (const [name, credential, accounts, isShown] of [
    ['no credentials', NO_CREDENTIAL, 'layers', false],
    ['no credentials, and no client has rights of its own', NO_CREDENTIAL, 'all', true],
    ["the operator's", OPERATOR, 'layers', true],
    ["the client's, for layers", CLIENT, 'layers', true],
  ] as const) {
    test(`a certificate for the mirror itself is an account: ${isShown ? 'shown' : 'not shown'} with ${name}`, async () => {
      await using scene = await startMirrored({ accounts });
      const { mirrors } = scene.access;
      assert.ok(mirrors !== undefined);
      const seen: (boolean | undefined)[] = [];
      const wire: Transport = {
        send: (request) => {
          seen.push(request.isForeign);
          return mirrors.wire.send(request);
        },
      };
      const access = { ...scene.access, mirrors: { ...mirrors, wire } };
      const { host } = scene;
      await everything(openRepository(access, { host, repository: REPOSITORY, credential }));
      assert.deepEqual(new Set(seen), new Set([isShown ? undefined : true]));
    });
  }

  test('do not make an unverified mirror', async () => {
    const { cert, key } = await makeCertificates();
    await using scene = await startMirrored({
      registry: { tls: { cert, key } },
      mirrors: [{ tls: { cert, key } }],
      tls: { insecure: true },
    });
    await everything(scene.open());
    assert.deepEqual(new Set(scene.sources()), new Set(['registry']));
    assert.match(scene.all[0]?.error?.message ?? '', /certificate/);
  });
});

test('an anonymous token that the registry got is not shown to a mirror', async () => {
  const auth = { mode: 'token' } as const;
  await using scene = await startMirrored({ registry: { auth }, mirrors: [{ auth }] });
  const [mirror] = scene.mirrors;
  assert.ok(mirror !== undefined);
  // Both name one realm, service and scope, as a mirror may that wants the registry's tokens.
  const { service } = scene.registry.auth;
  mirror.auth.challengeSpelling = () =>
    `Bearer realm="${scene.registry.origin}/token",service="${service}",scope="repository:${REPOSITORY}:pull"`;
  await scene.open({ credential: NO_CREDENTIAL, requiresClient: true }).checkLayer(BIG_LAYER, never());
  const [atRegistry] = headersOf(scene.registry, 'authorization', /blobs/).filter((one) => one !== undefined);
  assert.ok(atRegistry !== undefined);
  await everything(scene.open());
  assert.ok(!headersOf(mirror).includes(atRegistry));
});
