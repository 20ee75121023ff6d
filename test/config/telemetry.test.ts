import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { loadConfig } from '../../src/config/config.ts';
import { EnvironmentReader } from '../../src/config/environment.ts';
import { type Exporters, readExporters, readPropagation, SIGNALS } from '../../src/config/telemetry.ts';
import { isPassthroughError } from '../../src/errors.ts';
import { matchesHost } from '../../src/registry/host-pattern.ts';

type Variables = Readonly<Record<string, string>>;

const ENDPOINT = 'http://collector:4317';
const OFF: Exporters = { TRACES: [], METRICS: [], LOGS: [] };
const ALL: Exporters = { TRACES: ['otlp'], METRICS: ['otlp'], LOGS: ['otlp'] };

const exporters = (environment: Variables) => loadConfig(environment).exporters;
/** A variable for all signals, and those for one. */
const namesOf = (what: string) =>
  ['', ...SIGNALS.map((signal) => `${signal}_`)].map((signal) => `OTEL_EXPORTER_OTLP_${signal}${what}`);
const refused = (name: string, value: string, why: string) => ({
  name: 'PassthroughError',
  code: 'INVALID_CONFIGURATION',
  message: `Cannot use ${name}=${JSON.stringify(value)}: ${why}`,
});

describe('the configuration exports', () => {
  const endpoint = { OTEL_EXPORTER_OTLP_ENDPOINT: ENDPOINT };
  const traces = (...names: string[]) => ({ ...OFF, TRACES: names });
  const only = (signal: string) => ({ [`OTEL_EXPORTER_OTLP_${signal}_ENDPOINT`]: ENDPOINT });
  const others = { OTEL_SERVICE_NAME: 'x', OTEL_TRACES_SAMPLER: 'on', OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' };
  const disabled = (value: string) => ({ ...endpoint, OTEL_SDK_DISABLED: value });
  const table: readonly [what: string, environment: Variables, expected: Exporters][] = [
    ['nothing by default', {}, OFF],
    ['nothing with an empty endpoint', { OTEL_EXPORTER_OTLP_ENDPOINT: '' }, OFF],
    ['nothing with an endpoint of spaces', { OTEL_EXPORTER_OTLP_ENDPOINT: '  ' }, OFF],
    ['nothing with other variables', others, OFF],
    ['all signals with an endpoint for all', endpoint, ALL],
    ['traces with their own endpoint', only('TRACES'), traces('otlp')],
    ['metrics with their own endpoint', only('METRICS'), { ...OFF, METRICS: ['otlp'] }],
    ['logs with their own endpoint', only('LOGS'), { ...OFF, LOGS: ['otlp'] }],
    ['all signals with two endpoints', { ...endpoint, ...only('LOGS') }, ALL],
    ['all if the own endpoint is empty', { ...endpoint, OTEL_EXPORTER_OTLP_LOGS_ENDPOINT: '' }, ALL],
    ['nothing with exporter otlp but no endpoint', { OTEL_TRACES_EXPORTER: 'otlp' }, OFF],
    ['no signal with exporter none', { ...endpoint, OTEL_METRICS_EXPORTER: 'none' }, { ...ALL, METRICS: [] }],
    [
      'no signal with none among others',
      { ...endpoint, OTEL_LOGS_EXPORTER: 'otlp, none' },
      { ...ALL, LOGS: [] },
    ],
    ['a named exporter', { OTEL_TRACES_EXPORTER: 'console' }, traces('console')],
    ['named exporters without endpoint', { OTEL_TRACES_EXPORTER: 'otlp, zipkin' }, traces('zipkin')],
    [
      'named exporters in their order',
      { ...endpoint, OTEL_TRACES_EXPORTER: ' console,, otlp ' },
      { ...ALL, TRACES: ['console', 'otlp'] },
    ],
    ['OTLP if the exporter is empty', { ...endpoint, OTEL_TRACES_EXPORTER: '' }, ALL],
    ['nothing if disabled', { ...disabled('true'), OTEL_LOGS_EXPORTER: 'console' }, OFF],
    ['nothing if disabled in capitals', disabled(' True '), OFF],
    ['all if not disabled', disabled('false'), ALL],
    ['all with an unknown value of OTEL_SDK_DISABLED', disabled('1'), ALL],
  ];
  for (const [what, environment, expected] of table) {
    test(what, () => assert.deepEqual(exporters(environment), expected));
  }

  test('each signal by its own variables', () => {
    for (const signal of SIGNALS) {
      const named = exporters({ ...endpoint, [`OTEL_${signal}_EXPORTER`]: 'console' });
      assert.deepEqual(named, { ...ALL, [signal]: ['console'] });
    }
  });

  test('the same if only the exporters are read', () => {
    assert.deepEqual(readExporters(new EnvironmentReader(endpoint)), ALL);
    assert.deepEqual(readExporters(new EnvironmentReader({})), OFF);
  });
});

describe('an endpoint', () => {
  const NAMES = namesOf('ENDPOINT');

  for (const address of [
    ...[
      'http://collector:4317',
      'https://collector.example.com',
      'http://10.0.0.5:4318/',
      'http://[::1]:4317',
    ],
    ...['https://collector.example.com:443/otlp/v1/traces', 'https://user:pw@collector/'],
    ...['unix:///run/collector.sock', 'collector:4317', 'collector.example.com:4317', '127.0.0.1:4317'],
    ' http://collector:4317 ',
  ]) {
    test(`may be ${JSON.stringify(address)}`, () => {
      for (const name of NAMES) assert.notDeepEqual(exporters({ [name]: address }), OFF, name);
    });
  }

  const why = 'expected the address of a collector, such as http://collector:4317';
  for (const address of [
    ...['collector', 'collector:', 'collector:port', ':4317', 'http://', 'http://collector:99999'],
    ...['collector:99999', 'HTTP://collector:4317', 'http://collector :4317', 'ftp://collector:4317'],
    ...['grpc://collector:4317', '/run/collector.sock', 'true'],
  ]) {
    test(`is refused as ${JSON.stringify(address)}`, () => {
      for (const name of NAMES)
        assert.throws(() => exporters({ [name]: address }), refused(name, address, why));
    });
  }

  for (const address of ['collector:4318', 'unix:///run/collector.sock']) {
    test(`is refused as ${address} with an HTTP protocol`, () => {
      for (const name of NAMES) {
        const environment = { [name]: address, OTEL_EXPORTER_OTLP_PROTOCOL: 'http/protobuf' };
        assert.throws(() => exporters(environment), refused(name, address, why));
      }
      const traces = 'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT';
      const environment = { [traces]: address, OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: 'http/json' };
      assert.throws(() => exporters(environment), refused(traces, address, why));
    });
  }

  test('is refused even if the SDK is disabled', () => {
    const environment = { OTEL_EXPORTER_OTLP_ENDPOINT: 'x', OTEL_SDK_DISABLED: 'true' };
    assert.throws(() => exporters(environment), refused('OTEL_EXPORTER_OTLP_ENDPOINT', 'x', why));
  });

  test('is refused without showing its password', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...NAMES),
        fc.constantFrom('https://', 'ftp://', '//', ''),
        fc.string({ unit: 'binary', maxLength: 12 }),
        (name, scheme, text) => {
          try {
            exporters({ [name]: `${scheme}user:hun${text}ter@collector port` });
            assert.fail('it was accepted');
          } catch (error) {
            assert.ok(isPassthroughError(error, 'INVALID_CONFIGURATION'), String(error));
            assert.ok(!/hun|ter@/.test(error.message), error.message);
          }
        },
      ),
    );
  });
});

