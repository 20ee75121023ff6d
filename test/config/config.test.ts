import assert from 'node:assert/strict';
import { tmpdir } from 'node:os';
import { describe, test } from 'node:test';
import { type Config, configWarnings, loadConfig, variableWarnings } from '../../src/config/config.ts';
import { DEFAULT_OPTIONS } from '../../src/pull/options.ts';
import { parseNetworks } from '../../src/util/network/networks.ts';

const MIB = 1024 ** 2;

const refused = (message: string | RegExp) => ({
  name: 'PassthroughError',
  code: 'INVALID_CONFIGURATION',
  message,
});

test('every setting has a default', () => {
  assert.deepEqual(loadConfig({}), {
    http: {
      host: '0.0.0.0',
      port: 8080,
      headerTimeoutMs: 15_000,
      idleTimeoutMs: 60_000,
      maxConnections: 10_000,
    },
    listener: {
      tls: undefined,
      httpsPort: 8443,
      isHttpsOnly: false,
      socketPath: undefined,
      socketMode: 0o660,
      allowedNetworks: undefined,
      trustedProxies: undefined,
    },
    access: { statusNetworks: parseNetworks('127.0.0.0/8,::1'), pageOrigins: [], hosts: [] },
    requestsPerClient: 16,
    logLevel: 'info',
    exporters: { TRACES: [], METRICS: [], LOGS: [] },
    registry: {
      defaultHost: {
        name: 'docker.io',
        origin: 'https://registry-1.docker.io',
        tokenEndpoint: new URL('https://auth.docker.io/token'),
        service: 'registry.docker.io',
        defaultNamespace: 'library',
      },
      defaultNamespace: undefined,
      credentials: { bearerToken: undefined, basic: undefined, boundTo: undefined, hosts: [] },
      credentialNames: { bearerToken: 'REGISTRY_TOKEN', basic: 'REGISTRY_USERNAME' },
      files: undefined,
      tls: undefined,
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
      mirrors: [],
      mirrorAccounts: 'layers',
    },
    defaultPlatform: { os: 'linux', architecture: 'amd64' },
    start: 'prepared',
    workspaceDirectory: tmpdir(),
    cache: { directory: undefined, maxBytes: undefined, staleMs: 0 },
    limits: {
      compressedBytes: 16 * 1024 * MIB,
      uncompressedBytes: 32 * 1024 * MIB,
      concurrentLayers: 4,
    },
    gzip: 'spliced',
    signatures: { keys: [], requiredFor: ['*'], policy: 'enforce', matchRepository: false },
    iox: { profile: 'c1.small', schemaVersion: '2.10', allowsPrivileged: false, digest: 'sha256' },
    admission: { permits: 4, maxWaiters: 16, maxWaitMs: 30_000 },
    bufferedBytes: DEFAULT_OPTIONS.bufferedBytes,
    prepareTimeoutMs: 3_600_000,
    sendStallMs: 300_000,
    shutdownMs: 25_000,
  });
});

test('the configuration and its registry are frozen', () => {
  const config = loadConfig({});
  assert.ok(Object.isFrozen(config));
  assert.ok(Object.isFrozen(config.registry.defaultHost));
});

