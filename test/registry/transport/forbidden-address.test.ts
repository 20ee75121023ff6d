import assert from 'node:assert/strict';
import type { LookupAddress, LookupOptions } from 'node:dns';
import test from 'node:test';
import {
  guardedLookup,
  isForbiddenAddress,
  refuseForbiddenLiteral,
} from '../../../src/registry/transport/forbidden-address.ts';
import { serveNames } from '../name-server.ts';

const FORBIDDEN = [
  '0.0.0.0',
  '0.1.2.3',
  '169.254.0.0',
  '169.254.169.254',
  '169.254.255.255',
  '224.0.0.1',
  '239.255.255.255',
  '255.255.255.255',
  '::',
  '0:0:0:0:0:0:0:0',
  'fe80::1',
  'fe80::1%eth0',
  'febf:ffff::1',
  'ff02::1',
  'FF05::2',
  '::ffff:169.254.169.254',
  '::ffff:a9fe:a9fe',
  '0:0:0:0:0:ffff:a9fe:a9fe',
  '::ffff:0.0.0.0',
  '::ffff:224.0.0.1',
  '::169.254.169.254',
  '::a9fe:a9fe',
  '64:ff9b::169.254.169.254',
  '64:ff9b::a9fe:a9fe',
  '64:ff9b::',
];

const ALLOWED = [
  '127.0.0.1',
  '127.255.255.254',
  '10.0.0.5',
  '172.16.0.1',
  '192.168.1.1',
  '100.64.0.1',
  '1.1.1.1',
  '169.253.255.255',
  '169.255.0.0',
  '223.255.255.255',
  '::1',
  'fd00::1',
  'fec0::1',
  '2001:db8::1',
  '2001:db8::a9fe:a9fe',
  '::ffff:10.0.0.5',
  '::ffff:127.0.0.1',
  '::127.0.0.1',
  '64:ff9b::8.8.8.8',
  '64:ff9c::a9fe:a9fe',
];

test('link-local, unspecified and multicast addresses are forbidden, in whatever they are wrapped', () => {
  for (const address of FORBIDDEN) assert.equal(isForbiddenAddress(address), true, address);
});

test('public, private and loopback addresses are allowed, and a name is no address', () => {
  for (const address of [...ALLOWED, 'example.com', '']) {
    assert.equal(isForbiddenAddress(address), false, address);
  }
});

test('a URL whose host is a forbidden address is refused in every spelling', () => {
  const hosts = [
    '169.254.169.254',
    '169.254.169.254:8080',
    '169.254.169.254.',
    '2852039166',
    '0xa9fea9fe',
    '025177524776',
    '0xa9.0xfe.0xa9.0xfe',
    '0251.0376.0251.0376',
    '169.254.43518',
    '169.16689662',
    '１６９.254.169.254',
    '%31%36%39.254.169.254',
    '[::ffff:169.254.169.254]',
    '[0:0:0:0:0:FFFF:A9FE:A9FE]',
    '[64:ff9b::a9fe:a9fe]',
    '[fe80::1]:5000',
    '0',
    '0.0.0.0',
    '0x0',
    '[::]',
    '[0::0]',
    '[::ffff:0:0]',
    '224.0.0.1',
    '[ff02::1]',
    '255.255.255.255',
  ];
  for (const host of hosts) {
    assert.throws(
      () => refuseForbiddenLiteral(new URL(`http://${host}/v2/`)),
      { code: 'REGISTRY_NOT_ALLOWED', message: /it is a link-local, unspecified or multicast address$/ },
      host,
    );
  }
  for (const host of ['127.0.0.1', '[::1]:5000', '10.0.0.5', 'registry.example.com', '2130706433']) {
    assert.doesNotThrow(() => refuseForbiddenLiteral(new URL(`http://${host}/v2/`)), host);
  }
});

type Found = readonly [error: unknown, address: string | LookupAddress[], family: number | undefined];

function look(hostname: string, options: LookupOptions): Promise<Found> {
  return new Promise((resolve) => {
    guardedLookup(hostname, options, (...found) => resolve([found[0], found[1], found[2]]));
  });
}

test('a name that resolves to forbidden addresses alone is refused', async (t) => {
  serveNames(t, {
    'metadata.example': ['169.254.169.254'],
    'all.example': ['fe80::1', '::ffff:169.254.169.254', '0.0.0.0'],
    'nothing.example': [],
  });
  for (const all of [true, false]) {
    const [error] = await look('metadata.example', { all });
    assert.ok(error instanceof Error);
    assert.equal(
      error.message,
      'Cannot connect to "metadata.example": it resolves to 169.254.169.254, which is a link-local, unspecified or multicast address',
    );
    for (const name of ['metadata.example', 'all.example', 'nothing.example']) {
      assert.equal((await look(name, { all }))[0] instanceof Error, true, name);
    }
  }
});

test('of several addresses the forbidden ones are left out', async (t) => {
  serveNames(t, { 'mixed.example': ['169.254.169.254', '10.0.0.5', 'fe80::1', '2001:db8::1'] });
  assert.deepEqual(await look('mixed.example', { all: true }), [
    null,
    [
      { address: '10.0.0.5', family: 4 },
      { address: '2001:db8::1', family: 6 },
    ],
    undefined,
  ]);
  assert.deepEqual(await look('mixed.example', {}), [null, '10.0.0.5', 4]);
});

test('a name that does not exist is told as the resolver tells it', async (t) => {
  serveNames(t, {});
  const [error] = await look('missing.example', { all: true });
  assert.ok(error instanceof Error && 'code' in error);
  assert.equal(error.code, 'ENOTFOUND');
});
