import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ipv6Groups } from '../../src/util/ip-address.ts';

test('an IPv6 address has eight groups, however it is written', () => {
  const table: Readonly<Record<string, readonly number[] | undefined>> = {
    '::': [0, 0, 0, 0, 0, 0, 0, 0],
    '::1': [0, 0, 0, 0, 0, 0, 0, 1],
    '1::': [1, 0, 0, 0, 0, 0, 0, 0],
    'fe80::1%eth0': [0xfe80, 0, 0, 0, 0, 0, 0, 1],
    '2001:DB8:1:2:3:4:5:6': [0x2001, 0xdb8, 1, 2, 3, 4, 5, 6],
    '::ffff:169.254.169.254': [0, 0, 0, 0, 0, 0xffff, 0xa9fe, 0xa9fe],
    '64:ff9b::10.0.0.5': [0x64, 0xff9b, 0, 0, 0, 0, 0x0a00, 5],
    '10.0.0.5': undefined,
    'host:80': undefined,
    'a]/[b:': undefined,
    '': undefined,
  };
  for (const [address, groups] of Object.entries(table)) {
    assert.deepEqual(ipv6Groups(address), groups, address);
  }
});
