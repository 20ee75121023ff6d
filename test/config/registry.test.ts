import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { type Config, loadConfig } from '../../src/config/config.ts';
import { isPassthroughError } from '../../src/errors.ts';

const refused = (message: string | RegExp) => ({
  name: 'PassthroughError',
  code: 'INVALID_CONFIGURATION',
  message,
});

/** The token endpoint, a URL as text. */
const endpoint = ({ registry }: Config) => {
  const { tokenEndpoint } = registry.defaultHost;
  return tokenEndpoint instanceof URL ? tokenEndpoint.href : tokenEndpoint;
};

describe('the default registry', () => {
  for (const url of [
    ...['https://docker.io', 'https://index.docker.io', 'https://index.docker.io/v2/'],
    ...['https://registry-1.docker.io', 'https://registry-1.docker.io/', 'HTTPS://Docker.IO:443'],
  ]) {
    test(`is Docker Hub as ${url}`, () => {
      assert.deepEqual(
        loadConfig({ REGISTRY_URL: url }).registry.defaultHost,
        loadConfig({}).registry.defaultHost,
      );
    });
  }

  test('has defaults that follow from its URL', () => {
    assert.deepEqual(loadConfig({ REGISTRY_URL: 'http://Lab.example.com:5000/v2' }).registry.defaultHost, {
      name: 'lab.example.com:5000',
      origin: 'http://lab.example.com:5000',
      tokenEndpoint: 'discover',
      service: 'lab.example.com:5000',
      defaultNamespace: '',
    });
  });

  test('has the values of the variables for its parts', () => {
    const { defaultHost: target, defaultNamespace } = loadConfig({
      REGISTRY_URL: 'https://lab.example.com',
      REGISTRY_AUTH_URL: 'https://auth.example.com/token?a=b',
      REGISTRY_SERVICE: 'lab',
      REGISTRY_NAME: 'registry.example.com',
      REGISTRY_DEFAULT_NAMESPACE: 'team/base',
    }).registry;
    assert.deepEqual(target, {
      name: 'registry.example.com',
      origin: 'https://lab.example.com',
      tokenEndpoint: new URL('https://auth.example.com/token?a=b'),
      service: 'lab',
      defaultNamespace: 'team/base',
    });
    assert.equal(defaultNamespace, 'team/base');
  });

  test('has no token endpoint if the variable is set but empty', () => {
    assert.equal(endpoint(loadConfig({})), 'https://auth.docker.io/token');
    assert.equal(endpoint(loadConfig({ REGISTRY_AUTH_URL: '' })), 'none');
    assert.equal(endpoint(loadConfig({ REGISTRY_AUTH_URL: '  ' })), 'none');
    const other = { REGISTRY_URL: 'https://lab.example.com' };
    assert.equal(endpoint(loadConfig(other)), 'discover');
    assert.equal(endpoint(loadConfig({ ...other, REGISTRY_AUTH_URL: '' })), 'none');
    assert.equal(
      endpoint(loadConfig({ ...other, REGISTRY_AUTH_URL: 'http://lab.example.com/token' })),
      'http://lab.example.com/token',
    );
  });

  test('refuses a token endpoint with user information', () => {
    for (const userinfo of ['user', 'user:secret', ':secret']) {
      assert.throws(
        () => loadConfig({ REGISTRY_AUTH_URL: `https://${userinfo}@auth.example.com/token` }),
        refused(
          'Cannot use REGISTRY_AUTH_URL="https://[redacted]@auth.example.com/token": ' +
            'expected an http or https URL without credentials, or nothing',
        ),
      );
    }
  });

  test('has no namespace if the variable is set but empty', () => {
    const { defaultHost: target, defaultNamespace } = loadConfig({ REGISTRY_DEFAULT_NAMESPACE: '' }).registry;
    assert.deepEqual([target.defaultNamespace, defaultNamespace], ['', '']);
  });
});

