import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { isPassthroughError } from '../../src/errors.ts';
import { openRepository } from '../../src/registry/open-repository.ts';
import { registryHost } from '../../src/registry/registry-host.ts';
import { bytesOf } from '../support/documents.ts';
import { serveNames } from './support/name-server.ts';
import {
  alias,
  BIG,
  CLIENT,
  IMAGE,
  openAccess,
  pull,
  REPOSITORY,
  readLayer,
  startRegistry,
  startScene,
} from './support/scene.ts';

describe('a forbidden address', () => {
  // Each spelling of an address: forbidden-address.test.ts and registry-host.test.ts.
  const urls = ['http://169.254.169.254/latest', 'http://[::ffff:a9fe:a9fe]/', 'http://2852039166/'];
  for (const url of urls) {
    test(`${url} is refused as a registry, as a redirect and as a realm`, async () => {
      using access = openAccess();
      const name = /^http:\/\/([^/]*)\//.exec(url)?.[1] ?? assert.fail();
      // Some spellings are refused when the host is parsed, the others when it is dialled.
      const pullFrom = async () => {
        const host = registryHost('http', name);
        await pull(openRepository(access, { host, repository: REPOSITORY, credential: CLIENT }));
      };
      await assert.rejects(pullFrom, (error) =>
        isPassthroughError(error, 'INVALID_REGISTRY', 'REGISTRY_NOT_ALLOWED'),
      );
      await using redirect = await startRegistry({ defects: { redirectBlobsTo: { to: () => url } } });
      await assert.rejects(readLayer(access.open(redirect)), { code: 'REGISTRY_NOT_ALLOWED' });
      await using realm = await startRegistry({ auth: { mode: 'token', realm: url } });
      await assert.rejects(pull(access.open(realm, CLIENT)), { code: 'REGISTRY_NOT_ALLOWED' });
      assert.deepEqual([redirect.requests.length, realm.requests.length], [1, 1]);
    });
  }

  test('is refused behind a name when it is dialled: as a registry, as a redirect and as a realm', async (t) => {
    const addresses = ['169.254.169.254', '0.0.0.0', '::', '::ffff:169.254.169.254', 'fe80::1', 'ff02::1'];
    const zone = Object.fromEntries(addresses.map((address, index) => [`name-${index}.example`, [address]]));
    serveNames(t, zone);
    const refused = {
      code: 'REGISTRY_NOT_ALLOWED',
      message: /resolves to .*, which is a link-local, unspecified, multicast or metadata/,
    };
    for (const name of Object.keys(zone)) {
      await using scene = await startScene({ defects: { redirectBlobsTo: `http://${name}` } });
      for (const scheme of ['http', 'https']) {
        await assert.rejects(pull(scene.access.open({ origin: `${scheme}://${name}` })), refused);
      }
      await assert.rejects(readLayer(scene.client), refused);
      Object.assign(scene.server.auth, { mode: 'token', realm: `http://${name}/token` });
      await assert.rejects(pull(scene.open(CLIENT)), refused);
    }
  });

  test('is refused if a name resolves to it only at the second lookup', async (t) => {
    const answers = [['127.0.0.1'], ['169.254.169.254']];
    const { lookups } = serveNames(t, { 'rebind.example': () => answers.shift() ?? [] });
    await using scene = await startScene();
    scene.server.defects.redirectBlobsTo = `http://rebind.example:${scene.server.port}`;
    assert.deepEqual(await readLayer(scene.client), BIG);
    // A new access has no connection that could be used again.
    using later = openAccess();
    await assert.rejects(readLayer(later.open(scene.server)), { code: 'REGISTRY_NOT_ALLOWED' });
    assert.equal(lookups.filter((name) => name === 'rebind.example').length, 2);
  });

  test('is no private or loopback address, and is skipped if a name has others', async (t) => {
    serveNames(t, { 'registry.internal': ['127.0.0.1'], 'mixed.internal': ['169.254.169.254', '127.0.0.1'] });
    await using scene = await startScene();
    for (const name of ['registry.internal', 'mixed.internal', '127.0.0.1']) {
      const { content } = await pull(scene.access.open({ origin: alias(scene.server, name) }));
      assert.deepEqual(await bytesOf(content), IMAGE.manifest.bytes);
    }
  });
});
