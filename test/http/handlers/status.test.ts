/** `/status`, as operators see it. */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, test } from 'node:test';
import type { StatusDocument } from '../../../src/http/status/collect-status.ts';
import { statusPage } from '../../../src/http/status/status-page.ts';
import { VERSION } from '../../../src/version.ts';
import { APP_FILE, BASE_DIGEST, BASE_STALLS, layerOf, startScene, TOOL_FILE } from '../../support/cached.ts';
import { readEvents } from '../../support/events.ts';
import { makeImage } from '../../support/image.ts';
import { basic } from '../../support/pair.ts';
import { lookUpUntil, prepare, prepareDone } from '../../support/preparing.ts';
import { assertError } from '../../support/reading.ts';
import { type Reply, startTestService, type TestService } from '../../support/service.ts';
import { WAIT_LIMIT_MS } from '../../support/within.ts';

const HTML = { accept: 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8' };

function documentOf(reply: Reply): StatusDocument {
  assert.equal(reply.status, 200, reply.body.toString());
  assert.equal(reply.headers['content-type'], 'application/json');
  return JSON.parse(reply.body.toString()) as StatusDocument;
}

async function statusOf(service: TestService, query = ''): Promise<StatusDocument> {
  return documentOf(await service.request(`/status${query}`));
}

/** Asks until the status fulfils a condition. */
async function statusWhen(
  service: TestService,
  isReached: (status: StatusDocument) => boolean,
  query = '',
): Promise<StatusDocument> {
  const end = performance.now() + WAIT_LIMIT_MS;
  for (;;) {
    const status = await statusOf(service, query);
    if (isReached(status)) return status;
    assert.ok(performance.now() < end, `it is still ${JSON.stringify(status)}`);
  }
}

describe('the status', () => {
  test('of a service at rest', async () => {
    await using service = await startTestService({ MAX_CONNECTIONS: '50', CACHE_MAX_BYTES: '1000' });
    const reply = await service.request('/status');
    assert.deepEqual(
      ['cache-control', 'vary', 'x-content-type-options', 'cross-origin-resource-policy'].map(
        (name) => reply.headers[name],
      ),
      ['no-store', 'Accept', 'nosniff', 'same-origin'],
    );
    const { startedAt, seconds, memoryBytes, commit: _, ...rest } = documentOf(reply);
    assert.ok(Math.abs(Date.parse(startedAt) - Date.now()) < 60_000);
    assert.ok(seconds >= 0 && seconds < 60);
    assert.ok(memoryBytes > 1_000_000);
    assert.deepEqual(rest, {
      version: VERSION,
      state: 'serving',
      connections: { open: 1, max: 50 },
      requests: { active: 1, listeners: 0, clients: 0 },
      queue: { running: 0, waiting: 0, maxWaiting: 16 },
      preparing: { count: 0, rows: [] },
      downloads: { count: 0, rows: [] },
      cache: {
        ...{ bytes: 0, maxBytes: 1000, files: 0, evicted: 0, isKept: true },
        requests: { cache: 0, shared: 0, made: 0 },
      },
      registries: [],
      mirrors: [],
      errors: [],
    });
  });

  test('has what is prepared, one row for an archive, and who waits if that is asked for', async () => {
    await using scene = await startScene();
    scene.registry.defects.stallBlob = BASE_STALLS;
    await using service = await scene.start();
    const { location } = await prepare(service, APP_FILE);
    const clients = ['127.0.0.1', '127.0.0.2'].map((localAddress) =>
      service.request(APP_FILE, { localAddress, headers: { authorization: basic('user', 'secret') } }),
    );
    await scene.untilStalled();
    const reader = readEvents(await service.open(location, { headers: { accept: 'text/event-stream' } }));
    const isReached = ({ preparing: { rows } }: StatusDocument) =>
      rows.some(({ requests, layers }) => requests === 2 && layers?.done === 2);
    const { preparing, requests, queue, registries } = await statusWhen(service, isReached);
    const [{ seconds, bytes, inFlight, ...row } = assert.fail('no row'), ...others] = preparing.rows;
    assert.deepEqual(others, []);
    assert.deepEqual(row, {
      ...{ image: `${scene.registry.host}/team/app:1`, layout: 'docker', platform: 'linux/amd64' },
      ...{ state: 'fetching', layers: { done: 2, total: 3 }, requests: 2, preparations: 1 },
    });
    assert.ok(seconds < 60);
    assert.ok((bytes?.done ?? 0) > 0 && (bytes?.done ?? 0) < (bytes?.total ?? 0));
    for (const { digest } of inFlight) assert.equal(digest, BASE_DIGEST);
    assert.equal(requests.listeners, 1);
    assert.equal(queue.running, 1);
    assert.ok(registries.some(({ origin, inFlight: count }) => origin === scene.registry.url && count >= 1));

    const shown = await statusOf(service, '?clients=yes');
    assert.deepEqual(shown.preparing.rows[0]?.clients?.toSorted(), ['127.0.0.1', '127.0.0.2']);
    for (const query of ['', '?clients=no']) {
      const text = (await service.request(`/status${query}`)).body.toString();
      assert.doesNotMatch(text.replaceAll(scene.registry.host, ''), /127\.0\.0\.|secret|dXNlcjpzZWNyZXQ/);
    }
    scene.registry.releaseStalled();
    await Promise.all([...clients, reader.ended]);
    const after = await statusWhen(service, ({ requests: { active } }) => active === 1);
    assert.deepEqual([after.preparing.count, after.queue.running, after.requests.listeners], [0, 0, 0]);
    assert.ok(after.cache.files > 0 && after.cache.bytes > 0);
    await service.request(APP_FILE);
    const { cache } = await statusOf(service);
    assert.ok(cache.requests.cache > after.cache.requests.cache);
    assert.ok((cache.hitRate ?? 0) > (after.cache.hitRate ?? 1));
  });

  test('has the queue', async () => {
    await using scene = await startScene();
    scene.registry.defects.stallRequests = { pattern: new RegExp(`app/blobs/${BASE_DIGEST}`) };
    await using service = await scene.start({ MAX_CONCURRENT_PREPARATIONS: '1' });
    const first = await prepare(service, APP_FILE);
    await scene.untilStalled();
    const second = await prepare(service, TOOL_FILE);
    await lookUpUntil(service, second.location, ({ state }) => state === 'waiting');
    const { queue, preparing } = await statusOf(service);
    assert.deepEqual(queue, { running: 1, waiting: 1, maxWaiting: 16 });
    assert.deepEqual(preparing.rows.map(({ state }) => state).toSorted(), ['fetching', 'waiting']);
    scene.registry.releaseStalled();
    for (const { location } of [first, second])
      await lookUpUntil(service, location, ({ state }) => state === 'done');
  });

  test('has the downloads, and how far they are', async () => {
    await using scene = await startScene();
    // More than the system holds for a connection.
    const image = makeImage({ layers: [layerOf('large', 32_000_000)] });
    scene.registry.push('team/large', '1', image);
    await using service = await scene.start();
    const leaving = new AbortController();
    const download = await service.open('/docker/team_large_1.tar', { signal: leaving.signal });
    download.on('error', () => undefined);
    const { downloads } = await statusWhen(
      service,
      ({ downloads: { rows } }) => (rows[0]?.bytes.done ?? 0) > 0,
    );
    const [{ bytes, seconds: _, ...row } = assert.fail('no row')] = downloads.rows;
    assert.deepEqual(row, {
      ...{ image: `${scene.registry.host}/team/large:1`, layout: 'docker', platform: 'linux/amd64' },
    });
    assert.equal(String(bytes.total), download.headers['content-length']);
    assert.ok(bytes.done < (bytes.total ?? 0));
    const { downloads: shown } = await statusOf(service, '?clients=yes');
    assert.equal(shown.rows[0]?.client, '127.0.0.1');
    leaving.abort();
    await statusWhen(service, ({ downloads: { count } }) => count === 0);
  });

  test('has the last errors of the service and its registries, not those of clients', async () => {
    await using scene = await startScene();
    scene.registry.defects.dropBlob = { digest: BASE_DIGEST };
    await using service = await scene.start();
    const failed = await service.request(APP_FILE);
    const started = await prepare(service, TOOL_FILE);
    await lookUpUntil(service, started.location, ({ state }) => state === 'failed');
    for (const path of ['/docker/nginx.tar', '/nosuch.php', '/docker/none_1.tar.exe', '/preparations/1'])
      await service.request(path);
    const { errors } = await statusWhen(service, (status) => status.errors.length === 2);
    const [line = ''] = failed.body.toString().split('\n', 1);
    const shown = errors.map(({ at: _, ...error }) => error).toReversed();
    assert.deepEqual(shown, [
      {
        ...{ count: 1, code: 'IMAGE_NOT_FOUND', status: 502, line },
        ...{ route: '/docker/{filename}', requestId: failed.headers['x-request-id'] },
      },
      {
        ...{ count: 1, code: 'IMAGE_NOT_FOUND', status: 502 },
        ...{ line: line.replace('team/app', 'org/tool'), route: '/prepare/docker/{filename}' },
      },
    ]);
    const { errors: withClients } = await statusOf(service, '?clients=yes');
    assert.deepEqual(
      withClients.map(({ client }) => client),
      ['127.0.0.1', '127.0.0.1'],
    );
  });

  test('asks no registry', async () => {
    await using scene = await startScene();
    await using service = await scene.start();
    await prepareDone(service, APP_FILE);
    scene.takeRequests();
    for (const headers of [{}, HTML]) await service.request('/status', { headers });
    assert.deepEqual(scene.takeRequests(), []);
  });

  for (const query of ['?clients=maybe', '?clients=', '?clients=yes&clients=yes', '?refresh=5', '?x=1']) {
    test(`with ${query} is 400`, async () => {
      await using service = await startTestService();
      const reply = await service.request(`/status${query}`);
      assertError(reply, 400, /^(?:Invalid request: Cannot use (?:clients|refresh)|Unknown parameter)/);
    });
  }
});

describe('those who may not see the status', () => {
  const table: readonly [env: Record<string, string>, headers: Record<string, string>, from: string][] = [
    [{}, { 'x-forwarded-for': '127.0.0.1' }, '127.0.0.1'],
    [{}, { host: 'evil.example' }, '127.0.0.1'],
    [{ STATUS_ALLOWED_NETWORKS: '10.0.0.0/8' }, {}, '127.0.0.1'],
    [{ STATUS_ALLOWED_NETWORKS: '127.0.0.1' }, {}, '127.0.0.2'],
  ];
  for (const [env, headers, localAddress] of table) {
    test(JSON.stringify([env, headers, localAddress]), async () => {
      await using service = await startTestService(env);
      for (const method of ['GET', 'HEAD']) {
        for (const accept of ['*/*', HTML.accept]) {
          const reply = await service.request('/status', {
            method,
            localAddress,
            headers: { accept, ...headers },
          });
          assert.equal(reply.status, 403);
          if (method === 'GET') {
            assertError(
              reply,
              403,
              /^Client not allowed: Cannot answer the request: STATUS_ALLOWED_NETWORKS /,
            );
            assert.doesNotMatch(reply.body.toString(), /memory|uptime/i);
          }
        }
      }
      assert.equal((await service.request('/health', { headers, localAddress })).status, 200);
    });
  }
});

describe('the page', () => {
  test('is chosen by Accept, and has its own style only', async () => {
    await using service = await startTestService();
    const reply = await service.request('/status', { headers: HTML });
    assert.deepEqual(
      [reply.status, reply.headers['content-type'], reply.headers.vary],
      [200, 'text/html; charset=utf-8', 'Accept'],
    );
    const page = reply.body.toString();
    const style = /<style>(.*)<\/style>/s.exec(page)?.[1] ?? '';
    const hash = createHash('sha256').update(style).digest('base64');
    assert.equal(
      reply.headers['content-security-policy'],
      `default-src 'none'; style-src 'sha256-${hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
    );
    assert.doesNotMatch(page, /<script|<link|<img|\sstyle=|\son\w+=|(?:src|href)="(?!\?)/i);
    assert.match(page, /<meta http-equiv="refresh" content="5">/);
    const still = await service.request('/status?refresh=no', { headers: HTML });
    assert.doesNotMatch(still.body.toString(), /http-equiv/);
    const head = await service.request('/status', { method: 'HEAD', headers: HTML });
    assert.equal(head.headers['content-security-policy'], reply.headers['content-security-policy']);
    for (const accept of ['', '*/*', 'text/*', 'application/json, text/html;q=0.5', 'text/html;q=0']) {
      documentOf(await service.request('/status', { headers: { accept } }));
    }
  });

  test('shows every text as text', () => {
    const evil = `</td></main><script>alert(1)</script><img src=x onerror='alert(1)'>" \u202e\u0000`;
    const at = new Date(0);
    const row = { layout: evil, platform: evil, seconds: 1 };
    const status: StatusDocument = {
      ...{ version: evil, commit: evil, state: evil, startedAt: at.toISOString(), seconds: 1 },
      memoryBytes: 1,
      connections: { open: 1, max: 1 },
      requests: { active: 1, listeners: 0, clients: 1 },
      queue: { running: 1, waiting: 1, maxWaiting: 1 },
      preparing: {
        count: 200,
        rows: [
          {
            ...{ ...row, image: evil, state: evil, clients: [evil], requests: 1, preparations: 1 },
            ...{ layers: { done: 1, total: 2 }, bytes: { done: 0, total: 0 } },
            inFlight: [{ digest: evil, done: 1, total: 2 }],
          },
        ],
      },
      downloads: {
        count: 2,
        rows: [
          { ...row, image: evil, client: evil, bytes: { done: 1, total: 2 } },
          { ...row, image: evil, client: evil, bytes: { done: 1, total: undefined } },
        ],
      },
      cache: {
        ...{ bytes: 1, maxBytes: 2, files: 3, evicted: 4, hitRate: 0.5, isKept: true },
        requests: { cache: 1, shared: 0, made: 1 },
      },
      registries: [
        {
          ...{ origin: evil, inFlight: 1, succeeded: 1, failed: 1 },
          ...{ lastSuccess: at, lastFailure: { at, code: evil } },
        },
      ],
      mirrors: [
        {
          ...{ mirror: evil, state: 'left-alone', lastError: evil },
          ...{ since: at.toISOString(), until: at.toISOString() },
        },
      ],
      errors: [
        { at, count: 1, code: evil, status: 502, line: evil, route: evil, requestId: evil, client: evil },
      ],
    };
    const page = statusPage(status, { showsClients: true, isRefreshed: true });
    const tags = new Set(Array.from(page.matchAll(/<\/?([a-z!][a-z0-9]*)/gi), ([, name]) => name));
    const own =
      '!doctype html head meta title style body main h1 p a dl div dt dd h2 table thead tr th tbody td progress time span';
    assert.deepEqual(
      [...tags].filter((tag) => !own.split(' ').includes(tag ?? '')),
      [],
    );
    assert.equal([...page.matchAll(/<(?:script|img)/gi)].length, 0);
    assert.doesNotMatch(page, /[\u202e\0]/);
    assert.ok(page.includes('&lt;script&gt;alert(1)&lt;/script&gt;'), 'it is shown');
    assert.match(page, /The first 1 of 200\./);
  });
});