describe('lists of hosts', () => {
  test('allow all registries if unset, and none if empty', () => {
    const allowed = (value: string) =>
      loadConfig({ REGISTRY_ALLOWED_HOSTS: value }).registry.allowedHosts?.map(({ hostname }) => hostname);
    assert.equal(allowed(''), undefined);
    assert.deepEqual(allowed('ghcr.io, *.example.com'), ['ghcr.io', 'example.com']);
    assert.deepEqual(allowed(','), []);
  });

  test('know Docker Hub by the host of its API', () => {
    const { allowedHosts } = loadConfig({ REGISTRY_ALLOWED_HOSTS: 'docker.io,index.docker.io' }).registry;
    assert.deepEqual(
      allowedHosts?.map(({ hostname }) => hostname),
      ['registry-1.docker.io', 'registry-1.docker.io'],
    );
  });

  test('select registries that are contacted over http', () => {
    const text = 'lab.example.com, http://10.0.0.5:5000';
    const { plainHttpHosts } = loadConfig({ REGISTRY_PLAIN_HTTP_HOSTS: text }).registry;
    assert.deepEqual(plainHttpHosts, [
      { scheme: undefined, hostname: 'lab.example.com', isWildcard: false, port: undefined },
      { scheme: 'http:', hostname: '10.0.0.5', isWildcard: false, port: 5000 },
    ]);
  });

  test('select trusted realms', () => {
    const { trustedRealms } = loadConfig({ REGISTRY_TRUSTED_REALMS: 'auth.example.com' }).registry;
    assert.deepEqual(
      trustedRealms.map(({ hostname }) => hostname),
      ['auth.example.com'],
    );
  });
});

describe('credentials', () => {
  const credentials = (environment: Record<string, string>) => loadConfig(environment).registry.credentials;

  test('are the exact user name and password', () => {
    assert.deepEqual(credentials({ REGISTRY_USERNAME: ' ü ', REGISTRY_PASSWORD: ' p:w\t' }).basic, {
      username: ' ü ',
      password: ' p:w\t',
    });
    assert.deepEqual(credentials({ REGISTRY_USERNAME: 'user' }).basic, { username: 'user', password: '' });
    assert.equal(credentials({ REGISTRY_USERNAME: '', REGISTRY_PASSWORD: '' }).basic, undefined);
  });

  test('are a bearer token; REGISTRY_BEARER_TOKEN wins over REGISTRY_TOKEN', () => {
    assert.equal(credentials({ REGISTRY_BEARER_TOKEN: 'long' }).bearerToken, 'long');
    assert.equal(credentials({ REGISTRY_TOKEN: 'short' }).bearerToken, 'short');
    assert.equal(credentials({ REGISTRY_BEARER_TOKEN: 'long', REGISTRY_TOKEN: 'short' }).bearerToken, 'long');
    assert.equal(credentials({ REGISTRY_BEARER_TOKEN: '', REGISTRY_TOKEN: 'short' }).bearerToken, 'short');
  });

  for (const name of ['REGISTRY_BEARER_TOKEN', 'REGISTRY_TOKEN']) {
    test(`are refused, and not shown, if ${name} does not fit into a header`, () => {
      for (const value of ['sec ret', 'secret\n', 'secret\r\nX: y', 'sécret', ' ']) {
        assert.throws(
          () => loadConfig({ [name]: value }),
          refused(`Cannot use ${name} (its value is not shown): expected printable ASCII without spaces`),
        );
      }
    });
  }

  test('are refused, and not shown, if the user name has a colon', () => {
    assert.throws(
      () => loadConfig({ REGISTRY_USERNAME: 'user:secret' }),
      refused(
        'Cannot use REGISTRY_USERNAME (its value is not shown): expected no colon, at which Basic ends a user name',
      ),
    );
  });

  test('belong to the configured registry and to the hosts of the list', () => {
    const bound = credentials({
      REGISTRY_URL: 'https://lab.example.com/',
      REGISTRY_USERNAME: 'user',
      REGISTRY_CREDENTIALS_HOSTS: 'ghcr.io',
    });
    assert.equal(bound.boundTo, 'https://lab.example.com');
    assert.deepEqual(
      bound.hosts.map(({ hostname }) => hostname),
      ['ghcr.io'],
    );
    assert.equal(credentials({ REGISTRY_URL: 'https://docker.io' }).boundTo, 'https://registry-1.docker.io');
    assert.equal(credentials({ REGISTRY_USERNAME: 'user' }).boundTo, undefined);
    assert.throws(() => credentials({ REGISTRY_CREDENTIALS_HOSTS: ' , ' }), /REGISTRY_CREDENTIALS_HOSTS/);
  });
});

