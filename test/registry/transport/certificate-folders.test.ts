import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { describe, test } from 'node:test';
import type { TLSSocket } from 'node:tls';
import { parseHostPattern } from '../../../src/registry/host-pattern.ts';
import {
  CertificateFolders,
  type CertificateFoldersOptions,
  type CertificateReport,
} from '../../../src/registry/transport/certificate-folders.ts';
import { RedirectTransport } from '../../../src/registry/transport/redirect.ts';
import { makeAuthority } from '../../support/authority.ts';
import { startScriptedServer } from '../../support/scripted-server.ts';
import { type Certificates, makeCertificates, makeOtherCertificates } from '../../support/tls.ts';
import { requestTo } from '../support/scripted-transport.ts';
import { openTransport, textOf } from '../support/transport.ts';

const ONE = await makeCertificates();
const TWO = await makeOtherCertificates();

/** A folder that ends with the test. */
async function openFolder(options: Partial<CertificateFoldersOptions> = {}) {
  const path = await mkdtemp(join(tmpdir(), 'certs-'));
  const folders = new CertificateFolders([path], { name: 'REGISTRY_CERTS_DIR', ...options });
  const reports: CertificateReport[] = [];
  folders.report = (report) => void reports.push(report);
  return {
    path,
    folders,
    reports,
    write: async (name: string, text: string) => {
      await mkdir(dirname(join(path, name)), { recursive: true });
      await writeFile(join(path, name), text);
    },
    [Symbol.asyncDispose]: () => rm(path, { recursive: true }),
  };
}

/** A server that answers with the subject of the client certificate. */
async function startServer({ cert, key, ca }: Certificates = ONE) {
  const subject = ({ socket }: IncomingMessage) =>
    String((socket as TLSSocket).getPeerCertificate().subject?.CN ?? 'none');
  return await startScriptedServer((request, response) => void response.end(subject(request)), {
    tls: { cert, key, clientCa: ca, isClientCertOptional: true },
  });
}

const url = (text: string) => new URL(text);

describe('the folder of a host', () => {
  const rows: readonly [folder: string, origin: string, isFound: boolean][] = [
    ['registry.example:5000', 'https://registry.example:5000', true],
    ['registry.example', 'https://registry.example:5000', false],
    ['registry.example:5000', 'https://registry.example', false],
    ['registry.example', 'https://registry.example', true],
    ['registry.example:443', 'https://registry.example', true],
    ['[::1]:5000', 'https://[::1]:5000', true],
    ['docker.io', 'https://registry-1.docker.io', true],
    ['registry-1.docker.io', 'https://registry-1.docker.io', true],
    ['docker.io', 'https://auth.docker.io', false],
  ];
  for (const [name, origin, isFound] of rows) {
    test(`${name} is ${isFound ? '' : 'not '}that of ${origin}`, async () => {
      await using folder = await openFolder();
      await folder.write(`${name}/any.crt`, ONE.ca);
      const found = await folder.folders.forHost(url(origin));
      assert.deepEqual(found, isFound ? { authorities: [ONE.ca.trim()], identities: [] } : undefined);
    });
  }

  test('may be empty, and have other files', async () => {
    await using folder = await openFolder();
    await folder.write('a/README', 'x');
    assert.deepEqual(await folder.folders.forHost(url('https://a')), { authorities: [], identities: [] });
  });

  test('is below the given folder, whatever the target of a redirect is called', async () => {
    await using folder = await openFolder();
    await folder.write('ca.crt', ONE.ca);
    await folder.write('sub/lost+found/broken.crt', 'x');
    const folders = new CertificateFolders([join(folder.path, 'sub')], { name: 'X' });
    await folders.check();
    for (const host of ['https://..', 'https://.', 'https://%2e%2e'])
      assert.equal(await folders.forHost(url(host)), undefined, host);
  });
});

