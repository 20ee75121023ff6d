/** The service in front of a real registry, in each way in which a registry lets its clients in. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { assertArchive, assertHeadAgrees, manifestOf } from './archive.ts';
import { curl } from './curl.ts';
import { assertFailure } from './failure.ts';
import { image, manyLayers, openBench, published, push, twoPlatforms } from './images.ts';
import { cleanup, requireParts, temporaryDirectory } from './parts.ts';
import { PASSWORD, type Registry, startRegistry, USERNAME } from './registry.ts';
import { type Service, startService, untilNothingHeld } from './service.ts';

const OPTIONS = { timeout: 120_000 };
const STATIC_CREDENTIALS = { REGISTRY_USERNAME: USERNAME, REGISTRY_PASSWORD: PASSWORD };
const CLIENT_CREDENTIALS = ['-u', `${USERNAME}:${PASSWORD}`] as const;
const WRONG_PASSWORD = ['-u', `${USERNAME}:wrong-${PASSWORD}`] as const;

function isReady(t: TestContext): boolean {
  return requireParts(t, 'busybox', 'curl', 'docker-registry', 'htpasswd', 'openssl', 'skopeo', 'tar');
}

/** `/registry-auth/http/127.0.0.1%3A5000/docker/FILE` */
function requestPath(
  route: 'registry' | 'registry-auth',
  { origin, host }: Registry,
  filename: string,
): string {
  const scheme = origin.slice(0, origin.indexOf(':'));
  return `/${route}/${scheme}/${encodeURIComponent(host)}/docker/${filename}`;
}

const FAILED = { status: 502, title: 'Failed to prepare image' } as const;
/** The registry's own word for a wrong password. */
const REFUSED = { ...FAILED, tells: /UNAUTHORIZED/ } as const;
/** To a stranger it may also say that the image is not for strangers. */
const REFUSED_STRANGER = { ...FAILED, tells: /UNAUTHORIZED|DENIED/ } as const;
const CHALLENGED = {
  ...{ status: 401, title: 'Registry credentials are required' },
  headers: { 'www-authenticate': /^Basic realm="registry credentials"$/ },
} as const;

/** No secret is in the log, in any of the forms in which it travels. */
function assertNoSecretLogged(service: Service): void {
  const pair = `${USERNAME}:${PASSWORD}`;
  for (const secret of [PASSWORD, encodeURIComponent(PASSWORD), Buffer.from(pair).toString('base64')]) {
    assert.ok(!service.said().includes(secret), 'a credential is in the log');
  }
  assert.doesNotMatch(service.said(), /eyJ[\w-]+\.eyJ/, 'a token is in the log');
}

test('a registry that is open to all', OPTIONS, async (t) => {
  if (!isReady(t)) return;
  const stack = cleanup(t);
  const directory = await temporaryDirectory(stack, 'curl');
  const [registry, bench] = await Promise.all([startRegistry(stack, 'none'), openBench(stack)]);
  await push(registry, bench, await image(bench, 'one component'), 'nginx:1.25');
  await push(registry, bench, await twoPlatforms(bench, 'two'), 'team/app:1');
  await push(registry, bench, await twoPlatforms(bench, 'three'), 'team/platform/api:2026.06', 'docker');
  const service = await startService(stack, { REGISTRY_URL: registry.origin });

  for (const [filename, reference] of [
    ['nginx_1.25.tar', 'nginx:1.25'],
    ['team_app_1.tar', 'team/app:1'],
    ['team__app_1.tar', 'team/app:1'],
    ['team__platform__api_2026.06.tar', 'team/platform/api:2026.06'],
  ] as const) {
    await t.test(`/docker/${filename} gives ${reference}, and HEAD its headers`, async () => {
      const url = `${service.origin}/docker/${filename}`;
      const answer = await curl(directory, url);
      await assertArchive(answer, filename, await published(registry, reference));
      assert.deepEqual((await manifestOf(answer.file)).RepoTags, [`${registry.host}/${reference}`]);
      await assertHeadAgrees(directory, answer, url);
      await untilNothingHeld(service);
    });
  }

  await t.test('the platform may stand in the path or in the query', async () => {
    const image = await published(registry, 'team/app:1', 'arm64');
    for (const url of [
      `${service.origin}/platform/linux/arm64/docker/team_app_1.tar`,
      `${service.origin}/docker/team_app_1.tar?platform=linux/arm64`,
    ]) {
      await assertArchive(await curl(directory, url), 'team_app_1.tar', image);
    }
  });

  await t.test('the registry may stand in the path, its colon as it is or escaped', async (t) => {
    const elsewhere = await startService(cleanup(t), { REGISTRY_URL: 'http://127.0.0.1:1' });
    const image = await published(registry, 'team/app:1');
    for (const host of [registry.host, registry.host.replace(':', '%3A')]) {
      const url = `${elsewhere.origin}/registry/http/${host}/docker/team_app_1.tar`;
      await assertArchive(await curl(directory, url), 'team_app_1.tar', image);
    }
  });

  await t.test('REGISTRY_NAME and REGISTRY_DEFAULT_NAMESPACE are what the tag shows', async (t) => {
    const named = await startService(cleanup(t), {
      REGISTRY_URL: registry.origin,
      REGISTRY_NAME: 'registry.example.com',
      REGISTRY_DEFAULT_NAMESPACE: 'team',
    });
    const answer = await curl(directory, `${named.origin}/docker/app_1.tar`);
    await assertArchive(answer, 'app_1.tar', await published(registry, 'team/app:1'));
    assert.deepEqual((await manifestOf(answer.file)).RepoTags, ['registry.example.com/team/app:1']);
  });
});

