import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { isPassthroughError } from '../../../src/errors.ts';
import { type TokenRequest, TokenSource } from '../../../src/registry/auth/token.ts';
import { BASIC, never, SCOPE, startScene, USER } from '../support/scene.ts';
import { type Script, type ScriptedAnswer, ScriptedTransport } from '../support/scripted-transport.ts';

const LIMITS = { tokenBytes: 1000, errorBytes: 1000 };
const AT = 'Cannot get a token from "https://auth.example.com/token": ';

const REQUEST: TokenRequest = {
  realm: new URL('https://auth.example.com/token'),
  service: 'registry.example.com',
  scope: SCOPE,
  credentials: undefined,
  isForeign: false,
};

const json = (body: unknown): ScriptedAnswer => ({ body: JSON.stringify(body) });

/** A token source and a realm that numbers its tokens. */
function startCounting(fields: Readonly<Record<string, unknown>> = {}) {
  const transport = new ScriptedTransport((_, index) => json({ token: `t${index}`, ...fields }));
  const source = new TokenSource(LIMITS);
  const get = async (request: Partial<TokenRequest> = {}) =>
    (await source.get({ ...REQUEST, ...request }, transport, never())).token;
  return { transport, source, get };
}

/** Requests a token from a realm with one response. */
const request = async (answer: ScriptedAnswer | Script, fields: Partial<TokenRequest> = {}) => {
  const transport = new ScriptedTransport(typeof answer === 'function' ? answer : () => answer);
  return (await new TokenSource(LIMITS).get({ ...REQUEST, ...fields }, transport, never())).token;
};

describe('a token request', () => {
  test('adds service and scope to the URL of the realm', async () => {
    const scope = 'scope=repository%3Ateam%2Fapp%3Apull';
    for (const [realm, url] of [
      ['https://auth.example.com/token', `?service=registry.example.com&${scope}`],
      ['https://auth.example.com/a/b?account=c&scope=other', `&${scope}&service=registry.example.com`],
    ] as const) {
      const { transport, get } = startCounting();
      await get({ realm: new URL(realm) });
      assert.deepEqual(transport.urls(), [realm.replace('&scope=other', '') + url]);
      const [{ method, operation, template, headers } = assert.fail()] = transport.requests;
      assert.deepEqual([method, operation, template], ['GET', 'token', new URL(realm).pathname]);
      assert.deepEqual(headers, { accept: 'application/json' });
    }
  });

  test('carries credentials as Basic if it has any', async () => {
    const { transport, get } = startCounting();
    await get({ credentials: USER });
    await get();
    assert.deepEqual(transport.sent('authorization'), [BASIC, undefined]);
  });

  test('is shared by concurrent callers, and its token by later ones', async () => {
    const { transport, get } = startCounting();
    const tokens = await Promise.all(Array.from({ length: 10 }, () => get()));
    assert.deepEqual([...new Set(tokens), await get(), transport.requests.length], ['t0', 't0', 1]);
  });

  test('is not sent after an abort', async () => {
    const { transport, source } = startCounting();
    await assert.rejects(source.get(REQUEST, transport, AbortSignal.abort()), { code: 'ABORTED' });
    assert.equal(transport.requests.length, 0);
  });

  test('goes on when one of its callers aborts, and ends when all do', async () => {
    await using scene = await startScene({ auth: { tokenDelayUntilReleased: true } });
    const { server, access } = scene;
    const target = { ...REQUEST, realm: new URL(`${server.origin}/token`), service: 'fake-registry' };
    const get = async (signal = never()) => (await access.tokens.get(target, access.wire, signal)).token;
    const aborted = { code: 'ABORTED' };

    const first = new AbortController();
    const leaving = get(first.signal);
    const staying = [get(), get()];
    await server.waitForStalled();
    first.abort();
    await assert.rejects(leaving, aborted);
    server.releaseStalled();
    const [token = '', same] = await Promise.all(staying);
    assert.deepEqual(
      [server.tokens.check(token, SCOPE), same, server.tokenRequests.length],
      ['good', token, 1],
    );

    access.tokens.forget(target, token);
    const controllers = [new AbortController(), new AbortController()];
    const all = controllers.map(({ signal }) => get(signal));
    await server.waitForStalled();
    for (const controller of controllers) controller.abort();
    for (const one of all) await assert.rejects(one, aborted);
    await server.waitForNoActiveRequests();

    server.auth.tokenDelayUntilReleased = false;
    assert.equal(server.tokens.check(await get(), SCOPE), 'good');
  });
});

