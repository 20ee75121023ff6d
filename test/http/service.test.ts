import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { describe, test } from 'node:test';
import { makeImage, makeIndex, makeLayer } from '../support/image.ts';
import { basic, type Pair, type PairOptions, startPair } from '../support/pair.ts';
import { startScriptedServer } from '../support/scripted-server.ts';
import type { LogEvent, Reply } from '../support/service.ts';
import { serveSignedBlobs, URL_SIGNATURE } from '../support/signed-blobs.ts';

const IMAGE = makeImage({ layers: [{ tar: makeLayer({ 'etc/hello': 'hello' }) }] });
const FILE = '/docker/team_app_1.tar';

function start(options: PairOptions = {}): Promise<Pair> {
  return startPair(options, (registry) => {
    registry.push('team/app', '1', makeIndex([{ image: IMAGE }]));
  });
}

/** The headers that do not differ from one answer to the next. */
function lasting({ headers }: Reply): Record<string, unknown> {
  const { date: _, 'x-request-id': __, ...rest } = headers;
  return rest;
}

describe('routes without an archive', () => {
  test('/health answers as long as the process does', async () => {
    await using pair = await start();
    await rm(pair.service.workspace, { recursive: true });
    const reply = await pair.service.request('/health');
    assert.equal(reply.status, 200);
    assert.equal(reply.body.toString(), 'ok\n');
    assert.equal(reply.headers['cache-control'], 'no-store');
  });

  test('/ready answers 200 when the workspace can be written, and leaves nothing in it', async () => {
    await using pair = await start();
    const reply = await pair.service.request('/ready');
    assert.equal(reply.status, 200);
    assert.equal(reply.body.toString(), 'ready\n');
    assert.equal(await pair.service.openFiles(), 0);
  });

  test('/ready answers 503 without a workspace, and says so', async () => {
    await using pair = await start();
    await rm(pair.service.workspace, { recursive: true });
    const reply = await pair.service.request('/ready');
    assert.equal(reply.status, 503);
    assert.match(reply.body.toString(), /^not ready: Cannot use the workspace/);
  });

  test('/ tells in plain text what to type, with the address that the client uses', async () => {
    await using pair = await start();
    const reply = await pair.service.request('/', { headers: { host: 'images.example:8080' } });
    assert.equal(reply.status, 200);
    assert.equal(reply.headers['content-type'], 'text/plain; charset=utf-8');
    const text = reply.body.toString();
    assert.match(text, /curl -O http:\/\/images\.example:8080\/docker\/nginx_latest\.tar/);
    for (const route of ['/docker/', '/registry/', '/registry-auth/', '/platform/', '/health', '/ready']) {
      assert.ok(text.includes(`GET ${route}`), route);
    }
  });

  test('none of them asks the registry', async () => {
    await using pair = await start();
    for (const path of ['/', '/health', '/ready']) await pair.service.request(path);
    assert.deepEqual(pair.registry.requests, []);
  });
});

describe('HEAD', () => {
  const paths: readonly [path: string, status: number][] = [
    ['/', 200],
    ['/health', 200],
    ['/ready', 200],
    [FILE, 200],
    [`/platform/linux/amd64${FILE}`, 200],
    [`/registry/http/{host}${FILE}`, 200],
    [`/docker/nginx.tar`, 400],
    [`/registry/https/a:0${FILE}`, 400],
    [`/platform/plan10/amd64${FILE}`, 400],
    [`/registry-auth/http/{host}${FILE}`, 401],
    ['/favicon.ico', 404],
    ['/docker/team_app_9.tar', 502],
    [`/platform/linux/s390x${FILE}`, 502],
  ];
  for (const [path, status] of paths) {
    for (const accept of ['*/*', 'application/problem+json']) {
      test(`${path} answers as GET does, ${status} without a body, to Accept: ${accept}`, async () => {
        await using pair = await start();
        const target = path.replace('{host}', pair.registry.host);
        const get = await pair.service.request(target, { headers: { accept } });
        const head = await pair.service.request(target, { headers: { accept }, method: 'HEAD' });
        assert.equal(get.status, status);
        assert.equal(head.status, status);
        assert.equal(head.reason, get.reason);
        assert.deepEqual(lasting(head), lasting(get));
        assert.equal(get.headers['content-length'], String(get.body.length));
        assert.equal(head.body.length, 0);
        assert.equal(head.isCut, false);
      });
    }
  }

  test('of an archive closes its files', async () => {
    await using pair = await start();
    await pair.service.request(FILE, { method: 'HEAD' });
    await pair.service.waitForLog({ event: 'request', method: 'HEAD', outcome: 'ok' });
    assert.equal(await pair.service.openFiles(), 0);
  });
});

describe('other methods', () => {
  for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH']) {
    test(`${method} is 405 with Allow, and the registry is not asked`, async () => {
      await using pair = await start();
      for (const path of [
        '/',
        '/health',
        '/ready',
        FILE,
        `/registry-auth/http/${pair.registry.host}${FILE}`,
      ]) {
        const reply = await pair.service.request(path, { method });
        assert.equal(reply.status, 405);
        assert.equal(reply.headers.allow, 'GET, HEAD');
        assert.match(reply.body.toString(), new RegExp(`^Method not allowed: Cannot ${method} here`));
      }
      assert.deepEqual(pair.registry.requests, []);
    });
  }
});

