import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { refuseCrossSite } from '../../src/http/cross-site.ts';
import { startFakeRegistry } from '../support/fake-registry.ts';
import { makeImage, makeLayer } from '../support/image.ts';
import { basic } from '../support/pair.ts';
import { assertError } from '../support/reading.ts';
import { startTestService } from '../support/service.ts';

type Fields = Readonly<Record<string, string>>;

const AUTHORIZATION = { authorization: basic('user', 'secret') };

describe('a request is foreign', () => {
  const host = 'pull.example.com:8080';
  const own: readonly Fields[] = [
    { host },
    { host, 'sec-fetch-site': 'none' },
    { host, 'sec-fetch-site': 'same-origin' },
    { host, origin: 'http://pull.example.com:8080' },
    { host, origin: 'http://PULL.example.com:8080' },
    { host, origin: 'http://pull.example.com:8080', 'sec-fetch-site': 'same-origin' },
    // A proxy speaks https with the browser, and may rename the host.
    { host, origin: 'https://pull.example.com:8080' },
    { host: 'pull.example.com', origin: 'https://pull.example.com' },
    { host: 'pull.example.com:443', origin: 'https://pull.example.com' },
    { host: 'pull.example.com:80', origin: 'http://pull.example.com' },
    { host: 'backend:8080', origin: 'https://pull.example.com', 'sec-fetch-site': 'same-origin' },
    { host: '[::1]:8080', origin: 'http://[::1]:8080' },
  ];
  const foreign: readonly Fields[] = [
    { host, 'sec-fetch-site': 'cross-site' },
    { host, 'sec-fetch-site': 'Cross-Site' },
    { host, 'sec-fetch-site': 'same-origin, cross-site' },
    { host, 'sec-fetch-site': 'cross-site', origin: 'http://pull.example.com:8080' },
    { host, origin: 'https://evil.example' },
    { host, origin: 'https://evil.example', 'sec-fetch-site': 'same-site' },
    { host, origin: 'http://pull.example.com' },
    { host, origin: 'http://pull.example.com:8081' },
    { host, origin: 'https://pull.example.com:8443' },
    { host: 'pull.example.com:80', origin: 'https://pull.example.com' },
    { host, origin: 'http://pull.example.com:8080.evil.example' },
    { host, origin: 'http://pull.example.com:8080, https://evil.example' },
    { host, origin: 'null' },
    { host, origin: '' },
    { host, origin: 'file://' },
    { host, origin: 'moz-extension://pull.example.com:8080' },
    { host: '', origin: 'http://pull.example.com' },
    { origin: 'http://pull.example.com' },
  ];
  for (const [isForeign, rows] of [
    [false, own],
    [true, foreign],
  ] as const) {
    for (const headers of rows) {
      test(`${isForeign ? '' : 'not '}with ${JSON.stringify(headers)}`, () => {
        const check = (method: string, more: Fields = {}) =>
          refuseCrossSite({ method, headers: { ...headers, ...more } });
        for (const method of ['GET', 'HEAD', 'OPTIONS']) check(method);
        const refused = [
          () => check('GET', AUTHORIZATION),
          () => check('HEAD', AUTHORIZATION),
          () => check('POST'),
          () => check('DELETE'),
          () => check('PUT', AUTHORIZATION),
        ];
        for (const one of refused) {
          if (isForeign) assert.throws(one, { code: 'CROSS_SITE' });
          else one();
        }
      });
    }
  }
});

test('a neighbour, such as a wiki of the same company, may link to archives, and change nothing', () => {
  const headers = { host: 'pull.example.com:8080', 'sec-fetch-site': 'same-site' };
  for (const method of ['GET', 'HEAD'])
    refuseCrossSite({ method, headers: { ...headers, ...AUTHORIZATION } });
  for (const method of ['POST', 'DELETE'])
    assert.throws(() => refuseCrossSite({ method, headers }), { code: 'CROSS_SITE' });
});

describe('a request of a page of another site', () => {
  const EVIL = { 'sec-fetch-site': 'cross-site', origin: 'https://evil.example' };

  test('with credentials is 403 on every route, before a registry is asked', async () => {
    await using registry = await startFakeRegistry();
    registry.push('team/app', '1', makeImage({ layers: [{ tar: makeLayer({ a: 'a' }) }] }));
    await using service = await startTestService({
      REGISTRY_URL: registry.url,
      CACHE_MAX_BYTES: '1000000000',
    });
    const { host } = registry;
    const paths = [
      '/docker/team_app_1.tar',
      `/registry/http/${host}/docker/team_app_1.tar`,
      `/registry-auth/http/${host}/docker/team_app_1.tar`,
      `/${host}/team/app:1`,
      '/bundle.tar?image=team/app:1',
      '/manifest/team/app:1',
      '/tags/team/app',
      '/preparations/1',
      '/health',
      '/ready',
      '/',
      '/docker/..%2f',
      '/no/such',
    ];
    for (const path of paths) {
      for (const method of ['GET', 'HEAD']) {
        const reply = await service.request(path, { method, headers: { ...AUTHORIZATION, ...EVIL } });
        assert.equal(reply.status, 403, `${method} ${path}`);
        assert.equal(reply.headers['www-authenticate'], undefined);
        if (method === 'GET') assertError(reply, 403, /^Cross-site request: /);
      }
    }
    for (const headers of [EVIL, { ...AUTHORIZATION, ...EVIL }]) {
      for (const [method, path] of [
        ['POST', '/prepare/docker/team_app_1.tar'],
        ['POST', '/bundle.tar'],
        ['DELETE', '/preparations/1'],
      ] as const) {
        const body = method === 'POST' ? { body: 'team/app:1' } : {};
        assertError(await service.request(path, { method, headers, ...body }), 403, 'CROSS_SITE');
      }
    }
    assert.deepEqual(registry.requests, []);
    assert.doesNotMatch(service.logText(), /secret|dXNlcjpzZWNyZXQ/);
  });

  test('without credentials is answered, and OPTIONS is 405 as ever', async () => {
    await using registry = await startFakeRegistry();
    registry.push('team/app', '1', makeImage({ layers: [{ tar: makeLayer({ a: 'a' }) }] }));
    await using service = await startTestService({ REGISTRY_URL: registry.url });
    for (const path of ['/docker/team_app_1.tar', '/health', '/ready', '/']) {
      assert.equal((await service.request(path, { headers: EVIL })).status, 200, path);
    }
    assert.equal((await service.request('/health', { method: 'OPTIONS', headers: EVIL })).status, 405);
  });

  test('of the service itself is answered with credentials', async () => {
    await using registry = await startFakeRegistry({ auth: { mode: 'basic' } });
    registry.push('team/app', '1', makeImage({ layers: [{ tar: makeLayer({ a: 'a' }) }] }));
    await using service = await startTestService({ REGISTRY_URL: registry.url });
    const origin = `http://127.0.0.1:${service.port}`;
    const headers = { ...AUTHORIZATION, origin };
    assert.equal((await service.request('/docker/team_app_1.tar', { headers })).status, 200);
  });
});
