/** `pull` from real registries, in each way in which a registry lets its clients in, and what skopeo says of the archives. */
import assert from 'node:assert/strict';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { run as runCommand } from '../cli/command.ts';
import { image, openBench, push } from './images.ts';
import { cleanup, requireParts, run, temporaryDirectory } from './parts.ts';
import { PASSWORD, type Registry, type RegistryMode, startRegistry, USERNAME } from './registry.ts';

const OPTIONS = { timeout: 180_000 };

/** Options that let the user in, and options that do not, with the exit code and what to try. */
interface Access {
  readonly good: readonly (readonly string[])[];
  readonly bad: readonly (readonly [options: readonly string[], code: number, says: RegExp])[];
}

const SIGN_IN = /\nSign in with docker login, or give --user and --password-stdin/;
const NAMED = ['-u', USERNAME, '-p', PASSWORD];

const ACCESS: Readonly<Record<RegistryMode, (registry: Registry) => Access>> = {
  none: () => ({
    good: [[], ['-s', 'http']],
    bad: [[['-s', 'https'], 1, /: it does not speak TLS: use http\nAdd --scheme http\n/]],
  }),
  htpasswd: () => ({
    good: [NAMED],
    bad: [
      [[], 4, SIGN_IN],
      [['-u', USERNAME, '-p', 'wrong'], 4, SIGN_IN],
    ],
  }),
  token: () => ({
    good: [NAMED],
    bad: [[['-u', USERNAME, '-p', 'wrong'], 4, SIGN_IN]],
  }),
  tls: ({ authority = '' }) => ({
    good: [
      ['-s', 'https', '-x', authority],
      ['--scheme=https', `--ca=${authority}`],
      ['-s', 'https', '-i'],
    ],
    bad: [
      [
        ['-s', 'https'],
        1,
        /its certificate is not trusted: .*\nName the PEM file .* with --cacert, .*; --insecure/,
      ],
      [[], 1, /it speaks https.*\nAdd --scheme https\n/],
      [
        ['-s', 'https', '-x', '/dev/null'],
        2,
        /Cannot use the CA certificate: .*\nIt is the file of --cacert\n/,
      ],
    ],
  }),
};

for (const mode of Object.keys(ACCESS) as RegistryMode[]) {
  test(`pull from a registry with ${mode}`, OPTIONS, async (t: TestContext) => {
    if (!requireParts(t, 'busybox', 'docker-registry', 'htpasswd', 'openssl', 'skopeo')) return;
    const stack = cleanup(t);
    const folder = await temporaryDirectory(stack, 'pull');
    const [registry, bench] = await Promise.all([startRegistry(stack, mode), openBench(stack)]);
    await push(registry, bench, await image(bench, 'pulled'), 'team/app:1');
    const ref = `${registry.host}/team/app:1`;
    const env = { HOME: folder };
    const { good, bad } = ACCESS[mode](registry);

    for (const [at, options] of good.entries()) {
      const file = join(folder, `${at}.tar`);
      const { code, stderr } = await runCommand(['pull', ...options, ref, file], { env });
      assert.equal(code, 0, `${options.join(' ')}: ${stderr}`);
      const inspected = JSON.parse(await run('skopeo', ['inspect', `docker-archive:${file}`]));
      assert.equal(inspected.Os, 'linux');
      const told = await runCommand(['inspect', '--json', file]);
      assert.deepEqual(JSON.parse(String(told.stdout)).images[0].tags, [ref], told.stderr);
    }
    for (const [options, code, says] of bad) {
      const result = await runCommand(['pull', '-q', ...options, ref, join(folder, 'bad.tar')], { env });
      assert.equal(result.code, code, `${options.join(' ')}: ${result.stderr}`);
      assert.match(result.stderr, says);
      assert.ok(!result.stderr.includes(PASSWORD));
    }
    const none = [...(good[0] ?? []), ref.replace(/:1$/, ':none')];
    assert.equal((await runCommand(['manifest', ...none], { env })).code, 3);
  });
}

test('pull with the state that skopeo login has left', OPTIONS, async (t) => {
  if (!requireParts(t, 'busybox', 'docker-registry', 'htpasswd', 'skopeo')) return;
  const stack = cleanup(t);
  const folder = await temporaryDirectory(stack, 'login');
  const [registry, bench] = await Promise.all([startRegistry(stack, 'htpasswd'), openBench(stack)]);
  await push(registry, bench, await image(bench, 'signed in'), 'team/app:1');
  const authFile = join(folder, 'auth.json');
  const login = ['login', '--tls-verify=false', '--authfile', authFile, '-u', USERNAME, '--password-stdin'];
  await run('skopeo', [...login, registry.host], { input: PASSWORD });

  const ref = `${registry.host}/team/app:1`;
  const pull = ['pull', '-q', ref, join(folder, 'a.tar')];
  const state = join(folder, 'run');
  await mkdir(join(state, 'containers'), { recursive: true });
  assert.equal((await runCommand(pull, { env: { HOME: folder } })).code, 4);
  for (const [options, env] of [
    [['--authfile', authFile], {}],
    [[], { REGISTRY_AUTH_FILE: authFile }],
  ] as const) {
    const { code, stderr } = await runCommand([...pull, ...options], { env: { HOME: folder, ...env } });
    assert.deepEqual([code, stderr], [0, '']);
  }
  await writeFile(join(state, 'containers', 'auth.json'), await readFile(authFile));
  const { code, stderr } = await runCommand(pull, { env: { HOME: folder, XDG_RUNTIME_DIR: state } });
  assert.deepEqual([code, stderr], [0, '']);
});
