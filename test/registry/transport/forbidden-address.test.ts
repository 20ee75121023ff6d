import assert from 'node:assert/strict';
import type { LookupAddress, LookupOptions } from 'node:dns';
import test from 'node:test';
import {
  guardedLookup,
  isForbiddenAddress,
  refuseForbiddenLiteral,
} from '../../../src/registry/transport/forbidden-address.ts';
import { serveNames } from '../support/name-server.ts';

const FORBIDDEN = `
  0.0.0.0 0.1.2.3 169.254.0.0 169.254.169.254 169.254.255.255 224.0.0.1 239.255.255.255
  255.255.255.255 :: 0:0:0:0:0:0:0:0 fe80::1 fe80::1%eth0 febf:ffff::1 ff02::1 FF05::2
  ::ffff:169.254.169.254 ::ffff:a9fe:a9fe 0:0:0:0:0:ffff:a9fe:a9fe ::ffff:0.0.0.0 ::ffff:224.0.0.1
  ::169.254.169.254 ::a9fe:a9fe 64:ff9b::169.254.169.254 64:ff9b::a9fe:a9fe 64:ff9b::
  ::2 ::224.0.0.1 FE80::1 fec0::1 feff::1 ::ffff:255.255.255.255 0:0:0:0:0:0:a9fe:a9fe
`;

/** The addresses of clouds' metadata services that are not link-local. */
const METADATA = `
  100.100.100.200 168.63.129.16 192.0.0.192 fd00:ec2::254 fd00:0ec2:0:0:0:0:0:254 fd00:ec2::23 fd20:ce::254
  fd00:c1::a9fe:a9fe fd00:a9fe:a9fe::1 fd00:42::42
`;

/** Ways to write an IPv4 address as IPv6, and the IPv6 groups of `a.b.c.d` in each: `1` is `a.b` in hex, `2` is `c.d`. */
const WRAPPINGS: Readonly<Record<string, (octets: readonly [number, number, number, number]) => string>> = {
  mapped: (v4) => `::ffff:${v4.join('.')}`,
  'mapped in hex': ([a, b, c, d]) => `::ffff:${pair(a, b)}:${pair(c, d)}`,
  'mapped in full': ([a, b, c, d]) => `0:0:0:0:0:FFFF:${pair(a, b)}:${pair(c, d)}`,
  translated: (v4) => `::ffff:0:${v4.join('.')}`,
  'translated in hex': ([a, b, c, d]) => `::ffff:0:${pair(a, b)}:${pair(c, d)}`,
  compatible: (v4) => `::${v4.join('.')}`,
  '6to4': ([a, b, c, d]) => `2002:${pair(a, b)}:${pair(c, d)}::`,
  '6to4 with a host': ([a, b, c, d]) => `2002:${pair(a, b)}:${pair(c, d)}:1::5`,
  NAT64: (v4) => `64:ff9b::${v4.join('.')}`,
  'local NAT64 of 48 bits': ([a, b, c, d]) => `64:ff9b:1:${pair(a, b)}:${pair(0, c)}:${pair(d, 0)}::`,
  'local NAT64 of 56 bits': ([a, b, c, d]) => `64:ff9b:1:${pair(7, a)}:${pair(0, b)}:${pair(c, d)}::`,
  'local NAT64 of 64 bits': ([a, b, c, d]) => `64:ff9b:1:7:${pair(0, a)}:${pair(b, c)}:${pair(d, 0)}:0`,
  'local NAT64 of 96 bits': (v4) => `64:ff9b:1::${v4.join('.')}`,
  'local NAT64 of 96 bits with a network': (v4) => `64:ff9b:1:7:0:0:${v4.join('.')}`,
  'the client of Teredo': ([a, b, c, d]) =>
    `2001:0:102:304:0:0:${pair(a ^ 255, b ^ 255)}:${pair(c ^ 255, d ^ 255)}`,
  'the server of Teredo': ([a, b, c, d]) => `2001:0:${pair(a, b)}:${pair(c, d)}::f7f7:f7f7`,
  ISATAP: (v4) => `2001:db8::5efe:${v4.join('.')}`,
  'ISATAP, global': (v4) => `2001:db8::200:5efe:${v4.join('.')}`,
};

function pair(high: number, low: number): string {
  return ((high << 8) | low).toString(16);
}

type Octets = readonly [number, number, number, number];

const WRAPPED_FORBIDDEN: readonly Octets[] = [
  [169, 254, 169, 254],
  [169, 254, 0, 1],
  [100, 100, 100, 200],
  [168, 63, 129, 16],
  [192, 0, 0, 192],
  [224, 0, 0, 1],
  [255, 255, 255, 255],
];

const WRAPPED_ALLOWED: readonly Octets[] = [
  [10, 0, 0, 5],
  [172, 16, 0, 1],
  [192, 168, 1, 1],
  [127, 0, 0, 1],
  [100, 64, 0, 1],
  [8, 8, 8, 8],
];

