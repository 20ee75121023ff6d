import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import { isPassthroughError } from '../../../src/errors.ts';
import { type TokenRequest, TokenSource } from '../../../src/registry/auth/token.ts';
import { startFakeRegistry } from '../../support/fake-registry.ts';
import { BASIC, never, openAccess, USER } from '../open.ts';
import { type Script, type ScriptedAnswer, ScriptedTransport } from '../transport/scripted-transport.ts';

const MAX_BYTES = 1000;
const LIMITS = { tokenBytes: MAX_BYTES, errorBytes: MAX_BYTES };

const REQUEST: TokenRequest = {
  realm: new URL('https://auth.example.com/token'),
  service: 'registry.example.com',
  scope: 'repository:team/app:pull',
  credentials: undefined,
};

const answering = (answer: unknown): ScriptedAnswer => ({ body: JSON.stringify(answer) });

/** A token endpoint that numbers its tokens, with further fields in its answers. */
const counting = (fields: Readonly<Record<string, unknown>> = {}) =>
  new ScriptedTransport((_, index) => answering({ token: `t${index}`, ...fields }));

/** Asks a new source once. */
const ask = (answer: ScriptedAnswer | Script, request = REQUEST) =>
  new TokenSource(LIMITS).get(
    request,
    new ScriptedTransport(typeof answer === 'function' ? answer : () => answer),
    never(),
  );

/** A clock that the test sets, in seconds. */
function mockClock({ mock }: TestContext): (seconds: number) => void {
  let now = 1_000_000;
  mock.method(performance, 'now', () => now);
  const start = now;
  return (seconds) => {
    now = start + seconds * 1000;
  };
}

test('a token is asked for by service and scope, at the realm as it stands', async () => {
  const cases: [realm: string, asked: string][] = [
    [
      'https://auth.example.com/token',
      'https://auth.example.com/token?service=registry.example.com&scope=repository%3Ateam%2Fapp%3Apull',
    ],
    [
      'https://auth.example.com/a/b?account=c&scope=other',
      'https://auth.example.com/a/b?account=c&scope=repository%3Ateam%2Fapp%3Apull&service=registry.example.com',
    ],
  ];
  for (const [realm, asked] of cases) {
    const wire = counting();
    await new TokenSource(LIMITS).get({ ...REQUEST, realm: new URL(realm) }, wire, never());
    assert.deepEqual(wire.urls(), [asked]);
    const [{ method, operation, template, headers } = assert.fail()] = wire.requests;
    assert.deepEqual(
      { method, operation, template, headers },
      {
        method: 'GET',
        operation: 'token',
        template: new URL(realm).pathname,
        headers: { accept: 'application/json' },
      },
    );
  }
});

test('credentials go as Basic, and without them nothing goes', async () => {
  const wire = counting();
  const source = new TokenSource(LIMITS);
  await source.get({ ...REQUEST, credentials: USER }, wire, never());
  await source.get(REQUEST, wire, never());
  assert.deepEqual(wire.sent('authorization'), [BASIC, undefined]);
});

test('the token is taken from token, else from access_token', async () => {
  const cases: [answer: unknown, token: string][] = [
    [{ token: 'a' }, 'a'],
    [{ access_token: 'b' }, 'b'],
    [{ token: 'a', access_token: 'b' }, 'a'],
    [{ token: '', access_token: 'b' }, 'b'],
    [{ token: null, access_token: 'b' }, 'b'],
    [{ token: 5, access_token: 'b' }, 'b'],
    [{ token: 'a', expires_in: 300, issued_at: '2026-01-01T00:00:00Z', refresh_token: 'r' }, 'a'],
  ];
  for (const [answer, token] of cases) assert.equal(await ask(answering(answer)), token);
});

test('an answer without a token is a failure of the realm', async () => {
  const neither = 'its answer has neither token nor access_token';
  const cases: [answer: ScriptedAnswer, why: string][] = [
    [answering({}), neither],
    [answering({ token: '', access_token: '' }), neither],
    [answering({ token: { a: 'b' } }), neither],
    [answering({ refresh_token: 'r' }), neither],
    [answering([]), neither],
    [answering(null), neither],
    [answering('t'), neither],
    [{ body: '<html>sign in</html>' }, 'its answer is not JSON'],
    [{ body: '' }, 'its answer is not JSON'],
    [{ body: '{"token":"a"' }, 'its answer is not JSON'],
    [answering({ token: 'a\r\nX-Forged: 1' }), 'its token has characters that no token has'],
    [answering({ token: 'a b' }), 'its token has characters that no token has'],
    [answering({ token: 'ä' }), 'its token has characters that no token has'],
  ];
  for (const [answer, why] of cases) {
    await assert.rejects(ask(answer), {
      code: 'REGISTRY_FAILED',
      message: `Cannot get a token from "https://auth.example.com/token": ${why}`,
    });
  }
});

