/** The operator's credentials from files and helper programs, which change while the service runs. */

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { describe, test } from 'node:test';
import { loadConfig } from '../../../src/config/config.ts';
import { type Credential, chooseCredential } from '../../../src/registry/auth/credentials.ts';
import { registryHost } from '../../../src/registry/registry-host.ts';
import {
  headersOf,
  IMAGE,
  never,
  openAccess,
  pull,
  REPOSITORY,
  readLayer,
  startRegistry,
  startScene,
} from '../support/scene.ts';
import { type AuthFolder, answering, authOf, makeAuthFolder } from './auth-files.ts';

type Variables = Readonly<Record<string, string>>;

/** The credential of a service with these variables for a registry. */
function credentialOf(
  variables: Variables,
  { origin }: { readonly origin: string },
  repository = REPOSITORY,
): Credential {
  const { protocol, host } = new URL(origin);
  const { credentials } = loadConfig(variables).registry;
  return chooseCredential(registryHost(protocol.slice(0, -1), host), undefined, credentials, { repository });
}

const basicOf = (username: string, password: string) => `Basic ${authOf(username, password).auth}`;

/** Ways in which a password is rotated: which variables name it, and how it is written. */
interface Way {
  readonly what: string;
  readonly variables: (folder: AuthFolder) => Variables;
  readonly write: (folder: AuthFolder, password: string, host: string) => Promise<unknown>;
}

const WAYS: readonly Way[] = [
  {
    what: 'the file of a password',
    variables: ({ path }) => ({ REGISTRY_USERNAME: 'user', REGISTRY_PASSWORD_FILE: `${path}/password` }),
    write: ({ write }, password) => write('password', `${password}\n`),
  },
  {
    what: 'an auth file',
    variables: ({ path }) => ({ REGISTRY_AUTH_FILE: `${path}/config.json` }),
    write: ({ write }, password, host) =>
      write('config.json', { auths: { [host]: authOf('user', password) } }),
  },
];

describe('a password that is rotated', () => {
  for (const { what, variables, write } of WAYS) {
    for (const mode of ['basic', 'token'] as const) {
      test(`in ${what} is used by pulls under way and later ones: ${mode}`, async () => {
        await using folder = await makeAuthFolder();
        await using scene = await startScene({ auth: { mode, allowAnonymous: false } });
        const { server } = scene;
        await write(folder, 'secret', server.host);
        const config = loadConfig(variables(folder)).registry.credentials;
        const host = registryHost('http', server.host);
        const choose = () => chooseCredential(host, undefined, config, { repository: REPOSITORY });
        const running = scene.open(choose());
        await pull(running);

        server.auth.users.set('user', 'next');
        server.tokens.revokeAll();
        await write(folder, 'next', server.host);
        await readLayer(running);
        await Promise.all([pull(running), readLayer(running), pull(scene.open(choose()))]);
        const sent = mode === 'basic' ? headersOf(server) : headersOf(server, 'authorization', /^\/token/);
        assert.equal(sent.at(-1), basicOf('user', 'next'));
      });
    }

    test(`in ${what} to a wrong one is refused, once for each request`, async () => {
      await using folder = await makeAuthFolder();
      await using scene = await startScene({ auth: { mode: 'basic' } });
      await write(folder, 'wrong', scene.server.host);
      const repository = scene.open(credentialOf(variables(folder), scene.server));
      await assert.rejects(pull(repository), { code: 'REGISTRY_DENIED' });
      assert.deepEqual(headersOf(scene.server), [undefined, basicOf('user', 'wrong')]);
    });
  }

  test('is the token of REGISTRY_BEARER_TOKEN_FILE', async () => {
    await using folder = await makeAuthFolder();
    await using scene = await startScene({ auth: { mode: 'token' } });
    const { server } = scene;
    const path = await folder.write('token', server.tokens.issue([`repository:${REPOSITORY}:pull`], 60));
    const repository = scene.open(credentialOf({ REGISTRY_BEARER_TOKEN_FILE: path }, server));
    await pull(repository);
    server.tokens.revokeAll();
    const next = server.tokens.issue([`repository:${REPOSITORY}:pull`], 60);
    await writeFile(path, next);
    await readLayer(repository);
    assert.equal(headersOf(server).at(-1), `Bearer ${next}`);
    assert.equal(server.tokenRequests.length, 0);
  });

  test('is the token of an entry', async () => {
    await using folder = await makeAuthFolder();
    await using scene = await startScene({ auth: { mode: 'token' } });
    const { server } = scene;
    const issue = () => server.tokens.issue([`repository:${REPOSITORY}:pull`], 60);
    const write = (registrytoken: string) =>
      folder.write('config.json', { auths: { [server.host]: { registrytoken } } });
    const path = await write(issue());
    const repository = scene.open(credentialOf({ REGISTRY_AUTH_FILE: path }, server));
    await pull(repository);
    server.tokens.revokeAll();
    const next = issue();
    await write(next);
    await readLayer(repository);
    assert.equal(headersOf(server).at(-1), `Bearer ${next}`);
    assert.equal(server.tokenRequests.length, 0);
    server.tokens.revokeAll();
    await assert.rejects(pull(repository), /it refused the credentials of the auth file/);
  });

  test('is the answer of a helper, which is asked again only when the registry has refused it', async () => {
    await using folder = await makeAuthFolder();
    await using scene = await startScene({ auth: { mode: 'basic' } });
    const { server } = scene;
    await folder.addHelper('cloud', answering('user', 'secret'));
    const path = await folder.write('config.json', { credHelpers: { [server.host]: 'cloud' } });
    const { credentials } = loadConfig({ ...folder.environment, REGISTRY_AUTH_FILE: path }).registry;
    const host = registryHost('http', server.host);
    const open = () => scene.open(chooseCredential(host, undefined, credentials, { repository: REPOSITORY }));
    await Promise.all([pull(open()), pull(open())]);
    await readLayer(open());
    assert.equal((await folder.asked()).length, 1);
  });
});

