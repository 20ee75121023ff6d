import assert from 'node:assert/strict';
import type { IncomingHttpHeaders } from 'node:http';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { loadConfig } from '../../../src/config/config.ts';
import type { Entrance } from '../../../src/http/connections/peer.ts';
import { findClient } from '../../../src/http/networks/client.ts';

const PROXY = '10.0.0.1';

/** The client of a request from a proxy, unless another address is given. */
function clientOf(
  headers: IncomingHttpHeaders,
  address = PROXY,
  proxies = '10.0.0.0/24, 2001:db8:a::/64, unix',
  entrance: Entrance = address === 'unix' ? 'unix' : 'http',
) {
  const peer = { entrance, address, port: 1, certificate: undefined };
  return findClient(peer, headers, loadConfig({ TRUSTED_PROXIES: proxies }).listener.trustedProxies);
}

describe('the client is', () => {
  type Row = readonly [what: string, client: string, headers: IncomingHttpHeaders, peer?: string];
  const table: readonly Row[] = [
    ['the peer without headers', PROXY, {}],
    ['the peer if it is not trusted', '192.0.2.9', { 'x-forwarded-for': '198.51.100.4' }, '192.0.2.9'],
    [
      'the peer if it is not trusted (Forwarded)',
      '192.0.2.9',
      { forwarded: 'for=198.51.100.4' },
      '192.0.2.9',
    ],
    ['the peer if its address is not known', '', { forwarded: 'for=198.51.100.4' }, ''],
    ['whom the proxy names', '198.51.100.4', { 'x-forwarded-for': '198.51.100.4' }],
    ['whom the proxy names (Forwarded)', '198.51.100.4', { forwarded: 'for=198.51.100.4' }],
    ['whom a proxy on a Unix socket names', '198.51.100.4', { forwarded: 'for=198.51.100.4' }, 'unix'],
    [
      'whom a proxy in mapped notation names',
      '198.51.100.4',
      { forwarded: 'for=198.51.100.4' },
      '::ffff:10.0.0.1',
    ],
    ['whom a proxy over IPv6 names', '2001:db8::9', { forwarded: 'for="[2001:DB8::9]"' }, '2001:db8:a::1'],
    ['not whom the client names', '198.51.100.4', { 'x-forwarded-for': '192.0.2.1, 198.51.100.4' }],
    [
      'not whom the client names (Forwarded)',
      '198.51.100.4',
      { forwarded: 'for=192.0.2.1, for=198.51.100.4' },
    ],
    ['behind two proxies', '198.51.100.4', { 'x-forwarded-for': '192.0.2.1, 198.51.100.4, 10.0.0.2' }],
    ['behind two proxies (Forwarded)', '198.51.100.4', { forwarded: 'for=198.51.100.4, for="10.0.0.2:80"' }],
    ['the first one if all are proxies', '10.0.0.3', { 'x-forwarded-for': '10.0.0.3, 10.0.0.2' }],
    ['not known if the proxy does not know it', 'unknown', { forwarded: 'for=10.0.0.9, for=unknown' }],
    ['what the proxy calls it', '_a1', { forwarded: 'for=198.51.100.4, for=_a1' }],
    ['not a Unix socket because a header says so', 'unknown', { 'x-forwarded-for': 'unix' }],
    ['not known if the proxy writes no address', 'unknown', { 'x-forwarded-for': '198.51.100.4, nonsense' }],
    [
      'the one that both fields name',
      '198.51.100.4',
      {
        forwarded: 'for=198.51.100.4;proto=https',
        'x-forwarded-for': '198.51.100.4',
        'x-forwarded-proto': 'https',
      },
    ],
  ];
  for (const [what, address, headers, peer] of table) {
    test(what, () => {
      const client = clientOf(headers, peer);
      assert.equal(client.address, address);
      assert.equal(client.peer.address, peer ?? PROXY);
    });
  }

  test('the peer where no proxy is trusted', () => {
    const peer = { entrance: 'http', address: PROXY, port: 1, certificate: undefined } as const;
    const { address } = findClient(peer, { forwarded: 'for=198.51.100.4' }, undefined);
    assert.equal(address, PROXY);
  });

  test('no peer of a Unix socket unless the list says unix', () => {
    assert.equal(clientOf({ forwarded: 'for=198.51.100.4' }, 'unix', '10.0.0.0/8').address, 'unix');
    assert.equal(clientOf({ forwarded: 'for=198.51.100.4' }, PROXY, 'unix').address, PROXY);
  });
});

