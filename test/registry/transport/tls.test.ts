import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import type { TLSSocket } from 'node:tls';
import { promisify } from 'node:util';
import { type RegistryTls, tlsAgentSettings } from '../../../src/registry/transport/tls.ts';
import { startFakeRegistry } from '../../support/fake-registry.ts';
import { startForwardProxy } from '../../support/forward-proxy.ts';
import { startScriptedServer } from '../../support/scripted-server.ts';
import { makeCertificates, makeOtherCertificates } from '../../support/tls.ts';
import { IMAGE, never, OPERATOR, openAccess, pull, REPOSITORY, readLayer, USER } from '../support/scene.ts';
import { requestTo } from '../support/scripted-transport.ts';
import { openTransport, textOf } from '../support/transport.ts';

const PEM = await makeCertificates();
const SERVER = { cert: PEM.cert, key: PEM.key };
/** Settings of a server that asks for a client certificate and serves clients without one, too. */
const ASKING = { ...SERVER, clientCa: PEM.ca, isClientCertOptional: true };
const IDENTITY = { clientCert: PEM.clientCert, clientKey: PEM.clientKey };

/** A server that answers with the subject of the client certificate. */
async function startAsking() {
  const subject = ({ socket }: IncomingMessage) => {
    const { subject } = (socket as TLSSocket).getPeerCertificate();
    return subject === undefined ? 'none' : String(subject.CN);
  };
  return await startScriptedServer((request, response) => void response.end(subject(request)), {
    tls: ASKING,
  });
}

describe('a registry with a private certificate', () => {
  const untrusted = { code: 'REGISTRY_UNREACHABLE', details: { setting: 'trustedCertificates' } };

  test('is not trusted unless its authority is given, or nothing is verified', async () => {
    await using server = await startScriptedServer((_, response) => void response.end('yes'), {
      tls: SERVER,
    });
    const { ca: other } = await makeOtherCertificates();
    const rows: readonly [tls: RegistryTls | undefined, isTrusted: boolean][] = [
      [undefined, false],
      [{}, false],
      [{ insecure: false }, false],
      [{ caCert: other }, false],
      [IDENTITY, false],
      [{ caCert: PEM.ca }, true],
      [{ caCert: PEM.cert }, true],
      [{ caCert: `a bundle\n${other}\n# ours\n${PEM.ca}` }, true],
      [{ insecure: true }, true],
      [{ caCert: other, insecure: true }, true],
    ];
    for (const [tls, isTrusted] of rows) {
      using transport = openTransport({ tls });
      const sending = transport.send(requestTo(server.origin));
      if (isTrusted) assert.equal(await textOf(await sending), 'yes');
      else await assert.rejects(sending, untrusted);
    }
  });

  test('is trusted through the tunnel of a proxy, too', async () => {
    await using server = await startAsking();
    await using proxy = await startForwardProxy();
    const proxyEnv = { HTTPS_PROXY: proxy.origin };
    using trusting = openTransport({ proxyEnv, tls: { caCert: PEM.ca, ...IDENTITY } });
    assert.equal(await textOf(await trusting.send(requestTo(server.origin))), 'test-client');
    using insecure = openTransport({ proxyEnv, tls: { insecure: true } });
    assert.equal(await textOf(await insecure.send(requestTo(server.origin))), 'none');
    using untrusting = openTransport({ proxyEnv });
    await assert.rejects(untrusting.send(requestTo(server.origin)), untrusted);
    assert.deepEqual(new Set(proxy.requests.map(({ method }) => method)), new Set(['CONNECT']));
  });
});

