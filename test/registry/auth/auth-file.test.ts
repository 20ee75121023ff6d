import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { promisify } from 'node:util';
import { authFilePaths, credentialsFor } from '../../../src/registry/auth/auth-file.ts';
import { DOCKER_HUB, type RegistryHost, registryHost } from '../../../src/registry/registry-host.ts';
import { never } from '../support/scene.ts';
import { type AuthFolder, answering, authOf, makeAuthFolder } from './auth-files.ts';

const GHCR = registryHost('https', 'ghcr.io');
const ME = { username: 'me', password: 'mine' };
const TEAM = { username: 'team', password: 'ours:both' };

/** Looks into one file with this content. */
async function lookUp(
  folder: AuthFolder,
  content: unknown,
  host: RegistryHost = GHCR,
  repository = 'org/app',
) {
  const path = await folder.write('config.json', content);
  const { environment } = folder;
  const files = [{ path, isOptional: false }];
  return await credentialsFor(host, repository, { files, environment, signal: never() });
}

describe('the files', () => {
  const home = '/home/me';
  const paths = (environment: Record<string, string>, authFile?: string) =>
    authFilePaths({ authFile, environment, home }).map(({ path }) => path);

  test('are those of podman, then those of Docker', () => {
    assert.deepEqual(paths({}), ['/home/me/.config/containers/auth.json', '/home/me/.docker/config.json']);
    const all = { XDG_RUNTIME_DIR: '/run/user/7', XDG_CONFIG_HOME: '/etc/me', DOCKER_CONFIG: '/srv/docker' };
    assert.deepEqual(paths(all), [
      '/run/user/7/containers/auth.json',
      '/etc/me/containers/auth.json',
      '/srv/docker/config.json',
    ]);
    assert.deepEqual(paths({ XDG_RUNTIME_DIR: '', DOCKER_CONFIG: '' }), paths({}));
    assert.deepEqual(authFilePaths({ environment: {}, home: undefined }), []);
    assert.ok(authFilePaths({ environment: all, home }).every(({ isOptional }) => isOptional));
  });

  test('are a single one if it is named', () => {
    const environment = { XDG_RUNTIME_DIR: '/run/user/7', REGISTRY_AUTH_FILE: '/var/auth.json' };
    assert.deepEqual(paths(environment), ['/var/auth.json']);
    assert.deepEqual(paths(environment, 'mine.json'), ['mine.json']);
    assert.deepEqual(authFilePaths({ authFile: 'mine.json', environment, home }), [
      { path: 'mine.json', isOptional: false },
    ]);
  });

  test('are searched in order: the first with credentials for the repository decides', async () => {
    await using folder = await makeAuthFolder();
    const files = [
      await folder.write('1', { auths: { 'quay.io': authOf('other', 'x') } }),
      join(folder.path, 'missing'),
      join(folder.path, '1', 'no-folder'),
      await folder.write('3', { auths: { 'ghcr.io': {} } }),
      await folder.write('4', ''),
      await folder.write('5', { auths: { 'ghcr.io': authOf('me', 'mine') } }),
      await folder.write('6', { auths: { 'ghcr.io/org': authOf('late', 'x') } }),
    ].map((path) => ({ path, isOptional: true }));
    const options = { files, environment: folder.environment, signal: never() };
    assert.deepEqual(await credentialsFor(GHCR, 'org/app', options), ME);
    assert.equal(await credentialsFor(registryHost('https', 'gcr.io'), 'org/app', options), undefined);
  });

  test('may be pipes', async () => {
    await using folder = await makeAuthFolder();
    const path = join(folder.path, 'pipe');
    await promisify(execFile)('mkfifo', [path]);
    const files = [{ path, isOptional: false }];
    const [found] = await Promise.all([
      credentialsFor(GHCR, 'org/app', { files, environment: folder.environment, signal: never() }),
      writeFile(path, JSON.stringify({ auths: { 'ghcr.io': authOf('me', 'mine') } })),
    ]);
    assert.deepEqual(found, ME);
  });
});

