import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { RedirectTransport } from '../../../src/registry/transport/redirect.ts';
import { requestTo, type ScriptedAnswer, ScriptedTransport } from '../support/scripted-transport.ts';

const START = 'https://registry.example.com/v2/a/blobs/b';
const STORAGE = 'https://storage.example.org/x';
const PRIVATE = { authorization: 'Bearer t', cookie: 'c=d', 'proxy-authorization': 'Basic e' };
const PUBLIC = { accept: 'x/y', range: 'bytes=5-', 'accept-encoding': 'identity' };

/** Redirects from each URL to the next; the last answers 200. */
function chain(...locations: readonly string[]): ScriptedTransport {
  return new ScriptedTransport((_, index) => {
    const location = locations[index];
    return location === undefined ? { body: 'end' } : { status: 307, headers: { location } };
  });
}

const follow = (wire: ScriptedTransport, url = START) =>
  new RedirectTransport(wire).send(requestTo(url, { headers: { ...PRIVATE, ...PUBLIC } }));

describe('a redirect', () => {
  test('is followed for its five statuses, and its body is discarded', async () => {
    for (const status of [301, 302, 303, 307, 308]) {
      const wire = new ScriptedTransport((_, index) =>
        index === 0 ? { status, headers: { location: '/elsewhere' }, body: 'moved' } : { body: 'end' },
      );
      const response = await follow(wire);
      assert.deepEqual([response.status, response.url.pathname], [200, '/elsewhere']);
      assert.deepEqual(wire.discarded, [status]);
    }
  });

  test('is no other status, and no response without a location', async () => {
    const headers = { location: STORAGE };
    const answers: ScriptedAnswer[] = [200, 201, 300, 304, 401].map((status) => ({ status, headers }));
    for (const answer of [...answers, { status: 307 }]) {
      const wire = new ScriptedTransport(() => answer);
      assert.equal((await follow(wire)).status, answer.status);
      assert.deepEqual([wire.requests.length, wire.discarded], [1, []]);
    }
  });

  test('is resolved against the URL that redirects', async () => {
    const rows: [end: string, ...locations: string[]][] = [
      ['https://registry.example.com/x?y=z', '/x?y=z'],
      ['https://registry.example.com/v2/a/blobs/c', 'c'],
      ['https://storage.example.org/x', '//storage.example.org/x'],
      ['https://storage.example.org/x/y', 'https://storage.example.org/x/', 'y'],
    ];
    for (const [end, ...locations] of rows) assert.equal((await follow(chain(...locations))).url.href, end);
  });

  test('keeps method, signal and counter of the request', async () => {
    const wire = chain(STORAGE);
    const request = requestTo(START, { method: 'HEAD', operation: 'layer' });
    await new RedirectTransport(wire).send(request);
    const [, followed = assert.fail()] = wire.requests;
    assert.deepEqual(followed, { ...request, url: new URL(STORAGE), isForeign: true });
    assert.deepEqual(
      [followed.attempts === request.attempts, followed.signal === request.signal],
      [true, true],
    );
  });

  test('is followed five times, and refused the sixth time', async () => {
    const hops = (count: number) => Array.from({ length: count }, (_, index) => `/hop/${index}`);
    assert.equal((await follow(chain(...hops(5)))).status, 200);
    const wire = chain(...hops(6));
    await assert.rejects(follow(wire), { code: 'REGISTRY_FAILED', message: /redirects more than 5 times/ });
    assert.deepEqual([wire.requests.length, wire.discarded.length], [6, 6]);
  });

  test('from https to http is refused', async () => {
    const plain = 'http://storage.example.org/y';
    const rows: [start: string, locations: string[]][] = [
      [START, ['http://registry.example.com/x']],
      [START, [plain]],
      [START, [STORAGE, plain]],
      ['http://registry.example.com/', [STORAGE, plain]],
    ];
    for (const [start, locations] of rows) {
      const wire = chain(...locations);
      const refused = { code: 'REGISTRY_FAILED', message: /redirects from https to http/ };
      await assert.rejects(follow(wire, start), refused);
      assert.equal(wire.requests.length, locations.length);
    }
  });

  test('to a URL that is invalid, not http(s), or contains credentials is refused', async () => {
    const invalid = ['https://', 'http://a b/', 'https://storage.example.org:99999/'];
    const schemes = [
      'file:///etc/passwd',
      'ftp://storage.example.org/x',
      'data:text/plain,x',
      'javascript:0',
    ];
    const users = ['user:hunter2', 'user'].map((user) => `https://${user}@storage.example.org/x`);
    for (const location of [...invalid, ...schemes, ...users]) {
      const wire = chain(location);
      await assert.rejects(follow(wire), (error: Error) => {
        assert.match(error.message, /^Cannot follow "https:\/\/registry\.example\.com": it redirects to /);
        assert.doesNotMatch(error.message, /hunter2/);
        return true;
      });
      assert.deepEqual([wire.requests.length, wire.discarded], [1, [307]], location);
    }
  });
});

describe('private headers', () => {
  test('stay within an origin', async () => {
    const wire = chain('/elsewhere', 'https://registry.example.com:443/again');
    await follow(wire);
    for (const { headers } of wire.requests) assert.deepEqual(headers, { ...PRIVATE, ...PUBLIC });
  });

  const rows: [from: string, to: string][] = [
    [START, STORAGE],
    [START, 'https://example.com/x'],
    [START, 'https://registry.example.com.evil.test/x'],
    [START, 'https://registry.example.com:8443/x'],
    ['http://registry.example.com/x', 'https://registry.example.com/x'],
    ['http://registry.example.com:443/x', 'https://registry.example.com/x'],
    ['http://10.0.0.5:5000/x', 'http://10.0.0.5:5001/x'],
    ['http://127.0.0.1:5000/x', 'http://localhost:5000/x'],
  ];
  for (const [from, to] of rows) {
    test(`are dropped from ${from} to ${to}`, async () => {
      const wire = chain(to);
      await follow(wire, from);
      assert.deepEqual(
        wire.requests.map(({ headers }) => headers),
        [{ ...PRIVATE, ...PUBLIC }, PUBLIC],
      );
    });
  }

  test('are not restored by a redirect back', async () => {
    const wire = chain(STORAGE, START);
    await follow(wire);
    assert.deepEqual(wire.urls(), [START, STORAGE, START]);
    assert.deepEqual(wire.sent('authorization'), ['Bearer t', undefined, undefined]);
  });
});

test('the query of a redirect is a secret of the response', async () => {
  const signature = '0123456789abcdef0123';
  const query = `X-Amz-Signature=${signature}&expires=60`;
  const { secrets } = await follow(chain(`${STORAGE}?${query}`));
  const echo = `no key x?${query}, computed ${signature}, 60 s`;
  const redacted = secrets.reduce((text, secret) => text.replaceAll(secret, '*'), echo);
  assert.equal(redacted, 'no key x?*, computed *, 60 s');
  assert.deepEqual((await follow(chain('/x'))).secrets, []);
});