describe('the scheme is', () => {
  const table: readonly [what: string, scheme: string, headers: IncomingHttpHeaders, entrance?: Entrance][] =
    [
      ['that of the connection', 'http', {}],
      ['that of the encrypted connection', 'https', {}, 'https'],
      ['that of Forwarded', 'https', { forwarded: 'for=198.51.100.4;proto=https' }],
      [
        'that of X-Forwarded-Proto',
        'https',
        { 'x-forwarded-for': '198.51.100.4', 'x-forwarded-proto': 'https' },
      ],
      ['that of X-Forwarded-Proto alone', 'https', { 'x-forwarded-proto': 'https' }],
      [
        'that of X-Forwarded-Proto beside Forwarded',
        'https',
        { forwarded: 'for=198.51.100.4', 'x-forwarded-for': '198.51.100.4', 'x-forwarded-proto': 'https' },
      ],
      [
        'plain, although the proxy speaks TLS with the service',
        'http',
        { forwarded: 'for=198.51.100.4;proto=http' },
        'https',
      ],
    ];
  for (const [what, scheme, headers, entrance] of table) {
    test(what, () => assert.equal(clientOf(headers, PROXY, PROXY, entrance).scheme, scheme));
  }
});

describe('a trusted proxy is refused that sends', () => {
  const invalid = (why: RegExp) => ({ code: 'INVALID_REQUEST', message: why });
  const table: readonly [what: string, headers: IncomingHttpHeaders, why: RegExp][] = [
    ['a field that cannot be parsed', { forwarded: 'for="198.51.100.4' }, /Forwarded cannot be parsed/],
    [
      'one client in each field: the client may have sent the other field',
      { forwarded: 'for=192.0.2.1', 'x-forwarded-for': '198.51.100.4' },
      /different clients/,
    ],
    [
      'one scheme in each field',
      {
        forwarded: 'for=198.51.100.4;proto=https',
        'x-forwarded-for': '198.51.100.4',
        'x-forwarded-proto': 'http',
      },
      /different clients or schemes/,
    ],
    ['a chain without end', { 'x-forwarded-for': '10.0.0.9,'.repeat(3000) }, /more than 32 proxies/],
  ];
  for (const [what, headers, why] of table) {
    test(what, () => assert.throws(() => clientOf(headers), invalid(why)));
  }

  test('and nothing of it is looked at without trust', () => {
    for (const [, headers] of table) assert.equal(clientOf(headers, '192.0.2.9').address, '192.0.2.9');
  });
});

test('no header that a client sends moves it to another address, where the proxy appends its own', () => {
  const address = '198.51.100.4';
  const hostile = fc.oneof(
    fc.string(),
    fc.constantFrom('10.0.0.2', '10.0.0.2, 10.0.0.3', 'for="', 'unknown', 'for=10.0.0.2'),
  );
  fc.assert(
    fc.property(hostile, (sent) => {
      assert.equal(clientOf({ 'x-forwarded-for': `${sent}, ${address}` }).address, address);
      try {
        assert.equal(clientOf({ forwarded: `${sent}, for=${address}` }).address, address);
        assert.equal(clientOf({ forwarded: sent, 'x-forwarded-for': address }).address, address);
      } catch (error) {
        assert.equal((error as { code?: string }).code, 'INVALID_REQUEST');
      }
    }),
  );
});