describe('a variable sets its own setting', () => {
  type Row = readonly [name: string, value: string, setting: (config: Config) => unknown, expected: unknown];
  const table: readonly Row[] = [
    ['HTTP_HOST', '127.0.0.1', ({ http }) => http.host, '127.0.0.1'],
    ['HTTP_HOST', '::', ({ http }) => http.host, '::'],
    ['HTTP_HOST', '[::1]', ({ http }) => http.host, '::1'],
    ['HTTP_HOST', 'fe80::1%eth0', ({ http }) => http.host, 'fe80::1%eth0'],
    ['HTTP_HOST', 'Switch-1.example.com', ({ http }) => http.host, 'Switch-1.example.com'],
    ['HTTP_PORT', '0', ({ http }) => http.port, 0],
    ['HTTP_PORT', '65535', ({ http }) => http.port, 65_535],
    ['HTTP_HEADER_TIMEOUT', '0.1', ({ http }) => http.headerTimeoutMs, 100],
    ['HTTP_IDLE_TIMEOUT', '75', ({ http }) => http.idleTimeoutMs, 75_000],
    ['MAX_CONNECTIONS', '1', ({ http }) => http.maxConnections, 1],
    ['MAX_CONNECTIONS', '1000000', ({ http }) => http.maxConnections, 1_000_000],
    ['MAX_REQUESTS_PER_CLIENT', '4', ({ requestsPerClient }) => requestsPerClient, 4],
    [
      'STATUS_ALLOWED_NETWORKS',
      '10.0.0.0/8',
      ({ access }) => access.statusNetworks.contains('10.1.2.3'),
      true,
    ],
    ['PAGE_ORIGINS', 'https://a.example', ({ access }) => access.pageOrigins, ['https://a.example']],
    [
      'HTTP_ALLOWED_HOSTS',
      '*.example.com:8080',
      ({ access }) => access.hosts,
      [{ hostname: 'example.com', isWildcard: true, port: 8080 }],
    ],
    ['REGISTRY_SERVICE', 'my service', ({ registry }) => registry.defaultHost.service, 'my service'],
    [
      'REGISTRY_NAME',
      'hub.example.com:5000',
      ({ registry }) => registry.defaultHost.name,
      'hub.example.com:5000',
    ],
    ['REGISTRY_CLIENT_AUTH', 'required', ({ registry }) => registry.clientAuth, 'required'],
    ['REGISTRY_CLIENT_AUTH', 'OFF', ({ registry }) => registry.clientAuth, 'off'],
    ['REGISTRY_CLIENT_AUTH', 'optional', ({ registry }) => registry.clientAuth, 'optional'],
    ['REGISTRY_CLIENT_AUTH', 'off', ({ registry }) => registry.mirrorAccounts, 'all'],
    [
      'REGISTRY_MIRRORS',
      'ghcr.io=https://m/p',
      ({ registry }) => registry.mirrors?.map(({ mirrors }) => mirrors.map(({ url }) => url)),
      [['https://m/p']],
    ],
    ['REGISTRY_FOREIGN_LAYERS', 'Fetch', ({ registry }) => registry.foreignLayers, 'fetch'],
    ['REGISTRY_CONNECT_TIMEOUT', '0.5', ({ registry }) => registry.timeouts.connectMs, 500],
    ['REGISTRY_RESPONSE_TIMEOUT', '7', ({ registry }) => registry.timeouts.responseMs, 7000],
    ['REGISTRY_STALL_TIMEOUT', '8', ({ registry }) => registry.timeouts.stallMs, 8000],
    ['MAX_MANIFEST_BYTES', '1MiB', ({ registry }) => registry.bodyLimits.manifestBytes, MIB],
    ['MAX_CONFIG_BYTES', '2 MiB', ({ registry }) => registry.bodyLimits.configBytes, 2 * MIB],
    ['MAX_TOKEN_BYTES', '3k', ({ registry }) => registry.bodyLimits.tokenBytes, 3000],
    ['MAX_ERROR_BYTES', '4', ({ registry }) => registry.bodyLimits.errorBytes, 4],
    ['WORKSPACE_DIR', '/var/tmp/x', ({ workspaceDirectory }) => workspaceDirectory, '/var/tmp/x'],
    ['MAX_BUFFERED_BYTES', '64MiB', ({ bufferedBytes }) => bufferedBytes, 64 * MIB],
    ['MAX_COMPRESSED_BYTES', '5GB', ({ limits }) => limits.compressedBytes, 5e9],
    ['CACHE_DIR', '/var/cache/x', ({ cache }) => cache.directory, '/var/cache/x'],
    ['CACHE_MAX_BYTES', '6GiB', ({ cache }) => cache.maxBytes, 6 * 1024 * MIB],
    ['CACHE_MAX_BYTES', '0', ({ cache }) => cache.maxBytes, 0],
    ['CACHE_SERVE_STALE', '3600', ({ cache }) => cache.staleMs, 3_600_000],
    ['MAX_CONCURRENT_DOWNLOADS', '1000', ({ registry }) => registry.concurrentDownloads, 1000],
    ['MAX_IMAGE_BYTES', '6GiB', ({ limits }) => limits.uncompressedBytes, 6 * 1024 * MIB],
    ['MAX_CONCURRENT_LAYERS', '64', ({ limits }) => limits.concurrentLayers, 64],
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

describe('a value is refused with variable, value and what is allowed', () => {
  const number = (min: number, max: number) => `expected a whole number from ${min} to ${max}`;
  const seconds = (least: string) => `expected seconds, ${least} and at most 2000000`;
  const host = 'expected a DNS name or an IP address, with an optional port';
  const lists = ['ALLOWED_HOSTS', 'CREDENTIALS_HOSTS', 'TRUSTED_REALMS', 'PLAIN_HTTP_HOSTS'];
  const https = 'REGISTRY_PLAIN_HTTP_HOSTS=http://a.example.com,https://b.example.com';
  /** `NAME=value`, by the reason. */
  const table: readonly [why: string, ...assignments: readonly string[]][] = [
    [
      'expected a host name or an IP address, without scheme and port',
      ...['http://0.0.0.0', '0.0.0.0:8080', '[::]:8080', '[127.0.0.1]', '*', 'a..b', '1.2.3.4/8'].map(
        (value) => `HTTP_HOST=${value}`,
      ),
    ],
    [number(0, 65_535), 'HTTP_PORT=65536', 'HTTP_PORT=http'],
    [number(1, 1_000_000), 'MAX_CONNECTIONS=0', 'MAX_CONNECTIONS=1000001'],
    [number(0, 10_000), 'MAX_REQUESTS_PER_CLIENT=10001', 'MAX_REQUESTS_PER_CLIENT=off'],
    [number(0, 10_000), 'MAX_QUEUED_PREPARATIONS=10001'],
    [number(1, 1000), 'MAX_CONCURRENT_DOWNLOADS=0', 'MAX_CONCURRENT_PREPARATIONS=1001'],
    [number(1, 64), 'MAX_CONCURRENT_LAYERS=0'],
    [
      seconds('more than 0'),
      ...['HTTP_HEADER_TIMEOUT=0', 'HTTP_HEADER_TIMEOUT=15s', 'HTTP_IDLE_TIMEOUT=-1'],
      ...['REGISTRY_CONNECT_TIMEOUT=0', 'REGISTRY_RESPONSE_TIMEOUT=5s', 'REGISTRY_STALL_TIMEOUT=-5'],
      ...['QUEUE_TIMEOUT=x', 'PREPARE_TIMEOUT=3000000', 'SEND_STALL_TIMEOUT=x', 'SHUTDOWN_TIMEOUT=x'],
    ],
    [seconds('0 or more'), 'CACHE_SERVE_STALE=-1'],
    [
      'expected a number of bytes, such as 1048576, 512MiB or 4GB',
      ...['MAX_MANIFEST_BYTES=4 megabytes', 'MAX_CONFIG_BYTES=0', 'MAX_TOKEN_BYTES=-1', 'MAX_ERROR_BYTES=x'],
      ...['MAX_COMPRESSED_BYTES=x', 'CACHE_MAX_BYTES=-1', 'MAX_IMAGE_BYTES=0', 'MAX_IMAGE_BYTES=unlimited'],
    ],
    ['expected one of trace, debug, info, warn, error', 'LOG_LEVEL=loud'],
    ['expected one of optional, required, off', 'REGISTRY_CLIENT_AUTH=maybe'],
    ['expected one of refuse, fetch', 'REGISTRY_FOREIGN_LAYERS=allow'],
    ['expected hosts that speak http, and one is for https', https],
    [
      'Cannot parse platform "linux": expected os/arch or os/arch/variant, such as linux/arm64',
      'DEFAULT_PLATFORM=linux',
    ],
    ['Cannot parse platform "linux/z80": unknown architecture "z80"', 'DEFAULT_PLATFORM=linux/z80'],
    [
      'expected http://host[:port] or https://host[:port]',
      ...['REGISTRY_URL=registry.example.com', 'REGISTRY_URL=https://example.com/mirror'],
    ],
    ['expected REGISTRY=MIRROR, got "ghcr.io"', 'REGISTRY_MIRRORS=ghcr.io'],
    ['Cannot parse registry scheme "ftp": expected http or https', 'REGISTRY_URL=ftp://example.com'],
    ['Cannot parse registry host "": it is empty', 'REGISTRY_URL=https://'],
    [
      'Cannot parse registry host "example.com:99999": the port must be a number from 1 to 65535',
      'REGISTRY_URL=https://example.com:99999',
    ],
    [
      'expected an http or https URL without credentials, or nothing',
      ...['auth.example.com', 'ftp://auth.example.com', 'file:///token'].map(
        (url) => `REGISTRY_AUTH_URL=${url}`,
      ),
    ],
    [`Cannot parse registry host "My Registry": ${host}`, 'REGISTRY_NAME=My Registry'],
    ['repository component "Team" is not lower case', 'REGISTRY_DEFAULT_NAMESPACE=Team'],
    ['repository has an empty component', 'REGISTRY_DEFAULT_NAMESPACE=team/'],
    ['REGISTRY_PASSWORD is set, so a user name must be too', 'REGISTRY_USERNAME='],
    [
      'Cannot parse host "ftp://example.com": expected http or https',
      ...lists.map((list) => `REGISTRY_${list}=ftp://example.com`),
    ],
  ];
  for (const [why, ...assignments] of table) {
    for (const assignment of assignments) {
      test(assignment, () => {
        const [, name = '', value = ''] = /^([^=]+)=(.*)$/.exec(assignment) ?? [];
        assert.throws(
          () => loadConfig({ [name]: value, ...(value === '' && { REGISTRY_PASSWORD: 'x' }) }),
          refused(`Cannot use ${name}=${JSON.stringify(value)}: ${why}`),
        );
      });
    }
  }
});

describe('warnings', () => {
  /** Of a service for this machine alone, which may be asked for any registry. */
  const warnings = (environment: Record<string, string>) =>
    configWarnings(loadConfig({ HTTP_HOST: '127.0.0.1', ...environment }));

  test('mention CACHE_SERVE_STALE without effect', () => {
    const [warning = '', ...others] = warnings({ CACHE_SERVE_STALE: '60', CACHE_MAX_BYTES: '0' });
    assert.match(warning, /CACHE_SERVE_STALE.*CACHE_MAX_BYTES/);
    assert.deepEqual(others, []);
    for (const sound of [{ CACHE_SERVE_STALE: '60' }, { CACHE_MAX_BYTES: '0' }])
      assert.deepEqual(warnings(sound), []);
  });

  test('mention each mirror over plain http, once', () => {
    const found = warnings({
      REGISTRY_MIRRORS: 'ghcr.io=http://m/p|https://n,*=http://m/p|http://localhost:5000',
    });
    assert.deepEqual(
      found.map((warning) => /^REGISTRY_MIRRORS names (\S+),/.exec(warning)?.[1]),
      ['http://m/p', 'http://localhost:5000'],
    );
  });

  const useless: readonly [environment: Record<string, string>, warning: string | undefined][] = [
    [{ REGISTRY_TOKEN: 'secret', REGISTRY_BEARER_TOKEN: 'secret' }, 'REGISTRY_TOKEN has no effect'],
    [{ REGISTRY_TOKEN: '', REGISTRY_BEARER_TOKEN: 'secret' }, undefined],
    [{ REGISTRY_USERNAME: 'user' }, 'REGISTRY_USERNAME is set without REGISTRY_PASSWORD'],
    [{ REGISTRY_USERNAME: 'user', REGISTRY_PASSWORD: '' }, undefined],
    [{ REGISTRY_USERNAME: 'user', REGISTRY_PASSWORD_FILE: '/secret' }, undefined],
    [{ REGISTRY_USERNAME_FILE: '/user' }, 'REGISTRY_USERNAME_FILE is set without REGISTRY_PASSWORD'],
    [{ REGISTRY_TOKEN_FILE: '/a', REGISTRY_BEARER_TOKEN: 'x' }, 'REGISTRY_TOKEN_FILE has no effect'],
    [{ REGISTRY_TOKEN: 'x', REGISTRY_BEARER_TOKEN_FILE: '/a' }, 'REGISTRY_TOKEN has no effect'],
  ];
  for (const [environment, warning] of useless) {
    test(`${warning === undefined ? 'do not mention' : 'mention'} ${Object.keys(environment).join(' and ')}`, () => {
      const [first, ...others] = variableWarnings(environment);
      assert.equal(first?.split(':')[0], warning);
      assert.deepEqual(others, []);
      assert.doesNotMatch(first ?? '', /secret|user\b/);
    });
  }

  test('mention signatures that are not required, or can be gone round', () => {
    const keys = { SIGNATURE_KEYS: 'a.pub' };
    const some = { ...keys, SIGNATURE_REQUIRED_FOR: 'lab:5000/*' };
    const first = (environment: Record<string, string>) =>
      warnings(environment).map((warning) => warning.split(' ', 1)[0]);
    assert.deepEqual(first(keys), []);
    assert.deepEqual(first({ ...keys, SIGNATURE_POLICY: 'warn' }), ['SIGNATURE_POLICY']);
    assert.deepEqual(first(some), ['SIGNATURE_REQUIRED_FOR']);
    assert.deepEqual(first({ ...some, REGISTRY_ALLOWED_HOSTS: 'lab:5000' }), []);
    const patterns = {
      ...keys,
      SIGNATURE_REQUIRED_FOR: 'library/nginx,docker.io/*',
      REGISTRY_ALLOWED_HOSTS: 'lab',
    };
    assert.match(
      warnings(patterns).join('\n'),
      /^SIGNATURE_REQUIRED_FOR has library\/nginx, .* docker\.io\/$/,
    );
    assert.deepEqual(first({ ...patterns, REGISTRY_URL: 'http://lab:5000', REGISTRY_NAME: 'library' }), []);
  });

  test('mention credentials that belong to no registry', () => {
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
    assert.deepEqual(warnings({ REGISTRY_CREDENTIALS_HOSTS: 'ghcr.io', REGISTRY_TOKEN: 'secret' }), []);
  });
});

describe('the log level', () => {
  const level = (environment: Record<string, string>) => loadConfig(environment).logLevel;

  test('is one of five, in upper or lower case', () => {
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

  test('is the bare level in RUST_LOG, which is never refused', () => {
    assert.equal(level({ RUST_LOG: 'hyper=trace, warn ,tower=debug' }), 'warn');
    assert.equal(level({ RUST_LOG: 'hyper=trace' }), 'info');
    assert.equal(level({ RUST_LOG: 'off' }), 'info');
    assert.equal(level({ RUST_LOG: '%%%' }), 'info');
  });

  test('is refused even if RUST_LOG is valid', () => {
    assert.throws(
      () => level({ LOG_LEVEL: 'loud', RUST_LOG: 'debug' }),
      refused(/^Cannot use LOG_LEVEL="loud": /),
    );
  });
});