for (const mode of ['htpasswd', 'token'] as const) {
  test(`a registry that asks for a password (${mode})`, OPTIONS, async (t) => {
    if (!isReady(t)) return;
    const stack = cleanup(t);
    const directory = await temporaryDirectory(stack, 'curl');
    const [registry, bench] = await Promise.all([startRegistry(stack, mode), openBench(stack)]);
    await push(registry, bench, await manyLayers(bench, 12), 'team/app:1');
    const image = await published(registry, 'team/app:1');
    const withClient = (route: 'registry' | 'registry-auth') =>
      requestPath(route, registry, 'team_app_1.tar');
    const anonymous = await startService(stack, { REGISTRY_URL: registry.origin });

    await t.test('takes REGISTRY_USERNAME and REGISTRY_PASSWORD', async (t) => {
      const service = await startService(cleanup(t), {
        REGISTRY_URL: registry.origin,
        ...STATIC_CREDENTIALS,
      });
      const url = `${service.origin}/docker/team_app_1.tar`;
      const answer = await curl(directory, url);
      await assertArchive(answer, 'team_app_1.tar', image);
      await assertHeadAgrees(directory, answer, url);
      assertNoSecretLogged(service);
    });

    await t.test('refuses a wrong REGISTRY_PASSWORD with its own error code', async (t) => {
      const service = await startService(cleanup(t), {
        REGISTRY_URL: registry.origin,
        ...STATIC_CREDENTIALS,
        REGISTRY_PASSWORD: 'wrong',
      });
      await assertFailure(directory, service.origin, { path: '/docker/team_app_1.tar', ...REFUSED });
    });

    await t.test('refuses a service without credentials with its own error code', async () => {
      const path = '/docker/team_app_1.tar';
      await assertFailure(directory, anonymous.origin, { path, ...REFUSED_STRANGER });
    });

    await t.test('is sent the configured credentials only where they belong', async (t) => {
      const stack = cleanup(t);
      const bound = { REGISTRY_URL: 'http://127.0.0.1:1', ...STATIC_CREDENTIALS };
      const strict = await startService(stack, bound);
      await assertFailure(directory, strict.origin, { path: withClient('registry'), ...REFUSED_STRANGER });
      const wide = await startService(stack, { ...bound, REGISTRY_CREDENTIALS_HOSTS: registry.host });
      const answer = await curl(directory, wide.origin + withClient('registry'));
      await assertArchive(answer, 'team_app_1.tar', image);
    });

    await t.test('takes the credentials of the client, on both routes that name a registry', async () => {
      for (const route of ['registry', 'registry-auth'] as const) {
        const url = anonymous.origin + withClient(route);
        const answer = await curl(directory, url, ...CLIENT_CREDENTIALS);
        await assertArchive(answer, 'team_app_1.tar', image);
        await assertHeadAgrees(directory, answer, url, ...CLIENT_CREDENTIALS);
      }
      assertNoSecretLogged(anonymous);
    });

    await t.test('one client gains nothing from the credentials of another', async () => {
      const path = withClient('registry');
      assert.equal((await curl(directory, anonymous.origin + path, ...CLIENT_CREDENTIALS)).status, 200);
      await assertFailure(directory, anonymous.origin, { path, ...REFUSED_STRANGER });
      await assertFailure(directory, anonymous.origin, { path, args: WRONG_PASSWORD, ...REFUSED });
    });

    await t.test('refuses a wrong password of the client with its own error code', async () => {
      const path = withClient('registry-auth');
      await assertFailure(directory, anonymous.origin, { path, args: WRONG_PASSWORD, ...REFUSED });
    });

    await t.test(
      '/registry-auth without credentials challenges before any request to a registry',
      async () => {
        const asked = registry.tokenServer?.requests.length;
        await assertFailure(directory, anonymous.origin, {
          path: withClient('registry-auth'),
          ...CHALLENGED,
        });
        assert.equal(registry.tokenServer?.requests.length, asked);
      },
    );

    await t.test('REGISTRY_CLIENT_AUTH=required asks the client on every route', async (t) => {
      const service = await startService(cleanup(t), {
        REGISTRY_URL: registry.origin,
        REGISTRY_CLIENT_AUTH: 'required',
      });
      const path = '/docker/team_app_1.tar';
      await assertFailure(directory, service.origin, { path, ...CHALLENGED });
      const answer = await curl(directory, service.origin + path, ...CLIENT_CREDENTIALS);
      await assertArchive(answer, 'team_app_1.tar', image);
    });

    await t.test('REGISTRY_CLIENT_AUTH=off ignores what the client sends', async (t) => {
      const service = await startService(cleanup(t), {
        REGISTRY_URL: registry.origin,
        REGISTRY_CLIENT_AUTH: 'off',
      });
      const path = withClient('registry');
      await assertFailure(directory, service.origin, { path, args: CLIENT_CREDENTIALS, ...REFUSED_STRANGER });
    });

    await t.test('a client that waits for the challenge, as a switch does, is served', async () => {
      const url = anonymous.origin + withClient('registry-auth');
      const answer = await curl(directory, url, '--anyauth', ...CLIENT_CREDENTIALS);
      await assertArchive(answer, 'team_app_1.tar', image);
    });

    await untilNothingHeld(anonymous);
  });
}

