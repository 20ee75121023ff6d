import assert from 'node:assert/strict';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { type Config, configWarnings, loadConfig } from '../../src/config/config.ts';
import { isPassthroughError } from '../../src/errors.ts';

const MIB = 1024 ** 2;

const refused = (message: string | RegExp) => ({
  name: 'PassthroughError',
  code: 'INVALID_CONFIGURATION',
  message,
});

/** What a table may say of a token endpoint: a URL as text. */
const endpoint = ({ registry }: Config) => {
  const { tokenEndpoint } = registry.target;
  return tokenEndpoint instanceof URL ? tokenEndpoint.href : tokenEndpoint;
};

test('with nothing set, every setting has its default', () => {
  assert.deepEqual(loadConfig({}), {
    http: {
      host: '0.0.0.0',
      port: 8080,
      headerTimeoutMs: 15_000,
      idleTimeoutMs: 60_000,
      maxConnections: 10_000,
    },
    requestsPerClient: 0,
    logLevel: 'info',
    exporters: { TRACES: [], METRICS: [], LOGS: [] },
    registry: {
      target: {
        name: 'docker.io',
        origin: 'https://registry-1.docker.io',
        tokenEndpoint: new URL('https://auth.docker.io/token'),
        service: 'registry.docker.io',
        defaultNamespace: 'library',
      },
      defaultNamespace: undefined,
      credentials: { bearerToken: undefined, basic: undefined, boundTo: undefined, hosts: [] },
      clientAuth: 'optional',
      allowedHosts: undefined,
      trustedRealms: [],
      plainHttpHosts: [],
      foreignLayers: 'refuse',
      concurrentDownloads: 8,
      timeouts: { connectMs: 10_000, responseMs: 30_000, stallMs: 30_000 },
      bodyLimits: {
        manifestBytes: 4 * MIB,
        configBytes: 8 * MIB,
        tokenBytes: 256 * 1024,
        errorBytes: 64 * 1024,
      },
      proxyEnv: undefined,
      propagation: [],
    },
    defaultPlatform: { os: 'linux', architecture: 'amd64' },
    workspaceDirectory: join(tmpdir(), 'docker-http-passthrough'),
    cache: { directory: undefined, maxBytes: undefined, staleMs: 0 },
    imageLimits: {
      compressedBytes: 16 * 1024 * MIB,
      uncompressedBytes: 32 * 1024 * MIB,
      concurrentLayers: 4,
    },
    admission: { permits: 4, maxWaiters: 16, maxWaitMs: 30_000 },
    prepareTimeoutMs: 3_600_000,
    sendStallMs: 300_000,
    shutdownMs: 25_000,
  });
});

test('the configuration cannot be changed, nor can the registry in it', () => {
  const config = loadConfig({});
  assert.ok(Object.isFrozen(config));
  assert.ok(Object.isFrozen(config.registry.target));
});