test('a huge answer is read no further than the limit, an error no further than its own', async () => {
  let given = 0;
  async function* endless(): AsyncGenerator<Uint8Array, void, undefined> {
    yield Buffer.from('{"token":"');
    for (;;) {
      given += 1;
      yield Buffer.alloc(100, 'a');
    }
  }
  await assert.rejects(ask({ body: endless() }), {
    code: 'REGISTRY_FAILED',
    message: 'Cannot read token answer of "https://auth.example.com/token": it is larger than 1000 bytes',
  });
  assert.equal(given, 10);
  given = 0;
  await assert.rejects(ask({ status: 400, body: endless() }), { code: 'REGISTRY_FAILED' });
  assert.equal(given, 10);
});

test('a realm that refuses or fails is told with its own words', async () => {
  const cases: [status: number, code: string, reason: string][] = [
    [400, 'REGISTRY_FAILED', 'the answer is 400'],
    [401, 'REGISTRY_DENIED', 'authentication is required or was refused'],
    [403, 'REGISTRY_DENIED', 'access is denied'],
    // The realm is missing, not the image.
    [404, 'REGISTRY_FAILED', 'not found'],
    [429, 'REGISTRY_RATE_LIMITED', 'too many requests'],
    [500, 'REGISTRY_FAILED', 'the answer is 500'],
    [204, 'REGISTRY_FAILED', 'the answer is 204'],
    [307, 'REGISTRY_FAILED', 'the answer is 307'],
  ];
  for (const [status, code, reason] of cases) {
    const body = '{"details":"no such user"}';
    const headers = { location: 'https://auth.example.com/other', 'retry-after': '9' };
    await assert.rejects(ask({ status, headers, body }), (error) => {
      assert.ok(isPassthroughError(error));
      assert.equal(error.code, code);
      assert.equal(
        error.message,
        `Cannot get a token from "https://auth.example.com/token": ${reason}: no such user`,
      );
      assert.deepEqual(error.details, { registryStatus: status, retryAfterSeconds: 9 });
      return true;
    });
  }
});

test('an error that echoes the credentials does not repeat them', async () => {
  const echo: Script = ({ headers }) => ({
    status: 401,
    body: JSON.stringify({ details: `bad ${headers['authorization']} of user:secret` }),
  });
  await assert.rejects(ask(echo, { ...REQUEST, credentials: USER }), {
    message:
      'Cannot get a token from "https://auth.example.com/token": authentication is required or was refused: bad Basic [redacted] of user:[redacted]',
  });
});

test('a token is used again while it lives, and no longer', async (t) => {
  const cases: [expiresIn: unknown, usedAt: number, goneAt: number][] = [
    [undefined, 50, 60],
    [300, 290, 300],
    ['300', 290, 300],
    [12.5, 5, 12.5],
    // Nothing that can be meant: as if it were missing.
    [0, 50, 60],
    [-5, 50, 60],
    [null, 50, 60],
    ['soon', 50, 60],
    [{}, 50, 60],
    // No token is trusted for longer than an hour.
    [1e9, 3590, 3600],
  ];
  for (const [expiresIn, usedAt, goneAt] of cases) {
    const setClock = mockClock(t);
    const wire = counting({ expires_in: expiresIn });
    const source = new TokenSource(LIMITS);
    for (const [at, token] of [
      [0, 't0'],
      [usedAt, 't0'],
      [goneAt, 't1'],
    ] as const) {
      setClock(at);
      assert.equal(await source.get(REQUEST, wire, never()), token, `${expiresIn} at ${at}`);
    }
    t.mock.restoreAll();
  }
});

test('a token that is about to end serves those who asked for it, and no one later', async () => {
  for (const expiresIn of [0.001, 1, 5]) {
    const wire = counting({ expires_in: expiresIn });
    const source = new TokenSource(LIMITS);
    const asked = [1, 2, 3].map(() => source.get(REQUEST, wire, never()));
    assert.deepEqual(await Promise.all(asked), ['t0', 't0', 't0']);
    assert.equal(await source.get(REQUEST, wire, never()), 't1');
  }
});

test('ten who ask at once, and whoever asks later, share one token request', async () => {
  const wire = counting();
  const source = new TokenSource(LIMITS);
  const asked = Array.from({ length: 10 }, () => source.get(REQUEST, wire, never()));
  assert.deepEqual(new Set(await Promise.all(asked)), new Set(['t0']));
  assert.equal(await source.get(REQUEST, wire, never()), 't0');
  assert.equal(wire.requests.length, 1);
});

