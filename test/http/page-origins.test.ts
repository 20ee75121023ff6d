/** `PAGE_ORIGINS`: pages of other origins that may use the service. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { loadConfig } from '../../src/config/config.ts';
import { type FakeRegistry, startFakeRegistry } from '../support/fake-registry.ts';
import { makeImage, makeLayer } from '../support/image.ts';
import { basic } from '../support/pair.ts';
import { type Reply, startTestService, type TestService } from '../support/service.ts';

const PAGE = 'https://docs.example.com';
const FROM_PAGE = { origin: PAGE, 'sec-fetch-site': 'cross-site' };

interface Scene extends AsyncDisposable {
  readonly registry: FakeRegistry;
  readonly service: TestService;
}

async function startScene(env: Readonly<Record<string, string>> = {}): Promise<Scene> {
  const registry = await startFakeRegistry();
  registry.push('team/app', '1', makeImage({ layers: [{ tar: makeLayer({ a: 'a' }) }] }));
  const service = await startTestService({
    REGISTRY_URL: registry.url,
    CACHE_MAX_BYTES: '1000000000',
    PAGE_ORIGINS: `${PAGE}, http://localhost:3000`,
    ...env,
  });
  return {
    registry,
    service,
    [Symbol.asyncDispose]: async () => {
      await service[Symbol.asyncDispose]();
      await registry[Symbol.asyncDispose]();
    },
  };
}

/** The headers of an answer that are about pages of other origins. */
function corsOf({ headers }: Reply) {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => name.startsWith('access-control-')));
}

function variesBy({ headers }: Reply): readonly string[] {
  return (headers.vary ?? '').split(', ').filter((name) => name !== '');
}

const GRANTED = {
  'access-control-allow-origin': PAGE,
  'access-control-expose-headers': 'Docker-Content-Digest, ETag, Location, Retry-After, X-Request-Id',
};

const ROUTES: readonly [method: string, path: string, status: number][] = [
  ['GET', '/manifest/team/app:1', 200],
  ['HEAD', '/manifest/team/app:1', 200],
  ['GET', '/tags/team/app', 200],
  ['POST', '/prepare/docker/team_app_1.tar', 202],
  // Errors are to be read, too.
  ['GET', '/preparations/1', 404],
  ['GET', '/manifest/team/app:none', 502],
  ['GET', '/manifest/team/app:!', 400],
  ['GET', '/tags/team/app?x=1', 400],
  ['POST', '/prepare/docker/nginx.tar', 400],
];

describe('a page of a listed origin', () => {
  test('may read what it may ask for, errors too', async () => {
    await using scene = await startScene();
    for (const [method, path, status] of ROUTES) {
      const reply = await scene.service.request(path, { method, headers: FROM_PAGE });
      assert.deepEqual([reply.status, corsOf(reply)], [status, GRANTED], `${method} ${path}`);
      assert.ok(variesBy(reply).includes('Origin'), path);
    }
  });

  test('may ask for events', async () => {
    await using scene = await startScene();
    const started = await scene.service.request('/prepare/docker/team_app_1.tar', {
      method: 'POST',
      headers: FROM_PAGE,
    });
    const reply = await scene.service.request(started.headers.location ?? '', {
      headers: { ...FROM_PAGE, accept: 'text/event-stream' },
    });
    assert.deepEqual(corsOf(reply), GRANTED);
    assert.deepEqual(variesBy(reply).toSorted(), ['Accept', 'Origin']);
  });

  test('gets the answer to its preflight', async () => {
    await using scene = await startScene();
    const methods = {
      '/manifest/a:1': 'GET, HEAD',
      '/tags/a': 'GET, HEAD',
      '/prepare/docker/a_1.tar': 'POST',
    };
    for (const [path, allowed] of Object.entries({ ...methods, '/preparations/1': 'GET, HEAD' })) {
      const reply = await scene.service.request(path, {
        method: 'OPTIONS',
        headers: {
          ...FROM_PAGE,
          'access-control-request-method': allowed.split(',')[0] ?? '',
          'access-control-request-headers': 'content-type',
        },
      });
      assert.deepEqual([reply.status, reply.body.length], [204, 0]);
      assert.deepEqual(corsOf(reply), {
        'access-control-allow-origin': PAGE,
        'access-control-allow-methods': allowed,
        'access-control-allow-headers': 'Content-Type, Last-Event-ID',
        'access-control-max-age': '600',
      });
      assert.ok(variesBy(reply).includes('Access-Control-Request-Method'));
    }
    const local = await scene.service.request('/tags/a', {
      method: 'OPTIONS',
      headers: {
        ...FROM_PAGE,
        'access-control-request-method': 'GET',
        'access-control-request-private-network': 'true',
      },
    });
    assert.equal(local.headers['access-control-allow-private-network'], 'true');
    assert.deepEqual(scene.registry.requests, []);
  });

  test('is one of another site for everything else', async () => {
    await using scene = await startScene();
    const authorization = basic('user', 'secret');
    const rows: readonly [method: string, path: string, status: number, more?: Record<string, string>][] = [
      ['DELETE', '/preparations/1', 403],
      ['POST', '/bundle.tar', 403],
      ['POST', '/manifest/team/app:1', 403],
      ['GET', '/manifest/team/app:1', 403, { authorization }],
      ['POST', '/prepare/docker/team_app_1.tar', 403, { authorization }],
      ['GET', '/docker/team_app_1.tar', 403, { authorization }],
      ['GET', '/docker/team_app_1.tar', 200],
      ['GET', '/', 200],
      ['GET', '/health', 200],
      ['OPTIONS', '/docker/team_app_1.tar', 405, { 'access-control-request-method': 'GET' }],
      ['OPTIONS', '/preparations/1', 405, { 'access-control-request-method': 'DELETE' }],
      ['OPTIONS', '/prepare/docker/a_1.tar', 405, { 'access-control-request-method': 'PUT' }],
      ['OPTIONS', '/tags/a', 405],
    ];
    for (const [method, path, status, more = {}] of rows) {
      const reply = await scene.service.request(path, { method, headers: { ...FROM_PAGE, ...more } });
      assert.equal(reply.status, status, `${method} ${path}`);
      const isGranted = 'access-control-expose-headers' in reply.headers;
      // It may read why it was refused, where it may ask without credentials.
      assert.equal(isGranted, 'authorization' in more && !path.startsWith('/docker'), `${method} ${path}`);
      assert.equal(reply.headers['access-control-allow-methods'], undefined);
      assert.equal(reply.headers['access-control-allow-credentials'], undefined);
    }
  });
});

