import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { breakWorkspace } from '../support/break-workspace.ts';
import { makeImage, makeIndex, makeLayer } from '../support/image.ts';
import { type Pair, type PairOptions, startPair } from '../support/pair.ts';
import { assertError, firstLine, stableHeaders } from '../support/reading.ts';
import type { LogEvent, Reply } from '../support/service.ts';

const IMAGE = makeImage({ layers: [{ tar: makeLayer({ 'etc/hello': 'hello' }) }] });
const FILE = '/docker/team_app_1.tar';

function start(options: PairOptions = {}): Promise<Pair> {
  return startPair(options, (registry) => registry.push('team/app', '1', makeIndex([{ image: IMAGE }])));
}

describe('/health and /ready', () => {
  test('/health is 200 also without a usable workspace', async () => {
    await using pair = await start();
    await breakWorkspace(pair.service.workspace);
    const { status, body, headers } = await pair.request('/health');
    assert.deepEqual([status, body.toString(), headers['cache-control']], [200, 'ok\n', 'no-store']);
  });

  test('/ready is 200 if the workspace can be written, and leaves no file in it', async () => {
    await using pair = await start();
    const { status, body } = await pair.request('/ready');
    assert.deepEqual([status, body.toString()], [200, 'ready\n']);
    await pair.assertIdle();
  });

  test('/ready is 503 with the reason if the workspace cannot be used', async () => {
    await using pair = await start();
    await breakWorkspace(pair.service.workspace);
    const { status, body } = await pair.request('/ready');
    assert.equal(status, 503);
    assert.match(body.toString(), /^not ready: Cannot use the workspace/);
  });
});

test('/ is a plain text with examples for the address that the client uses', async () => {
  await using pair = await start();
  const reply = await pair.request('/', { headers: { host: 'images.example:8080' } });
  assert.equal(reply.status, 200);
  assert.equal(reply.headers['content-type'], 'text/plain; charset=utf-8');
  const text = reply.body.toString();
  assert.match(text, /curl --fail -O http:\/\/images\.example:8080\/docker\/nginx_latest\.tar/);
  assert.match(text, /GET \/platform\//);
});

test('a browser takes no answer for another type, errors included', async () => {
  await using pair = await start();
  const paths = ['/', '/health', '/none.html', FILE, '/docker/team_app_9.tar', '/tags/team/app', '/status'];
  for (const path of [...paths, '/manifest/team/app:1?type=config', '/preparations/1']) {
    const { headers } = await pair.request(path);
    assert.equal(headers['x-content-type-options'], 'nosniff', path);
  }
});

test('/, /health and /ready send no request to the registry', async () => {
  await using pair = await start();
  for (const path of ['/', '/health', '/ready']) await pair.request(path);
  assert.deepEqual(pair.registry.requests, []);
});

describe('HEAD', () => {
  const paths: readonly [path: string, status: number][] = [
    ['/', 200],
    ['/health', 200],
    ['/ready', 200],
    [FILE, 200],
    [`/registry/http/{host}${FILE}`, 200],
    ['/docker/nginx.tar', 400],
    [`/registry/https/a:0${FILE}`, 400],
    [`/platform/plan10/amd64${FILE}`, 400],
    [`/registry-auth/http/{host}${FILE}`, 401],
    ['/favicon.ico', 404],
    ['/docker/team_app_9.tar', 502],
    [`/platform/linux/s390x${FILE}`, 502],
  ];
  for (const [path, status] of paths) {
    test(`of ${path} is ${status} with the headers of GET`, async () => {
      await using pair = await start();
      for (const accept of ['*/*', 'application/problem+json']) {
        const get = await pair.request(path, { headers: { accept } });
        const head = await pair.request(path, { headers: { accept }, method: 'HEAD' });
        assert.deepEqual([get.status, head.status, head.reason], [status, status, get.reason]);
        assert.deepEqual(stableHeaders(head), stableHeaders(get));
        assert.equal(get.headers['content-length'], String(get.body.length));
        assert.deepEqual([head.body.length, head.isCut], [0, false]);
      }
    });
  }

  test('of an archive leaves no file open', async () => {
    await using pair = await start();
    await pair.request(FILE, { method: 'HEAD' });
    await pair.service.waitForLog({ event: 'request', method: 'HEAD', outcome: 'ok' });
    await pair.assertIdle();
  });
});

for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH']) {
  test(`${method} is 405 before the registry is asked`, async () => {
    await using pair = await start();
    for (const path of ['/', '/health', FILE, `/registry-auth/http/{host}${FILE}`]) {
      const reply = await pair.request(path, { method });
      assertError(reply, 405, new RegExp(`^Method not allowed: Cannot ${method} here`));
      assert.equal(reply.headers.allow, 'GET, HEAD');
    }
    assert.deepEqual(pair.registry.requests, []);
  });
}

