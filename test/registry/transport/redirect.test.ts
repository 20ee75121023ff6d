import assert from 'node:assert/strict';
import test from 'node:test';
import { RedirectTransport } from '../../../src/registry/transport/redirect.ts';
import { exchange, type Script, ScriptedTransport } from './scripted-transport.ts';

const START = 'https://registry.example.com/v2/a/blobs/b';
const PRIVATE = { authorization: 'Bearer t', cookie: 'c=d', 'proxy-authorization': 'Basic e' };
const PUBLIC = { accept: 'x/y', range: 'bytes=5-', 'accept-encoding': 'identity' };

/** Redirects from each URL of the chain to the next; the last answers 200. */
function chain(...locations: readonly string[]): ScriptedTransport {
  return new ScriptedTransport((_, index) => {
    const location = locations[index];
    return location === undefined ? { body: 'end' } : { status: 307, headers: { location } };
  });
}

const follow = (wire: ScriptedTransport, url = START) =>
  new RedirectTransport(wire).send(exchange(url, { headers: { ...PRIVATE, ...PUBLIC } }));

test('every kind of redirect is followed, and its body given up', async () => {
  for (const status of [301, 302, 303, 307, 308]) {
    const wire = new ScriptedTransport((_, index) =>
      index === 0 ? { status, headers: { location: '/elsewhere' }, body: 'moved' } : { body: 'end' },
    );
    const answer = await follow(wire);
    assert.equal(answer.status, 200);
    assert.equal(answer.url.href, 'https://registry.example.com/elsewhere');
    assert.deepEqual(wire.discarded, [status]);
  }
});

test('what is no redirect passes', async () => {
  const location = 'https://storage.example.org/';
  const cases: [status: number, script: ReturnType<Script>][] = [
    [200, { status: 200, headers: { location } }],
    [201, { status: 201, headers: { location } }],
    [300, { status: 300, headers: { location } }],
    [304, { status: 304, headers: { location } }],
    [307, { status: 307 }],
    [401, { status: 401, headers: { location } }],
  ];
  for (const [status, answer] of cases) {
    const wire = new ScriptedTransport(() => answer);
    assert.equal((await follow(wire)).status, status);
    assert.deepEqual([wire.requests.length, wire.discarded], [1, []]);
  }
});

test('a location is resolved against where the redirect came from', async () => {
  const cases: [locations: string[], end: string][] = [
    [['/x?y=z'], 'https://registry.example.com/x?y=z'],
    [['c'], 'https://registry.example.com/v2/a/blobs/c'],
    [['//storage.example.org/x'], 'https://storage.example.org/x'],
    [['https://storage.example.org/x/', 'y'], 'https://storage.example.org/x/y'],
  ];
  for (const [locations, end] of cases) {
    assert.equal((await follow(chain(...locations))).url.href, end);
  }
});

test('what is private goes along inside of an origin', async () => {
  const wire = chain('/elsewhere', 'https://registry.example.com:443/again');
  await follow(wire);
  for (const { headers } of wire.requests) assert.deepEqual(headers, { ...PRIVATE, ...PUBLIC });
});

test('what is private stays behind at another host, port or scheme; the rest goes along', async () => {
  const cases: [from: string, to: string][] = [
    [START, 'https://storage.example.org/x'],
    [START, 'https://example.com/x'],
    [START, 'https://registry.example.com.evil.test/x'],
    [START, 'https://registry.example.com:8443/x'],
    ['http://registry.example.com/x', 'https://registry.example.com/x'],
    ['http://registry.example.com:443/x', 'https://registry.example.com/x'],
    ['http://10.0.0.5:5000/x', 'http://10.0.0.5:5001/x'],
    ['http://127.0.0.1:5000/x', 'http://localhost:5000/x'],
  ];
  for (const [from, to] of cases) {
    const wire = chain(to);
    await follow(wire, from);
    assert.deepEqual(wire.requests[0]?.headers, { ...PRIVATE, ...PUBLIC });
    assert.deepEqual(wire.requests[1]?.headers, PUBLIC, to);
  }
});

test('what stayed behind does not come back when a redirect leads home', async () => {
  const wire = chain('https://storage.example.org/x', START);
  await follow(wire);
  assert.deepEqual(wire.urls(), [START, 'https://storage.example.org/x', START]);
  assert.deepEqual(wire.sent('authorization'), ['Bearer t', undefined, undefined]);
});

test('no step leads from https to http', async () => {
  const cases: [locations: string[], sent: number][] = [
    [['http://registry.example.com/x'], 1],
    [['http://storage.example.org/x'], 1],
    [['https://storage.example.org/x', 'http://storage.example.org/y'], 2],
  ];
  for (const [locations, sent] of cases) {
    const wire = chain(...locations);
    await assert.rejects(follow(wire), { code: 'REGISTRY_FAILED', message: /redirects from https to http/ });
    assert.equal(wire.requests.length, sent);
  }
  const up = chain('https://storage.example.org/x', 'http://storage.example.org/y');
  await assert.rejects(follow(up, 'http://registry.example.com/'), { code: 'REGISTRY_FAILED' });
});

test('a location that is no plain web address is refused', async () => {
  const locations = [
    'https://',
    'http://a b/',
    'https://storage.example.org:99999/',
    'file:///etc/passwd',
    'ftp://storage.example.org/x',
    'data:text/plain,x',
    'javascript:0',
    'https://user:hunter2@storage.example.org/x',
    'https://user@storage.example.org/x',
  ];
  for (const location of locations) {
    const wire = chain(location);
    await assert.rejects(follow(wire), (error: Error) => {
      assert.match(error.message, /^Cannot follow "https:\/\/registry\.example\.com": it redirects to /);
      assert.doesNotMatch(error.message, /hunter2/);
      return true;
    });
    assert.deepEqual([wire.requests.length, wire.discarded], [1, [307]], location);
  }
});

test('five redirects are followed, a sixth is refused', async () => {
  const hops = (count: number) => Array.from({ length: count }, (_, index) => `/hop/${index}`);
  assert.equal((await follow(chain(...hops(5)))).status, 200);
  const wire = chain(...hops(6));
  await assert.rejects(follow(wire), { code: 'REGISTRY_FAILED', message: /redirects more than 5 times/ });
  assert.deepEqual([wire.requests.length, wire.discarded.length], [6, 6]);
});

test('method, signal and count of attempts go along', async () => {
  const wire = chain('https://storage.example.org/x');
  const request = exchange(START, { method: 'HEAD', operation: 'layer' });
  await new RedirectTransport(wire).send(request);
  const { url: _, ...rest } = request;
  const { url: followed, ...passed } = wire.requests[1] ?? exchange(START);
  assert.equal(followed.href, 'https://storage.example.org/x');
  assert.deepEqual(passed, rest);
  assert.equal(passed.attempts, request.attempts);
  assert.equal(passed.signal, request.signal);
});

test('the query of a signed address counts as a secret of the answer', async () => {
  const wire = chain('https://storage.example.org/x?X-Amz-Signature=0123456789abcdef0123&expires=60');
  const { secrets } = await follow(wire);
  const echo =
    'no key x?X-Amz-Signature=0123456789abcdef0123&expires=60, computed 0123456789abcdef0123, 60 s';
  const left = secrets.reduce((text, secret) => text.replaceAll(secret, '*'), echo);
  assert.equal(left, 'no key x?*, computed *, 60 s');
  assert.deepEqual((await follow(chain('/x'))).secrets, []);
});