const ALLOWED = `
  127.0.0.1 127.255.255.254 10.0.0.5 172.16.0.1 192.168.1.1 100.64.0.1 1.1.1.1 169.253.255.255
  169.255.0.0 223.255.255.255 ::1 fd00::1 fd00:ec2::1 fd12:3456::254 2001:db8::1 2001:db8::a9fe:a9fe ::ffff:10.0.0.5
  ::ffff:127.0.0.1 ::127.0.0.1 64:ff9b::8.8.8.8 64:ff9c::a9fe:a9fe
  100.100.100.199 168.63.129.15 2003:a9fe:a9fe:: 2001:1::a9fe:a9fe 2001:db8::5eff:169.254.169.254
`;

const FORBIDDEN_HOSTS = `
  169.254.169.254 169.254.169.254:8080 169.254.169.254. 2852039166 0xa9fea9fe 025177524776
  0xa9.0xfe.0xa9.0xfe 0251.0376.0251.0376 169.254.43518 169.16689662 １６９.254.169.254
  %31%36%39.254.169.254 [::ffff:169.254.169.254] [0:0:0:0:0:FFFF:A9FE:A9FE] [64:ff9b::a9fe:a9fe]
  [2002:a9fe:a9fe::] [64:ff9b:1::a9fe:a9fe] [::ffff:0:a9fe:a9fe] [fec0::1] [fd00:ec2::254] 100.100.100.200
  168.63.129.16 0x646464c8 2822734096 [fe80::1]:5000 0 0.0.0.0 0x0 [::] [0::0] [::ffff:0:0] 224.0.0.1 [ff02::1] 255.255.255.255
`;

const wordsOf = (text: string): string[] => text.trim().split(/\s+/);

test('link-local, unspecified and multicast addresses are forbidden, also embedded in IPv6', () => {
  for (const address of wordsOf(FORBIDDEN)) assert.equal(isForbiddenAddress(address), true, address);
});

test('public, private and loopback addresses are allowed, and names are no addresses', () => {
  for (const address of [...wordsOf(ALLOWED), 'example.com', '']) {
    assert.equal(isForbiddenAddress(address), false, address);
  }
});

test('metadata services outside of the link-local addresses are forbidden', () => {
  for (const address of wordsOf(METADATA)) assert.equal(isForbiddenAddress(address), true, address);
});

for (const [name, wrap] of Object.entries(WRAPPINGS)) {
  test(`an IPv4 address is judged as it is when it is wrapped: ${name}`, () => {
    for (const octets of WRAPPED_FORBIDDEN) {
      assert.equal(isForbiddenAddress(wrap(octets)), true, `${wrap(octets)} is ${octets.join('.')}`);
    }
    for (const octets of WRAPPED_ALLOWED) {
      assert.equal(isForbiddenAddress(wrap(octets)), false, `${wrap(octets)} is ${octets.join('.')}`);
    }
  });
}

test('a URL with a forbidden address is refused in every spelling', () => {
  for (const host of wordsOf(FORBIDDEN_HOSTS)) {
    assert.throws(
      () => refuseForbiddenLiteral(new URL(`http://${host}/v2/`)),
      {
        code: 'REGISTRY_NOT_ALLOWED',
        message: /it is a link-local, unspecified, multicast or metadata address$/,
      },
      host,
    );
  }
  for (const host of ['127.0.0.1', '[::1]:5000', '10.0.0.5', 'registry.example.com', '2130706433']) {
    assert.doesNotThrow(() => refuseForbiddenLiteral(new URL(`http://${host}/v2/`)), host);
  }
});

type Found = readonly [error: unknown, address: string | LookupAddress[], family: number | undefined];

function lookUp(hostname: string, options: LookupOptions): Promise<Found> {
  return new Promise((resolve) => {
    guardedLookup(hostname, options, (...found) => resolve([found[0], found[1], found[2]]));
  });
}

test('a name that has only forbidden addresses is refused', async (t) => {
  serveNames(t, {
    'metadata.example': ['169.254.169.254'],
    'all.example': ['fe80::1', '::ffff:169.254.169.254', '0.0.0.0'],
    'nothing.example': [],
  });
  for (const all of [true, false]) {
    const [error] = await lookUp('metadata.example', { all });
    assert.ok(error instanceof Error);
    assert.equal(
      error.message,
      'Cannot connect to "metadata.example": it resolves to 169.254.169.254, which is a link-local, unspecified, multicast or metadata address',
    );
    for (const name of ['metadata.example', 'all.example', 'nothing.example']) {
      assert.equal((await lookUp(name, { all }))[0] instanceof Error, true, name);
    }
  }
});

test('a name that has other addresses resolves to those', async (t) => {
  serveNames(t, { 'mixed.example': ['169.254.169.254', '10.0.0.5', 'fe80::1', '2001:db8::1'] });
  assert.deepEqual(await lookUp('mixed.example', { all: true }), [
    null,
    [
      { address: '10.0.0.5', family: 4 },
      { address: '2001:db8::1', family: 6 },
    ],
    undefined,
  ]);
  assert.deepEqual(await lookUp('mixed.example', {}), [null, '10.0.0.5', 4]);
});

test('a name that does not exist has the error of the resolver', async (t) => {
  serveNames(t, {});
  const [error] = await lookUp('missing.example', { all: true });
  assert.ok(error instanceof Error && 'code' in error);
  assert.equal(error.code, 'ENOTFOUND');
});