describe('a protocol', () => {
  const NAMES = namesOf('PROTOCOL');

  for (const name of NAMES) {
    test(`is one of three in ${name}, or empty`, () => {
      for (const protocol of ['', 'grpc', 'http/protobuf', 'http/json']) {
        assert.deepEqual(exporters({ [name]: protocol }), OFF, 'a protocol alone turns nothing on');
        assert.deepEqual(exporters({ OTEL_EXPORTER_OTLP_ENDPOINT: ENDPOINT, [name]: protocol }), ALL);
      }
      for (const protocol of ['http', 'http/xml', 'thrift', 'grpc,http/json']) {
        assert.throws(
          () => exporters({ [name]: protocol }),
          refused(name, protocol, 'expected one of grpc, http/protobuf, http/json'),
        );
      }
    });
  }
});

describe('headers of exports', () => {
  const NAMES = namesOf('HEADERS');

  for (const headers of [
    ...['', 'api-key=abc', 'api-key=a%20b%3D%2C', ' api-key = abc , X-Tenant=blue,', 'a=b,c=d', 'x=a=b'],
    ...['authorization=Basic%20dTpw', 'authorization=Basic dTpw==', 'a.b_c-1=', 'rate=100%'],
  ]) {
    test(`may be ${JSON.stringify(headers)}`, () => {
      for (const name of NAMES) assert.deepEqual(exporters({ [name]: headers }), OFF, name);
    });
  }

  for (const headers of [
    ...['secret', '=secret', 'api key=secret', 'api-key=secret,secret', 'a=p%C3%A4-secret', 'a=ä-secret'],
    ...['api-key=secr\u00e9t', 'api-key=secret%0d%0aX: y', 'api-key=secret%00', 'schl\u00fcssel=secret'],
  ]) {
    test(`are refused, and not shown: ${JSON.stringify(headers)}`, () => {
      for (const name of NAMES) {
        assert.throws(() => exporters({ [name]: headers }), {
          code: 'INVALID_CONFIGURATION',
          message:
            `Cannot use ${name} (its value is not shown): ` +
            'expected name=value, separated by commas, in printable ASCII',
        });
      }
    });
  }
});

