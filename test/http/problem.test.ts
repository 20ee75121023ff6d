import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type ErrorCode, type ErrorDetails, PassthroughError, type Setting } from '../../src/errors.ts';
import { formatJson, formatText, prefersJson, problemOf } from '../../src/http/problem.ts';

/** Status and title of each code. */
const TABLE: Readonly<Record<ErrorCode, readonly [status: number, title: string]>> = {
  INVALID_FILENAME: [400, 'Invalid filename format'],
  INVALID_PLATFORM: [400, 'Invalid platform'],
  INVALID_REGISTRY: [400, 'Invalid registry'],
  INVALID_REFERENCE: [400, 'Invalid image reference'],
  UNKNOWN_PARAMETER: [400, 'Unknown parameter'],
  INVALID_REQUEST: [400, 'Invalid request'],
  CREDENTIALS_REQUIRED: [401, 'Registry credentials are required'],
  CROSS_SITE: [403, 'Cross-site request'],
  CLIENT_NOT_ALLOWED: [403, 'Client not allowed'],
  HOST_NOT_ALLOWED: [421, 'Misdirected request'],
  HTTPS_REQUIRED: [403, 'Client not allowed'],
  REGISTRY_NOT_ALLOWED: [403, 'Registry not allowed'],
  IMAGE_NOT_SIGNED: [403, 'Image not signed'],
  NOT_FOUND: [404, 'Not found'],
  METHOD_NOT_ALLOWED: [405, 'Method not allowed'],
  PRECONDITION_FAILED: [412, 'Precondition failed'],
  REGISTRY_UNREACHABLE: [502, 'Failed to prepare image'],
  REGISTRY_DENIED: [502, 'Failed to prepare image'],
  IMAGE_NOT_FOUND: [502, 'Failed to prepare image'],
  PLATFORM_NOT_FOUND: [502, 'Failed to prepare image'],
  UNSUPPORTED_IMAGE: [502, 'Failed to prepare image'],
  VERIFICATION_FAILED: [502, 'Failed to prepare image'],
  REGISTRY_FAILED: [502, 'Failed to prepare image'],
  REGISTRY_RATE_LIMITED: [503, 'Busy'],
  BUSY: [503, 'Busy'],
  ABORTED: [503, 'Busy'],
  REGISTRY_TIMEOUT: [504, 'Registry timed out'],
  IMAGE_TOO_LARGE: [507, 'Image too large'],
  NO_SPACE: [507, 'No space'],
  CANNOT_WRITE: [500, 'Internal error'],
  DAMAGED: [500, 'Internal error'],
  INVALID_ARCHIVE: [500, 'Internal error'],
  INVALID_CONFIGURATION: [500, 'Internal error'],
  INTERNAL: [500, 'Internal error'],
};

/** The one header of some statuses. */
const HEADERS: Readonly<Record<number, string>> = {
  401: 'WWW-Authenticate',
  405: 'Allow',
  503: 'Retry-After',
};

const CONTEXT = { requestId: 'the-id', image: 'docker.io/library/nginx:1.25' };
const NO_IMAGE = { requestId: 'the-id', image: undefined };

describe('problemOf', () => {
  for (const [code, [status, title]] of Object.entries(TABLE) as [ErrorCode, [number, string]][]) {
    test(`${code} is ${status} ${title}`, () => {
      const { headers, ...problem } = problemOf(new PassthroughError(code, 'the reason'));
      assert.deepEqual([problem.status, problem.title, problem.detail], [status, title, 'the reason']);
      assert.deepEqual(Object.keys(headers), status in HEADERS ? [HEADERS[status]] : []);
    });
  }

  const headers: readonly [
    code: ErrorCode,
    details: ErrorDetails,
    headers: Readonly<Record<string, string>>,
  ][] = [
    ['CREDENTIALS_REQUIRED', {}, { 'WWW-Authenticate': 'Basic realm="registry credentials"' }],
    ['METHOD_NOT_ALLOWED', { allow: ['GET', 'HEAD'] }, { Allow: 'GET, HEAD' }],
    ...[0, 1, 7200].map((retryAfterSeconds): (typeof headers)[number] => [
      'REGISTRY_RATE_LIMITED',
      { retryAfterSeconds },
      { 'Retry-After': `${retryAfterSeconds}` },
    ]),
    ['REGISTRY_RATE_LIMITED', {}, { 'Retry-After': '60' }],
  ];
  for (const [code, details, expected] of headers) {
    test(`${code} with ${JSON.stringify(details)} has the headers ${JSON.stringify(expected)}`, () => {
      assert.deepEqual(problemOf(new PassthroughError(code, 'the reason', details)).headers, expected);
    });
  }

  for (const foreign of [new TypeError('secret detail'), 'secret detail', undefined]) {
    test(`another error (${typeof foreign}) is 500 and shows the request ID only`, () => {
      const problem = problemOf(foreign);
      assert.deepEqual([problem.status, problem.error.code], [500, 'INTERNAL']);
      for (const text of [formatText(problem, CONTEXT), formatJson(problem, CONTEXT)]) {
        assert.doesNotMatch(text, /secret detail|TypeError|problem\.test/);
        assert.match(text, /the-id/);
      }
    });
  }
});

