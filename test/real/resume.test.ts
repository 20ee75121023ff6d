/** Downloads that break off and go on, and checksums that are checked: with the commands that people type. */
import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { copyFile, rename, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { curl, sha256Of, sizeOf } from './curl.ts';
import { largeImage, openBench, push } from './images.ts';
import { attempt, cleanup, requireParts, run, temporaryDirectory } from './parts.ts';
import { startRegistry } from './registry.ts';
import { startService } from './service.ts';

const PARTS = ['busybox', 'curl', 'docker-registry', 'skopeo', 'tar', 'wget'] as const;
const MIB = 1024 * 1024;
const CUTS = 10;
const PATHS = [
  '/docker/team_app_1.tar',
  '/docker/team_app_1.tgz',
  '/oci/team_app_1.tar',
  '/team/app:1',
] as const;

/** A registry with an image that takes a while to send, and two processes of the service before it. */
async function openShop(stack: AsyncDisposableStack) {
  const directory = await temporaryDirectory(stack, 'resume');
  const [registry, bench] = await Promise.all([startRegistry(stack, 'none'), openBench(stack)]);
  const publish = async () => push(registry, bench, await largeImage(bench, 4 * MIB), 'team/app:1');
  await publish();
  const env = { REGISTRY_URL: registry.origin };
  const [one, other] = await Promise.all([startService(stack, env), startService(stack, env)]);

  const whole = async (path: string) => {
    const { file, status, stderr } = await curl(directory, one.origin + path);
    assert.equal(status, 200, stderr);
    return { file, size: await sizeOf(file), sum: await sha256Of(file) };
  };
  /** A copy of which only the first bytes are there, as after a connection that broke. */
  const cutCopy = async (file: string, length: number): Promise<string> => {
    const copy = join(directory, `cut-${length}`);
    await copyFile(file, copy);
    await truncate(copy, length);
    return copy;
  };
  const goOn = (file: string, url: string) => attempt('curl', ['-q', '-sSf', '-C', '-', '-o', file, url]);
  return { directory, registry, publish, one, other, whole, cutCopy, goOn };
}

/** What a reference is asked for by: the address of the registry goes with it, or it would be Docker Hub's. */
function pathOf(path: string, host: string): string {
  return path === '/team/app:1' ? `/${host}${path}` : path;
}

test('a download that breaks off goes on', { timeout: 120_000 }, async (t) => {
  if (!requireParts(t, ...PARTS)) return;
  const { directory, registry, publish, one, other, whole, cutCopy, goOn } = await openShop(cleanup(t));

  for (const path of PATHS.map((path) => pathOf(path, registry.host))) {
    const { file, size, sum } = await whole(path);
    for (const [which, origin] of [
      ['the same process', one.origin],
      ['a process that has not seen it', other.origin],
    ]) {
      await t.test(
        `${path.replace(registry.host, 'host')} by curl -C - at ${CUTS} places, from ${which}`,
        async () => {
          for (let cut = 0; cut < CUTS; cut += 1) {
            const length = randomInt(1, size);
            const copy = await cutCopy(file, length);
            const { code, stderr } = await goOn(copy, origin + path);
            assert.equal(code, 0, `${stderr} (cut at ${length} of ${size})`);
            assert.equal(await sha256Of(copy), sum, `cut at ${length} of ${size}`);
          }
        },
      );
    }
    await t.test(`${path.replace(registry.host, 'host')} by wget -c`, async () => {
      const copy = await cutCopy(file, randomInt(1, size));
      await run('wget', ['--no-config', '--no-proxy', '-q', '-c', '-O', copy, other.origin + path]);
      assert.equal(await sha256Of(copy), sum);
    });
  }

  await t.test('after curl was interrupted itself', async () => {
    const path = '/docker/team_app_1.tar';
    const { sum, size } = await whole(path);
    const file = join(directory, 'interrupted');
    // Its output is closed under it: a limit of rate or time would come too late now and then, on loopback.
    const script = 'curl -q -sS "$1" | head -c "$2" >"$3"';
    await run('sh', ['-c', script, 'sh', one.origin + path, `${MIB}`, file]);
    assert.ok((await sizeOf(file)) === MIB && size > MIB, `the first of ${size} bytes are there`);
    assert.equal((await goOn(file, other.origin + path)).code, 0);
    assert.equal(await sha256Of(file), sum);
  });

  await t.test('but not with the rest of another image, once the tag has moved', async () => {
    const path = '/docker/team_app_1.tar';
    const { file, sum } = await whole(path);
    const copy = await cutCopy(file, MIB);
    const before = await sha256Of(copy);
    await publish();
    assert.notEqual((await whole(`${path}?`)).sum, sum, 'the tag has moved');
    assert.notEqual((await goOn(copy, one.origin + path)).code, 0, 'curl sees that this is no rest');
    assert.equal(await sha256Of(copy), before, 'nothing of the other image is in the file');
  });
});

test('coreutils check the files with the checksums that are served', { timeout: 60_000 }, async (t) => {
  if (!requireParts(t, ...PARTS)) return;
  const { directory, one } = await openShop(cleanup(t));
  for (const layout of ['docker', 'docker-gzip', 'oci']) {
    for (const name of ['team_app_1.tar', 'team_app_1.tgz', 'team_app_1.tar.gz']) {
      await t.test(`${layout}/${name}`, async () => {
        const url = `${one.origin}/${layout}/${name}`;
        await rename((await curl(directory, url)).file, join(directory, name));
        for (const algorithm of ['sha256', 'sha512', 'md5']) {
          const { file } = await curl(directory, `${url}.${algorithm}`);
          const said = await run(`${algorithm}sum`, ['--strict', '-c', file], { cwd: directory });
          assert.equal(said, `${name}: OK\n`);
        }
      });
    }
  }
});