describe('a variable sets its own setting', () => {
  const table: readonly [
    name: string,
    value: string,
    setting: (config: Config) => unknown,
    expected: unknown,
  ][] = [
    ['HTTP_HOST', '127.0.0.1', ({ http }) => http.host, '127.0.0.1'],
    ['HTTP_PORT', '0', ({ http }) => http.port, 0],
    ['HTTP_PORT', '65535', ({ http }) => http.port, 65_535],
    ['HTTP_HEADER_TIMEOUT', '0.1', ({ http }) => http.headerTimeoutMs, 100],
    ['HTTP_IDLE_TIMEOUT', '75', ({ http }) => http.idleTimeoutMs, 75_000],
    ['MAX_CONNECTIONS', '1', ({ http }) => http.maxConnections, 1],
    ['MAX_CONNECTIONS', '1000000', ({ http }) => http.maxConnections, 1_000_000],
    ['MAX_REQUESTS_PER_CLIENT', '4', ({ requestsPerClient }) => requestsPerClient, 4],
    ['REGISTRY_SERVICE', 'my service', ({ registry }) => registry.target.service, 'my service'],
    ['REGISTRY_NAME', 'hub.example.com:5000', ({ registry }) => registry.target.name, 'hub.example.com:5000'],
    ['REGISTRY_CLIENT_AUTH', 'required', ({ registry }) => registry.clientAuth, 'required'],
    ['REGISTRY_CLIENT_AUTH', 'OFF', ({ registry }) => registry.clientAuth, 'off'],
    ['REGISTRY_CLIENT_AUTH', 'optional', ({ registry }) => registry.clientAuth, 'optional'],
    ['REGISTRY_FOREIGN_LAYERS', 'Fetch', ({ registry }) => registry.foreignLayers, 'fetch'],
    ['REGISTRY_CONNECT_TIMEOUT', '0.5', ({ registry }) => registry.timeouts.connectMs, 500],
    ['REGISTRY_RESPONSE_TIMEOUT', '7', ({ registry }) => registry.timeouts.responseMs, 7000],
    ['REGISTRY_STALL_TIMEOUT', '8', ({ registry }) => registry.timeouts.stallMs, 8000],
    ['MAX_MANIFEST_BYTES', '1MiB', ({ registry }) => registry.bodyLimits.manifestBytes, MIB],
    ['MAX_CONFIG_BYTES', '2 MiB', ({ registry }) => registry.bodyLimits.configBytes, 2 * MIB],
    ['MAX_TOKEN_BYTES', '3k', ({ registry }) => registry.bodyLimits.tokenBytes, 3000],
    ['MAX_ERROR_BYTES', '4', ({ registry }) => registry.bodyLimits.errorBytes, 4],
    ['WORKSPACE_DIR', '/var/tmp/x', ({ workspaceDirectory }) => workspaceDirectory, '/var/tmp/x'],
    ['MAX_COMPRESSED_BYTES', '5GB', ({ imageLimits }) => imageLimits.compressedBytes, 5e9],
    ['CACHE_DIR', '/var/cache/x', ({ cache }) => cache.directory, '/var/cache/x'],
    ['CACHE_MAX_BYTES', '6GiB', ({ cache }) => cache.maxBytes, 6 * 1024 * MIB],
    ['CACHE_MAX_BYTES', '0', ({ cache }) => cache.maxBytes, 0],
    ['CACHE_SERVE_STALE', '3600', ({ cache }) => cache.staleMs, 3_600_000],
    ['MAX_CONCURRENT_DOWNLOADS', '1000', ({ registry }) => registry.concurrentDownloads, 1000],
    ['MAX_IMAGE_BYTES', '6GiB', ({ imageLimits }) => imageLimits.uncompressedBytes, 6 * 1024 * MIB],
    ['MAX_CONCURRENT_LAYERS', '64', ({ imageLimits }) => imageLimits.concurrentLayers, 64],
    ['MAX_CONCURRENT_PREPARATIONS', '1', ({ admission }) => admission.permits, 1],
    ['MAX_QUEUED_PREPARATIONS', '0', ({ admission }) => admission.maxWaiters, 0],
    ['QUEUE_TIMEOUT', '9', ({ admission }) => admission.maxWaitMs, 9000],
    ['PREPARE_TIMEOUT', '10', ({ prepareTimeoutMs }) => prepareTimeoutMs, 10_000],
    ['SEND_STALL_TIMEOUT', '11', ({ sendStallMs }) => sendStallMs, 11_000],
    ['SHUTDOWN_TIMEOUT', '12', ({ shutdownMs }) => shutdownMs, 12_000],
    ['DEFAULT_PLATFORM', 'linux/aarch64', ({ defaultPlatform }) => defaultPlatform.architecture, 'arm64'],
    ['DEFAULT_PLATFORM', 'linux/arm/v6', ({ defaultPlatform }) => defaultPlatform.variant, 'v6'],
  ];
  for (const [name, value, setting, expected] of table) {
    test(`${name}=${value}`, () => {
      if (value !== 'optional') assert.notDeepEqual(setting(loadConfig({})), expected);
      assert.deepEqual(setting(loadConfig({ [name]: value })), expected);
      assert.deepEqual(setting(loadConfig({ [name]: ` ${value} ` })), expected);
      assert.deepEqual(setting(loadConfig({ [name]: '' })), setting(loadConfig({})));
    });
  }
});