describe('the response of a realm', () => {
  test('has its token in token, or else in access_token', async () => {
    const bodies: [body: unknown, token: string][] = [
      [{ token: 'a' }, 'a'],
      [{ access_token: 'b' }, 'b'],
      [{ token: 'a', access_token: 'b' }, 'a'],
      [{ token: '', access_token: 'b' }, 'b'],
      [{ token: null, access_token: 'b' }, 'b'],
      [{ token: 5, access_token: 'b' }, 'b'],
      [{ token: 'a', expires_in: 300, issued_at: '2026-01-01T00:00:00Z', refresh_token: 'r' }, 'a'],
    ];
    for (const [body, token] of bodies) assert.equal(await request(json(body)), token);
  });

  test('fails without a valid token', async () => {
    const neither = 'its answer has neither token nor access_token';
    const invalid = 'its token has characters that no token has';
    const noTokens = [{}, { token: '', access_token: '' }, { token: { a: 'b' } }, { refresh_token: 'r' }];
    const answers: [answer: ScriptedAnswer, why: string][] = [
      ...[...noTokens, [], null, 't'].map((body): [ScriptedAnswer, string] => [json(body), neither]),
      ...['<html>sign in</html>', '', '{"token":"a"'].map((body): [ScriptedAnswer, string] => [
        { body },
        'its answer is not JSON',
      ]),
      ...['a\r\nX-Forged: 1', 'a b', 'ä'].map((token): [ScriptedAnswer, string] => [
        json({ token }),
        invalid,
      ]),
    ];
    for (const [answer, why] of answers) {
      await assert.rejects(request(answer), { code: 'REGISTRY_FAILED', message: `${AT}${why}` });
    }
  });

  test('is read up to a limit, and an error up to its own limit', async () => {
    let chunks = 0;
    async function* endless(): AsyncGenerator<Uint8Array, void, undefined> {
      yield Buffer.from('{"token":"');
      for (chunks = 1; ; chunks += 1) yield Buffer.alloc(100, 'a');
    }
    await assert.rejects(request({ body: endless() }), {
      code: 'REGISTRY_FAILED',
      message: 'Cannot read token answer of "https://auth.example.com/token": it is larger than 1000 bytes',
    });
    assert.equal(chunks, 10);
    await assert.rejects(request({ status: 400, body: endless() }), { code: 'REGISTRY_FAILED' });
    assert.equal(chunks, 10);
  });

  const statuses: [status: number, code: string, reason: string][] = [
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
  for (const [status, code, reason] of statuses) {
    test(`fails with ${code} for ${status}, and is quoted without credentials`, async () => {
      const headers = { location: 'https://auth.example.com/other', 'retry-after': '9' };
      const echo: Script = ({ headers: sent }) => ({
        ...json({ details: `bad ${sent['authorization']} of user:secret` }),
        status,
        headers,
      });
      await assert.rejects(request(echo, { credentials: USER }), (error) => {
        assert.ok(isPassthroughError(error));
        assert.equal(error.code, code);
        assert.equal(error.message, `${AT}${reason}: bad Basic [redacted] of user:[redacted]`);
        assert.deepEqual(error.details, { registryStatus: status, retryAfterSeconds: 9 });
        return true;
      });
    });
  }
});

describe('a cached token', () => {
  /** Replaces the clock by one that the test sets, in seconds. */
  function mockClock({ mock }: TestContext): (seconds: number) => void {
    let now = 0;
    mock.method(performance, 'now', () => 1_000_000 + now);
    return (seconds) => {
      now = seconds * 1000;
    };
  }

  const lifetimes: [expiresIn: unknown, usedAt: number, goneAt: number][] = [
    [undefined, 50, 60],
    [300, 290, 300],
    ['300', 290, 300],
    [12.5, 5, 12.5],
    // Invalid values count as missing.
    [0, 50, 60],
    [-5, 50, 60],
    [null, 50, 60],
    ['soon', 50, 60],
    [{}, 50, 60],
    // One hour is the maximum.
    [1e9, 3590, 3600],
  ];
  for (const [expiresIn, usedAt, goneAt] of lifetimes) {
    test(`is used at ${usedAt} s but not at ${goneAt} s with expires_in ${JSON.stringify(expiresIn)}`, async (t) => {
      const setClock = mockClock(t);
      const { get } = startCounting({ expires_in: expiresIn });
      const tokens: string[] = [];
      for (const seconds of [0, usedAt, goneAt]) {
        setClock(seconds);
        tokens.push(await get());
      }
      assert.deepEqual(tokens, ['t0', 't0', 't1']);
    });
  }

  test('that expires at once serves the callers that wait for it alone', async () => {
    for (const expiresIn of [0.001, 1, 5]) {
      const { get } = startCounting({ expires_in: expiresIn });
      assert.deepEqual(await Promise.all([get(), get(), get()]), ['t0', 't0', 't0']);
      assert.equal(await get(), 't1');
    }
  });

  test('is used only for the same realm, service, scope, user and password', async () => {
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
      // The same characters, but other bytes.
      { credentials: { username: 'ü', password: 'x' } },
      { credentials: { username: 'ü', password: 'x', encoding: 'latin1' } },
      // These two are equal when user and password are joined by a colon.
      { credentials: { username: 'a:b', password: 'c' } },
      { credentials: { username: 'a', password: 'b:c' } },
    ];
    const { get } = startCounting();
    const tokens = await Promise.all(others.map(get));
    assert.equal(new Set(tokens).size, others.length);
    assert.deepEqual(await Promise.all(others.map(get)), tokens);
  });

  test('is removed when it is refused, unless it is newer than the refused one', async () => {
    const { source, get } = startCounting();
    assert.equal(await get(), 't0');
    source.forget(REQUEST, 't0');
    assert.equal(await get(), 't1');
    source.forget(REQUEST, 't0');
    source.forget({ ...REQUEST, scope: 'other' }, 't1');
    assert.equal(await get(), 't1');
  });

  test('is not kept from a failed request', async () => {
    const transport = new ScriptedTransport((_, index) =>
      index === 0 ? { status: 500 } : json({ token: 't' }),
    );
    const source = new TokenSource(LIMITS);
    const failed = [1, 2].map(() => source.get(REQUEST, transport, never()));
    for (const one of failed) await assert.rejects(one, { code: 'REGISTRY_FAILED' });
    assert.equal((await source.get(REQUEST, transport, never())).token, 't');
    assert.equal(transport.requests.length, 2);
  });

  test('is known as one that the registry may not accept any more', async () => {
    const { transport, source } = startCounting();
    const get = () => source.get(REQUEST, transport, never());
    const first = await Promise.all([get(), get()]);
    assert.deepEqual(first, Array(2).fill({ token: 't0', isCached: false }));
    assert.deepEqual(await get(), { token: 't0', isCached: true });
  });

  test('is evicted by last use, so that all tokens together have at most 4 MiB', async () => {
    const size = 256 * 1024;
    const transport = new ScriptedTransport((_, index) => json({ token: `t${index}`.padEnd(size, 'x') }));
    const source = new TokenSource({ tokenBytes: 2 * size, errorBytes: 1000 });
    const getScope = async (scope: number) => {
      const { token } = await source.get({ ...REQUEST, scope: String(scope) }, transport, never());
      return token.replace(/x+$/, '');
    };
    const fitting = 15;
    for (let scope = 0; scope < fitting; scope += 1) await getScope(scope);
    assert.equal(await getScope(0), 't0');
    assert.equal(await getScope(fitting), 't15');
    const scopes = [0, 2, fitting, 1];
    assert.deepEqual(await Promise.all(scopes.map(getScope)), ['t0', 't2', 't15', 't16']);
  });
});
