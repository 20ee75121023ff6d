/** `REGISTRY_MIRRORS`: archives from mirrors, and what mirrors do not open. */

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import type { ListedCredentials } from '../../../src/registry/auth/credentials.ts';
import {
  APP,
  APP_FILE,
  assertHolds,
  assertHoldsPacked,
  BASE_DIGEST,
  recordRequests,
  startScene,
  TOOL,
  TOOL_FILE,
} from '../../support/cached.ts';
import type { Defects } from '../../support/defects.ts';
import {
  type FakeRegistry,
  type FakeRegistryOptions,
  startFakeRegistry,
} from '../../support/fake-registry.ts';
import type { Pushable } from '../../support/image.ts';
import { basic } from '../../support/pair.ts';
import { assertError, firstLine } from '../../support/reading.ts';
import type { RequestOptions, TestService, TestServiceOptions } from '../../support/service.ts';
import {
  bundleManifest,
  makeArtifact,
  makeBundle,
  makeSigningKey,
  makeStatement,
  referrersIndex,
  signatureTags,
  signedByTag,
} from '../../support/signing.ts';
import { recordSpans } from '../../support/span-recorder.ts';

const RIGHT: RequestOptions = { headers: { authorization: basic('user', 'secret') } };
const WRONG: RequestOptions = { headers: { authorization: basic('user', 'guess') } };

const recorder = recordSpans();

/** How to start a registry with mirrors. */
interface MirroredOptions {
  readonly registry?: FakeRegistryOptions;
  readonly mirrors?: readonly FakeRegistryOptions[];
  /** Whether the service has an account at each mirror. */
  readonly hasAccounts?: boolean;
}

interface Mirrored extends AsyncDisposable {
  readonly registry: FakeRegistry;
  readonly mirrors: readonly FakeRegistry[];
  readonly directory: string;
  /** Requests to a mirror since the last call. */
  readonly take: readonly (() => readonly string[])[];
  readonly takeRequests: () => readonly string[];
  start(env?: Readonly<Record<string, string>>, options?: TestServiceOptions): Promise<TestService>;
}

/** A registry and mirrors with the same images, and services that use them. */
async function startMirrored({
  registry,
  mirrors: ofMirrors = [{}],
  hasAccounts = false,
}: MirroredOptions = {}): Promise<Mirrored> {
  await using stack = new AsyncDisposableStack();
  const scene = stack.use(await startScene(registry));
  const mirrors = await Promise.all(ofMirrors.map((options) => startFakeRegistry(options)));
  for (const mirror of mirrors) {
    stack.use(mirror);
    mirror.push('hub/team/app', '1', APP);
    mirror.push('hub/team/app', '2', TOOL);
    mirror.push('hub/org/tool', '1', TOOL);
  }
  const listed = mirrors.flatMap(({ origin }) =>
    ['hub/team/app', 'hub/org/tool'].map(
      (repository): ListedCredentials => ({
        ...{ origin, repository },
        credentials: { username: 'user', password: 'secret' },
      }),
    ),
  );
  const { host } = new URL(scene.registry.origin);
  const variable = `${host}=${mirrors.map(({ origin }) => `${origin}/hub`).join('|')}`;
  const all = stack.move();
  return {
    ...scene,
    mirrors,
    take: mirrors.map(recordRequests),
    start: (env, options) =>
      scene.start({ REGISTRY_MIRRORS: variable, ...env }, { ...options, ...(hasAccounts && { listed }) }),
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  };
}