describe('a page of another origin', () => {
  const origins = [
    'null',
    'https://docs.example.com.evil.example',
    'https://evil.example',
    'http://docs.example.com',
    'https://docs.example.com:8443',
    'https://docs.example.com/',
    'https://DOCS.example.com',
    `${PAGE}, ${PAGE}`,
    '*',
    '',
  ];
  test('gets nothing, whatever its name', async () => {
    await using scene = await startScene();
    for (const origin of origins) {
      const headers = { origin, 'sec-fetch-site': 'cross-site' };
      const read = await scene.service.request('/tags/team/app', { headers });
      assert.deepEqual([read.status, corsOf(read)], [200, {}], origin);
      assert.ok(variesBy(read).includes('Origin'), 'a cache must not give it to a listed page');
      const post = await scene.service.request('/prepare/docker/team_app_1.tar', { method: 'POST', headers });
      assert.deepEqual([post.status, corsOf(post)], [403, {}], origin);
      const preflight = await scene.service.request('/tags/team/app', {
        method: 'OPTIONS',
        headers: { ...headers, 'access-control-request-method': 'GET' },
      });
      assert.deepEqual([preflight.status, corsOf(preflight)], [405, {}], origin);
    }
  });

  test('changes nothing where no origin is listed', async () => {
    await using scene = await startScene({ PAGE_ORIGINS: '' });
    const reply = await scene.service.request('/tags/team/app', { headers: FROM_PAGE });
    assert.deepEqual([reply.status, corsOf(reply), variesBy(reply)], [200, {}, []]);
  });
});

describe('PAGE_ORIGINS', () => {
  const accepted: readonly [list: string, origins: readonly string[]][] = [
    ['', []],
    ['https://docs.example.com', ['https://docs.example.com']],
    ['HTTPS://Docs.Example.com/', ['https://docs.example.com']],
    ['https://a.example:443,http://b.example:80', ['https://a.example', 'http://b.example']],
    [' http://localhost:3000 , http://[::1]:8000,', ['http://localhost:3000', 'http://[::1]:8000']],
  ];
  for (const [list, origins] of accepted) {
    test(`takes ${JSON.stringify(list)}`, () =>
      assert.deepEqual(loadConfig({ PAGE_ORIGINS: list }).access.pageOrigins, origins));
  }

  const refused = [
    ...['*', 'null', 'docs.example.com', 'https://*.example.com', 'https://docs.example.com/page'],
    ...['https://docs.example.com?x', 'https://docs.example.com#x', 'https://user:secret@docs.example.com'],
    ...[
      'file:///tmp',
      'https://',
      'ftp://docs.example.com',
      'https://a.example https://b.example',
      'https://a.example:0443',
    ],
  ];
  for (const list of refused) {
    test(`refuses ${JSON.stringify(list)}`, () =>
      assert.throws(
        () => loadConfig({ PAGE_ORIGINS: list }),
        (error: Error) => /^Cannot use PAGE_ORIGINS=/.test(error.message) && !/secret/.test(error.message),
      ));
  }
});
