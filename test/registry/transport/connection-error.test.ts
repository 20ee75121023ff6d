import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { PassthroughError } from '../../../src/errors.ts';
import {
  abortedError,
  connectionError,
  isTransient,
  timeoutError,
} from '../../../src/registry/transport/connection-error.ts';
import { answerRaw, startRawServer } from '../../support/raw-server.ts';
import { startScriptedServer } from '../../support/scripted-server.ts';
import { makeCertificates } from '../../support/tls.ts';
import { WAIT_LIMIT_MS, within } from '../../support/within.ts';
import { trustTestAuthority } from '../support/certificates.ts';
import { serveNames } from '../support/name-server.ts';
import { requestTo } from '../support/scripted-transport.ts';
import { openTransport, textOf } from '../support/transport.ts';

const URL_WITH_SECRETS = new URL('https://registry.example.com:5000/v2/a?sig=secret');
const AT = 'Cannot reach "https://registry.example.com:5000": ';

const systemError = (code: string, message = `text of ${code}`) =>
  Object.assign(new Error(message), { code });

describe('the error of a failed connection', () => {
  const rows: [code: string, reason: string, isTransient: boolean][] = [
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
    // Alerts of a server about the client's certificate.
    ['ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED', 'it wants a certificate of the client', false],
    ['ERR_SSL_SSL/TLS_ALERT_BAD_CERTIFICATE', 'text of ERR_SSL_SSL/TLS_ALERT_BAD_CERTIFICATE', false],
  ];
  for (const [code, reason, transient] of rows) {
    test(`has the reason of ${code}, and is ${transient ? '' : 'not '}transient`, () => {
      const cause = systemError(code);
      const error = connectionError(URL_WITH_SECRETS, cause);
      assert.deepEqual([error.code, error.message], ['REGISTRY_UNREACHABLE', `${AT}${reason}`]);
      assert.deepEqual([error.cause, error.details], [cause, {}]);
      assert.equal(isTransient(error), transient);
    });
  }

  test('has a hint if a certificate is not trusted', () => {
    // https://nodejs.org/api/tls.html#x509-certificate-error-codes, and Node's own code for names
    for (const code of [
      'UNABLE_TO_GET_ISSUER_CERT',
      'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
      'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
      'DEPTH_ZERO_SELF_SIGNED_CERT',
      'SELF_SIGNED_CERT_IN_CHAIN',
      'CERT_HAS_EXPIRED',
      'CERT_SIGNATURE_FAILURE',
      'ERR_TLS_CERT_ALTNAME_INVALID',
    ]) {
      const error = connectionError(URL_WITH_SECRETS, systemError(code, 'why'));
      assert.equal(error.message, `${AT}its certificate is not trusted: why`, code);
      assert.equal(error.details.setting, 'trustedCertificates', code);
      assert.equal(isTransient(error), false, code);
    }
  });

  test('is a PassthroughError itself, or has the text of a value that is no error', () => {
    const error = new PassthroughError('REGISTRY_NOT_ALLOWED', 'Cannot connect');
    assert.equal(connectionError(URL_WITH_SECRETS, error), error);
    assert.equal(connectionError(URL_WITH_SECRETS, 'odd').message, `${AT}odd`);
  });
});

test('no error but REGISTRY_UNREACHABLE is transient', () => {
  const cause = systemError('ECONNRESET');
  const timeout = timeoutError(URL_WITH_SECRETS, 'answer', 1000);
  for (const error of [cause, timeout, new PassthroughError('REGISTRY_FAILED', '', { cause }), undefined]) {
    assert.equal(isTransient(error), false);
  }
});

test('a timeout names its phase and its limit', () => {
  for (const [phase, what] of [
    ['connect', 'no connection'],
    ['answer', 'no answer'],
    ['body', 'no further bytes'],
  ] as const) {
    const { code, message } = timeoutError(URL_WITH_SECRETS, phase, 1500);
    assert.equal(code, 'REGISTRY_TIMEOUT');
    assert.equal(message, `Cannot read from "https://registry.example.com:5000": ${what} within 1.5 s`);
  }
});

test('the error of an abort is its reason if that is a PassthroughError', () => {
  const limit = new PassthroughError('REGISTRY_TIMEOUT', 'Cannot prepare the image: it took too long');
  assert.equal(abortedError(AbortSignal.abort(limit)), limit);
  assert.equal(abortedError(AbortSignal.abort()).code, 'ABORTED');
  assert.equal(abortedError(AbortSignal.abort('left')).cause, 'left');
});

