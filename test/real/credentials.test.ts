/** Credentials and certificates of several real registries, in files that are rotated as Kubernetes does it while downloads run. */
import assert from 'node:assert/strict';
import { renameSync } from 'node:fs';
import { mkdir, readFile, rename, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { assertArchive } from './archive.ts';
import { makeAuthority } from './certificates.ts';
import { curl, textOf } from './curl.ts';
import { assertFailure } from './failure.ts';
import { image, openBench, published, push } from './images.ts';
import { cleanup, requireParts, temporaryDirectory, until } from './parts.ts';
import { htpasswdLine, PASSWORD, type Registry, startRegistry } from './registry.ts';
import { startService } from './service.ts';

const OPTIONS = { timeout: 180_000 };

/** Images, and downloads of each. */
const IMAGES = 4;
const ROUNDS = 6;

const NEXT_PASSWORD = 'next:pässword/+=';

function isReady(t: TestContext): boolean {
  return requireParts(t, 'busybox', 'curl', 'docker-registry', 'htpasswd', 'openssl', 'skopeo', 'tar');
}

/** A mounted volume of Kubernetes: files are links into `..data`, which is a link to a folder that is replaced as a whole. */
async function mountVolume(directory: string, path: string, content: string) {
  let version = 0;
  const prepare = async (text: string) => {
    version += 1;
    const file = join(directory, `..${version}`, path);
    await mkdir(join(file, '..'), { recursive: true });
    await writeFile(file, text);
    await symlink(`..${version}`, join(directory, '..data_tmp'));
    /** Takes effect at once, so it can be done together with another change. */
    return () => renameSync(join(directory, '..data_tmp'), join(directory, '..data'));
  };
  (await prepare(content))();
  const [first = ''] = path.split('/');
  await symlink(join('..data', first), join(directory, first));
  return { path: join(directory, path), prepare };
}

const authOf = (username: string, password: string) => ({
  auth: Buffer.from(`${username}:${password}`).toString('base64'),
});

const pathOf = ({ origin, host }: Registry, filename: string) =>
  `/registry/${new URL(origin).protocol.slice(0, -1)}/${encodeURIComponent(host)}/docker/${filename}`;

test(
  'two registries with different users, and a password that is rotated while downloads run',
  OPTIONS,
  async (t) => {
    if (!isReady(t)) return;
    const stack = cleanup(t);
    const directory = await temporaryDirectory(stack, 'curl');
    const volume = await temporaryDirectory(stack, 'secret');
    const [one, two, bench] = await Promise.all([
      startRegistry(stack, 'htpasswd', { user: { username: 'one', password: PASSWORD } }),
      startRegistry(stack, 'htpasswd', { user: { username: 'two', password: PASSWORD } }),
      openBench(stack),
    ]);
    for (let at = 0; at < IMAGES; at += 1) {
      const words = await image(bench, `image ${at}`);
      for (const registry of [one, two]) await push(registry, bench, words, `team/app-${at}:1`);
    }
    const content = (password: string) =>
      JSON.stringify({
        auths: { [one.host]: authOf('one', password), [`${two.host}/team`]: authOf('two', PASSWORD) },
      });
    const secret = await mountVolume(volume, 'config.json', content(PASSWORD));
    const service = await startService(stack, { REGISTRY_AUTH_FILE: secret.path });
    const download = async (registry: Registry, at: number) => {
      const filename = `team_app-${at}_1.tar`;
      const answer = await curl(directory, `${service.origin}${pathOf(registry, filename)}`);
      const isServed = answer.status === 200;
      assert.ok(isServed, isServed ? '' : await textOf(answer));
      return { answer, filename };
    };

    await t.test('each has its own user', async () => {
      for (const registry of [one, two]) {
        const { answer, filename } = await download(registry, 0);
        await assertArchive(answer, filename, await published(registry, 'team/app-0:1'));
      }
    });

    await t.test('none of the downloads fails', async () => {
      let done = 0;
      const run = async (at: number) => {
        for (let round = 0; round < ROUNDS; round += 1) {
          await download(one, at);
          await download(two, at);
          done += 1;
        }
      };
      const running = Promise.all(Array.from({ length: IMAGES }, (_, at) => run(at)));
      running.catch(() => undefined);
      await until('some downloads', () => (done >= IMAGES ? done : undefined));
      const { htpasswd = assert.fail() } = one;
      await writeFile(`${htpasswd}.next`, await htpasswdLine('one', NEXT_PASSWORD));
      const swap = await secret.prepare(content(NEXT_PASSWORD));
      const before = done;
      swap();
      renameSync(`${htpasswd}.next`, htpasswd);
      await running;
      assert.ok(before < IMAGES * ROUNDS, 'the downloads were over before the password was rotated');
      assert.ok(service.logs().some(({ event }) => event === 'file_reloaded'));
    });

    await t.test('a broken file leaves the last in use, and says so', async () => {
      (await secret.prepare(`{"auths": ${NEXT_PASSWORD}`))();
      const line = await until(
        'file_rejected',
        () => service.logs().find(({ event }) => event === 'file_rejected'),
        20_000,
      );
      assert.match(String(line['message']), /it is not JSON/);
      await download(one, 0);
    });

    await t.test('a refused password: whose it was', async () => {
      const { htpasswd = assert.fail() } = one;
      await writeFile(`${htpasswd}.next`, await htpasswdLine('one', 'another'));
      await rename(`${htpasswd}.next`, htpasswd);
      await assertFailure(directory, service.origin, {
        path: pathOf(one, 'team_app-0_1.tar'),
        status: 502,
        title: 'Failed to prepare image',
        tells: /it refused the credentials of REGISTRY_AUTH_FILE/,
      });
    });

    for (const text of [PASSWORD, NEXT_PASSWORD, authOf('one', NEXT_PASSWORD).auth])
      assert.ok(!service.said().includes(text), 'a secret is in the log');
  },
);

test('a certificate authority that is rotated while downloads run', OPTIONS, async (t) => {
  if (!isReady(t)) return;
  const stack = cleanup(t);
  const directory = await temporaryDirectory(stack, 'curl');
  const volume = await temporaryDirectory(stack, 'certs');
  const [registry, bench] = await Promise.all([startRegistry(stack, 'tls'), openBench(stack)]);
  for (let at = 0; at < IMAGES; at += 1)
    await push(registry, bench, await image(bench, `image ${at}`), `team/app-${at}:1`);
  const own = await readFile(registry.authority ?? assert.fail(), 'utf8');
  const { certificate } = await makeAuthority(await temporaryDirectory(stack, 'other'), 'other-authority');
  const other = await readFile(certificate, 'utf8');
  const folder = await mountVolume(volume, `${registry.host}/ca.crt`, other);
  const service = await startService(stack, { REGISTRY_CERTS_DIR: volume });
  const path = (at: number) => pathOf(registry, `team_app-${at}_1.tar`);
  const untrusted = {
    path: path(0),
    status: 502,
    title: 'Failed to prepare image',
    tells: /its certificate is not trusted: its authority \\?"CN=private-authority\\?" is unknown here/,
  } as const;
  const isServed = async (at: number) => (await curl(directory, service.origin + path(at))).status === 200;

  await assertFailure(directory, service.origin, untrusted);
  (await folder.prepare(own))();
  await until('the new authority', async () => ((await isServed(0)) ? true : undefined), 20_000);

  let done = 0;
  const run = async (at: number) => {
    for (let round = 0; round < ROUNDS; round += 1) {
      assert.ok(await isServed(at));
      done += 1;
    }
  };
  const running = Promise.all(Array.from({ length: IMAGES }, (_, at) => run(at)));
  running.catch(() => undefined);
  await until('some downloads', () => (done >= IMAGES ? done : undefined));
  (await folder.prepare(`${other}${own}`))();
  await running;

  (await folder.prepare(other))();
  await until('the end of the authority', async () => ((await isServed(0)) ? undefined : true), 20_000);
  await assertFailure(directory, service.origin, untrusted);
});

test('http and https mixed up', OPTIONS, async (t) => {
  if (!isReady(t)) return;
  const stack = cleanup(t);
  const directory = await temporaryDirectory(stack, 'curl');
  const [plain, secure] = await Promise.all([startRegistry(stack, 'none'), startRegistry(stack, 'tls')]);
  const service = await startService(stack, {});
  for (const [scheme, { host }, tells] of [
    ['https', plain, /: it does not speak TLS: use http/],
    ['http', secure, /: it speaks https, and was asked over http/],
  ] as const) {
    const path = `/registry/${scheme}/${encodeURIComponent(host)}/docker/team_app_1.tar`;
    await assertFailure(directory, service.origin, {
      path,
      status: 502,
      title: 'Failed to prepare image',
      tells,
    });
  }
});