describe('an archive comes from a mirror', () => {
  test('while the registry is down', async () => {
    await using scene = await startMirrored();
    await using service = await scene.start();
    await scene.registry.close();
    assertHolds(await service.request(APP_FILE), APP);
    // Both images have the base layer, and the registry cannot say whether the second repository has it.
    assertHolds(await service.request(TOOL_FILE), TOOL);
    assertHolds(await service.request(APP_FILE), APP);
  });

  test('also for look-ups, and the trace says from which', async () => {
    await using scene = await startMirrored();
    await using service = await scene.start();
    const reply = await service.request('/manifest/team/app:1');
    assert.equal(reply.status, 200);
    assert.deepEqual(scene.takeRequests(), []);
    const before = recorder.spans.length;
    assertHolds(await service.request(APP_FILE), APP);
    const [mirror] = scene.mirrors;
    for (const name of ['resolve_manifest', 'fetch_config_blob', 'download_layer_1']) {
      const span = recorder.spans.slice(before).find((one) => one.name === name);
      assert.equal(span?.attributes['passthrough.registry.source'], `${mirror?.origin}/hub`, name);
    }
    assert.deepEqual(scene.takeRequests(), []);
  });

  test('or from the registry, and the trace says so', async () => {
    await using scene = await startMirrored({ mirrors: [{ defects: { failWith: { status: 404 } } }] });
    await using service = await scene.start();
    const before = recorder.spans.length;
    assertHolds(await service.request(APP_FILE), APP);
    const span = recorder.spans.slice(before).find(({ name }) => name === 'resolve_manifest');
    assert.equal(span?.attributes['passthrough.registry.source'], scene.registry.origin);
  });

  test('that is not among the registries that a request may name', async () => {
    await using scene = await startMirrored();
    await using service = await scene.start({ REGISTRY_ALLOWED_HOSTS: new URL(scene.registry.origin).host });
    await scene.registry.close();
    assertHolds(await service.request(APP_FILE), APP);
    const { host } = new URL(scene.mirrors[0]?.origin ?? '');
    assertError(
      await service.request(`/registry/http/${host}/docker/hub__team__app_1.tar`),
      403,
      'REGISTRY_NOT_ALLOWED',
    );
  });
});

describe('an archive is right although a mirror', () => {
  const faults: Readonly<Record<string, Defects>> = {
    'gives wrong bytes': { wrongBlobDigest: { digest: BASE_DIGEST } },
    'gives too many bytes': { wrongBlobSize: { digest: BASE_DIGEST, by: 9 } },
    'gives too few bytes': { wrongBlobSize: { digest: BASE_DIGEST, by: -9 } },
    'gives no bytes': { wrongBlobSize: { digest: BASE_DIGEST, by: -1_000_000 } },
    'breaks off': { truncateBlob: { digest: BASE_DIGEST, afterBytes: 40_000 } },
    'has no layers': { dropBlob: true },
  };
  const paths = [
    APP_FILE,
    `${APP_FILE}?start=early`,
    '/docker-gzip/team_app_1.tar',
    '/docker-gzip/team_app_1.tar?start=early',
    '/docker/team_app_1.tgz',
  ];
  for (const [fault, defects] of Object.entries(faults)) {
    for (const path of paths) {
      test(`${fault}: ${path}`, async () => {
        await using scene = await startMirrored({ mirrors: [{ defects }] });
        await using service = await scene.start();
        await using plain = await scene.start({ REGISTRY_MIRRORS: '' });
        const reply = await service.request(path);
        const expected = await plain.request(path);
        assert.deepEqual([reply.status, reply.isCut], [200, false], firstLine(reply));
        assert.ok(reply.body.equals(expected.body));
        if (path.startsWith('/docker-gzip')) assertHoldsPacked(expected, APP);
      });
    }
  }

  test('gives wrong bytes, which the log says', async () => {
    await using scene = await startMirrored({
      mirrors: [{ defects: { wrongBlobDigest: { digest: BASE_DIGEST } } }, {}],
    });
    await using service = await scene.start();
    assertHolds(await service.request(APP_FILE), APP);
    const [first] = scene.mirrors;
    await service.waitForLog({
      event: 'mirror_wrong',
      level: 'warn',
      mirror: `${first?.origin}/hub`,
      operation: 'layer',
    });
    // The second mirror has them, so the registry is not asked.
    assert.deepEqual(scene.takeRequests(), []);
  });

  test('and the registry give wrong bytes: then there is none', async () => {
    const defects: Defects = { wrongBlobDigest: { digest: BASE_DIGEST } };
    await using scene = await startMirrored({ registry: { defects }, mirrors: [{ defects }] });
    await using service = await scene.start();
    assertError(await service.request(APP_FILE), 502, 'VERIFICATION_FAILED');
    assert.equal(scene.takeRequests().filter((line) => line.includes(BASE_DIGEST)).length, 1);
  });
});