test('a registry with a token server', OPTIONS, async (t) => {
  if (!isReady(t)) return;
  const stack = cleanup(t);
  const directory = await temporaryDirectory(stack, 'curl');
  const [registry, bench] = await Promise.all([startRegistry(stack, 'token'), openBench(stack)]);
  await push(registry, bench, await manyLayers(bench, 20), 'public/app:1');
  await push(registry, bench, await manyLayers(bench, 20), 'team/app:1');
  const requests = registry.tokenServer?.requests ?? [];

  await t.test('gives a public image to a service without credentials', async (t) => {
    const service = await startService(cleanup(t), { REGISTRY_URL: registry.origin });
    const image = await published(registry, 'public/app:1');
    requests.length = 0;
    await assertArchive(
      await curl(directory, `${service.origin}/docker/public_app_1.tar`),
      'public_app_1.tar',
      image,
    );
    assert.deepEqual(requests, [
      { service: 'registry.test', scopes: ['repository:public/app:pull'], username: undefined, status: 200 },
    ]);
  });

  await t.test('is asked for one token for all of an image', async (t) => {
    const service = await startService(cleanup(t), { REGISTRY_URL: registry.origin, ...STATIC_CREDENTIALS });
    const image = await published(registry, 'team/app:1');
    requests.length = 0;
    await assertArchive(
      await curl(directory, `${service.origin}/docker/team_app_1.tar`),
      'team_app_1.tar',
      image,
    );
    assert.deepEqual(requests, [
      { service: 'registry.test', scopes: ['repository:team/app:pull'], username: USERNAME, status: 200 },
    ]);
    assertNoSecretLogged(service);
  });
});

test('a registry with a certificate of a private authority', OPTIONS, async (t) => {
  if (!isReady(t)) return;
  const stack = cleanup(t);
  const directory = await temporaryDirectory(stack, 'curl');
  const [registry, bench] = await Promise.all([startRegistry(stack, 'tls'), openBench(stack)]);
  await push(registry, bench, await image(bench, 'by TLS'), 'team/app:1');
  const authority = { NODE_EXTRA_CA_CERTS: registry.authority ?? '' };

  await t.test('is trusted through NODE_EXTRA_CA_CERTS', async (t) => {
    const service = await startService(cleanup(t), { REGISTRY_URL: registry.origin, ...authority });
    const image = await published(registry, 'team/app:1');
    for (const path of ['/docker/team_app_1.tar', requestPath('registry', registry, 'team_app_1.tar')]) {
      const answer = await curl(directory, service.origin + path);
      await assertArchive(answer, 'team_app_1.tar', image);
      await assertHeadAgrees(directory, answer, service.origin + path);
    }
  });

  await t.test('is refused without it, and the certificate named as the reason', async (t) => {
    const service = await startService(cleanup(t), { REGISTRY_URL: registry.origin });
    const path = '/docker/team_app_1.tar';
    await assertFailure(directory, service.origin, { path, ...FAILED, tells: /certificate/i });
  });
});