describe('a client certificate', () => {
  const tls = { caCert: PEM.ca, ...IDENTITY };

  test('is shown to a registry that asks for it, on all of its requests', async () => {
    const auth = { mode: 'token', users: new Map([['user', 'secret']]) } as const;
    await using server = await startFakeRegistry({ tls: { ...SERVER, clientCa: PEM.ca }, auth });
    server.push(REPOSITORY, '1', IMAGE);
    using access = openAccess({ tls });
    const repository = access.open(server, OPERATOR);
    assert.equal((await pull(repository)).digest, IMAGE.manifest.digest);
    await readLayer(repository);
    assert.equal(server.tokenRequests.length, 1);

    using stranger = openAccess({ tls: { caCert: PEM.ca } });
    await assert.rejects(pull(stranger.open(server, OPERATOR)), { code: 'REGISTRY_UNREACHABLE' });
  });

  test('is not shown to the target of a redirect to another origin', async () => {
    await using target = await startAsking();
    await using server = await startScriptedServer(
      ({ socket }, response) => {
        const { subject } = (socket as TLSSocket).getPeerCertificate();
        response.writeHead(307, { Location: `${target.origin}/?from=${subject.CN}` }).end();
      },
      { tls: ASKING },
    );
    using access = openAccess({ tls });
    const { RedirectTransport } = await import('../../../src/registry/transport/redirect.ts');
    const response = await new RedirectTransport(access.wire).send(requestTo(server.origin));
    assert.equal(response.url.search, '?from=test-client');
    assert.equal(await textOf(response), 'none');
    // The registry still gets it after the redirect.
    assert.equal(await textOf(await access.wire.send(requestTo(target.origin))), 'test-client');
  });

  test('is shown to a realm exactly if credentials may reach it', async () => {
    const shown: string[] = [];
    await using realm = await startScriptedServer(
      ({ socket }, response) => {
        shown.push(String((socket as TLSSocket).getPeerCertificate().subject?.CN));
        response.end('{"token":"t"}');
      },
      { tls: ASKING },
    );
    await using server = await startScriptedServer(
      ({ headers }, response) => {
        if (headers.authorization === undefined)
          response.writeHead(401, { 'WWW-Authenticate': `Bearer realm="${realm.origin}/token"` }).end();
        else response.end('{}');
      },
      { tls: ASKING },
    );
    const origin = server.origin.replace('127.0.0.1', 'localhost');
    for (const registry of [server, { origin }]) {
      using access = openAccess({ tls });
      await access
        .open(registry, { type: 'basic', basic: USER, source: 'environment' })
        .getManifest('1', never());
    }
    assert.deepEqual(shown, ['test-client', 'undefined']);
  });
});

describe('TLS settings that cannot be used are refused at once', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'tls-'));
  const key = async (...args: readonly string[]) => {
    const path = join(folder, 'key.pem');
    const common = ['genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-out', path];
    await promisify(execFile)('openssl', [...common, ...args], { timeout: 30_000 });
    return await readFile(path, 'utf8');
  };
  const other = await key();
  const locked = await key('-aes-256-cbc', '-pass', 'pass:secret');
  await rm(folder, { recursive: true });
  const { clientCert, clientKey } = IDENTITY;
  const broken = clientCert.replace(/M/g, '!');

  const rows: readonly [what: string, tls: RegistryTls, message: string, setting: string][] = [
    ['no key', { clientCert }, 'client certificate: its key is missing', 'clientKey'],
    [
      'no certificate',
      { clientKey },
      'client key: the client certificate that belongs to it is missing',
      'clientCert',
    ],
    ['an empty authority', { caCert: '' }, 'CA certificate: it has no PEM certificate', 'caCert'],
    ['an authority that is not PEM', { caCert: 'x' }, 'CA certificate: it has no PEM certificate', 'caCert'],
    ['a key as authority', { caCert: clientKey }, 'CA certificate: it has no PEM certificate', 'caCert'],
    ['a broken authority', { caCert: broken }, 'CA certificate: it cannot be parsed', 'caCert'],
    [
      'a broken authority in a bundle',
      { caCert: PEM.ca + broken },
      'CA certificate: certificate 2 of 2 cannot be parsed',
      'caCert',
    ],
    [
      'a certificate that is not PEM',
      { clientCert: 'x', clientKey },
      'client certificate: it is not PEM',
      'clientCert',
    ],
    ['a key that is not PEM', { clientCert, clientKey: 'x' }, 'client key: it is not PEM', 'clientKey'],
    [
      'the key of another certificate',
      { clientCert, clientKey: other },
      'client certificate: key and certificate do not belong together',
      'clientCert',
    ],
    [
      'a locked key',
      { clientCert, clientKey: locked },
      'client key: the key is protected by a passphrase',
      'clientKey',
    ],
  ];
  for (const [what, tls, text, setting] of rows) {
    test(what, () => {
      assert.throws(
        () => tlsAgentSettings(tls),
        (error: { code?: string; message: string; details?: { setting?: string } }) => {
          assert.equal(error.message, `Cannot use the ${text}`);
          assert.deepEqual([error.code, error.details?.setting], ['INVALID_CONFIGURATION', setting]);
          return true;
        },
      );
    });
  }
});