describe('an auth file of the service', () => {
  test('gives each entry to its registry and path alone, port and scheme included', async () => {
    await using folder = await makeAuthFolder();
    await using server = await startRegistry({ auth: { mode: 'basic', users: new Map([['app', 'a']]) } });
    await using other = await startRegistry({ auth: { mode: 'basic' } });
    const image = IMAGE;
    server.push('team/other', '1', image);
    server.push('team/application', '1', image);
    const path = await folder.write('config.json', {
      auths: {
        [`${server.host}/team/app`]: authOf('app', 'a'),
        '127.0.0.1': authOf('portless', 'p'),
        [`https://127.0.0.1:${other.port}`]: authOf('secure', 's'),
      },
    });
    using access = openAccess();
    const variables = { REGISTRY_AUTH_FILE: path };
    await pull(access.open(server, credentialOf(variables, server)));
    assert.deepEqual(headersOf(server), [undefined, basicOf('app', 'a')]);
    for (const repository of ['team/other', 'team/application']) {
      const opened = access.open(server, credentialOf(variables, server, repository), {}, repository);
      await assert.rejects(opened.getManifest('1', never()), /credentials are required, and there are none/);
    }
    const alias = { origin: server.origin.replace('127.0.0.1', 'localhost') };
    for (const registry of [other, alias]) {
      await assert.rejects(
        pull(access.open(registry, credentialOf(variables, registry))),
        /credentials are required, and there are none/,
      );
    }
    assert.deepEqual([...headersOf(server).slice(2), ...headersOf(other)].filter(Boolean), []);
  });

  test('asks its store for registries that it lists, and for no other', async () => {
    await using folder = await makeAuthFolder();
    await folder.addHelper('keys', answering('user', 'secret'));
    const path = await folder.write('config.json', { auths: { 'ghcr.io': {} }, credsStore: 'keys' });
    const variables = { ...folder.environment, REGISTRY_AUTH_FILE: path };
    const settle = async (origin: string) => {
      const credential = credentialOf(variables, { origin });
      return credential.type === 'changing' ? await credential.settle(never()) : credential;
    };
    assert.deepEqual(await settle('https://quay.io'), { type: 'none' });
    assert.deepEqual(await settle('https://ghcr.io'), {
      type: 'basic',
      basic: { username: 'user', password: 'secret' },
      source: 'helper',
    });
    assert.deepEqual(await folder.asked(), ['keys ghcr.io']);
  });

  test('comes before REGISTRY_USERNAME, which serves what the file does not', async () => {
    await using folder = await makeAuthFolder();
    const path = await folder.write('config.json', { auths: { 'ghcr.io/org': authOf('file', 'f') } });
    const variables = { REGISTRY_AUTH_FILE: path, REGISTRY_USERNAME: 'user', REGISTRY_PASSWORD: 'p' };
    const userAt = async (origin: string, repository: string, more: Variables = {}) => {
      const credential = credentialOf({ ...variables, ...more }, { origin }, repository);
      assert.ok(credential.type === 'changing');
      const settled = await credential.settle(never());
      return settled.type === 'basic' ? settled.basic.username : settled.type;
    };
    assert.equal(await userAt('https://ghcr.io', 'org/app'), 'file');
    assert.equal(await userAt('https://ghcr.io', 'other/app'), 'user');
    assert.equal(await userAt('https://quay.io', 'org/app'), 'user');
    assert.equal(await userAt('https://ghcr.io', 'org/app', { REGISTRY_TOKEN: 't' }), 'bearer');
  });

  test('gives way to the client, and nothing where the client must have its own', async () => {
    await using folder = await makeAuthFolder();
    const path = await folder.write('config.json', { auths: { 'ghcr.io': authOf('file', 'f') } });
    const { credentials } = loadConfig({ REGISTRY_AUTH_FILE: path }).registry;
    const host = registryHost('https', 'ghcr.io');
    const client = { username: 'client', password: 'c' };
    const repository = 'org/app';
    assert.deepEqual(chooseCredential(host, client, credentials, { repository }), {
      type: 'basic',
      basic: client,
      source: 'client',
    });
    for (const required of [{ requiresClient: true }, { requiresClient: true, repository }])
      assert.deepEqual(chooseCredential(host, undefined, credentials, required), { type: 'none' });
  });
});

