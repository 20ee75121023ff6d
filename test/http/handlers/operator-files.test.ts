/** The service with credentials and certificates in files. */

import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { loadConfig } from '../../../src/config/config.ts';
import { reportFiles } from '../../../src/http/observe/file-reports.ts';
import { createLogger } from '../../../src/telemetry/log.ts';
import { startFakeRegistry } from '../../support/fake-registry.ts';
import { makeImage, makeLayer } from '../../support/image.ts';
import { basic } from '../../support/pair.ts';
import { firstLine } from '../../support/reading.ts';
import { startTestService } from '../../support/service.ts';
import { makeCertificates } from '../../support/tls.ts';

const IMAGE = makeImage({ layers: [{ tar: makeLayer({ hello: 'world' }) }] });
const PASSWORD = 'hunter2-7Q';
const FILE = '/docker/team_app_1.tar';

/** A registry with one user, and a folder with its auth file. */
async function startScene() {
  const folder = await mkdtemp(join(tmpdir(), 'operator-'));
  const users = new Map([
    ['robot', PASSWORD],
    ['person', 'own'],
  ]);
  const registry = await startFakeRegistry({ auth: { mode: 'basic', users } });
  registry.push('team/app', '1', IMAGE);
  const path = join(folder, 'config.json');
  const write = (password: string, content?: string) =>
    writeFile(
      path,
      content ??
        JSON.stringify({ auths: { [registry.host]: { username: 'robot', password, auth: undefined } } }),
    );
  await write(PASSWORD);
  return {
    registry,
    users,
    write,
    environment: { REGISTRY_URL: registry.origin, REGISTRY_AUTH_FILE: path },
    /** Who has asked since the start, and who was anonymous. */
    askers: () => new Set(registry.requests.map(({ headers }) => headers.authorization)),
    [Symbol.asyncDispose]: async () => {
      await registry.close();
      await rm(folder, { recursive: true });
    },
  };
}

describe('an auth file', () => {
  test('is used, rotated, and named when the registry refuses it', async () => {
    await using scene = await startScene();
    await using service = await startTestService(scene.environment);
    assert.equal((await service.request(FILE)).status, 200);
    scene.users.set('robot', 'next-7Q');
    await scene.write('next-7Q');
    const rotated = await service.request(FILE);
    assert.equal(rotated.status, 200, firstLine(rotated));
    assert.deepEqual(
      service.logs().find(({ event }) => event === 'file_reloaded')?.['variable'],
      'REGISTRY_AUTH_FILE',
    );

    await scene.write('', `{"auths": ${PASSWORD}`);
    scene.users.set('robot', 'other');
    const refused = await service.request(FILE);
    assert.equal(refused.status, 502);
    assert.match(firstLine(refused), /: it refused the credentials of REGISTRY_AUTH_FILE: /);
    const { message, level } = await service.waitForLog({ event: 'file_rejected' });
    assert.equal(level, 'warn');
    assert.match(String(message), /: it is not JSON\. What was read before stays in use$/);
    assert.doesNotMatch(service.logText(), /7Q/);
  });

  test('is nothing to a client that must have credentials of its own, by any route', async () => {
    await using scene = await startScene();
    const { host } = scene.registry;
    await using optional = await startTestService(scene.environment);
    await using required = await startTestService({ ...scene.environment, REGISTRY_CLIENT_AUTH: 'required' });
    const path = `/registry-auth/http/${encodeURIComponent(host)}${FILE}`;
    for (const [service, at] of [
      [optional, path],
      [required, FILE],
      [required, `/${host}/team/app:1`],
    ] as const) {
      assert.equal((await service.request(at)).status, 401);
      const headers = { authorization: basic('person', 'wrong') };
      const refused = await service.request(at, { headers });
      assert.match(firstLine(refused), /: it refused the client's credentials: /);
      assert.equal(
        (await service.request(at, { headers: { authorization: basic('person', 'own') } })).status,
        200,
      );
    }
    assert.ok(!scene.askers().has(basic('robot', PASSWORD)));
  });

  test('serves the registry that it lists, and no other that a client names', async () => {
    await using scene = await startScene();
    await using thief = await startFakeRegistry({ auth: { mode: 'basic' } });
    thief.push('team/app', '1', IMAGE);
    await using service = await startTestService(scene.environment);
    const reply = await service.request(`/registry/http/${encodeURIComponent(thief.host)}${FILE}`);
    assert.match(firstLine(reply), /: credentials are required, and there are none: /);
    assert.deepEqual(
      thief.requests.map(({ headers }) => headers.authorization),
      [undefined],
    );
  });
});

test('REGISTRY_CERTS_DIR is checked at the start, and used', async () => {
  const { ca, cert, key } = await makeCertificates();
  await using registry = await startFakeRegistry({ tls: { cert, key } });
  registry.push('team/app', '1', IMAGE);
  const folder = await mkdtemp(join(tmpdir(), 'certs-'));
  try {
    const environment = { REGISTRY_URL: registry.origin, REGISTRY_CERTS_DIR: folder };
    await mkdir(join(folder, registry.host));
    const path = join(folder, registry.host, 'ca.crt');
    await writeFile(path, 'no certificate');
    const logger = createLogger({ level: 'error', isTerminal: false, write: () => undefined });
    await assert.rejects(reportFiles(loadConfig(environment).registry, logger), {
      code: 'INVALID_CONFIGURATION',
      message: `Cannot use REGISTRY_CERTS_DIR, "${path}": it has no PEM certificate`,
    });
    await writeFile(path, ca);
    await using service = await startTestService(environment);
    const reply = await service.request(FILE);
    assert.equal(reply.status, 200, firstLine(reply));
  } finally {
    await rm(folder, { recursive: true });
  }
});

test('a client certificate is not shown where clients must have credentials of their own', async () => {
  const { ca, cert, key, clientCert, clientKey } = await makeCertificates();
  await using registry = await startFakeRegistry({ tls: { cert, key, clientCa: ca } });
  registry.push('team/app', '1', IMAGE);
  const folder = await mkdtemp(join(tmpdir(), 'certs-'));
  try {
    await mkdir(join(folder, registry.host));
    for (const [name, text] of Object.entries({ 'ca.crt': ca, 'me.cert': clientCert, 'me.key': clientKey }))
      await writeFile(join(folder, registry.host, name), text);
    await using service = await startTestService({
      REGISTRY_URL: registry.origin,
      REGISTRY_CERTS_DIR: folder,
    });
    assert.equal((await service.request(FILE)).status, 200);
    const headers = { authorization: basic('any', 'thing') };
    for (const path of ['docker/team_app_1.tar', 'docker/team_app_1.tar.sha256']) {
      const at = `/registry-auth/https/${encodeURIComponent(registry.host)}/${path}`;
      const reply = await service.request(at, { headers });
      assert.match(firstLine(reply), /: it wants a client certificate /);
    }
  } finally {
    await rm(folder, { recursive: true });
  }
});

test('a registry whose authority is unknown: which, and where to put it', async () => {
  const { cert, key } = await makeCertificates();
  await using registry = await startFakeRegistry({ tls: { cert, key } });
  await using service = await startTestService({ REGISTRY_URL: registry.origin });
  const reply = await service.request(FILE);
  assert.equal(
    firstLine(reply),
    `Failed to prepare image: Cannot reach "${registry.origin}": its certificate is not trusted: its authority "CN=test-authority" is unknown here`,
  );
  assert.match(
    reply.body.toString(),
    /\nPut the PEM file of its authority into the folder of this host in REGISTRY_CERTS_DIR/,
  );
});