describe('files that cannot be used are named', () => {
  const faults: readonly [files: Readonly<Record<string, string>>, file: string, why: string][] = [
    [{ 'ca.crt': 'hunter2' }, 'ca.crt', 'it has no PEM certificate'],
    [{ 'me.cert': ONE.clientCert }, 'me.cert', 'its key "me.key" is missing'],
    [{ 'me.key': ONE.clientKey }, 'me.key', 'its certificate "me.cert" is missing'],
    [
      { 'me.cert': ONE.clientCert, 'me.key': TWO.clientKey },
      'me.cert',
      'key and certificate do not belong together',
    ],
    [{ 'me.cert': 'hunter2', 'me.key': ONE.clientKey }, 'me.cert', 'it is not PEM'],
    [{ 'ca.crt/x': '' }, 'ca.crt', 'it is no regular file'],
    [{ 'ca.crt': 'x'.repeat(1024 * 1024 + 1) }, 'ca.crt', 'it has more than 1048576 bytes'],
  ];
  for (const [files, file, why] of faults) {
    test(`${file}: ${why}`, async () => {
      await using folder = await openFolder();
      for (const [name, text] of Object.entries(files)) await folder.write(`lab:5000/${name}`, text);
      const message = `Cannot use REGISTRY_CERTS_DIR, "${folder.path}/lab:5000/${file}": ${why}`;
      const refusal = { code: 'INVALID_CONFIGURATION', message };
      await assert.rejects(folder.folders.check(), refusal);
      await assert.rejects(folder.folders.forHost(url('https://lab:5000')), refusal);
      const at = { folder: `${folder.path}/lab:5000`, message };
      assert.deepEqual(folder.reports, [{ ...at, result: 'rejected', wasRejected: false, isFirst: true }]);
      assert.equal(await folder.folders.forHost(url('https://other')), undefined);
    });
  }

  test('a link that leads nowhere, too', async () => {
    await using folder = await openFolder();
    await mkdir(join(folder.path, 'a'));
    await symlink('none', join(folder.path, 'a/ca.crt'));
    const message = `Cannot use REGISTRY_CERTS_DIR, "${folder.path}/a/ca.crt": it does not exist`;
    await assert.rejects(folder.folders.check(), { message });
    await assert.rejects(folder.folders.forHost(url('https://a')), { message });
  });
});

describe('certificates of a host', () => {
  test('are for it alone: its authority, and its client certificate', async () => {
    await using folder = await openFolder();
    await using server = await startServer();
    await using other = await startServer();
    await folder.write(`${server.host}/ca.crt`, ONE.ca);
    await folder.write(`${server.host}/me.cert`, ONE.clientCert);
    await folder.write(`${server.host}/me.key`, ONE.clientKey);
    using transport = openTransport({ tls: { folders: folder.folders } });
    assert.equal(await textOf(await transport.send(requestTo(server.origin))), 'test-client');
    await assert.rejects(transport.send(requestTo(other.origin)), {
      details: { setting: 'trustedCertificates' },
    });
  });

  test('come before the client certificate for all, and beside the authority for all', async () => {
    await using folder = await openFolder();
    await using own = await startServer(TWO);
    await using usual = await startServer();
    for (const [name, text] of Object.entries({
      'ca.crt': TWO.ca,
      'me.cert': TWO.clientCert,
      'me.key': TWO.clientKey,
    }))
      await folder.write(`${own.host}/${name}`, text);
    const tls = {
      folders: folder.folders,
      caCert: ONE.ca,
      clientCert: ONE.clientCert,
      clientKey: ONE.clientKey,
    };
    using transport = openTransport({ tls });
    for (const server of [own, usual])
      assert.equal(await textOf(await transport.send(requestTo(server.origin))), 'test-client');
  });

  test('may be of an authority below the root, or the certificate of the server itself', async () => {
    const root = await makeAuthority('/CN=root');
    const middle = await root.below('/CN=middle');
    const { cert, key } = await middle.issue();
    await using server = await startScriptedServer((_, response) => void response.end('yes'), {
      tls: { cert, key },
    });
    for (const text of [middle.cert, cert, root.cert + middle.cert]) {
      await using folder = await openFolder();
      await folder.write(`${server.host}/ca.crt`, text);
      using transport = openTransport({ tls: { folders: folder.folders } });
      assert.equal(await textOf(await transport.send(requestTo(server.origin))), 'yes');
    }
  });

  test('may have several client certificates: the first by name is shown', async () => {
    const authority = await makeAuthority();
    await using folder = await openFolder();
    await using server = await startServer();
    await folder.write(`${server.host}/ca.crt`, ONE.ca);
    for (const name of ['b', 'a', 'c']) {
      const { cert, key } = await authority.issue({ subject: `/CN=${name}`, use: 'client' });
      await folder.write(`${server.host}/${name}.cert`, cert);
      await folder.write(`${server.host}/${name}.key`, key);
    }
    await folder.folders.check();
    using transport = openTransport({ tls: { folders: folder.folders } });
    assert.equal(await textOf(await transport.send(requestTo(server.origin))), 'a');
  });

  test('are not shown to the target of a redirect, whose authority counts', async () => {
    await using folder = await openFolder();
    await using target = await startServer();
    await using server = await startScriptedServer(
      (_, response) => void response.writeHead(307, { Location: target.origin }).end(),
      { tls: ONE },
    );
    await folder.write(`${server.host}/ca.crt`, ONE.ca);
    for (const [name, text] of Object.entries({
      'ca.crt': ONE.ca,
      'me.cert': ONE.clientCert,
      'me.key': ONE.clientKey,
    }))
      await folder.write(`${target.host}/${name}`, text);
    using transport = openTransport({ tls: { folders: folder.folders } });
    const redirected = await new RedirectTransport(transport).send(requestTo(server.origin));
    assert.equal(await textOf(redirected), 'none');
    assert.equal(await textOf(await transport.send(requestTo(target.origin))), 'test-client');
  });

  test('lie in the folder itself, with that of --cert-dir', async () => {
    await using folder = await openFolder({ isForAll: true, name: '--cert-dir' });
    await using server = await startServer();
    await folder.write('ca.crt', ONE.ca);
    await folder.folders.check();
    using transport = openTransport({ tls: { folders: folder.folders } });
    assert.equal(await textOf(await transport.send(requestTo(server.origin))), 'none');
    await assert.rejects(new CertificateFolders(['/none'], { name: '--cert-dir' }).check(), {
      message: 'Cannot use --cert-dir, "/none": it does not exist',
    });
  });
});

