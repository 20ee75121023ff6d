/** `HTTP_ALLOWED_HOSTS`. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { loadConfig } from '../../../src/config/config.ts';
import { refuseOtherHost } from '../../../src/http/networks/allowed-hosts.ts';
import { connectRaw } from '../../support/raw-client.ts';
import { assertError } from '../../support/reading.ts';
import { startTestService } from '../../support/service.ts';

const table: readonly [list: string, inside: readonly string[], outside: readonly string[]][] = [
  ['', ['pull.example.com', 'evil.example', ''], []],
  [
    'pull.example.com',
    [
      'pull.example.com',
      'PULL.Example.com',
      'pull.example.com:8080',
      'pull.example.com.',
      'pull.example.com:443',
    ],
    [
      'example.com',
      'a.pull.example.com',
      'pull.example.com.evil.example',
      'evil.example',
      '',
      'pull',
      '127.0.0.1',
    ],
  ],
  [
    'pull.example.com:8080',
    ['pull.example.com:8080'],
    ['pull.example.com', 'pull.example.com:8081', 'pull.example.com:80', 'pull.example.com:'],
  ],
  ['pull.example.com:443', ['pull.example.com', 'pull.example.com:443'], ['pull.example.com:80']],
  [
    '*.example.com',
    ['pull.example.com', 'a.b.example.com:8080'],
    ['example.com', 'notexample.com', 'pull.example.com.evil.example', '.example.com'],
  ],
  ['10.0.0.5, [::1]', ['10.0.0.5', '10.0.0.5:8080', '[::1]:8080', '[0:0::1]'], ['10.0.0.50', '[::2]', '::1']],
  ['localhost', ['localhost:8080'], ['127.0.0.1:8080', 'localhost.evil.example']],
];

describe('HTTP_ALLOWED_HOSTS', () => {
  for (const [list, inside, outside] of table) {
    test(JSON.stringify(list), () => {
      const { hosts } = loadConfig({ HTTP_ALLOWED_HOSTS: list }).access;
      for (const host of inside) refuseOtherHost({ headers: { host } }, hosts);
      for (const host of outside) {
        assert.throws(
          () => refuseOtherHost({ headers: { host } }, hosts),
          { code: 'HOST_NOT_ALLOWED' },
          host,
        );
      }
    });
  }

  for (const list of [
    'https://a.example',
    'a.example/',
    'user@a.example',
    '*',
    '*.*.example',
    'a b',
    'a:99999',
  ]) {
    test(`${JSON.stringify(list)} is refused at the start`, () =>
      assert.throws(() => loadConfig({ HTTP_ALLOWED_HOSTS: list }), {
        message: /^Cannot use HTTP_ALLOWED_HOSTS=/,
      }));
  }

  test('refuses each route but those of probes with 421', async () => {
    await using service = await startTestService({ HTTP_ALLOWED_HOSTS: 'pull.example.com' });
    const ask = (path: string, host: string, method = 'GET') =>
      service.request(path, { method, headers: { host } });
    for (const path of ['/', '/docker/a_1.tar', '/status', '/no/such', '/preparations/1', '/manifest/a:1']) {
      const line =
        'Misdirected request: Cannot answer for the host "evil.example": HTTP_ALLOWED_HOSTS does not list it';
      assertError(await ask(path, 'evil.example'), 421, new RegExp(`^${RegExp.escape(line)}$`));
    }
    assert.equal((await ask('/prepare/docker/a_1.tar', 'evil.example', 'POST')).status, 421);
    for (const path of ['/health', '/ready']) assert.equal((await ask(path, 'evil.example')).status, 200);
    assert.equal((await ask('/', 'pull.example.com')).status, 200);
    using client = await connectRaw(service.port);
    client.send('GET / HTTP/1.0\r\n\r\n');
    assert.match((await client.untilClosed()).toString(), /^HTTP\/1\.1 421 Misdirected request\r\n/);
  });
});