describe('errors', () => {
  test('come as a problem document where the client would rather have one', async () => {
    await using pair = await start();
    const { host } = pair.registry;
    const headers = { accept: 'application/problem+json' };
    const reply = await pair.service.request('/docker/team_app_9.tar', { headers });
    assert.equal(reply.status, 502);
    assert.equal(reply.headers['content-type'], 'application/problem+json');
    assert.equal(reply.headers.vary, 'Accept');
    const { detail, ...document } = JSON.parse(reply.body.toString());
    assert.deepEqual(document, {
      type: 'urn:docker-http-passthrough:problem:image-not-found',
      title: 'Failed to prepare image',
      status: 502,
      code: 'IMAGE_NOT_FOUND',
      image: `${host}/team/app:9`,
      registryStatus: 404,
      registryCode: 'MANIFEST_UNKNOWN',
      requestId: reply.headers['x-request-id'],
    });
    assert.match(detail, /^Cannot get manifest "9"/);
  });

  test('come as text with the reason in the status line to everybody else', async () => {
    await using pair = await start();
    const reply = await pair.service.request('/docker/team_app_9.tar', { headers: { accept: '*/*' } });
    assert.equal(reply.reason, 'Failed to prepare image');
    assert.equal(reply.headers['content-type'], 'text/plain; charset=utf-8');
    assert.match(reply.body.toString(), new RegExp(`^request: ${reply.headers['x-request-id']}$`, 'm'));
  });

  test('of the program itself are 500, told to the log and not to the client', async () => {
    await using pair = await start();
    await rm(pair.service.workspace, { recursive: true });
    const reply = await pair.service.request(FILE);
    assert.equal(reply.status, 500);
    assert.match(reply.body.toString(), /^Internal error: /);
    const id = reply.headers['x-request-id'];
    const fault = await pair.service.waitForLog({ event: 'internal_error', id });
    assert.equal(fault['level'], 'error');
    assert.match(String(fault['stack']), /ENOENT/);
  });
});

