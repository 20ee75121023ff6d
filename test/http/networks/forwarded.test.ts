import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { parseForwarded, parseForwardedFor } from '../../../src/http/networks/forwarded.ts';

type Row = readonly [client: string, scheme?: 'http' | 'https' | undefined, host?: string];

const hop = ([client, scheme, host]: Row) => ({ client, scheme, host });

describe('Forwarded', () => {
  const table: readonly [text: string, hops: readonly Row[] | undefined][] = [
    ['', []],
    ['for=192.0.2.43', [['192.0.2.43']]],
    ['For="[2001:db8:cafe::17]:4711"', [['2001:db8:cafe::17']]],
    ['for=192.0.2.60;proto=http;by=203.0.113.43', [['192.0.2.60', 'http']]],
    ['for=192.0.2.43, for="[2001:DB8::17]";Proto=HTTPS', [['192.0.2.43'], ['2001:db8::17', 'https']]],
    ['for=_gazonk', [['_gazonk']]],
    ['for=_SEVKISEK', [['_SEVKISEK']]],
    ['for="_a1:_b2"', [['_a1']]],
    ['for=unknown', [['unknown']]],
    ['for="192.0.2.43:47011"', [['192.0.2.43']]],
    ['for=192.0.2.43:47011', [['192.0.2.43']]],
    ['for=[2001:db8::17]', [['2001:db8::17']]],
    ['for="2001:db8::17"', [['2001:db8::17']]],
    ['for="\\1\\9\\2.0.2.43"', [['192.0.2.43']]],
    ['for=192.0.2.43;host="images.example:8443"', [['192.0.2.43', undefined, 'images.example:8443']]],
    ['for=192.0.2.43 ; proto=https', [['192.0.2.43', 'https']]],
    [', for=192.0.2.43 ,, for=192.0.2.44,', [['192.0.2.43'], ['192.0.2.44']]],
    [';for=192.0.2.43;', [['192.0.2.43']]],
    ['proto=https', [['unknown', 'https']]],
    ['for=192.0.2.43;proto=gopher', [['192.0.2.43']]],
    // A node that is none says nothing.
    ['for=""', [['unknown']]],
    ['for=unix', [['unknown']]],
    ['for=192.0.2.256', [['unknown']]],
    ['for=192.0.2', [['unknown']]],
    ['for=0x7f000001', [['unknown']]],
    ['for="fe80::1%eth0"', [['unknown']]],
    ['for="[::1%lo]"', [['unknown']]],
    ['for=_', [['unknown']]],
    ['for="_a b"', [['unknown']]],
    [`for=_${'x'.repeat(64)}`, [['unknown']]],
    ['for="192.0.2.43:999999"', [['unknown']]],
    // Against the grammar.
    ['for', undefined],
    ['for=', undefined],
    ['=192.0.2.43', undefined],
    ['for= 192.0.2.43', undefined],
    ['for=192.0.2.43 proto=https', undefined],
    ['for=192.0.2.43;for=192.0.2.44', undefined],
    ['for=192.0.2.43;FOR=192.0.2.44', undefined],
    ['for="192.0.2.43', undefined],
    ['for="192.0.2.43\\"', undefined],
    ['for="192.0.2.43"x', undefined],
    ['for=a"b"', undefined],
    ['for=192.0.2.43=1', undefined],
  ];
  for (const [text, hops] of table) {
    test(JSON.stringify(text.slice(0, 60)), () => assert.deepEqual(parseForwarded(text), hops?.map(hop)));
  }

  // What a client sends stands before what the proxy appends to it.
  const appended = [', for=192.0.2.43', ', for="[2001:db8::17]:4711";proto=http', ',for=192.0.2.43;host="a"'];
  const sent = fc.oneof(
    fc.string(),
    fc.string({ unit: fc.constantFrom('"', '\\', ',', ';', '=', ' ', 'for', '1.2.3.4', 'x') }),
    fc.constantFrom('for="', 'for="\\', 'for=1.2.3.4, for="x', 'for="a, for="', 'x="\\"', 'for=1.2.3.4;x="'),
  );
  for (const proxy of appended) {
    test(`a client cannot hide or change what a proxy appends: ${proxy}`, () => {
      const last = parseForwarded(proxy)?.at(-1);
      fc.assert(
        fc.property(sent, (client) => {
          const hops = parseForwarded(client + proxy);
          if (hops !== undefined) assert.deepEqual(hops.at(-1), last);
        }),
      );
    });
  }

  const parameter = fc.stringMatching(/^[a-z]{1,8}$/).filter((name) => name !== 'for');
  const quotedText = fc.string().map((text) => text.replaceAll(/[\n\r\u2028\u2029]/g, ''));
  const quote = (text: string) => `"${text.replaceAll(/["\\]/g, '\\$&')}"`;

  test('what is written comes back', () => {
    const elements = fc.array(
      fc.record({
        address: fc.oneof(fc.ipV4(), fc.ipV6()),
        scheme: fc.constantFrom('http', 'https'),
        host: quotedText,
        others: fc.uniqueArray(
          fc.tuple(parameter, quotedText).filter(([name]) => name !== 'proto' && name !== 'host'),
          { selector: ([name]) => name },
        ),
      }),
      { minLength: 1 },
    );
    fc.assert(
      fc.property(elements, (written) => {
        const text = written
          .map(({ address, scheme, host, others }) =>
            [
              `for=${address.includes(':') ? quote(`[${address}]`) : address}`,
              `proto=${scheme}`,
              `host=${quote(host)}`,
              ...others.map(([name, value]) => `${name}=${quote(value)}`),
            ].join(';'),
          )
          .join(', ');
        assert.deepEqual(
          parseForwarded(text),
          written.map(({ address, scheme, host }) => ({ client: address.toLowerCase(), scheme, host })),
        );
      }),
    );
  });
});