describe('the body of an error', () => {
  const problem = problemOf(
    new PassthroughError('IMAGE_NOT_FOUND', 'Cannot get manifest "1.25": not found', {
      registryStatus: 404,
      registryCode: 'MANIFEST_UNKNOWN',
      hints: ['Look at its tags'],
    }),
  );

  test('as text has the error in its first line, then hints and facts', () => {
    assert.deepEqual(formatText(problem, CONTEXT).split('\n'), [
      'Failed to prepare image: Cannot get manifest "1.25": not found',
      '',
      'Look at its tags',
      'image: docker.io/library/nginx:1.25',
      'error: IMAGE_NOT_FOUND',
      'registry status: 404',
      'registry code: MANIFEST_UNKNOWN',
      'request: the-id',
      '',
    ]);
  });

  test('as text has no line for an unknown fact', () => {
    const bare = problemOf(new PassthroughError('NOT_FOUND', 'No route'));
    assert.equal(formatText(bare, NO_IMAGE), 'Not found: No route\n\nerror: NOT_FOUND\nrequest: the-id\n');
  });

  test('as a problem document has the members of RFC 9457, section 3.1, and the facts', () => {
    assert.deepEqual(JSON.parse(formatJson(problem, CONTEXT)), {
      type: 'https://github.com/cisco-open/docker-http-passthrough/blob/main/docs/errors.md#image_not_found',
      title: 'Failed to prepare image',
      status: 502,
      detail: 'Cannot get manifest "1.25": not found',
      code: 'IMAGE_NOT_FOUND',
      image: 'docker.io/library/nginx:1.25',
      registryStatus: 404,
      registryCode: 'MANIFEST_UNKNOWN',
      hints: ['Look at its tags'],
      requestId: 'the-id',
    });
  });

  const settings: readonly [setting: Setting, message: string, text: string][] = [
    [
      'allowedHosts',
      'Cannot use registry "a.example:5000": it is not in the list of allowed registries',
      'Registry not allowed: Cannot use registry "a.example:5000": REGISTRY_ALLOWED_HOSTS does not list it\n\n',
    ],
    [
      'foreignLayers',
      'Cannot fetch layer "sha256:0123": it lies outside of the registry',
      'Registry not allowed: Cannot fetch layer "sha256:0123": it lies outside of the registry; set REGISTRY_FOREIGN_LAYERS=fetch, or take layout docker-gzip, which only names it\n\n',
    ],
    [
      'trustedCertificates',
      'Cannot reach "https://a.example": its certificate is not trusted: expired',
      'Registry not allowed: Cannot reach "https://a.example": its certificate is not trusted: expired\n\nPut the PEM file of its authority into the folder of this host in REGISTRY_CERTS_DIR, or name it in NODE_EXTRA_CA_CERTS\n',
    ],
  ];
  for (const [setting, message, text] of settings) {
    test(`names the variable of the setting ${setting}`, () => {
      const problem = problemOf(new PassthroughError('REGISTRY_NOT_ALLOWED', message, { setting }));
      assert.equal(formatText(problem, NO_IMAGE), `${text}error: REGISTRY_NOT_ALLOWED\nrequest: the-id\n`);
    });
  }
});

describe('prefersJson', () => {
  const answers: readonly [accept: string | undefined, isJson: boolean][] = [
    [undefined, false],
    ['', false],
    ['*/*', false],
    ['text/plain', false],
    ['text/html,application/xhtml+xml,*/*;q=0.8', false],
    ['application/octet-stream', false],
    ['application/problem+json', true],
    ['application/json', true],
    ['Application/Problem+JSON', true],
    ['application/problem+json, */*', true],
    ['application/json;charset=utf-8', true],
    ['application/json;q=0', false],
    ['application/json, text/plain', true],
    ['application/json;q=0.5, text/plain', false],
    ['application/json;q=0.5, text/*', false],
    ['application/json, text/plain;q=0.5', true],
    ['application/json ; q=0.9 , text/plain ; q=0.1', true],
    ['application/json;q=nonsense', true],
  ];
  for (const [accept, isJson] of answers) {
    test(`${accept ?? 'no Accept'}: ${isJson}`, () => assert.equal(prefersJson(accept), isJson));
  }
});
