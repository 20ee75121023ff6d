/** The scenarios of docs/validation.md: a client like IOS-XE's, the service as its users run it, registries as the public ones are. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { verify } from '../../src/tarball.ts';
import { type FakeRegistry, startFakeRegistry } from '../support/fake-registry.ts';
import { makeImage, makeIndex, makeLayer } from '../support/image.ts';
import { cleanup, requireParts, temporaryDirectory } from './parts.ts';
import { type PublicRegistries, startPublicRegistries } from './public-registries.ts';
import { SCENARIOS, type Scenario } from './scenarios.ts';
import { startService } from './service.ts';
import { copy } from './switch-client.ts';

const CLIENT = { username: 'client-user', password: 'client-token-51c7' };
const OPERATOR = { username: 'operator', password: 'operator-token-e02b' };
const USERS = new Map([CLIENT, OPERATOR].map(({ username, password }) => [username, password]));

/** Both platforms, so that the choice of one is part of every scenario. */
const image = (architecture: string) =>
  makeImage({
    platform: { os: 'linux', architecture },
    layers: [
      { tar: makeLayer({ base: architecture }), compression: 'gzip' },
      { tar: makeLayer({ app: architecture }), compression: 'zstd' },
    ],
  });
const AMD64 = image('amd64');
const INDEX = makeIndex([{ image: AMD64 }, { image: image('arm64') }]);

/** The users that a registry or token endpoint has seen in Basic credentials. */
function usersSeenBy(...servers: readonly FakeRegistry[]): readonly string[] {
  const seen = servers
    .flatMap(({ requests }) => requests)
    .flatMap(({ headers: { authorization = '' } }) => /^Basic (.+)$/.exec(authorization)?.[1] ?? [])
    .map((pair) => Buffer.from(pair, 'base64').toString().split(':')[0] ?? '');
  return [...new Set(seen)];
}

/** All registries, with a scenario's image in its own one, and a service for them. */
async function startScene(t: TestContext, scenario: Scenario) {
  const stack = cleanup(t);
  const directory = await temporaryDirectory(stack, 'validation');
  const publicOnes = await startPublicRegistries(stack, directory, USERS);
  const local = stack.use(
    await startFakeRegistry({
      auth: { mode: scenario.isPrivate ? 'basic' : 'none', users: new Map(USERS) },
    }),
  );
  const { registry, tokens } = registryOf(scenario, publicOnes, local);
  registry.push(scenario.repository, scenario.tag, INDEX);
  if (scenario.isPrivate) {
    for (const one of [registry, tokens]) one.auth.allowAnonymous = 'noAccess';
  }
  const filled = (text: string) => text.replaceAll('{host}', local.host).replaceAll('{origin}', local.origin);
  const own = Object.entries(scenario.env).map(([name, value]) => [name, filled(value)]);
  // The operator's credentials are there in each scenario with a client's: they must not be used.
  const isConfigured = scenario.credentials !== 'none';
  const service = await startService(stack, {
    ...publicOnes.env,
    ...(isConfigured && { REGISTRY_USERNAME: OPERATOR.username, REGISTRY_PASSWORD: OPERATOR.password }),
    ...Object.fromEntries(own),
  });
  const credentials = scenario.credentials === 'client' ? CLIENT : undefined;
  return { directory, publicOnes, registry, tokens, service, credentials, filled };
}

/** The registry of a scenario, and where its tokens come from. */
function registryOf({ registry }: Scenario, { hub, ghcr }: PublicRegistries, local: FakeRegistry) {
  if (registry === 'local registry') return { registry: local, tokens: local, storage: undefined };
  return registry === 'GHCR' ? ghcr : hub;
}

for (const scenario of SCENARIOS) {
  const { name, registry: registryName, path, loadedAs } = scenario;
  test(`${name}, ${registryName}: ${path}`, { timeout: 120_000 }, async (t) => {
    if (!requireParts(t, 'openssl')) return;
    const { directory, publicOnes, registry, tokens, service, credentials, filled } = await startScene(
      t,
      scenario,
    );
    const answers = await copy(service.port, filled(path), credentials);
    const last = answers.at(-1);
    assert.deepEqual(
      answers.map(({ status }) => status),
      credentials === undefined ? [200] : [401, 200],
      String(last?.body.subarray(0, 500)),
    );
    assert.equal(Number(last?.headers['content-length']), last?.body.length);

    const file = join(directory, 'image.tar');
    await writeFile(file, last?.body ?? '');
    const { images } = await verify(file);
    assert.deepEqual(
      images.map(({ tags, config, platform }) => [tags, config, platform]),
      [[[filled(loadedAs)], AMD64.config.digest, 'linux/amd64']],
    );

    const wanted = { none: [], service: [OPERATOR.username], client: [CLIENT.username] }[
      scenario.credentials
    ];
    assert.deepEqual(usersSeenBy(registry, tokens), wanted);
    const { hub, ghcr } = publicOnes;
    for (const one of [hub, ghcr]) {
      const isThis = one.registry === registry;
      // Storage refuses credentials, so each of these was asked without.
      assert.equal(one.storage.requests.length > 0, isThis);
      assert.equal(one.registry.requests.length > 0, isThis);
    }
    for (const { password } of [CLIENT, OPERATOR]) assert.ok(!service.said().includes(password));
  });
}

const [PUBLIC_HUB] = SCENARIOS;
const AUTHENTICATED_GHCR = SCENARIOS.at(-1);
assert.ok(PUBLIC_HUB !== undefined && AUTHENTICATED_GHCR !== undefined);

test('the rate limit of Docker Hub is 503 with its Retry-After, and passes', {
  timeout: 120_000,
}, async (t) => {
  if (!requireParts(t, 'openssl')) return;
  const { registry, service } = await startScene(t, PUBLIC_HUB);
  registry.defects.failWith = { status: 429, headers: { 'Retry-After': '21600' } };
  const [limited] = await copy(service.port, PUBLIC_HUB.path);
  assert.deepEqual([limited?.status, limited?.headers['retry-after']], [503, '21600']);
  assert.match(String(limited?.body), /^Busy: .+\n\n.*error: REGISTRY_RATE_LIMITED\n/s);
  registry.defects.failWith = undefined;
  const [served] = await copy(service.port, PUBLIC_HUB.path);
  assert.equal(served?.status, 200);
});

test('a private image of GHCR is refused to a wrong token, and to a client without one', async (t) => {
  if (!requireParts(t, 'openssl')) return;
  const { service } = await startScene(t, AUTHENTICATED_GHCR);
  const wrong = await copy(service.port, AUTHENTICATED_GHCR.path, { ...CLIENT, password: 'expired' });
  assert.deepEqual(
    wrong.map(({ status }) => status),
    [401, 502],
  );
  assert.match(String(wrong[1]?.body), /^Failed to prepare image: .+error: REGISTRY_DENIED\n/s);
  const none = await copy(service.port, AUTHENTICATED_GHCR.path);
  assert.deepEqual(
    none.map(({ status }) => status),
    [401],
  );
});
