import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { configWarnings, loadConfig, variableWarnings } from '../../src/config/config.ts';
import type { Environment } from '../../src/config/environment.ts';

const TLS = { TLS_CERT_FILE: '/tls.crt', TLS_KEY_FILE: '/tls.key' };

describe('who may connect, and where', () => {
  test('without variables: all of them, by plain http', () => {
    const { tls, isHttpsOnly, socketPath, allowedNetworks, trustedProxies } = loadConfig({}).listener;
    assert.deepEqual(
      [tls, isHttpsOnly, socketPath, allowedNetworks, trustedProxies],
      [undefined, false, undefined, undefined, undefined],
    );
  });

  const https: readonly [
    environment: Environment,
    isHttpsOnly: boolean,
    clientAuthorities: string | undefined,
  ][] = [
    [TLS, false, undefined],
    [{ ...TLS, HTTPS_ONLY: 'yes' }, true, undefined],
    [{ ...TLS, HTTPS_ONLY: 'no', TLS_CLIENT_CA_FILE: '/ca.crt' }, true, '/ca.crt'],
  ];
  for (const [environment, isHttpsOnly, clientAuthorities] of https) {
    test(JSON.stringify(environment), () => {
      const { listener } = loadConfig(environment);
      assert.deepEqual(listener.tls, { certificate: '/tls.crt', key: '/tls.key', clientAuthorities });
      assert.equal(listener.isHttpsOnly, isHttpsOnly);
    });
  }

  test('a list of proxies has networks, and may have unix', () => {
    const table: readonly [text: string, includesUnix: boolean, has: boolean][] = [
      ['10.0.0.0/8', false, true],
      ['unix', true, false],
      [' UNIX , 10.1.2.3', true, true],
    ];
    for (const [text, includesUnix, has] of table) {
      const { trustedProxies } = loadConfig({ TRUSTED_PROXIES: text }).listener;
      assert.equal(trustedProxies?.includesUnix, includesUnix, text);
      assert.equal(trustedProxies.networks.contains('10.1.2.3'), has, text);
      assert.equal(trustedProxies.networks.contains('192.0.2.1'), false, text);
    }
  });

  const modes: readonly [text: string, mode: number][] = [
    ['0600', 0o600],
    ['666', 0o666],
    ['0000', 0],
  ];
  for (const [text, mode] of modes) {
    test(`HTTP_SOCKET_MODE=${text}`, () =>
      assert.equal(loadConfig({ HTTP_SOCKET_MODE: text }).listener.socketMode, mode));
  }
});

describe('is refused', () => {
  const table: readonly [environment: Environment, message: RegExp][] = [
    [{ TLS_CERT_FILE: '/a' }, /^Cannot use TLS_CERT_FILE="\/a": it needs TLS_KEY_FILE$/],
    [{ TLS_KEY_FILE: '/a' }, /^Cannot use TLS_KEY_FILE="\/a": it needs TLS_CERT_FILE$/],
    [
      { TLS_CLIENT_CA_FILE: '/a' },
      /^Cannot use TLS_CLIENT_CA_FILE="\/a": it needs TLS_CERT_FILE and TLS_KEY_FILE$/,
    ],
    [{ HTTPS_ONLY: 'yes' }, /^Cannot use HTTPS_ONLY="yes": it needs TLS_CERT_FILE and TLS_KEY_FILE$/],
    [{ HTTPS_ONLY: 'maybe' }, /expected one of yes, no$/],
    [{ ...TLS, HTTPS_PORT: '8080' }, /^Cannot use HTTPS_PORT="8080": HTTP_PORT is the same port$/],
    [{ HTTPS_PORT: '65536' }, /expected a whole number from 0 to 65535$/],
    [{ HTTP_SOCKET: 'run/http.sock' }, /expected the absolute path of a file$/],
    [{ HTTP_SOCKET: '@abstract' }, /expected the absolute path of a file$/],
    [{ HTTP_SOCKET: '/run/' }, /expected the absolute path of a file$/],
    [{ HTTP_SOCKET: `/run/${'é'.repeat(50)}` }, /expected at most 98 bytes$/],
    [{ HTTP_SOCKET_MODE: '7777' }, /expected three octal digits, such as 0660$/],
    [{ HTTP_SOCKET_MODE: 'rw' }, /expected three octal digits, such as 0660$/],
    [{ CLIENT_ALLOWED_NETWORKS: '10.0.0.0/33' }, /^Cannot use CLIENT_ALLOWED_NETWORKS="10\.0\.0\.0\/33": /],
    [{ CLIENT_ALLOWED_NETWORKS: 'unix' }, /^Cannot use CLIENT_ALLOWED_NETWORKS="unix": /],
    [{ TRUSTED_PROXIES: '10.0.0.0/8, proxy.example' }, /^Cannot use TRUSTED_PROXIES=.*"proxy\.example"/],
  ];
  for (const [environment, message] of table) {
    test(JSON.stringify(environment), () =>
      assert.throws(() => loadConfig(environment), { code: 'INVALID_CONFIGURATION', message }),
    );
  }

  test('no free port of https beside a free one of http', () => {
    assert.equal(loadConfig({ ...TLS, HTTP_PORT: '0', HTTPS_PORT: '0' }).listener.httpsPort, 0);
  });
});

describe('is a warning', () => {
  /** Without the risk that every client can name any registry. */
  const SOUND = { REGISTRY_ALLOWED_HOSTS: 'ghcr.io' };
  const warningsOf = (environment: Environment) => [
    ...configWarnings(loadConfig({ ...SOUND, ...environment })),
    ...variableWarnings(environment),
  ];
  const table: readonly [environment: Environment, warning: RegExp | undefined][] = [
    [{ TRUSTED_PROXIES: '0.0.0.0/0' }, /^TRUSTED_PROXIES has every address/],
    [{ TRUSTED_PROXIES: '::/0' }, /^TRUSTED_PROXIES has every address/],
    [{ TRUSTED_PROXIES: '0.0.0.0/1,128.0.0.0/1' }, /^TRUSTED_PROXIES has every address/],
    [{ TRUSTED_PROXIES: '10.0.0.0/8, 192.168.0.0/16' }, undefined],
    [{ HTTPS_PORT: '443' }, /^HTTPS_PORT has no effect: TLS_CERT_FILE is not set$/],
    [{ ...TLS, HTTPS_PORT: '443' }, undefined],
    [{ HTTP_SOCKET_MODE: '0600' }, /^HTTP_SOCKET_MODE has no effect: HTTP_SOCKET is not set$/],
    [{ HTTP_SOCKET_MODE: '0600', HTTP_SOCKET: '/run/x' }, undefined],
  ];
  for (const [environment, warning] of table) {
    test(JSON.stringify(environment), () => {
      const [first, ...others] = warningsOf(environment);
      assert.deepEqual(others, []);
      if (warning === undefined) assert.equal(first, undefined);
      else assert.match(first ?? '', warning);
    });
  }
});
