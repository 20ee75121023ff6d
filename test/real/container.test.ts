/** The image of the service: built with the Dockerfile by a real engine, run as its users run it, and asked for an archive. */
import assert from 'node:assert/strict';
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { curl, sha256Of, sizeOf } from './curl.ts';
import { importDebianBase } from './debian-base.ts';
import { startDockerEngine } from './docker-engine.ts';
import { freePort } from './free-port.ts';
import { openBench, push, randomImage } from './images.ts';
import { cleanup, requireParts, requireRoot, run, temporaryDirectory, until } from './parts.ts';
import { startRegistry } from './registry.ts';
import { startService } from './service.ts';
import { pathOfSidProgram, requireSidPrograms } from './sid-programs.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** Debian's client brings BuildKit along. Another one in the path may need a plugin for it. */
const DOCKER = '/usr/bin/docker';

/** Milliseconds for one build: npm fetches all packages. */
const BUILD_LIMIT = 600_000;

/** Largest image as a registry keeps it, in bytes. */
const MAX_COMPRESSED = 60_000_000;

/** What makes an image more than its program: a shell, a package manager, the npm of Node.js. */
const UNWANTED = /(?:^|\/)(?:sh|bash|dash|busybox|env|npm|npx|apt|dpkg|corepack)$|node_modules/;

const COMMIT = 'abcdef012345';

interface Container {
  readonly State: {
    readonly Pid: number;
    readonly ExitCode: number;
    readonly Health?: { readonly Status: string };
  };
}

interface Config {
  readonly User: string;
  readonly StopSignal: string;
  readonly Labels: Readonly<Record<string, string>>;
  readonly ExposedPorts: object;
}