describe('a mirror that fails', () => {
  test('is asked once, then left alone, which the log says once', async () => {
    await using scene = await startMirrored({
      mirrors: [{ defects: { failWith: { status: 503, headers: { 'Retry-After': '90' } } } }],
    });
    await using service = await scene.start({ CACHE_MAX_BYTES: '0' });
    const [take] = scene.take;
    for (let round = 0; round < 3; round += 1) assertHolds(await service.request(APP_FILE), APP);
    assert.deepEqual(take?.().length, 1);
    const lines = service.logs().filter(({ event }) => event === 'mirror_left_alone');
    assert.equal(lines.length, 1);
    assert.equal(lines[0]?.['seconds'], 90);
    assert.equal(lines[0]?.['error'], 'REGISTRY_FAILED');
  });

  test('by a refusal is logged, and asked again', async () => {
    await using scene = await startMirrored({ mirrors: [{ auth: { mode: 'basic' } }] });
    await using service = await scene.start({ CACHE_MAX_BYTES: '0' });
    assertHolds(await service.request(APP_FILE), APP);
    await service.waitForLog({
      event: 'mirror_refused',
      level: 'warn',
      operation: 'manifest',
      error: 'REGISTRY_DENIED',
    });
  });
});

describe('a tag that a mirror resolved is its word', () => {
  test('which counts for those without credentials, and not for the others', async () => {
    await using scene = await startMirrored();
    await using service = await scene.start();
    const { registry } = scene;
    registry.push('team/app', '1', TOOL);
    assertHolds(await service.request(APP_FILE), APP);
    assertHolds(await service.request(APP_FILE, RIGHT), TOOL);
    assertHolds(await service.request(APP_FILE), APP);
  });

  test('and is not remembered for the registry, whatever happens to both', async () => {
    await using scene = await startMirrored();
    const env = { CACHE_SERVE_STALE: '60', CACHE_DIR: scene.directory };
    await using service = await scene.start(env);
    const [mirror] = scene.mirrors;
    assert.ok(mirror !== undefined);
    assertHolds(await service.request(APP_FILE), APP);
    await Promise.all([scene.registry.close(), mirror.close()]);
    // The mirror served it to all, and it is down now.
    const stale = await service.request(APP_FILE);
    assertHolds(stale, APP);
    assert.match(stale.headers.warning ?? '', /Response is Stale/);
    // The registry never served it.
    for (const client of [RIGHT, WRONG])
      assertError(await service.request(APP_FILE, client), 502, 'REGISTRY_UNREACHABLE');
    const { host } = new URL(scene.registry.origin);
    const required = `/registry-auth/http/${host}/docker/team_app_1.tar`;
    assertError(await service.request(required, RIGHT), 502, 'REGISTRY_UNREACHABLE');
  });

  test('what the registry has said itself is served before it, while both are down', async () => {
    await using scene = await startMirrored();
    await using service = await scene.start({ CACHE_SERVE_STALE: '60' });
    const [mirror] = scene.mirrors;
    assert.ok(mirror !== undefined);
    assertHolds(await service.request(APP_FILE), APP);
    scene.registry.push('team/app', '1', TOOL);
    mirror.defects.failWith = { status: 404 };
    assertHolds(await service.request(APP_FILE), TOOL);
    mirror.defects.failWith = undefined;
    assertHolds(await service.request(APP_FILE), APP);
    await Promise.all([scene.registry.close(), mirror.close()]);
    assertHolds(await service.request(APP_FILE), TOOL);
  });

  test('and a live registry comes before what a mirror that is down has said', async () => {
    await using scene = await startMirrored();
    await using service = await scene.start({ CACHE_SERVE_STALE: '60' });
    assertHolds(await service.request(APP_FILE), APP);
    await scene.mirrors[0]?.close();
    scene.registry.push('team/app', '1', TOOL);
    const reply = await service.request(APP_FILE);
    assertHolds(reply, TOOL);
    assert.equal(reply.headers.warning, undefined);
    scene.registry.defects.failWith = { status: 404 };
    assertError(await service.request(APP_FILE), 502, 'IMAGE_NOT_FOUND');
  });
});

