import assert from 'node:assert/strict';
import test from 'node:test';
import { PassthroughError } from '../../../src/errors.ts';
import {
  abortedError,
  connectionError,
  isPassing,
  timeoutError,
} from '../../../src/registry/transport/connection-error.ts';

const URL_WITH_SECRETS = new URL('https://registry.example.com:5000/v2/a?sig=secret');
const AT = 'Cannot reach "https://registry.example.com:5000": ';

const system = (code: string, message = `text of ${code}`) => Object.assign(new Error(message), { code });

const CASES: readonly [code: string, reason: string, passes: boolean][] = [
  ['ECONNREFUSED', 'connection refused', true],
  ['ECONNRESET', 'the connection broke off', true],
  ['EPIPE', 'the connection broke off', true],
  ['ERR_STREAM_PREMATURE_CLOSE', 'the connection broke off', true],
  ['EAI_AGAIN', 'the name server does not answer', true],
  ['ENOTFOUND', 'the name does not exist', false],
  ['ETIMEDOUT', 'no answer to the connection attempt', false],
  ['EHOSTUNREACH', 'no route to the host', false],
  ['ENETUNREACH', 'no route to the network', false],
  ['HPE_INVALID_CONSTANT', 'text of HPE_INVALID_CONSTANT', false],
  ['ERR_SSL_WRONG_VERSION_NUMBER', 'text of ERR_SSL_WRONG_VERSION_NUMBER', false],
  // What a server says of the client's certificate, or of the lack of one.
  ['ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED', 'it wants a certificate of the client', false],
  ['ERR_SSL_SSL/TLS_ALERT_BAD_CERTIFICATE', 'text of ERR_SSL_SSL/TLS_ALERT_BAD_CERTIFICATE', false],
];

for (const [code, reason, passes] of CASES) {
  test(`${code} is told in words and ${passes ? 'may pass' : 'does not pass'}`, () => {
    const cause = system(code);
    const error = connectionError(URL_WITH_SECRETS, cause);
    assert.deepEqual([error.code, error.message], ['REGISTRY_UNREACHABLE', `${AT}${reason}`]);
    assert.equal(error.cause, cause);
    assert.deepEqual(error.details, {});
    assert.equal(isPassing(error), passes);
  });
}

test('a certificate that is not trusted comes with what to do', () => {
  // https://nodejs.org/api/tls.html#x509-certificate-error-codes, and what Node adds for names
  const codes = [
    'UNABLE_TO_GET_ISSUER_CERT',
    'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
    'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
    'DEPTH_ZERO_SELF_SIGNED_CERT',
    'SELF_SIGNED_CERT_IN_CHAIN',
    'CERT_HAS_EXPIRED',
    'CERT_SIGNATURE_FAILURE',
    'ERR_TLS_CERT_ALTNAME_INVALID',
  ];
  for (const code of codes) {
    const error = connectionError(URL_WITH_SECRETS, system(code, 'why'));
    assert.equal(error.message, `${AT}its certificate is not trusted: why`, code);
    assert.match(error.details.hints?.join() ?? '', /NODE_EXTRA_CA_CERTS/, code);
    assert.equal(isPassing(error), false, code);
  }
});

test('an error of ours passes as it is, and what is no error at all is told as text', () => {
  const ours = new PassthroughError('REGISTRY_NOT_ALLOWED', 'Cannot connect');
  assert.equal(connectionError(URL_WITH_SECRETS, ours), ours);
  assert.equal(connectionError(URL_WITH_SECRETS, 'odd').message, `${AT}odd`);
});

test('only a broken connection may pass: no other failure, and no system error outside of ours', () => {
  assert.equal(isPassing(system('ECONNRESET')), false);
  assert.equal(isPassing(timeoutError(URL_WITH_SECRETS, 'answer', 1000)), false);
  assert.equal(
    isPassing(new PassthroughError('REGISTRY_FAILED', '', { cause: system('ECONNRESET') })),
    false,
  );
  assert.equal(isPassing(undefined), false);
});

test('a time limit is told with its phase and its length', () => {
  const cases: [phase: 'connect' | 'answer' | 'body', what: string][] = [
    ['connect', 'no connection'],
    ['answer', 'no answer'],
    ['body', 'no further bytes'],
  ];
  for (const [phase, what] of cases) {
    const { code, message } = timeoutError(URL_WITH_SECRETS, phase, 1500);
    assert.equal(code, 'REGISTRY_TIMEOUT');
    assert.equal(message, `Cannot read from "https://registry.example.com:5000": ${what} within 1.5 s`);
  }
});

test('an abort is told by its own reason where that is an error of ours', () => {
  const limit = new PassthroughError('REGISTRY_TIMEOUT', 'Cannot prepare the image: it took too long');
  assert.equal(abortedError(AbortSignal.abort(limit)), limit);
  assert.equal(abortedError(AbortSignal.abort()).code, 'ABORTED');
  assert.equal(abortedError(AbortSignal.abort('left')).cause, 'left');
});
