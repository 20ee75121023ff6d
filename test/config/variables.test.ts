import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { loadConfig, variableWarnings } from '../../src/config/config.ts';
import { OTHER_VARIABLES, VARIABLES } from '../../src/config/variables.ts';

/** Names that the configuration reads. */
function namesRead(): ReadonlySet<unknown> {
  const read = new Set<unknown>();
  loadConfig(new Proxy({}, { get: (_, name) => void read.add(name) }));
  return read;
}

test('each variable of a setting is one that the configuration reads', () => {
  const read = namesRead().union(new Set(OTHER_VARIABLES));
  for (const variable of Object.values(VARIABLES)) assert.ok(read.has(variable), variable);
});

describe('a variable that means nothing', () => {
  const warnings: readonly [name: string, warning: string | undefined][] = [
    ['REGISTRY_USERNMAE', 'REGISTRY_USERNMAE is set and has no effect; did you mean REGISTRY_USERNAME?'],
    ['MAX_CONECTIONS', 'MAX_CONECTIONS is set and has no effect; did you mean MAX_CONNECTIONS?'],
    ['HTTP_PROT', 'HTTP_PROT is set and has no effect; did you mean HTTP_PORT?'],
    ['HTP_PORT', 'HTP_PORT is set and has no effect; did you mean HTTP_PORT?'],
    ['LOGLEVEL', 'LOGLEVEL is set and has no effect; did you mean LOG_LEVEL?'],
    ['registry_url', 'registry_url is set and has no effect; did you mean REGISTRY_URL?'],
    ['DEFUALT_PLATFORM', 'DEFUALT_PLATFORM is set and has no effect; did you mean DEFAULT_PLATFORM?'],
    ['CACHE_MAX_BYTE', 'CACHE_MAX_BYTE is set and has no effect; did you mean CACHE_MAX_BYTES?'],
    [
      'REGISTRY_PASSWORD_FLIE',
      'REGISTRY_PASSWORD_FLIE is set and has no effect; did you mean REGISTRY_PASSWORD_FILE?',
    ],
    ['REGISTRY_PASS', 'REGISTRY_PASS is set and has no effect'],
    ['CACHE_SIZE', 'CACHE_SIZE is set and has no effect'],
    ['HTTP_TIMEOUT', 'HTTP_TIMEOUT is set and has no effect'],
    // Variables of others.
    ...(
      'PATH HOME HOSTNAME PORT DEBUG NODE_OPTIONS NODE_ENV APP_MODE NODE_EXTRA_CA_CERTS OTEL_SERVICE_NMAE ALL_PROXY ' +
      'FTP_PROXY SSL_CERT_FILE SSL_CERT_DIR http_proxy HTTP_PROXY REGISTRY_PORT REGISTRY_PORT_5000_TCP REGISTRY_PORT_5000_TCP_ADDR ' +
      'REGISTRY_SERVICE_HOST REGISTRY_SERVICE_PORT REGISTRY_SERVICE_PORT_HTTP CACHE_SERVICE_HOST KUBERNETES_PORT'
    )
      .split(' ')
      .map((name): [string, undefined] => [name, undefined]),
    // Names that no shell can set.
    ['REGISTRY_\u009bURL', undefined],
    [`REGISTRY_${'X'.repeat(100)}`, undefined],
  ];
  for (const [name, warning] of warnings) {
    test(`${JSON.stringify(name.slice(0, 40))} ${warning === undefined ? 'is not mentioned' : 'gets a warning'}`, () => {
      assert.deepEqual(variableWarnings({ [name]: 'secret' }), warning === undefined ? [] : [warning]);
      assert.deepEqual(variableWarnings({ [name]: '' }), []);
    });
  }

  test('is none that the configuration reads', () => {
    for (const name of namesRead()) {
      // Variables that mean nothing without another one have warnings of their own.
      const others = { REGISTRY_PASSWORD: '', TLS_CERT_FILE: 'x', HTTP_SOCKET: 'x' };
      assert.deepEqual(variableWarnings({ ...others, [String(name)]: 'x' }), [], String(name));
    }
  });
});