describe('the log', () => {
  /** The one line of a request, without what differs from run to run. */
  async function lineOf({ service }: Pair, reply: Reply): Promise<LogEvent> {
    const id = reply.headers['x-request-id'];
    await service.waitForLog({ event: 'request', id });
    const lines = service.logs().filter((event) => event['id'] === id);
    assert.equal(lines.length, 1, 'one line a request');
    const { time, ms, prepareMs, ...rest } = lines[0] ?? {};
    assert.match(String(time), /^\d{4}-\d\d-\d\dT.*Z$/);
    assert.equal(typeof ms, 'number');
    assert.equal(
      typeof prepareMs,
      rest['image'] === undefined || rest['status'] === 401 ? 'undefined' : 'number',
    );
    return rest;
  }

  const COMMON = { event: 'request', client: '127.0.0.1', method: 'GET' };

  test('has one line for an archive, with route, image, bytes, time and outcome', async () => {
    await using pair = await start();
    const reply = await pair.service.request(FILE);
    assert.deepEqual(await lineOf(pair, reply), {
      ...COMMON,
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

  test('tells no bytes of a HEAD', async () => {
    await using pair = await start();
    const reply = await pair.service.request(FILE, { method: 'HEAD' });
    const { bytes, outcome, method } = await lineOf(pair, reply);
    assert.deepEqual({ bytes, outcome, method }, { bytes: 0, outcome: 'ok', method: 'HEAD' });
  });

  const outcomes: readonly [path: string, status: number, outcome: string, level: string, error: string][] = [
    ['/docker/nginx.tar', 400, 'refused', 'info', 'INVALID_FILENAME'],
    [`/registry-auth/http/{host}${FILE}`, 401, 'refused', 'info', 'CREDENTIALS_REQUIRED'],
    ['/favicon.ico', 404, 'refused', 'info', 'NOT_FOUND'],
    ['/docker/team_app_9.tar', 502, 'failed', 'warn', 'IMAGE_NOT_FOUND'],
  ];
  for (const [path, status, outcome, level, error] of outcomes) {
    test(`tells of ${path} that it was ${outcome}, and why`, async () => {
      await using pair = await start();
      const reply = await pair.service.request(path.replace('{host}', pair.registry.host));
      const line = await lineOf(pair, reply);
      assert.deepEqual(
        [line['status'], line['outcome'], line['level'], line['error']],
        [status, outcome, level, error],
      );
      assert.equal(`${reply.reason}: ${line['message']}`, reply.body.toString().split('\n', 1)[0]);
    });
  }

  test('has probes at level debug alone', async () => {
    await using pair = await start();
    for (const path of ['/health', '/ready']) {
      const line = await lineOf(pair, await pair.service.request(path));
      assert.equal(line['level'], 'debug');
      assert.equal(line['route'], path);
    }
  });

  test('cannot be forged by a request', async () => {
    await using pair = await start();
    const reply = await pair.service.request('/docker/a%0a%7B%22event%22:%22forged%22%7D_1.tar');
    assert.equal(reply.status, 400);
    await lineOf(pair, reply);
    assert.deepEqual(
      pair.service.logs().filter(({ event }) => event === 'forged'),
      [],
    );
  });
});

describe('secrets', () => {
  /** Everything that a client or an operator gets to see. */
  function seen({ service }: Pair, replies: readonly Reply[]): string {
    const answers = replies.map(
      ({ reason, headers, body }) => `${reason}${JSON.stringify(headers)}${body.toString('latin1')}`,
    );
    return [service.logText(), ...answers].join('\n');
  }

  function assertHidden(text: string, secrets: readonly string[]): void {
    for (const secret of secrets) {
      assert.notEqual(secret, '');
      assert.ok(!text.includes(secret), `${secret} can be seen`);
    }
  }

  /** What of the credentials went to the registry and its token endpoint: shown to be there, so that it can be missed elsewhere. */
  function carried({ registry }: Pair): string[] {
    const values = registry.requests.flatMap(({ headers }) => headers.authorization ?? []);
    return [...new Set(values.map((value) => value.replace(/^\S+ /, '')))];
  }

  const PASSWORD = 'correct-horse-battery';
  const users = new Map([['user', PASSWORD]]);

  const ways: readonly [
    way: string,
    auth: PairOptions['auth'],
    env: PairOptions['env'],
    client: string | undefined,
  ][] = [
    ["the client's, sent as Basic", { mode: 'basic', users }, {}, basic('user', PASSWORD)],
    [
      "the client's, for a token",
      { mode: 'token', users, allowAnonymous: false },
      {},
      basic('user', PASSWORD),
    ],
    [
      "the operator's, sent as Basic",
      { mode: 'basic', users },
      { REGISTRY_USERNAME: 'user', REGISTRY_PASSWORD: PASSWORD },
      undefined,
    ],
    [
      "the operator's, for a token",
      { mode: 'token', users, allowAnonymous: false },
      { REGISTRY_USERNAME: 'user', REGISTRY_PASSWORD: PASSWORD },
      undefined,
    ],
  ];
  for (const [way, auth, env, client] of ways) {
    test(`in credentials (${way}) show neither in answers nor in the log, whether it goes well or not`, async () => {
      await using storage = await startScriptedServer((request, response, recorded) =>
        serveSignedBlobs(pair.registry.blobs)(request, response, recorded),
      );
      await using pair = await start({ auth: auth ?? {}, env });
      const headers = client === undefined ? {} : { authorization: client };
      const replies: Reply[] = [];
      const ask = async (path: string, accept = '*/*') => {
        replies.push(await pair.service.request(path, { headers: { ...headers, accept } }));
        return replies.at(-1)?.status;
      };
      assert.equal(await ask(FILE), 200);
      pair.registry.defects.redirectBlobsTo = storage.origin;
      assert.equal(await ask(FILE), 200);
      assert.ok(storage.countRequests(new RegExp(URL_SIGNATURE)) > 0, 'signed addresses were used');

      // A registry that repeats what it was sent.
      pair.registry.defects.echoAuthorizationInErrors = true;
      for (const accept of ['*/*', 'application/problem+json']) {
        assert.equal(await ask('/docker/team_app_9.tar', accept), 502);
        pair.registry.defects.failWith = { status: 403, afterAuthorization: true };
        assert.equal(await ask(FILE, accept), 502);
        pair.registry.defects.failWith = undefined;
      }
      // Storage that refuses, and one that is not there: port 1 is nobody's.
      for (const origin of [`${storage.origin}/nowhere`, 'http://127.0.0.1:1']) {
        pair.registry.defects.redirectBlobsTo = origin;
        assert.equal(await ask(FILE), 502);
      }
      // A token endpoint that repeats what it was sent.
      pair.registry.tokens.revokeAll();
      pair.registry.auth.users = new Map([['user', 'another one by now']]);
      assert.equal(await ask(FILE), 502);

      const secrets = carried(pair);
      assert.ok(secrets.length > 0, 'credentials were sent');
      assertHidden(seen(pair, replies), [...secrets, PASSWORD, URL_SIGNATURE, 'X-Amz-Signature']);
    });
  }

  test('in a token of the operator show nowhere', async () => {
    await using pair = await start({
      auth: { mode: 'token' },
      defects: { echoAuthorizationInErrors: true },
      env: { REGISTRY_BEARER_TOKEN: 'operator-token-1234' },
    });
    const reply = await pair.service.request(FILE);
    assert.equal(reply.status, 502);
    assert.ok(carried(pair).includes('operator-token-1234'), 'the token was sent');
    assertHidden(seen(pair, [reply]), ['operator-token-1234']);
  });

  test('in an Authorization header that nobody can read show nowhere', async () => {
    await using pair = await start();
    const headers = { authorization: `Bearer ${PASSWORD}` };
    const reply = await pair.service.request(FILE, { headers });
    assert.equal(reply.status, 401);
    assertHidden(seen(pair, [reply]), [PASSWORD]);
  });
});