describe('on a real socket, REGISTRY_UNREACHABLE', () => {
  const unreachable = (message: string | RegExp) => ({ code: 'REGISTRY_UNREACHABLE', message });
  const head = 'HTTP/1.1 200 OK\r\n';

  const broken: [bytes: string, then: 'end' | 'reset'][] = [
    ['', 'end'],
    ['', 'reset'],
    [`${head}Content-Le`, 'end'],
    [`${head}Content-Length: 10\r\n\r\nhalf`, 'end'],
    [`${head}Content-Length: 10\r\n\r\nhalf`, 'reset'],
    [`${head}Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n`, 'end'],
  ];
  for (const [bytes, then] of broken) {
    test(`names a connection that breaks off by ${then} after ${JSON.stringify(bytes)}`, async () => {
      await using server = await startRawServer(answerRaw(bytes, then));
      using transport = openTransport();
      await assert.rejects(
        transport.send(requestTo(server.origin)).then(textOf),
        unreachable(`Cannot reach "${server.origin}": the connection broke off`),
      );
    });
  }

  test('names a response that is no HTTP', async () => {
    for (const bytes of [
      'SSH-2.0-OpenSSH_9.6\r\n',
      `${head}Content-Length: 1\r\nContent-Length: 2\r\n\r\n`,
    ]) {
      await using server = await startRawServer(answerRaw(bytes));
      using transport = openTransport();
      const read = transport.send(requestTo(server.origin)).then(textOf);
      await assert.rejects(read, unreachable(/: Parse Error: /));
    }
  });

  test('ends a request whose server switches to another protocol', async () => {
    const switching = 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n';
    await using server = await startRawServer(answerRaw(switching, 'keep'));
    using transport = openTransport();
    const sent = within(transport.send(requestTo(server.origin)), 'an error', WAIT_LIMIT_MS / 2);
    await assert.rejects(sent, { code: 'REGISTRY_UNREACHABLE' });
  });

  test('names a refused connection and a name that does not exist', async (t) => {
    serveNames(t, {});
    const server = await startScriptedServer(() => undefined);
    await server.close();
    using transport = openTransport();
    for (const [origin, reason] of [
      [server.origin, 'connection refused'],
      ['http://missing.example', 'the name does not exist'],
    ] as const) {
      const sent = transport.send(requestTo(origin));
      await assert.rejects(sent, unreachable(`Cannot reach "${origin}": ${reason}`));
    }
  });

  test('names a certificate of an unknown authority, and the setting that trusts it', async () => {
    const { cert, key } = await makeCertificates();
    await using server = await startScriptedServer(() => undefined, { tls: { cert, key } });
    using transport = openTransport();
    await assert.rejects(transport.send(requestTo(server.origin)), (error) => {
      assert.ok(error instanceof PassthroughError);
      assert.equal(error.code, 'REGISTRY_UNREACHABLE');
      assert.match(error.message, /: its certificate is not trusted: /);
      assert.equal(error.details.setting, 'trustedCertificates');
      return true;
    });
    assert.equal(server.requests.length, 0);
  });

  test('names a trusted certificate of another host', async (t) => {
    serveNames(t, { 'registry.example.com': ['127.0.0.1'] });
    const tls = await trustTestAuthority();
    await using server = await startScriptedServer((_, response) => void response.end('yes'), { tls });
    using transport = openTransport();
    assert.equal(await textOf(await transport.send(requestTo(server.origin))), 'yes');
    await assert.rejects(
      transport.send(requestTo(`https://registry.example.com:${server.port}/`)),
      unreachable(/: its certificate is not trusted: .*registry\.example\.com/),
    );
    assert.equal(server.requests.length, 1);
  });

  test('names a server that requires a client certificate', async () => {
    const tls = await trustTestAuthority();
    const { ca } = await makeCertificates();
    await using server = await startScriptedServer(() => undefined, { tls: { ...tls, clientCa: ca } });
    using transport = openTransport();
    await assert.rejects(
      transport.send(requestTo(server.origin)),
      unreachable(`Cannot reach "${server.origin}": it wants a certificate of the client`),
    );
  });
});