describe('a value is refused, by variable, value and what is allowed', () => {
  const shape = 'expected os/arch or os/arch/variant, such as linux/arm64';
  const url = 'expected http://host[:port] or https://host[:port]';
  const host = 'expected a DNS name or an IP address, with an optional port';
  const table: readonly [name: string, value: string, why: string][] = [
    ['HTTP_PORT', '65536', 'expected a whole number from 0 to 65535'],
    ['HTTP_PORT', 'http', 'expected a whole number from 0 to 65535'],
    ['HTTP_HEADER_TIMEOUT', '0', 'expected seconds, more than 0 and at most 2000000'],
    ['HTTP_HEADER_TIMEOUT', '15s', 'expected seconds, more than 0 and at most 2000000'],
    ['HTTP_IDLE_TIMEOUT', '-1', 'expected seconds, more than 0 and at most 2000000'],
    ['MAX_CONNECTIONS', '0', 'expected a whole number from 1 to 1000000'],
    ['MAX_CONNECTIONS', '1000001', 'expected a whole number from 1 to 1000000'],
    ['MAX_REQUESTS_PER_CLIENT', '10001', 'expected a whole number from 0 to 10000'],
    ['MAX_REQUESTS_PER_CLIENT', 'off', 'expected a whole number from 0 to 10000'],
    ['LOG_LEVEL', 'loud', 'expected one of trace, debug, info, warn, error'],
    ['REGISTRY_CLIENT_AUTH', 'maybe', 'expected one of optional, required, off'],
    ['REGISTRY_FOREIGN_LAYERS', 'allow', 'expected one of refuse, fetch'],
    [
      'REGISTRY_PLAIN_HTTP_HOSTS',
      'http://a.example.com,https://b.example.com',
      'expected hosts that speak http, and one is for https',
    ],
    ['REGISTRY_CONNECT_TIMEOUT', '0', 'expected seconds, more than 0 and at most 2000000'],
    ['REGISTRY_RESPONSE_TIMEOUT', '5s', 'expected seconds, more than 0 and at most 2000000'],
    ['REGISTRY_STALL_TIMEOUT', '-5', 'expected seconds, more than 0 and at most 2000000'],
    ['QUEUE_TIMEOUT', 'x', 'expected seconds, more than 0 and at most 2000000'],
    ['PREPARE_TIMEOUT', '3000000', 'expected seconds, more than 0 and at most 2000000'],
    ['SEND_STALL_TIMEOUT', 'x', 'expected seconds, more than 0 and at most 2000000'],
    ['SHUTDOWN_TIMEOUT', 'x', 'expected seconds, more than 0 and at most 2000000'],
    ['MAX_MANIFEST_BYTES', '4 megabytes', 'expected a number of bytes, such as 1048576, 512MiB or 4GB'],
    ['MAX_CONFIG_BYTES', '0', 'expected a number of bytes, such as 1048576, 512MiB or 4GB'],
    ['MAX_TOKEN_BYTES', '-1', 'expected a number of bytes, such as 1048576, 512MiB or 4GB'],
    ['MAX_ERROR_BYTES', 'x', 'expected a number of bytes, such as 1048576, 512MiB or 4GB'],
    ['MAX_COMPRESSED_BYTES', 'x', 'expected a number of bytes, such as 1048576, 512MiB or 4GB'],
    ['CACHE_MAX_BYTES', '-1', 'expected a number of bytes, such as 1048576, 512MiB or 4GB'],
    ['CACHE_SERVE_STALE', '-1', 'expected seconds, 0 or more and at most 2000000'],
    ['MAX_CONCURRENT_DOWNLOADS', '0', 'expected a whole number from 1 to 1000'],
    ['MAX_IMAGE_BYTES', '0', 'expected a number of bytes, such as 1048576, 512MiB or 4GB'],
    ['MAX_IMAGE_BYTES', 'unlimited', 'expected a number of bytes, such as 1048576, 512MiB or 4GB'],
    ['MAX_CONCURRENT_LAYERS', '0', 'expected a whole number from 1 to 64'],
    ['MAX_CONCURRENT_PREPARATIONS', '1001', 'expected a whole number from 1 to 1000'],
    ['MAX_QUEUED_PREPARATIONS', '10001', 'expected a whole number from 0 to 10000'],
    ['DEFAULT_PLATFORM', 'linux', `Cannot parse platform "linux": ${shape}`],
    ['DEFAULT_PLATFORM', 'linux/z80', 'Cannot parse platform "linux/z80": unknown architecture "z80"'],
    ['REGISTRY_URL', 'registry.example.com', url],
    ['REGISTRY_URL', 'https://example.com/mirror', url],
    ['REGISTRY_URL', 'ftp://example.com', 'Cannot parse registry scheme "ftp": expected http or https'],
    ['REGISTRY_URL', 'https://', 'Cannot parse registry host "": it is empty'],
    [
      'REGISTRY_URL',
      'https://example.com:99999',
      'Cannot parse registry host "example.com:99999": the port must be a number from 1 to 65535',
    ],
    [
      'REGISTRY_AUTH_URL',
      'auth.example.com',
      'expected an http or https URL without credentials, or nothing',
    ],
    [
      'REGISTRY_AUTH_URL',
      'ftp://auth.example.com',
      'expected an http or https URL without credentials, or nothing',
    ],
    ['REGISTRY_AUTH_URL', 'file:///token', 'expected an http or https URL without credentials, or nothing'],
    ['REGISTRY_NAME', 'My Registry', `Cannot parse registry host "My Registry": ${host}`],
    ['REGISTRY_DEFAULT_NAMESPACE', 'Team', 'repository component "Team" is not lower case'],
    ['REGISTRY_DEFAULT_NAMESPACE', 'team/', 'repository has an empty component'],
    ['REGISTRY_USERNAME', '', 'REGISTRY_PASSWORD is set, so a user name must be too'],
    ...[
      'REGISTRY_ALLOWED_HOSTS',
      'REGISTRY_CREDENTIALS_HOSTS',
      'REGISTRY_TRUSTED_REALMS',
      'REGISTRY_PLAIN_HTTP_HOSTS',
    ].map((name): [string, string, string] => [
      name,
      'ftp://example.com',
      'Cannot parse host "ftp://example.com": expected http or https',
    ]),
  ];
  for (const [name, value, why] of table) {
    test(`${name}=${value}`, () => {
      assert.throws(
        () => loadConfig({ [name]: value, ...(value === '' && { REGISTRY_PASSWORD: 'x' }) }),
        refused(`Cannot use ${name}=${JSON.stringify(value)}: ${why}`),
      );
    });
  }
});