describe("what a mirror's account may read, a client without rights may not", () => {
  const clients: Readonly<Record<string, RequestOptions>> = {
    'no credentials': {},
    'a wrong password': WRONG,
  };
  const registries: Readonly<Record<string, FakeRegistryOptions>> = {
    'that takes Basic': { auth: { mode: 'basic' } },
    'without anonymous tokens': { auth: { mode: 'token', allowAnonymous: false } },
    'with anonymous tokens that grant nothing': { auth: { mode: 'token', allowAnonymous: 'noAccess' } },
  };
  for (const [registry, options] of Object.entries(registries)) {
    for (const isCached of [false, true]) {
      test(`${isCached ? 'cached' : 'not cached'}, registry ${registry}`, async () => {
        await using scene = await startMirrored({
          registry: options,
          mirrors: [{ auth: { mode: 'basic' } }],
          hasAccounts: true,
        });
        await using service = await scene.start({ CACHE_SERVE_STALE: '60' });
        const { host } = new URL(scene.registry.origin);
        if (isCached) {
          assertHolds(await service.request(APP_FILE, RIGHT), APP);
          // Its layers came from the mirror, with the account.
          assert.ok(scene.take[0]?.().some((line) => line.includes('/blobs/')));
        }
        const paths = [
          APP_FILE,
          `${APP_FILE}?start=early`,
          '/docker/team_app_1.tgz',
          '/docker/team_app_1.tar.sha256',
          '/docker-gzip/team_app_1.tar',
          '/oci/team_app_1.tar',
          '/team/app:1',
          `/team/app@${APP.manifest.digest}`,
          '/bundle.tar?image=team/app:1&image=org/tool:1',
          '/manifest/team/app:1',
          '/since/2/docker/team_app_1.tar',
          `/registry/http/${host}/docker/team_app_1.tar`,
          `/registry-auth/http/${host}/docker/team_app_1.tar`,
        ];
        for (const [name, client] of Object.entries(clients)) {
          for (const path of paths) {
            const reply = await service.request(path, client);
            assert.ok([401, 502].includes(reply.status), `${name} ${path}: ${firstLine(reply)}`);
            assert.match(
              reply.body.toString(),
              /^error: (?:REGISTRY_DENIED|CREDENTIALS_REQUIRED)$/m,
              `${name} ${path}`,
            );
          }
        }
        // While the registry is down, no one can say who has the right.
        scene.registry.defects.resetConnections = {};
        for (const client of [{}, WRONG, RIGHT])
          assertError(await service.request(APP_FILE, client), 502, 'REGISTRY_UNREACHABLE');
        assert.deepEqual(
          scene.take[0]?.().filter((line) => /manifests/.test(line)),
          [],
        );
      });
    }
  }

  test('also not at the first request after the account was added, while that of the registry serves at once', async () => {
    await using scene = await startMirrored({
      registry: { auth: { mode: 'basic' } },
      mirrors: [{ auth: { mode: 'basic' } }],
    });
    const path = join(scene.directory, 'auth.json');
    const auth = { username: 'user', password: 'secret' };
    const write = (host = '') =>
      writeFile(path, JSON.stringify({ auths: host === '' ? {} : { [host]: auth } }));
    for (const [host, status] of [
      [scene.mirrors[0]?.host, 502],
      [scene.registry.host, 200],
    ] as const) {
      await write();
      await using service = await scene.start({ REGISTRY_AUTH_FILE: path });
      await write(host);
      assert.equal(
        (await service.request(`/registry/http/${scene.registry.host}${APP_FILE}`)).status,
        status,
      );
    }
  });

  test('unless clients bring no credentials at all', async () => {
    await using scene = await startMirrored({
      registry: { auth: { mode: 'basic' } },
      mirrors: [{ auth: { mode: 'basic' } }],
      hasAccounts: true,
    });
    await using service = await scene.start({ REGISTRY_CLIENT_AUTH: 'off' });
    assertHolds(await service.request(APP_FILE), APP);
    // One that sends them is treated alike.
    assertHolds(await service.request(APP_FILE, WRONG), APP);
  });

  test('a client with rights gets the layers that the mirror has, each confirmed by the registry', async () => {
    await using scene = await startMirrored({
      registry: { auth: { mode: 'basic' } },
      mirrors: [{ auth: { mode: 'basic' } }],
      hasAccounts: true,
    });
    await using service = await scene.start();
    assertHolds(await service.request(APP_FILE, RIGHT), APP);
    const atRegistry = scene.takeRequests().filter((line) => /\/blobs\//.test(line));
    const layers = APP.layers.map(({ digest }) => digest);
    assert.deepEqual(
      atRegistry.filter((line) => line.startsWith('GET ')),
      [`GET team/app/blobs/${APP.config.digest}`],
    );
    for (const digest of layers) assert.ok(atRegistry.includes(`HEAD team/app/blobs/${digest}`), digest);
  });

  test('a layer of another repository that the registry does not confirm is not fetched from a mirror', async () => {
    await using scene = await startMirrored({
      registry: { auth: { mode: 'basic' }, defects: { dropBlob: { digest: BASE_DIGEST } } },
      mirrors: [{ auth: { mode: 'basic' } }],
      hasAccounts: true,
    });
    await using service = await scene.start();
    assertError(await service.request(APP_FILE, RIGHT), 502, 'IMAGE_NOT_FOUND');
    assert.ok(!scene.take[0]?.().some((line) => line.includes(BASE_DIGEST)));
  });
});

describe('the start', () => {
  for (const [name, value] of [
    ['a mirror without a scheme', 'docker.io=mirror-1'],
    ['a mirror with a password', 'docker.io=https://u:hunter2@mirror-1'],
  ]) {
    test(`refuses ${name}, and shows no password`, async () => {
      await using scene = await startScene();
      await assert.rejects(
        scene.start({ REGISTRY_MIRRORS: value ?? '' }),
        (error) =>
          error instanceof Error && /REGISTRY_MIRRORS/.test(error.message) && !/hunter2/.test(error.message),
      );
    });
  }
});

describe('a signature of an image from a mirror', () => {
  const KEY = makeSigningKey();
  const { digest } = APP.manifest;
  const { tag, fallback } = signatureTags(digest);
  const GOOD = signedByTag(digest, KEY);
  /** As a mirror has it that was filled before the key was changed. */
  const OLD = signedByTag(digest, makeSigningKey());
  const BILLS = referrersIndex([makeArtifact([])], { artifactType: 'application/spdx+json' });
  type Signatures = Readonly<Record<string, Pushable>>;
  const rows: readonly [where: string, atRegistry: Signatures, atMirror: Signatures, status: number][] = [
    ['at both', { [tag]: GOOD }, { [tag]: GOOD }, 200],
    ['at the registry', { [tag]: GOOD }, {}, 200],
    ['at the mirror', {}, { [tag]: GOOD }, 200],
    ['nowhere', {}, {}, 403],
    ['at the registry, and an older one at the mirror', { [tag]: GOOD }, { [tag]: OLD }, 200],
    ['at the registry, and what is none at the mirror', { [tag]: GOOD }, { [tag]: BILLS }, 200],
    [
      'at the registry, and an older list at the mirror',
      { [fallback]: referrersIndex([bundleManifest(digest, makeBundle(makeStatement(digest), KEY))]) },
      { [fallback]: BILLS },
      200,
    ],
    ['that does not count at both', { [tag]: OLD }, { [tag]: OLD }, 403],
  ];
  for (const [where, atRegistry, atMirror, status] of rows) {
    test(`${where} gives ${status}`, async () => {
      await using mirrored = await startMirrored();
      const { registry, directory } = mirrored;
      const [mirror] = mirrored.mirrors;
      for (const [name, pushed] of Object.entries(atRegistry)) registry.push('team/app', name, pushed);
      for (const [name, pushed] of Object.entries(atMirror)) mirror?.push('hub/team/app', name, pushed);
      const key = join(directory, 'release.pub');
      await writeFile(key, KEY.pem);
      await using service = await mirrored.start({ SIGNATURE_KEYS: key });
      const reply = await service.request(APP_FILE);
      if (status === 200) assertHolds(reply, APP);
      else assertError(reply, 403, /^Image not signed: /);
      assert.equal(registry.countRequests(new RegExp(BASE_DIGEST)), 0, 'the mirror has the layer');
    });
  }

  test('is looked for once at the registry where the mirror has none', async () => {
    await using mirrored = await startMirrored();
    const key = join(mirrored.directory, 'release.pub');
    await writeFile(key, KEY.pem);
    await using service = await mirrored.start({ SIGNATURE_KEYS: key });
    assertError(await service.request(APP_FILE), 403, /^Image not signed: /);
    assert.equal(mirrored.registry.countRequests(/GET .*\.sig/), 1);
  });
});