test('a host whose certificate is not verified is that host alone', async () => {
  await using server = await startServer();
  await using other = await startServer();
  using transport = openTransport({ tls: { insecureHosts: [parseHostPattern(server.host)] } });
  assert.equal(await textOf(await transport.send(requestTo(server.origin))), 'none');
  await assert.rejects(transport.send(requestTo(other.origin)), {
    details: { setting: 'trustedCertificates' },
  });
});

describe('files that change', () => {
  test('count from the next look on; what cannot be used leaves the last in use', async () => {
    await using folder = await openFolder();
    const { folders, reports } = folder;
    const host = url('https://lab');
    const look = async () => {
      await folders.refresh();
      return (await folders.forHost(host))?.authorities;
    };
    await folder.write('lab/ca.crt', ONE.ca);
    const first = await folders.forHost(host);
    assert.deepEqual(await look(), [ONE.ca.trim()]);
    assert.equal(await folders.forHost(host), first);
    await folder.write('lab/ca.crt', 'hunter2');
    assert.deepEqual(await look(), [ONE.ca.trim()]);
    assert.deepEqual(await look(), [ONE.ca.trim()]);
    await folder.write('lab/ca.crt', TWO.ca);
    assert.deepEqual(await look(), [TWO.ca.trim()]);
    await rm(join(folder.path, 'lab'), { recursive: true });
    assert.equal(await look(), undefined);
    const at = { folder: `${folder.path}/lab` };
    const message = `Cannot use REGISTRY_CERTS_DIR, "${folder.path}/lab/ca.crt": it has no PEM certificate`;
    assert.deepEqual(reports, [
      { ...at, result: 'rejected', message, wasRejected: false },
      { ...at, result: 'reloaded', wasRejected: true },
      { ...at, result: 'reloaded', wasRejected: false },
    ]);
  });

  for (const [name, origin] of [
    ['lab:5000', 'https://lab:5000'],
    ['lab', 'https://lab'],
    ['lab:443', 'https://lab'],
    ['docker.io', 'https://registry-1.docker.io'],
  ] as const) {
    test(`those of ${name} at the start stay in use, also if no request has needed them before`, async () => {
      await using folder = await openFolder();
      await folder.write(`${name}/ca.crt`, ONE.ca);
      await folder.folders.check();
      await folder.write(`${name}/ca.crt`, 'hunter2');
      await folder.folders.refresh();
      assert.deepEqual((await folder.folders.forHost(url(origin)))?.authorities, [ONE.ca.trim()]);
      assert.deepEqual(
        folder.reports.map(({ result }) => result),
        ['rejected'],
      );
    });
  }

  test('stay in use while their folder cannot be looked at', async () => {
    await using folder = await openFolder();
    const { folders, reports } = folder;
    await folder.write('lab/ca.crt', ONE.ca);
    const first = await folders.forHost(url('https://lab'));
    await rm(join(folder.path, 'lab'), { recursive: true });
    await symlink('lab', join(folder.path, 'lab'));
    await folders.refresh();
    assert.equal(await folders.forHost(url('https://lab')), first);
    const path = `${folder.path}/lab`;
    const message = `Cannot use REGISTRY_CERTS_DIR, "${path}": it cannot be read (ELOOP)`;
    assert.deepEqual(reports, [{ folder: path, result: 'rejected', message, wasRejected: false }]);
  });

  test('break off no request that is under way, also behind a swapped link', async () => {
    await using folder = await openFolder();
    const half = Promise.withResolvers<void>();
    await using server = await startScriptedServer(
      async (_, response) => {
        response.write('begin ');
        await half.promise;
        response.end('end');
      },
      { tls: ONE },
    );
    const publish = async (version: string, ca: string) => {
      await folder.write(`..${version}/ca.crt`, ca);
      await symlink(`..${version}`, join(folder.path, 'tmp'));
      await rename(join(folder.path, 'tmp'), join(folder.path, server.host));
    };
    await publish('1', ONE.ca);
    using transport = openTransport({ tls: { folders: folder.folders } });
    const started = await transport.send(requestTo(server.origin));
    await publish('2', TWO.ca);
    await folder.folders.refresh();
    await assert.rejects(transport.send(requestTo(server.origin)), {
      details: { setting: 'trustedCertificates' },
    });
    half.resolve();
    assert.equal(await textOf(started), 'begin end');
  });
});