describe('an error', () => {
  test('is a problem document if the client prefers JSON', async () => {
    await using pair = await start();
    const headers = { accept: 'application/problem+json' };
    const reply = await pair.request('/docker/team_app_9.tar', { headers });
    assert.equal(reply.status, 502);
    assert.equal(reply.headers['content-type'], 'application/problem+json');
    assert.equal(reply.headers.vary, 'Accept');
    const { detail, ...document } = JSON.parse(reply.body.toString());
    assert.deepEqual(document, {
      type: 'https://github.com/cisco-open/docker-http-passthrough/blob/main/docs/errors.md#image_not_found',
      title: 'Failed to prepare image',
      status: 502,
      code: 'IMAGE_NOT_FOUND',
      image: `${pair.registry.host}/team/app:9`,
      registryStatus: 404,
      registryCode: 'MANIFEST_UNKNOWN',
      requestId: reply.headers['x-request-id'],
    });
    assert.match(detail, /^Cannot get manifest "9"/);
  });

  test('is a text with the request ID otherwise, and its title is the reason phrase', async () => {
    await using pair = await start();
    const reply = await pair.request('/docker/team_app_9.tar', { headers: { accept: '*/*' } });
    assert.equal(reply.reason, 'Failed to prepare image');
    assert.equal(reply.headers['content-type'], 'text/plain; charset=utf-8');
    assert.match(reply.body.toString(), new RegExp(`^request: ${reply.headers['x-request-id']}$`, 'm'));
  });

  test('of the service itself is 500; only the log has its details', async () => {
    await using pair = await start();
    await breakWorkspace(pair.service.workspace);
    const reply = await pair.request(FILE);
    assertError(reply, 500, /^Internal error: /);
    const fault = await pair.service.waitForLog({
      event: 'internal_error',
      id: reply.headers['x-request-id'],
    });
    assert.equal(fault['level'], 'error');
    assert.match(String(fault['stack']), /ENOTDIR/);
  });
});

describe('the log', () => {
  /** The one line of a request, without its times. */
  async function lineOf({ service }: Pair, { headers }: Reply): Promise<LogEvent> {
    const id = headers['x-request-id'];
    await service.waitForLog({ event: 'request', id });
    const [line = {}, ...others] = service.logs().filter((event) => event['id'] === id);
    assert.deepEqual(others, []);
    const { time, ms, prepareMs, ...rest } = line;
    assert.match(String(time), /^\d{4}-\d\d-\d\dT.*Z$/);
    assert.equal(typeof ms, 'number');
    const isPrepared = rest['image'] !== undefined && rest['status'] !== 401;
    assert.equal(typeof prepareMs, isPrepared ? 'number' : 'undefined');
    return rest;
  }

  test('has one line for an archive, with route, image, platform, digest, bytes, status and outcome', async () => {
    await using pair = await start();
    const reply = await pair.request(FILE);
    assert.deepEqual(await lineOf(pair, reply), {
      event: 'request',
      client: '127.0.0.1',
      method: 'GET',
      level: 'info',
      id: reply.headers['x-request-id'],
      route: '/docker/{filename}',
      registry: pair.registry.host,
      image: `${pair.registry.host}/team/app:1`,
      platform: 'linux/amd64',
      digest: IMAGE.manifest.digest,
      bytes: reply.body.length,
      status: 200,
      outcome: 'ok',
    });
  });

  test('has 0 bytes for HEAD', async () => {
    await using pair = await start();
    const { bytes, outcome, method } = await lineOf(pair, await pair.request(FILE, { method: 'HEAD' }));
    assert.deepEqual([bytes, outcome, method], [0, 'ok', 'HEAD']);
  });

  const outcomes: readonly [path: string, status: number, outcome: string, level: string, error: string][] = [
    ['/docker/nginx.tar', 400, 'refused', 'info', 'INVALID_FILENAME'],
    [`/registry-auth/http/{host}${FILE}`, 401, 'refused', 'info', 'CREDENTIALS_REQUIRED'],
    ['/favicon.ico', 404, 'refused', 'info', 'NOT_FOUND'],
    ['/docker/team_app_9.tar', 502, 'failed', 'warn', 'IMAGE_NOT_FOUND'],
  ];
  for (const [path, status, outcome, level, error] of outcomes) {
    test(`has the outcome ${outcome} and the error of ${path}`, async () => {
      await using pair = await start();
      const reply = await pair.request(path);
      const line = await lineOf(pair, reply);
      assert.deepEqual(
        [line['status'], line['outcome'], line['level'], line['error']],
        [status, outcome, level, error],
      );
      assert.equal(`${reply.reason}: ${line['message']}`, firstLine(reply));
    });
  }

  test('has probes at level debug', async () => {
    await using pair = await start();
    for (const path of ['/health', '/ready']) {
      const { level, route } = await lineOf(pair, await pair.request(path));
      assert.deepEqual([level, route], ['debug', path]);
    }
  });

  test('has no line that a request has injected', async () => {
    await using pair = await start();
    const reply = await pair.request('/docker/a%0a%7B%22event%22:%22forged%22%7D_1.tar');
    assert.equal(reply.status, 400);
    await lineOf(pair, reply);
    assert.ok(!pair.service.logs().some(({ event }) => event === 'forged'));
  });
});