test('another realm, service, scope, user or password has a token of its own', async () => {
  const others: Partial<TokenRequest>[] = [
    {},
    { realm: new URL('https://auth.example.com/other') },
    { realm: new URL('https://auth.example.org/token') },
    { service: 'other' },
    { scope: 'repository:team/other:pull' },
    { credentials: USER },
    { credentials: { ...USER, username: 'other' } },
    { credentials: { ...USER, password: 'other' } },
    { credentials: { username: '', password: '' } },
    // Parts that are the same when they are joined.
    { credentials: { username: 'a:b', password: 'c' } },
    { credentials: { username: 'a', password: 'b:c' } },
  ];
  const wire = counting();
  const source = new TokenSource(LIMITS);
  const askAll = () =>
    Promise.all(others.map((fields) => source.get({ ...REQUEST, ...fields }, wire, never())));
  const tokens = await askAll();
  assert.equal(new Set(tokens).size, others.length);
  assert.deepEqual(await askAll(), tokens);
});

test('a refused token is forgotten, a newer one in its place is not', async () => {
  const wire = counting();
  const source = new TokenSource(LIMITS);
  assert.equal(await source.get(REQUEST, wire, never()), 't0');
  source.forget(REQUEST, 't0');
  assert.equal(await source.get(REQUEST, wire, never()), 't1');
  source.forget(REQUEST, 't0');
  assert.equal(await source.get(REQUEST, wire, never()), 't1');
  source.forget({ ...REQUEST, scope: 'other' }, 't1');
  assert.equal(await source.get(REQUEST, wire, never()), 't1');
});

test('a failure is not remembered', async () => {
  const wire = new ScriptedTransport((_, index) =>
    index === 0 ? { status: 500 } : answering({ token: 't' }),
  );
  const source = new TokenSource(LIMITS);
  const asked = [1, 2].map(() => source.get(REQUEST, wire, never()));
  for (const one of asked) await assert.rejects(one, { code: 'REGISTRY_FAILED' });
  assert.equal(await source.get(REQUEST, wire, never()), 't');
  assert.equal(wire.requests.length, 2);
});

test('a bounded number of tokens is kept, the oldest goes first', async () => {
  const wire = counting();
  const source = new TokenSource(LIMITS);
  const get = (scope: number) => source.get({ ...REQUEST, scope: String(scope) }, wire, never());
  for (let scope = 0; scope <= 1000; scope += 1) await get(scope);
  assert.equal(await get(1), 't1');
  assert.equal(await get(1000), 't1000');
  assert.equal(await get(0), 't1001');
});

test('the first asker leaves, the others still get the token, in one request', async () => {
  await using server = await startFakeRegistry({ auth: { tokenDelayUntilReleased: true } });
  using access = openAccess();
  const request = { ...REQUEST, realm: new URL(`${server.origin}/token`), service: 'fake-registry' };
  const first = new AbortController();
  const leaving = access.tokens.get(request, access.wire, first.signal);
  const staying = [1, 2].map(() => access.tokens.get(request, access.wire, never()));
  await server.waitForStalled();
  first.abort();
  await assert.rejects(leaving, { code: 'ABORTED' });
  server.releaseStalled();
  const [token = '', same] = await Promise.all(staying);
  assert.equal(server.tokens.check(token, REQUEST.scope), 'good');
  assert.equal(same, token);
  assert.equal(server.tokenRequests.length, 1);
});

test('when the last asker leaves the token request is aborted', async () => {
  await using server = await startFakeRegistry({ auth: { tokenDelayUntilReleased: true } });
  using access = openAccess();
  const request = { ...REQUEST, realm: new URL(`${server.origin}/token`), service: 'fake-registry' };
  const controllers = [new AbortController(), new AbortController()];
  const leaving = controllers.map(({ signal }) => access.tokens.get(request, access.wire, signal));
  await server.waitForStalled();
  for (const controller of controllers) controller.abort();
  for (const one of leaving) await assert.rejects(one, { code: 'ABORTED' });
  await server.waitForNoActiveRequests();

  server.auth.tokenDelayUntilReleased = false;
  const token = await access.tokens.get(request, access.wire, never());
  assert.equal(server.tokens.check(token, REQUEST.scope), 'good');
});

test('who has left already asks for nothing', async () => {
  const wire = counting();
  await assert.rejects(new TokenSource(LIMITS).get(REQUEST, wire, AbortSignal.abort()), {
    code: 'ABORTED',
  });
  assert.equal(wire.requests.length, 0);
});