describe('an entry', () => {
  const rows: readonly [what: string, entry: unknown, expected: unknown][] = [
    ['with auth', authOf('me', 'mine'), ME],
    ['with colons in the password', authOf('team', 'ours:both'), TEAM],
    ['with user name and password', ME, ME],
    ['with both takes auth', { ...authOf('me', 'mine'), username: 'other', password: 'x' }, ME],
    ['padded with zero bytes', authOf('me', 'mine\0\0'), ME],
    ['with lines as base64 breaks them', { auth: 'bWU6\r\nbWlu\nZQ==\n' }, ME],
    ['in UTF-8', authOf('jürgen', 'pässword'), { username: 'jürgen', password: 'pässword' }],
    [
      'with an identity token',
      { ...authOf('0000', ''), identitytoken: 'refresh' },
      { identityToken: 'refresh' },
    ],
    [
      'with a token for the registry',
      { ...authOf('me', 'mine'), identitytoken: 'refresh', registrytoken: 'bearer' },
      { registryToken: 'bearer' },
    ],
    ['with an empty password', authOf('me', ''), { username: 'me', password: '' }],
    ['that is empty', {}, undefined],
    ['with an empty auth', { auth: '', email: 'me@example.com' }, undefined],
  ];
  for (const [what, entry, expected] of rows) {
    test(what, async () => {
      await using folder = await makeAuthFolder();
      assert.deepEqual(await lookUp(folder, { auths: { 'ghcr.io': entry } }), expected);
    });
  }

  test('with the longest path decides, and one without credentials gives way', async () => {
    await using folder = await makeAuthFolder();
    const auths = {
      'ghcr.io': authOf('host', 'x'),
      'ghcr.io/org': authOf('me', 'mine'),
      'ghcr.io/org/app/deep': authOf('deep', 'x'),
      'ghcr.io/org/app': {},
    };
    assert.deepEqual(await lookUp(folder, { auths }), ME);
    assert.deepEqual(await lookUp(folder, { auths }, GHCR, 'other/app'), { username: 'host', password: 'x' });
  });

  test('of Docker Hub is found as docker login writes it', async () => {
    await using folder = await makeAuthFolder();
    const auths = { 'https://index.docker.io/v1/': authOf('me', 'mine') };
    assert.deepEqual(await lookUp(folder, { auths }, DOCKER_HUB, 'library/nginx'), ME);
    assert.equal(await lookUp(folder, { auths }), undefined);
  });
});

describe('a helper program', () => {
  test('of credHelpers comes before that of credsStore, and both before auths', async () => {
    await using folder = await makeAuthFolder();
    await folder.addHelper('one', answering('me', 'mine'));
    await folder.addHelper('two', answering('<token>', 'refresh'));
    await folder.addHelper('none', 'echo "credentials not found in native keychain"; exit 1\n');
    const auths = { 'ghcr.io': authOf('file', 'x') };
    const file = { username: 'file', password: 'x' };
    const rows: readonly [content: unknown, expected: unknown][] = [
      [{ auths, credHelpers: { 'ghcr.io': 'one' }, credsStore: 'two' }, ME],
      [{ auths, credHelpers: { 'quay.io': 'one' }, credsStore: 'two' }, { identityToken: 'refresh' }],
      [{ auths, credHelpers: { 'ghcr.io': 'none' }, credsStore: 'two' }, file],
      [{ auths, credsStore: 'none' }, file],
      [{ auths, credHelpers: { 'ghcr.io': '' }, credsStore: 'two' }, file],
      [{ credHelpers: { 'ghcr.io': 'none', 'ghcr.io/org': 'one' } }, ME],
      [{ credsStore: 'none' }, undefined],
    ];
    for (const [content, expected] of rows) {
      assert.deepEqual(await lookUp(folder, content), expected, JSON.stringify(content));
    }
  });

  test('is asked for the address under which docker login stores a registry', async () => {
    await using folder = await makeAuthFolder();
    await folder.addHelper('one', answering('me', 'mine'));
    const content = { credsStore: 'one' };
    await lookUp(folder, content, DOCKER_HUB, 'library/nginx');
    await lookUp(folder, content, registryHost('https', 'lab:5000'), 'app');
    await lookUp(folder, content);
    assert.deepEqual(await folder.asked(), [
      'one https://index.docker.io/v1/',
      'one lab:5000',
      'one ghcr.io',
    ]);
  });

  test('that is missing matters only where the file names the registry', async () => {
    await using folder = await makeAuthFolder();
    assert.equal(await lookUp(folder, { credsStore: 'desktop' }), undefined);
    assert.equal(await lookUp(folder, { auths: { 'quay.io': {} }, credsStore: 'desktop' }), undefined);
    const message = `Cannot use auth file ${JSON.stringify(join(folder.path, 'config.json'))}: it names credential helper "desktop", and no program "docker-credential-desktop" is found`;
    for (const content of [
      { auths: { 'ghcr.io': {} }, credsStore: 'desktop' },
      { credHelpers: { 'ghcr.io': 'desktop' } },
    ]) {
      await assert.rejects(lookUp(folder, content), { code: 'INVALID_CONFIGURATION', message });
    }
  });
});