test('the image serves with a read-only root, without capabilities and privileges', {
  timeout: 1_500_000,
}, async (t) => {
  if (!requireRoot(t) || !requireParts(t, 'curl', 'docker', 'docker-registry', 'dockerd', 'skopeo', 'tar'))
    return;
  if (!requireSidPrograms(t, 'buildx', 'compose')) return;
  const stack = cleanup(t);
  const [engine, registry, bench] = await Promise.all([
    startDockerEngine(stack),
    startRegistry(stack, 'none'),
    openBench(stack),
  ]);
  const directory = await temporaryDirectory(stack, 'container');
  const base = await importDebianBase(stack, engine);
  const env = {
    DOCKER_BUILDKIT: '1',
    DOCKER_HOST: engine.host,
    DOCKER_CONFIG: join(directory, 'config'),
    BUILDKIT_PROGRESS: 'plain',
  };
  const build = async (name: string): Promise<readonly string[]> => {
    const args = [`NODE_IMAGE=${base}`, `SOURCE_COMMIT=${COMMIT}`].flatMap((value) => ['--build-arg', value]);
    await run(DOCKER, ['build', '--no-cache', '--network', 'host', ...args, '-t', name, ROOT], {
      env,
      timeout: BUILD_LIMIT,
    });
    return (await engine.inspect(name)).RootFS.Layers;
  };

  const layers = await build('passthrough:one');
  await t.test('two builds of one commit give the same layers', async () => {
    // The second one with bake, as a release is built.
    const variables = {
      NODE_IMAGE: base,
      SOURCE_COMMIT: COMMIT,
      IMAGE: 'passthrough',
      TAG: 'two',
      NETWORK: 'host',
    };
    const args = ['--allow=network.host', '--no-cache', 'image-local'];
    await run(pathOfSidProgram('buildx'), ['bake', ...args], {
      ...{ cwd: ROOT, timeout: BUILD_LIMIT },
      env: { ...env, ...variables },
    });
    assert.deepEqual((await engine.inspect('passthrough:two')).RootFS.Layers, layers);
  });

  await t.test('the image is small and has nothing but the program', async () => {
    const archive = join(directory, 'image.tar');
    await engine.docker('save', '-o', archive, 'passthrough:one');
    const compressed = Number(await run('sh', ['-c', 'gzip -c "$1" | wc -c', 'sh', archive]));
    t.diagnostic(`${compressed} bytes compressed`);
    assert.ok(compressed <= MAX_COMPRESSED, `${compressed} bytes`);

    const container = (await engine.docker('create', 'passthrough:one')).trim();
    const files = join(directory, 'files.tar');
    await engine.docker('export', '-o', files, container);
    await engine.docker('rm', container);
    const names = (await run('tar', ['-tf', files])).split('\n');
    assert.ok(names.includes('usr/bin/node') && names.includes('app/NOTICE'), names.slice(0, 20).join(' '));
    assert.deepEqual(
      names.filter((name) => UNWANTED.test(name)),
      [],
    );
  });

  await t.test('the image says what it is', async () => {
    const config = JSON.parse(
      await engine.docker('inspect', '--format', '{{json .Config}}', 'passthrough:one'),
    ) as Config;
    const { version } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8'));
    const label = (name: string) => config.Labels[`org.opencontainers.image.${name}`];
    assert.deepEqual(
      [
        config.User,
        config.StopSignal,
        config.ExposedPorts,
        ...['version', 'revision', 'source', 'licenses'].map(label),
      ],
      [
        ...['65532:65532', 'SIGTERM', { '8080/tcp': {} }],
        ...[version, COMMIT, 'https://github.com/cisco-open/docker-http-passthrough', 'Apache-2.0'],
      ],
    );
  });

  await t.test('a container of it gives archives, is healthy, and stops', async () => {
    await push(registry, bench, (await randomImage(bench, 300_000, 2_000_000)).image, 'team/app:1');
    const port = await freePort();
    const variables = { HTTP_HOST: '127.0.0.1', HTTP_PORT: `${port}`, REGISTRY_URL: registry.origin };
    const container = (
      await engine.docker(
        ...['run', '-d', '--network', 'host', '--read-only', '--tmpfs', '/tmp:size=64m', '--cap-drop', 'ALL'],
        ...['--security-opt', 'no-new-privileges', '--ulimit', 'nofile=1024:1024', '--health-interval', '1s'],
        ...Object.entries(variables).flatMap(([name, value]) => ['-e', `${name}=${value}`]),
        'passthrough:one',
      )
    ).trim();
    const inspect = async () =>
      (JSON.parse(await engine.docker('inspect', container)) as [Container])[0].State;
    await until(
      'healthy container',
      async () => {
        const { Health, ExitCode, Pid } = await inspect();
        if (Pid === 0)
          throw new Error(
            `Cannot run the container: exit ${ExitCode} ${await engine.docker('logs', container)}`,
          );
        return Health?.Status === 'healthy' ? true : undefined;
      },
      60_000,
    );

    const { Pid } = await inspect();
    const status = await readFile(`/proc/${Pid}/status`, 'utf8');
    assert.match(status, /^Uid:\t65532\t65532\t65532\t65532$/m);
    assert.match(status, /^CapBnd:\t0{16}$/m);

    const service = await startService(stack, { REGISTRY_URL: registry.origin });
    const expected = await curl(directory, `${service.origin}/docker/team_app_1.tar`);
    const download = async () => {
      const { status: code, file } = await curl(directory, `http://127.0.0.1:${port}/docker/team_app_1.tar`);
      return [code, await sha256Of(file)];
    };
    // The name of the registry is its host and port in both, so the bytes are the same.
    assert.deepEqual(await download(), [200, await sha256Of(expected.file)]);

    // As a cleaner of temporary files does.
    const temporary = `/proc/${Pid}/root/tmp`;
    const folders = await readdir(temporary);
    assert.ok(folders.length > 0);
    for (const name of folders) await rm(join(temporary, name), { recursive: true });
    assert.deepEqual(await download(), [200, await sha256Of(expected.file)]);

    // Another command of the same image.
    const tags = ['passthrough:one', 'tags', `${registry.host}/team/app`];
    const options = ['--rm', '--network', 'host', '--read-only', '--tmpfs', '/tmp'];
    assert.equal(await engine.docker('run', ...options, ...tags), '1\n');

    await engine.docker('stop', container);
    assert.equal((await inspect()).ExitCode, 0);
  });

  await t.test('compose starts it', async () => {
    const port = await freePort();
    await engine.docker('tag', 'passthrough:one', 'ghcr.io/cisco-open/docker-http-passthrough:test');
    // The engine has no bridge.
    const override = join(directory, 'override.yaml');
    const own = { network_mode: 'host', environment: [`HTTP_PORT=${port}`] };
    await writeFile(override, JSON.stringify({ services: { passthrough: own } }));
    const files = ['-f', join(ROOT, 'compose.yaml'), '-f', override];
    const compose = (...args: readonly string[]) =>
      run(pathOfSidProgram('compose'), ['-p', 'test', ...files, ...args], {
        env: { ...env, TAG: 'test', REGISTRY_URL: registry.origin },
        cwd: directory,
      });
    await compose('up', '-d', '--no-build', '--pull', 'never');
    try {
      const path = `http://127.0.0.1:${port}/docker/team_app_1.tar`;
      const answer = await until('answer', async () => {
        const { status, file } = await curl(directory, path);
        return status === 0 ? undefined : { status, bytes: await sizeOf(file) };
      });
      assert.equal(answer.status, 200);
      assert.ok(answer.bytes > 2_000_000, `${answer.bytes} bytes`);
      assert.deepEqual((await compose('ps', '--services')).trim().split('\n'), ['passthrough']);
    } finally {
      await compose('down', '--volumes');
    }
  });
});
