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

  /** The text of an error of OpenSSL that Node has made no fields of. */
  const raw = (reason: string) =>
    `write EPROTO 40236507CB7F0000:error:0A00010B:SSL routines:tls_validate_record_header:${reason}:../deps/openssl/tlsany_meth.c:78:\n`;
  const tls: [
    error: Error & { code: string },
    hasIdentity: boolean,
    reason: string,
    setting: string | undefined,
  ][] = [
    [
      systemError('EPROTO', raw('wrong version number')),
      false,
      'it does not speak TLS: use http',
      'plainHttpHosts',
    ],
    [
      systemError('EPROTO', raw('packet length too long')),
      false,
      'it does not speak TLS: use http',
      'plainHttpHosts',
    ],
    [
      systemError('EPROTO', raw('ssl/tls alert handshake failure')),
      false,
      'it refused the TLS handshake; it may want a client certificate',
      'clientIdentity',
    ],
    [
      Object.assign(systemError('ERR_SSL_SSL/TLS_ALERT_BAD_CERTIFICATE'), {
        reason: 'ssl/tls alert bad certificate',
      }),
      false,
      'it wants a client certificate (alert: bad certificate)',
      'clientIdentity',
    ],
    [
      Object.assign(systemError('ERR_SSL_TLSV1_ALERT_UNKNOWN_CA'), { reason: 'tlsv1 alert unknown ca' }),
      true,
      'it refused the client certificate (alert: unknown ca)',
      'clientIdentity',
    ],
    [
      Object.assign(systemError('ERR_SSL_UNSUPPORTED_PROTOCOL'), { reason: 'unsupported protocol' }),
      false,
      'TLS has failed: unsupported protocol',
      undefined,
    ],
    [systemError('EPROTO', 'something\nelse'), false, 'TLS has failed: something\\nelse', undefined],
  ];
  for (const [cause, hasIdentity, reason, setting] of tls) {
    test(`has no line break and nothing of OpenSSL's sources: ${reason}`, () => {
      const { message, details } = connectionError(URL_WITH_SECRETS, cause, { hasIdentity });
      assert.deepEqual([message, details.setting], [`${AT}${reason}`, setting]);
    });
  }

  test('says that a registry speaks https if it answers with TLS over http', () => {
    const url = new URL('http://registry.example.com/v2/');
    for (const [first, reason, setting] of [
      [0x15, 'it speaks https, and was asked over http', 'tlsAtRegistry'],
      [0x53, 'Parse Error', undefined],
    ] as const) {
      const cause = Object.assign(systemError('HPE_INVALID_CONSTANT', 'Parse Error'), {
        rawPacket: Buffer.from([first, 3, 1]),
      });
      const { message, details } = connectionError(url, cause);
      assert.deepEqual(
        [message, details.setting],
        [`Cannot reach "http://registry.example.com": ${reason}`, setting],
      );
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
        unreachable(
          `Cannot reach "${server.origin}": the connection broke off${bytes === '' ? ' without an answer; it may speak https' : ''}`,
        ),
      );
    });
  }

  test('guesses https of a server that closes a connection of plain http', async () => {
    await using server = await startScriptedServer(() => assert.fail('no request is handled'), {
      tls: await makeCertificates(),
    });
    const origin = server.origin.replace('https:', 'http:');
    using transport = openTransport();
    await assert.rejects(transport.send(requestTo(origin)), unreachable(/it may speak https$/));
  });

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
      assert.equal(
        error.message,
        `Cannot reach "${server.origin}": its certificate is not trusted: its authority "CN=test-authority" is unknown here`,
      );
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
      unreachable(/example\.com.*: its certificate is for "localhost", and not for this host$/),
    );
    assert.equal(server.requests.length, 1);
  });

  test('names plain http that is asked over https', async () => {
    await using server = await startScriptedServer((_, response) => void response.end('yes'));
    using transport = openTransport();
    const origin = server.origin.replace('http:', 'https:');
    await assert.rejects(
      transport.send(requestTo(origin)),
      unreachable(`Cannot reach "${origin}": it does not speak TLS: use http`),
    );
  });

  test('names a server that requires a client certificate', async () => {
    const tls = await trustTestAuthority();
    const { ca } = await makeCertificates();
    await using server = await startScriptedServer(() => undefined, { tls: { ...tls, clientCa: ca } });
    using transport = openTransport();
    await assert.rejects(
      transport.send(requestTo(server.origin)),
      unreachable(
        `Cannot reach "${server.origin}": it wants a client certificate (alert: certificate required)`,
      ),
    );
  });
});