describe('a helper of the service', () => {
  /** Starts a registry and a service whose helper is this script. */
  async function start(script: string, onFailure: () => void = () => undefined) {
    const folder = await makeAuthFolder();
    const server = await startRegistry({ auth: { mode: 'basic' } });
    await folder.addHelper('cloud', script);
    const path = await folder.write('config.json', { credHelpers: { [server.host]: 'cloud' } });
    const variables = {
      ...folder.environment,
      REGISTRY_AUTH_FILE: path,
      REGISTRY_TOKEN: '',
      AWS_REGION: 'x',
    };
    const config = loadConfig({ ...variables, SECRET_OF_SERVICE: 'hunter2' }).registry;
    const failures: string[] = [];
    const { operator } = config.files ?? {};
    assert.ok(operator);
    operator.onHelperFailure = (message) => {
      failures.push(message);
      onFailure();
    };
    const host = registryHost('http', server.host);
    const access = openAccess();
    return {
      folder,
      server,
      failures,
      pull: () =>
        pull(
          access.open(
            server,
            chooseCredential(host, undefined, config.credentials, { repository: REPOSITORY }),
          ),
        ),
      [Symbol.asyncDispose]: async () => {
        access[Symbol.dispose]();
        await server.close();
        await folder[Symbol.asyncDispose]();
      },
    };
  }

  test('that fails is reported without what it says, and is not run for each request', async () => {
    await using scene = await start('echo "hunter2" >&2; echo hunter2; exit 3\n');
    const message = `Cannot get credentials of "${scene.server.host}" from "docker-credential-cloud": it ended with code 3`;
    for (let request = 0; request < 3; request += 1)
      await assert.rejects(scene.pull(), { code: 'INVALID_CONFIGURATION', message });
    assert.deepEqual(scene.failures, [message]);
    assert.equal(scene.server.requests.length, 0);
  });

  test('that fails only after its time limit is not run for the next request, either', async (t) => {
    let lateMs = 0;
    const now = performance.now.bind(performance);
    t.mock.method(performance, 'now', () => now() + lateMs);
    await using scene = await start('exit 3\n', () => {
      lateMs += 20_000;
    });
    for (let request = 0; request < 3; request += 1) await assert.rejects(scene.pull());
    assert.equal(scene.failures.length, 1);
  });

  test('gets what helpers of clouds need, and none of the variables of the service', async () => {
    await using scene = await start(`env >"$0.env"\n${answering('user', 'secret')}`);
    await scene.pull();
    const { readFile } = await import('node:fs/promises');
    const text = await readFile(`${scene.folder.path}/bin/docker-credential-cloud.env`, 'utf8');
    const names = text.split('\n').map((line) => line.split('=', 1)[0] ?? '');
    assert.ok(names.includes('PATH') && names.includes('AWS_REGION'), text);
    assert.deepEqual(
      names.filter((name) => /REGISTRY|SECRET/.test(name)),
      [],
    );
  });
});
