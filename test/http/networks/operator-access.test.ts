import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { refuseOutsider } from '../../../src/http/networks/operator-access.ts';
import { parseNetworks } from '../../../src/util/network/networks.ts';

const DEFAULT = '127.0.0.0/8,::1';
const LOCAL = { host: 'localhost:8080' };

type Row = readonly [networks: string, address: string, headers: Readonly<Record<string, string>>];

const allowed: readonly Row[] = [
  [DEFAULT, '127.0.0.1', LOCAL],
  [DEFAULT, '127.0.0.1', { host: '127.0.0.1' }],
  [DEFAULT, '127.8.9.1', { host: '127.8.9.1:8080' }],
  [DEFAULT, '::ffff:127.0.0.1', { host: 'LOCALHOST' }],
  [DEFAULT, '::1', { host: '[::1]:8080' }],
  [DEFAULT, '::1', { host: '[0:0:0:0:0:0:0:1]' }],
  [DEFAULT, '127.0.0.1', { host: '[::ffff:127.0.0.1]' }],
  ['10.0.0.0/8', '10.1.2.3', { host: 'pull.example.com' }],
  ['10.0.0.0/8', '::ffff:10.1.2.3', { host: '10.0.0.1:8080' }],
  ['2001:db8::/32', '2001:db8::7', { host: 'pull.example.com' }],
  // Nothing that a proxy adds.
  [DEFAULT, '127.0.0.1', { ...LOCAL, forward: 'x', 'x-forward': 'x', 'x-request-id': 'x' }],
];

const refused: readonly (readonly [...Row, why: RegExp])[] = [
  [DEFAULT, '10.1.2.3', LOCAL, /and the list does not have "10\.1\.2\.3"$/],
  [DEFAULT, '', LOCAL, /does not have ""/],
  [DEFAULT, '::2', LOCAL, /does not have "::2"/],
  [DEFAULT, '127.0.0.1', { host: 'evil.example' }, /its Host is "evil\.example"; ask for localhost$/],
  [DEFAULT, '127.0.0.1', { host: 'localhost.evil.example' }, /its Host/],
  [DEFAULT, '127.0.0.1', { host: '127.0.0.1.evil.example' }, /its Host/],
  [DEFAULT, '127.0.0.1', { host: '10.0.0.1' }, /its Host/],
  [DEFAULT, '127.0.0.1', { host: '0.0.0.0:8080' }, /its Host/],
  [DEFAULT, '127.0.0.1', { host: '' }, /its Host/],
  [DEFAULT, '127.0.0.1', {}, /its Host/],
  [DEFAULT, '::1', { host: 'pull.example.com' }, /its Host/],
  ['127.0.0.1,10.0.0.0/8', '127.0.0.1', { host: 'pull.example.com' }, /its Host/],
  ...['forwarded', 'via', 'x-real-ip', 'x-forwarded-for', 'x-forwarded-host', 'x-forwarded-proto'].map(
    (name): (typeof refused)[number] => [
      DEFAULT,
      '127.0.0.1',
      { ...LOCAL, [name]: '127.0.0.1' },
      new RegExp(`it came through a proxy \\(it has ${name}\\)`),
    ],
  ),
  ['10.0.0.0/8', '10.1.2.3', { host: 'a', 'x-forwarded-for': '' }, /came through a proxy/],
  [',', '127.0.0.1', LOCAL, /does not have/],
];

describe('a request for what operators see', () => {
  const ask = (
    [networks, peer, headers]: readonly [...Row, ...unknown[]],
    /** What a trusted proxy says; else the peer. */
    address = peer,
  ) =>
    refuseOutsider(
      { client: { address, peer: { address: peer } }, request: { headers } },
      parseNetworks(networks),
    );

  for (const row of allowed) test(`is answered: ${JSON.stringify(row)}`, () => ask(row));

  for (const row of refused) {
    const [networks, address, headers, why] = row;
    test(`is refused: ${JSON.stringify([networks, address, headers])}`, () =>
      assert.throws(
        () => ask(row),
        (error: Error & { code?: string }) => {
          assert.equal(error.code, 'CLIENT_NOT_ALLOWED');
          assert.match(error.message, /^Cannot answer the request: STATUS_ALLOWED_NETWORKS says who /);
          assert.match(error.message, why);
          return true;
        },
      ));
  }

  const FORWARDED = { host: 'pull.example.com', 'x-forwarded-for': '203.0.113.9, 10.1.2.3' };

  test('is answered if a trusted proxy names a listed client', () =>
    ask(['10.1.0.0/16', '192.0.2.1', FORWARDED], '10.1.2.3'));

  for (const [networks, address, why] of [
    ['192.0.2.0/24', '10.1.2.3', /does not have "10\.1\.2\.3"/],
    [DEFAULT, '127.0.0.1', /proxy that names a loopback address/],
    [DEFAULT, '::1', /proxy that names a loopback address/],
    ['0.0.0.0/0,::/0', 'unknown', /does not have "unknown"/],
  ] as const) {
    test(`is refused if a trusted proxy names ${address}, and the list is ${networks}`, () =>
      assert.throws(() => ask([networks, '192.0.2.1', FORWARDED], address), why));
  }
});