describe('a file that cannot be used is named, and not quoted', () => {
  const secret = 'c2VjcmV0LTdR';
  const entry = (value: unknown) => ({ auths: { 'ghcr.io': value } });
  const rows: readonly [content: unknown, reason: string][] = [
    [`{"auths": ${secret}`, 'it is not JSON'],
    [`"${secret}"`, 'it is not a JSON object'],
    [[secret], 'it is not a JSON object'],
    ['null', 'it is not a JSON object'],
    [{ auths: [secret] }, 'its field auths is not an object'],
    [{ credHelpers: secret }, 'its field credHelpers is not an object'],
    [{ credsStore: [secret] }, 'its field credsStore is no text'],
    [entry(secret), 'entry "ghcr.io" is not an object'],
    [entry({ auth: 7 }), 'entry "ghcr.io" has a field auth that is no text'],
    [entry({ auth: `${secret}!` }), 'entry "ghcr.io" has a field auth that is not base64'],
    [
      entry({ auth: secret }),
      'entry "ghcr.io" has a field auth without a colon between user name and password',
    ],
    [
      entry({ username: `a:${secret}`, password: secret }),
      'entry "ghcr.io" has a user name with a colon, at which Basic ends it',
    ],
    [entry({ registrytoken: `${secret}\n` }), 'entry "ghcr.io" has a field registrytoken that is no token'],
    [`{"auths": {}, "x": "${'x'.repeat(1024 * 1024)}"}`, 'it has more than 1048576 bytes'],
  ];
  for (const [content, reason] of rows) {
    test(reason, async () => {
      await using folder = await makeAuthFolder();
      await assert.rejects(lookUp(folder, content), (error: Error & { code?: string; details?: unknown }) => {
        assert.equal(error.message, `Cannot use auth file "${join(folder.path, 'config.json')}": ${reason}`);
        assert.equal(error.code, 'INVALID_CONFIGURATION');
        assert.ok(!JSON.stringify([error.message, error.details, String(error.cause)]).includes(secret));
        return true;
      });
    });
  }

  test('unless it is an entry of another registry', async () => {
    await using folder = await makeAuthFolder();
    const auths = { 'quay.io': 7, __proto__: authOf('x', 'x'), 'ghcr.io': authOf('me', 'mine') };
    assert.deepEqual(await lookUp(folder, { auths }), ME);
    assert.equal(await lookUp(folder, '{"auths": {"__proto__": {"ghcr.io": {"auth": "eDp4"}}}}'), undefined);
  });

  test('a named one that is missing, and a folder', async () => {
    await using folder = await makeAuthFolder();
    const options = { environment: folder.environment, signal: never() };
    const reject = async (path: string, isOptional: boolean, reason: string) =>
      await assert.rejects(credentialsFor(GHCR, 'a', { ...options, files: [{ path, isOptional }] }), {
        code: 'INVALID_CONFIGURATION',
        message: `Cannot use auth file "${path}": ${reason}`,
      });
    await reject(join(folder.path, 'none'), false, 'it does not exist');
    await reject(folder.path, false, 'it cannot be read (EISDIR)');
    await reject(folder.path, true, 'it cannot be read (EISDIR)');
  });
});
