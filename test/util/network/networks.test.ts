/** Lists of networks, as operators write them. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseNetworks } from '../../../src/util/network/networks.ts';

describe('a list of networks', () => {
  const table: readonly [list: string, inside: readonly string[], outside: readonly string[]][] = [
    ['', [], ['127.0.0.1', '::1', '', 'localhost']],
    [' , ,', [], ['127.0.0.1', '::1']],
    [
      '10.0.0.0/8',
      ['10.0.0.0', '10.255.255.255', '::ffff:10.1.2.3', '::FFFF:a01:203', '0:0:0:0:0:ffff:10.0.0.1'],
      ['9.255.255.255', '11.0.0.0', '::10.0.0.1', '::ffff:11.0.0.0', '64:ff9b::10.0.0.1', 'a00::'],
    ],
    ['192.0.2.7', ['192.0.2.7', '::ffff:192.0.2.7'], ['192.0.2.6', '192.0.2.8', '192.0.2.70']],
    ['192.0.2.7/32', ['192.0.2.7'], ['192.0.2.6', '192.0.2.8']],
    ['192.0.2.6/31', ['192.0.2.6', '192.0.2.7'], ['192.0.2.5', '192.0.2.8']],
    ['172.16.0.0/12', ['172.16.0.0', '172.31.255.255'], ['172.15.255.255', '172.32.0.0']],
    ['0.0.0.0/0', ['0.0.0.0', '255.255.255.255', '::ffff:1.2.3.4'], ['::', '::1', '2001:db8::1']],
    ['::/0', ['::', '::1', 'ffff::', '::1.2.3.4'], ['1.2.3.4', '::ffff:1.2.3.4']],
    [
      '2001:db8::/32',
      ['2001:db8::', '2001:DB8:ffff:ffff:ffff:ffff:ffff:ffff', '2001:0db8::1', '2001:db8::1%eth0'],
      ['2001:db7:ffff::', '2001:db9::', '32.1.13.184'],
    ],
    ['fe80::/10', ['fe80::1%eth0', 'febf::1'], ['fec0::1', 'fe7f::1']],
    ['::1', ['::1', '0:0:0:0:0:0:0:1'], ['::', '::2', '127.0.0.1', '::ffff:127.0.0.1']],
    ['::ffff:10.0.0.0/104', ['10.200.0.1', '::ffff:10.200.0.1'], ['11.0.0.1', '::10.0.0.1']],
    ['::ffff:0:0/96', ['1.2.3.4', '::ffff:1.2.3.4'], ['::1', '::1.2.3.4']],
    ['127.0.0.0/8,::1 , 10.0.0.0/8', ['127.9.9.9', '::1', '10.0.0.1'], ['128.0.0.1', '::2']],
    ['0.0.0.0/0,::/0', ['1.2.3.4', '::1'], ['', 'localhost', '1.2.3', '1.2.3.4.5', '01.2.3.4', '1.2.3.4/32']],
    ['0.0.0.0/0,::/0', [], ['[::1]', '::1::', ':', '::ffff:1.2.3.256', '1.2.3.4:80', ' 1.2.3.4', '0x7f.1']],
  ];
  for (const [list, inside, outside] of table) {
    test(JSON.stringify(list), () => {
      const networks = parseNetworks(list);
      for (const address of inside) assert.equal(networks.contains(address), true, address);
      for (const address of outside) assert.equal(networks.contains(address), false, address);
    });
  }

  const refused: readonly [list: string, message: RegExp][] = [
    ['10.0.0.0/33', /^"10\.0\.0\.0\/33" needs a prefix of 0 to 32 bits/],
    ['10.0.0.0/', /needs a prefix/],
    ['10.0.0.0/-1', /needs a prefix/],
    ['10.0.0.0/08', /needs a prefix/],
    ['10.0.0.0/8.0', /needs a prefix/],
    ['10.0.0.0/255.0.0.0', /needs a prefix/],
    ['2001:db8::/129', /needs a prefix of 0 to 128 bits/],
    ['10.0.0.1/8', /^"10\.0\.0\.1\/8" has bits behind its prefix/],
    ['2001:db8::1/64', /has bits behind its prefix/],
    ['::ffff:10.0.0.1/104', /has bits behind its prefix/],
    ['10.0.0.0/8/8', /^"10\.0\.0\.0\/8\/8" is no network/],
    ['10.0.0', /is no network/],
    ['10', /is no network/],
    ['010.0.0.0/8', /is no network/],
    ['localhost', /is no network/],
    ['*', /is no network/],
    ['fe80::1%eth0', /is no network/],
    ['[::1]', /is no network/],
    ['10.0.0.0/8;::1', /needs a prefix/],
    ['127.0.0.1 ::1', /is no network/],
    ['10.0.0.0/8, x\u001b[31m', /^"x\\u001b\[31m" is no network/],
    ['127.0.0.1,user:secret@10.0.0.1', /^expected networks without credentials$/],
    ['127.0.0.1,example.com', /^"example\.com" is no network/],
  ];
  for (const [list, message] of refused) {
    test(`${JSON.stringify(list)} is refused`, () => assert.throws(() => parseNetworks(list), { message }));
  }
});
