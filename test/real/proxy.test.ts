/** The service behind a forward proxy, as most of its registries are. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type ForwardProxy, startForwardProxy } from '../support/forward-proxy.ts';
import { assertArchive, manifestOf } from './archive.ts';
import { curl } from './curl.ts';
import { image, openBench, published, push } from './images.ts';
import { cleanup, requireParts, temporaryDirectory } from './parts.ts';
import { REGISTRY_TEST_NAME, startRegistry } from './registry.ts';
import { startService } from './service.ts';

/** Each request that went through a proxy, as `METHOD authority`. */
function seenBy({ requests }: ForwardProxy): readonly string[] {
  return requests.map(({ method, target }) => `${method} ${URL.parse(target)?.host || target}`);
}

for (const [mode, variable] of [
  ['none', 'HTTP_PROXY'],
  ['tls', 'HTTPS_PROXY'],
] as const) {
  test(`a registry behind ${variable}`, { timeout: 120_000 }, async (t) => {
    if (!requireParts(t, 'busybox', 'curl', 'docker-registry', 'openssl', 'skopeo', 'tar')) return;
    const stack = cleanup(t);
    const directory = await temporaryDirectory(stack, 'curl');
    const [registry, bench] = await Promise.all([startRegistry(stack, mode), openBench(stack)]);
    await push(registry, bench, await image(bench, 'through a proxy'), 'team/app:1');
    const stored = await published(registry, 'team/app:1');
    const resolve = (host: string) => (host === REGISTRY_TEST_NAME ? '127.0.0.1' : host);
    const openProxy = () => startForwardProxy((host, port) => ({ host: resolve(host), port }));
    const method = mode === 'tls' ? 'CONNECT' : 'GET';
    const trust = registry.authority === undefined ? {} : { NODE_EXTRA_CA_CERTS: registry.authority };
    const path = '/docker/team_app_1.tar';

    await t.test('is reached through it, and not otherwise', async (t) => {
      const stack = cleanup(t);
      const proxy = stack.use(await openProxy());
      const env = { REGISTRY_URL: registry.origin, [variable]: proxy.origin, ...trust };
      const service = await startService(stack, env);
      await assertArchive(await curl(directory, service.origin + path), 'team_app_1.tar', stored);
      assert.deepEqual([...new Set(seenBy(proxy))], [`${method} ${registry.host}`]);
    });

    await t.test('is reached by a name that the proxy alone can resolve', async (t) => {
      const stack = cleanup(t);
      const proxy = stack.use(await openProxy());
      const origin = registry.origin.replace('127.0.0.1', REGISTRY_TEST_NAME);
      const service = await startService(stack, { REGISTRY_URL: origin, [variable]: proxy.origin, ...trust });
      const answer = await curl(directory, service.origin + path);
      await assertArchive(answer, 'team_app_1.tar', stored);
      assert.deepEqual((await manifestOf(answer.file)).RepoTags, [
        `${REGISTRY_TEST_NAME}:${registry.port}/team/app:1`,
      ]);
    });

    await t.test('is reached directly where NO_PROXY names it', async (t) => {
      const stack = cleanup(t);
      const proxy = stack.use(await openProxy());
      const env = {
        REGISTRY_URL: registry.origin,
        [variable]: proxy.origin,
        NO_PROXY: '127.0.0.1',
        ...trust,
      };
      const service = await startService(stack, env);
      await assertArchive(await curl(directory, service.origin + path), 'team_app_1.tar', stored);
      assert.deepEqual(seenBy(proxy), []);
    });

    await t.test('is not reached when the proxy is down', async (t) => {
      const stack = cleanup(t);
      const env = { REGISTRY_URL: registry.origin, [variable]: 'http://127.0.0.1:1', ...trust };
      const service = await startService(stack, env);
      assert.equal((await curl(directory, service.origin + path)).status, 502);
    });
  });
}
