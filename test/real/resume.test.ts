/** Downloads that break off and go on, and checksums that are checked: with the commands that people type. */
import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { copyFile, rename, rm, truncate } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { test } from 'node:test';
import { curl, sha256Of, sizeOf } from './curl.ts';
import { largeImage, openBench, push } from './images.ts';
import { attempt, cleanup, requireParts, run, temporaryDirectory } from './parts.ts';
import { startRegistry } from './registry.ts';
import { startService } from './service.ts';

const PARTS = ['aria2c', 'busybox', 'curl', 'docker-registry', 'skopeo', 'tar', 'wget'] as const;
const MIB = 1024 * 1024;
const CUTS = 10;
const PATHS = [
  '/docker/team_app_1.tar',
  '/docker/team_app_1.tgz',
  '/oci/team_app_1.tar',
  '/team/app:1',
] as const;

/** The commands that continue a download of which a part is in a file. */
const TOOLS: Readonly<Record<string, (file: string, url: string) => readonly string[]>> = {
  'curl -C -': (file, url) => ['curl', '-q', '-sS', '-C', '-', '-o', file, url],
  'curl --fail -C -': (file, url) => ['curl', '-q', '-sSf', '-C', '-', '-o', file, url],
  'wget -c': (file, url) => ['wget', '--no-config', '--no-proxy', '-q', '-t', '2', '-c', '-O', file, url],
  'busybox wget -c': (file, url) => ['busybox', 'wget', '-q', '-c', '-O', file, url],
  'aria2c -c': (file, url) => [
    ...['aria2c', '--no-conf', '-q', '-c', '-m', '1', '--auto-file-renaming=false', '--file-allocation=none'],
    ...['-d', dirname(file), '-o', basename(file), url],
  ],
};

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
  const goOn = (tool: string, file: string, url: string) => {
    const [command = '', ...args] = TOOLS[tool]?.(file, url) ?? [];
    return attempt(command, args);
  };
  /** Begins a download as a client does that breaks off. Its output is closed under it: a limit of rate would be too late. */
  const breakOff = (file: string, url: string) =>
    run('sh', ['-c', 'curl -q -sS "$1" | head -c "$2" >"$3"', 'sh', url, `${MIB}`, file]);
  return { directory, registry, publish, one, other, whole, cutCopy, goOn, breakOff };
}

/** What a reference is asked for by: the address of the registry goes with it, or it would be Docker Hub's. */
function pathOf(path: string, host: string): string {
  return path === '/team/app:1' ? `/${host}${path}` : path;
}

test('a download that breaks off goes on', { timeout: 180_000 }, async (t) => {
  if (!requireParts(t, ...PARTS)) return;
  const { directory, registry, publish, one, other, whole, cutCopy, goOn, breakOff } = await openShop(
    cleanup(t),
  );

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
            const { code, stderr } = await goOn('curl --fail -C -', copy, origin + path);
            assert.equal(code, 0, `${stderr} (cut at ${length} of ${size})`);
            assert.equal(await sha256Of(copy), sum, `cut at ${length} of ${size}`);
          }
        },
      );
    }
    for (const tool of Object.keys(TOOLS)) {
      await t.test(`${path.replace(registry.host, 'host')} by ${tool}`, async () => {
        const copy = await cutCopy(file, randomInt(1, size));
        const { code, stderr } = await goOn(tool, copy, other.origin + path);
        assert.equal(code, 0, stderr);
        assert.equal(await sha256Of(copy), sum);
      });
    }
  }

  await t.test('after curl was interrupted itself', async () => {
    const path = '/docker/team_app_1.tar';
    const { sum, size } = await whole(path);
    const file = join(directory, 'interrupted');
    await breakOff(file, one.origin + path);
    assert.ok((await sizeOf(file)) === MIB && size > MIB, `the first of ${size} bytes are there`);
    assert.equal((await goOn('curl -C -', file, other.origin + path)).code, 0);
    assert.equal(await sha256Of(file), sum);
  });

  await t.test('but not with the rest of another image, once the tag has moved', async (t) => {
    const path = '/docker/team_app_1.tar';
    const url = one.origin + path;
    const part = join(directory, 'begun');
    const { sum: old } = await whole(path);
    await breakOff(part, url);
    const before = await sha256Of(part);
    await publish();
    for (const tool of Object.keys(TOOLS)) {
      await t.test(`by ${tool}`, async () => {
        const copy = await cutCopy(part, MIB);
        assert.notEqual((await goOn(tool, copy, url)).code, 0, 'the tool sees that this is no rest');
        assert.equal(await sha256Of(copy), before, 'nothing of the other image is in the file');
        // What the error says to do.
        for (const name of [copy, `${copy}.aria2`]) await rm(name, { force: true });
        const { code, stderr } = await goOn(tool, copy, url);
        assert.equal(code, 0, stderr);
        const { sum } = await whole(`${path}?`);
        assert.notEqual(sum, old, 'the tag has moved');
        assert.equal(await sha256Of(copy), sum);
      });
    }
  });

  await t.test('nor when the tool has the whole of the old image', async (t) => {
    const path = '/docker/team_app_1.tgz';
    const url = one.origin + path;
    const { file } = await whole(path);
    const before = await sha256Of(file);
    await publish();
    for (const tool of Object.keys(TOOLS)) {
      await t.test(`by ${tool}`, async () => {
        const { code } = await goOn(tool, file, url);
        // aria2 compares the lengths first, and asks for nothing more if they are the same.
        if (tool !== 'aria2c -c') assert.notEqual(code, 0);
        assert.equal(await sha256Of(file), before);
      });
    }
  });
});

test('coreutils check the files with the checksums that are served', { timeout: 180_000 }, async (t) => {
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