describe('the trace context', () => {
  const propagation = (value: string) => loadConfig({ OTEL_PROPAGATE_UPSTREAM: value }).registry.propagation;

  test('is sent to no registry by default', () => {
    assert.deepEqual(loadConfig({}).registry.propagation, []);
    for (const value of ['', '  ', 'false', 'FALSE', ',']) assert.deepEqual(propagation(value), [], value);
  });

  test('is sent to all registries with true', () => {
    for (const value of ['true', 'TRUE', ' true ']) assert.equal(propagation(value), 'all', value);
    assert.equal(readPropagation(new EnvironmentReader({ OTEL_PROPAGATE_UPSTREAM: 'true' })), 'all');
  });

  const table: readonly [list: string, url: string, isSent: boolean][] = [
    ['ghcr.io', 'https://ghcr.io/v2/', true],
    ['ghcr.io', 'https://ghcr.io:8443/v2/', true],
    ['GHCR.io', 'https://ghcr.io/v2/', true],
    ['ghcr.io', 'https://pkg.ghcr.io/v2/', false],
    ['ghcr.io', 'https://ghcr.io.example.com/v2/', false],
    ['*.example.com', 'https://a.example.com/', true],
    ['*.example.com', 'https://example.com/', false],
    ['10.0.0.5:5000', 'http://10.0.0.5:5000/v2/', true],
    ['10.0.0.5:5000', 'http://10.0.0.5:5001/v2/', false],
    ['https://lab.example.com', 'http://lab.example.com/v2/', false],
    ['docker.io', 'https://registry-1.docker.io/v2/', true],
    ['docker.io', 'https://auth.docker.io/token', false],
    ['ghcr.io, lab.example.com', 'https://lab.example.com/v2/', true],
    ['ghcr.io, lab.example.com', 'https://quay.io/v2/', false],
  ];
  for (const [list, url, isSent] of table) {
    test(`is ${isSent ? '' : 'not '}sent to ${url} with ${list}`, () => {
      const hosts = propagation(list);
      assert.ok(hosts !== 'all');
      assert.equal(
        hosts.some((host) => matchesHost(host, new URL(url))),
        isSent,
      );
    });
  }

  for (const value of [
    'a b',
    'https://ghcr.io/v2',
    'ftp://ghcr.io',
    'user:pw@ghcr.io',
    'true;ghcr.io',
    'yes',
    'ON',
    '1',
  ]) {
    test(`is not sent with the malformed value ${JSON.stringify(value)}, which is refused`, () => {
      assert.throws(
        () => propagation(value),
        (error: Error) => {
          assert.ok(isPassthroughError(error, 'INVALID_CONFIGURATION'));
          assert.match(error.message, /^Cannot use OTEL_PROPAGATE_UPSTREAM="/);
          assert.doesNotMatch(error.message, /pw/);
          return true;
        },
      );
    });
  }
});

describe('an exporter', () => {
  const table: readonly [name: string, value: string, offer: string][] = [
    ['OTEL_TRACES_EXPORTER', 'jaeger', 'otlp, zipkin, console, none'],
    ['OTEL_METRICS_EXPORTER', 'otlp,zipkin', 'otlp, prometheus, console, none'],
    ['OTEL_LOGS_EXPORTER', 'OTLP', 'otlp, console, none'],
  ];
  for (const [name, value, offer] of table) {
    test(`is refused if it is unknown: ${name}=${value}`, () => {
      assert.throws(
        () => exporters({ [name]: value }),
        refused(name, value, `expected one or more of ${offer}`),
      );
    });
  }
});
