import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { loadConfig } from '../../src/config/config.ts';
import { riskWarnings } from '../../src/config/risks.ts';

/** A configuration without a risk. */
const SOUND = { HTTP_HOST: '10.0.0.1', REGISTRY_ALLOWED_HOSTS: 'ghcr.io' };

describe('a risk has a line with the variable that ends it', () => {
  const risks: readonly [variables: Record<string, string>, line: RegExp, ended: Record<string, string>][] = [
    [
      { REGISTRY_USERNAME: 'user', REGISTRY_PASSWORD: 'secret' },
      /^REGISTRY_URL and REGISTRY_CREDENTIALS_HOSTS are not set, .* bind them$/,
      { REGISTRY_CREDENTIALS_HOSTS: 'ghcr.io' },
    ],
    [
      { REGISTRY_TOKEN: 'secret' },
      /^REGISTRY_URL and REGISTRY_CREDENTIALS_HOSTS are not set, /,
      { REGISTRY_URL: 'https://ghcr.io' },
    ],
    [
      { REGISTRY_INSECURE_HOSTS: '*.lab.example:5000' },
      /^The certificate of \*\.lab\.example:5000 is not verified, .* REGISTRY_CERTS_DIR, .* REGISTRY_INSECURE_HOSTS$/,
      { REGISTRY_INSECURE_HOSTS: '' },
    ],
    [
      { HTTP_HOST: '0.0.0.0', REGISTRY_ALLOWED_HOSTS: '' },
      /^REGISTRY_ALLOWED_HOSTS is not set and HTTP_HOST is 0\.0\.0\.0, .* REGISTRY_ALLOWED_HOSTS, or .* CLIENT_ALLOWED_NETWORKS$/,
      { REGISTRY_ALLOWED_HOSTS: 'ghcr.io' },
    ],
    [
      { HTTP_HOST: '::', REGISTRY_ALLOWED_HOSTS: '' },
      /HTTP_HOST is ::, /,
      { CLIENT_ALLOWED_NETWORKS: '10.0.0.0/8' },
    ],
    [
      { HTTP_HOST: '0.0.0.0', REGISTRY_ALLOWED_HOSTS: '' },
      /HTTP_HOST is 0\.0\.0\.0, /,
      { TLS_CERT_FILE: '/tls.crt', TLS_KEY_FILE: '/tls.key', TLS_CLIENT_CA_FILE: '/clients.crt' },
    ],
    [
      { REGISTRY_MIRRORS: 'docker.io=http://cache.example:5000' },
      /^REGISTRY_MIRRORS names http:\/\/cache\.example:5000, which is not encrypted: /,
      { REGISTRY_MIRRORS: 'docker.io=https://cache.example:5000' },
    ],
    [{ HTTP_HOST: '::', REGISTRY_ALLOWED_HOSTS: '' }, /HTTP_HOST is ::, /, { HTTP_HOST: '127.0.0.1' }],
    [{ HTTP_HOST: '::0', REGISTRY_ALLOWED_HOSTS: '' }, /HTTP_HOST is ::0, /, { HTTP_HOST: '::1' }],
    [{ HTTP_HOST: '0', REGISTRY_ALLOWED_HOSTS: '' }, /HTTP_HOST is 0, /, { HTTP_HOST: 'localhost' }],
    [
      { HTTP_HOST: '::ffff:0.0.0.0', REGISTRY_ALLOWED_HOSTS: '', CLIENT_ALLOWED_NETWORKS: '0.0.0.0/0, ::/0' },
      /HTTP_HOST is ::ffff:0\.0\.0\.0, /,
      { CLIENT_ALLOWED_NETWORKS: '10.0.0.0/8' },
    ],
  ];
  for (const [variables, line, ended] of risks) {
    test(JSON.stringify(variables), () => {
      const [warning = '', ...others] = riskWarnings(loadConfig({ ...SOUND, ...variables }));
      assert.match(warning, line);
      assert.doesNotMatch(warning, /secret|user\b/);
      assert.deepEqual(others, []);
      assert.deepEqual(riskWarnings(loadConfig({ ...SOUND, ...variables, ...ended })), []);
    });
  }

  test('for each host', () => {
    const { length } = riskWarnings(loadConfig({ ...SOUND, REGISTRY_INSECURE_HOSTS: 'a,b,https://c' }));
    assert.equal(length, 3);
  });
});

test('REGISTRY_INSECURE_HOSTS takes no host for http, and REGISTRY_CERTS_DIR only a folder', () => {
  const refused = (variables: Record<string, string>, message: RegExp) =>
    assert.throws(() => loadConfig(variables), { code: 'INVALID_CONFIGURATION', message });
  refused({ REGISTRY_INSECURE_HOSTS: 'http://lab' }, /^Cannot use REGISTRY_INSECURE_HOSTS="http:\/\/lab": /);
  refused({ REGISTRY_CERTS_DIR: '/none' }, /^Cannot use REGISTRY_CERTS_DIR="\/none": it does not exist$/);
  refused(
    { REGISTRY_CERTS_DIR: '/dev/null' },
    /^Cannot use REGISTRY_CERTS_DIR="\/dev\/null": it is no folder$/,
  );
});