test('the proxy variables are read in upper and lower case', () => {
  const proxies = (environment: Record<string, string>) => loadConfig(environment).registry.proxyEnv;
  const set = {
    HTTP_PROXY: 'http://user:pw@proxy:3128',
    https_proxy: 'http://other:3128',
    NO_PROXY: 'localhost,.example.com',
  };
  assert.deepEqual(proxies({ ...set, http_proxy: '', HOME: '/root' }), set);
  assert.equal(proxies({ HTTP_PROXY: '', NO_PROXY: '' }), undefined);
  assert.equal(proxies({ NO_PROXY: 'localhost' }), undefined);
});

test('a proxy without a scheme is an http proxy, and malformed addresses are refused', () => {
  const { proxyEnv } = loadConfig({ HTTPS_PROXY: 'user:pw@proxy:3128' }).registry;
  assert.deepEqual(proxyEnv, { HTTPS_PROXY: 'http://user:pw@proxy:3128' });
  for (const address of ['socks5://user:pw@proxy', 'http://user:pw@', 'http://user:pw@proxy:port']) {
    assert.throws(
      () => loadConfig({ http_proxy: address }),
      (error: Error) => {
        assert.match(error.message, /^Cannot use http_proxy=/);
        assert.doesNotMatch(error.message, /pw/);
        return true;
      },
    );
  }
});

test('no error shows the secret in a variable', () => {
  const NAMES = [
    'REGISTRY_URL',
    'REGISTRY_AUTH_URL',
    'REGISTRY_NAME',
    'REGISTRY_ALLOWED_HOSTS',
    'REGISTRY_CREDENTIALS_HOSTS',
    'REGISTRY_TRUSTED_REALMS',
    'REGISTRY_PLAIN_HTTP_HOSTS',
  ];
  const inUrl = fc
    .tuple(
      fc.constantFrom(...NAMES),
      fc.constantFrom('https://', 'http://', 'ftp://', '//', ''),
      fc.string({ unit: 'binary', maxLength: 12 }),
      fc.constantFrom('host', 'host:5000/v2', '', 'bad host', '@'),
    )
    .map(([name, start, text, end]) => ({ [name]: `${start}user:hun${text}ter@${end}` }));
  const inVariable = fc
    .tuple(
      fc.constantFrom('REGISTRY_PASSWORD', 'REGISTRY_BEARER_TOKEN', 'REGISTRY_TOKEN'),
      fc.string({ unit: 'binary', maxLength: 12 }),
    )
    .map(([name, text]) => ({ [name]: `hun${text}ter` }));
  let refusals = 0;
  fc.assert(
    fc.property(fc.oneof(inUrl, inVariable), (environment) => {
      try {
        loadConfig(environment);
      } catch (error) {
        refusals += 1;
        assert.ok(isPassthroughError(error, 'INVALID_CONFIGURATION'));
        assert.ok(!/hun|ter\b/.test(error.message), error.message);
      }
    }),
    { numRuns: 1000 },
  );
  assert.ok(refusals > 500, `only ${refusals} were refused`);
});