describe('the default registry', () => {
  for (const url of [
    'https://docker.io',
    'https://index.docker.io',
    'https://index.docker.io/v2/',
    'https://registry-1.docker.io',
    'https://registry-1.docker.io/',
    'HTTPS://Docker.IO:443',
  ]) {
    test(`is Docker Hub as ${url}`, () => {
      assert.deepEqual(loadConfig({ REGISTRY_URL: url }).registry.target, loadConfig({}).registry.target);
    });
  }

  test('is any other by its origin, with what follows from it', () => {
    assert.deepEqual(loadConfig({ REGISTRY_URL: 'http://Lab.example.com:5000/v2' }).registry.target, {
      name: 'lab.example.com:5000',
      origin: 'http://lab.example.com:5000',
      tokenEndpoint: 'discover',
      service: 'lab.example.com:5000',
      defaultNamespace: '',
    });
  });

  test('has what the other variables say of it', () => {
    const { target, defaultNamespace } = loadConfig({
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

  test('has a token endpoint unless the variable is set and empty: then it takes Basic directly', () => {
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

  test('has no token endpoint with a user name or a password in it', () => {
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

  test('has no namespace where the variable is set and empty', () => {
    const { target, defaultNamespace } = loadConfig({ REGISTRY_DEFAULT_NAMESPACE: '' }).registry;
    assert.deepEqual([target.defaultNamespace, defaultNamespace], ['', '']);
  });
});

describe('which hosts', () => {
  test('are allowed: all, or those of the list, and none where the list is empty', () => {
    const allowed = (value: string) =>
      loadConfig({ REGISTRY_ALLOWED_HOSTS: value }).registry.allowedHosts?.map(({ hostname }) => hostname);
    assert.equal(allowed(''), undefined);
    assert.deepEqual(allowed('ghcr.io, *.example.com'), ['ghcr.io', 'example.com']);
    assert.deepEqual(allowed(','), []);
  });

  test("are meant by Docker Hub's names: that of its API", () => {
    const { allowedHosts } = loadConfig({ REGISTRY_ALLOWED_HOSTS: 'docker.io,index.docker.io' }).registry;
    assert.deepEqual(
      allowedHosts?.map(({ hostname }) => hostname),
      ['registry-1.docker.io', 'registry-1.docker.io'],
    );
  });

  test('speak http where a reference names them: those of the list', () => {
    const text = 'lab.example.com, http://10.0.0.5:5000';
    const { plainHttpHosts } = loadConfig({ REGISTRY_PLAIN_HTTP_HOSTS: text }).registry;
    assert.deepEqual(plainHttpHosts, [
      { scheme: undefined, hostname: 'lab.example.com', isWildcard: false, port: undefined },
      { scheme: 'http:', hostname: '10.0.0.5', isWildcard: false, port: 5000 },
    ]);
  });

  test('are trusted with passwords: those of the list', () => {
    const { trustedRealms } = loadConfig({ REGISTRY_TRUSTED_REALMS: 'auth.example.com' }).registry;
    assert.deepEqual(
      trustedRealms.map(({ hostname }) => hostname),
      ['auth.example.com'],
    );
  });
});

describe('credentials', () => {
  const credentials = (environment: Record<string, string>) => loadConfig(environment).registry.credentials;

  test('are user name and password, to the letter', () => {
    assert.deepEqual(credentials({ REGISTRY_USERNAME: ' ü ', REGISTRY_PASSWORD: ' p:w\t' }).basic, {
      username: ' ü ',
      password: ' p:w\t',
    });
    assert.deepEqual(credentials({ REGISTRY_USERNAME: 'user' }).basic, { username: 'user', password: '' });
    assert.equal(credentials({ REGISTRY_USERNAME: '', REGISTRY_PASSWORD: '' }).basic, undefined);
  });

  test('are a bearer token, by either name, the longer first', () => {
    assert.equal(credentials({ REGISTRY_BEARER_TOKEN: 'long' }).bearerToken, 'long');
    assert.equal(credentials({ REGISTRY_TOKEN: 'short' }).bearerToken, 'short');
    assert.equal(credentials({ REGISTRY_BEARER_TOKEN: 'long', REGISTRY_TOKEN: 'short' }).bearerToken, 'long');
    assert.equal(credentials({ REGISTRY_BEARER_TOKEN: '', REGISTRY_TOKEN: 'short' }).bearerToken, 'short');
  });

  for (const name of ['REGISTRY_BEARER_TOKEN', 'REGISTRY_TOKEN']) {
    test(`are refused where ${name} could not stand in a header, without being shown`, () => {
      for (const value of ['sec ret', 'secret\n', 'secret\r\nX: y', 'sécret', ' ']) {
        assert.throws(
          () => loadConfig({ [name]: value }),
          refused(`Cannot use ${name} (its value is not shown): expected printable ASCII without spaces`),
        );
      }
    });
  }

  test('are refused where the user name would be cut at a colon, without being shown', () => {
    assert.throws(
      () => loadConfig({ REGISTRY_USERNAME: 'user:secret' }),
      refused(
        'Cannot use REGISTRY_USERNAME (its value is not shown): expected no colon, at which Basic ends a user name',
      ),
    );
  });

  test('belong to the registry that is set, and to the hosts of the list', () => {
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
  });

  test('that serving what is stale needs something to serve is warned of', () => {
    const warnings = (environment: Record<string, string>) => configWarnings(loadConfig(environment));
    const [warning = '', ...others] = warnings({ CACHE_SERVE_STALE: '60', CACHE_MAX_BYTES: '0' });
    assert.match(warning, /CACHE_SERVE_STALE.*CACHE_MAX_BYTES/);
    assert.deepEqual(others, []);
    for (const sound of [{ CACHE_SERVE_STALE: '60' }, { CACHE_MAX_BYTES: '0' }])
      assert.deepEqual(warnings(sound), []);
  });

  test('that no registry is set for are warned of', () => {
    const warnings = (environment: Record<string, string>) => configWarnings(loadConfig(environment));
    for (const loose of [
      { REGISTRY_USERNAME: 'user', REGISTRY_PASSWORD: 'secret' },
      { REGISTRY_BEARER_TOKEN: 'secret' },
      { REGISTRY_TOKEN: 'secret' },
      { REGISTRY_URL: '', REGISTRY_TOKEN: 'secret' },
    ]) {
      const [warning = '', ...others] = warnings(loose);
      assert.match(warning, /REGISTRY_URL/);
      assert.match(warning, /REGISTRY_CREDENTIALS_HOSTS/);
      assert.doesNotMatch(warning, /secret|user\b/);
      assert.deepEqual(others, []);
    }
    assert.deepEqual(warnings({}), []);
    assert.deepEqual(warnings({ REGISTRY_URL: 'https://lab.example.com', REGISTRY_TOKEN: 'secret' }), []);
    assert.deepEqual(warnings({ REGISTRY_URL: 'https://docker.io', REGISTRY_TOKEN: 'secret' }), []);
  });
});

describe('the log level', () => {
  const level = (environment: Record<string, string>) => loadConfig(environment).logLevel;

  test('is one of five, in any case', () => {
    for (const name of ['trace', 'debug', 'info', 'warn', 'error']) {
      assert.equal(level({ LOG_LEVEL: name }), name);
      assert.equal(level({ LOG_LEVEL: name.toUpperCase() }), name);
    }
  });

  test('is read from RUST_LOG when it is unset or empty', () => {
    assert.equal(level({ RUST_LOG: 'debug' }), 'debug');
    assert.equal(level({ LOG_LEVEL: '', RUST_LOG: 'WARN' }), 'warn');
    assert.equal(level({ LOG_LEVEL: 'error', RUST_LOG: 'debug' }), 'error');
  });

  test('is the bare one among directives of RUST_LOG, and nothing there is refused', () => {
    assert.equal(level({ RUST_LOG: 'hyper=trace, warn ,tower=debug' }), 'warn');
    assert.equal(level({ RUST_LOG: 'hyper=trace' }), 'info');
    assert.equal(level({ RUST_LOG: 'off' }), 'info');
    assert.equal(level({ RUST_LOG: '%%%' }), 'info');
  });

  test('is refused by itself even where RUST_LOG is right', () => {
    assert.throws(
      () => level({ LOG_LEVEL: 'loud', RUST_LOG: 'debug' }),
      refused(/^Cannot use LOG_LEVEL="loud": /),
    );
  });
});

test('proxies are handed on as they are set, in either case', () => {
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

test('a proxy without a scheme is an http one, and what is no address of a proxy is refused', () => {
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

test('no variable that may hold a secret shows it in an error, whatever is wrong', () => {
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