describe('X-Forwarded-For', () => {
  const table: readonly [addresses: string, schemes: string | undefined, hops: readonly Row[]][] = [
    ['', undefined, []],
    ['192.0.2.43', undefined, [['192.0.2.43']]],
    ['192.0.2.43, 2001:db8::17', undefined, [['192.0.2.43'], ['2001:db8::17']]],
    ['[2001:DB8::17]:4711,192.0.2.43:4711', undefined, [['2001:db8::17'], ['192.0.2.43']]],
    ['::ffff:192.0.2.43', undefined, [['::ffff:192.0.2.43']]],
    ['unknown, , 192.0.2.43,', undefined, [['unknown'], ['192.0.2.43']]],
    ['garbage, "192.0.2.1", 192.0.2.43', undefined, [['unknown'], ['unknown'], ['192.0.2.43']]],
    ['192.0.2.43', 'HTTPS', [['192.0.2.43', 'https']]],
    ['192.0.2.43', 'wss', [['192.0.2.43']]],
    // One scheme is that of all hops; a longer list belongs to the addresses from the right.
    [
      '192.0.2.43, 192.0.2.44',
      'https',
      [
        ['192.0.2.43', 'https'],
        ['192.0.2.44', 'https'],
      ],
    ],
    [
      '192.0.2.43, 192.0.2.44',
      'https, http',
      [
        ['192.0.2.43', 'https'],
        ['192.0.2.44', 'http'],
      ],
    ],
    ['192.0.2.44', 'https, http', [['192.0.2.44', 'http']]],
  ];
  for (const [addresses, schemes, hops] of table) {
    test(`${addresses} by ${schemes}`, () =>
      assert.deepEqual(parseForwardedFor({ addresses, schemes, hosts: undefined }), hops.map(hop)));
  }

  test('what a client sends does not change what a proxy appends', () => {
    fc.assert(
      fc.property(fc.string(), fc.oneof(fc.ipV4(), fc.ipV6()), (sent, address) => {
        const hops = parseForwardedFor({
          addresses: `${sent}, ${address}`,
          schemes: undefined,
          hosts: undefined,
        });
        assert.equal(hops.at(-1)?.client, address.toLowerCase());
      }),
    );
  });
});
