/** Update archives in engines that hold the base, and in engines that do not. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { curl } from './curl.ts';
import { startDockerEngine } from './docker-engine.ts';
import { image, openBench, published, push } from './images.ts';
import { attempt, cleanup, requireParts, requireRoot, run, temporaryDirectory } from './parts.ts';
import { startRegistry } from './registry.ts';
import { startService, untilNothingHeld } from './service.ts';

const NEEDED = ['busybox', 'curl', 'docker-registry', 'skopeo', 'tar'] as const;

/** What engines say of a layer that is neither in the archive nor in the engine. */
const LAYER_MISSING = {
  dockerGzip: /open \/.*\/[0-9a-f]{64}\.tar\.gz: no such file or directory/,
  docker: /open \/.*\/[0-9a-f]{64}\/layer\.tar: no such file or directory/,
  oci: /open \/.*\/blobs\/sha256\/[0-9a-f]{64}: no such file or directory/,
};

/** What others say. Their messages have the name of the file. */
const TAR_MISSING = /Some layer tarfiles are missing in the tarball/;
const BLOB_MISSING = /reading blob sha256:[0-9a-f]{64}: open \/.*: no such file or directory/;
const LAYER_NOT_FOUND = /^ctr: failed to resolve layers: layer ".*" not found$/m;
const CONTENT_MISSING =
  /failed to get reader from content store: content digest sha256:[0-9a-f]{64}: not found/;

/** A base, an update of it with one more layer, and the service before their registry. */
async function openShop(stack: AsyncDisposableStack) {
  const directory = await temporaryDirectory(stack, 'updates');
  const [registry, bench] = await Promise.all([startRegistry(stack, 'none'), openBench(stack)]);
  const [common, own] = await Promise.all([
    bench.layout.layer({ 'etc/words': 'common' }),
    bench.layout.layer({ 'etc/words': 'own' }),
  ]);
  await push(registry, bench, await image(bench, 'version 1', common), 'team/app:1');
  await push(registry, bench, await image(bench, 'version 2', common, own), 'team/app:2');
  await push(registry, bench, await image(bench, 'moved', own, common), 'team/app:moved');
  await push(registry, bench, await bench.layout.image([own], 'amd64', 'another'), 'team/another:1');
  const service = await startService(stack, { REGISTRY_URL: registry.origin });
  const pull = async (path: string): Promise<string> => {
    const answer = await curl(directory, service.origin + path);
    assert.equal(answer.status, 200, `${path}: ${answer.stderr}`);
    return answer.file;
  };
  return { directory, registry, service, pull };
}

test('docker loads updates of an image that it has, and refuses others', { timeout: 180_000 }, async (t) => {
  if (!requireParts(t, ...NEEDED, 'docker', 'dockerd') || !requireRoot(t)) return;
  const stack = cleanup(t);
  const [{ registry, service, pull }, engine] = await Promise.all([
    openShop(stack),
    startDockerEngine(stack),
  ]);
  t.diagnostic(`Docker Engine ${engine.version}`);
  const [base, next] = ['1', '2'].map((tag) => `${registry.host}/team/app:${tag}`) as [string, string];
  const images = async () => (await engine.docker('images', '--all', '--no-trunc', '--quiet')).trim();
  const cases = [
    ['docker', '.tar', LAYER_MISSING.docker],
    ['docker', '.tgz', LAYER_MISSING.docker],
    ['docker-gzip', '.tar', LAYER_MISSING.dockerGzip],
    ['oci', '.tar', LAYER_MISSING.oci],
  ] as const;
  for (const [layout, ending, refused] of cases) {
    await t.test(`layout ${layout} as ${ending}`, async () => {
      const update = await pull(`/since/1/${layout}/team_app_2${ending}`);
      await assert.rejects(engine.docker('load', '-i', update), refused);
      assert.equal(await images(), '', 'nothing is left of an update without its base');
      await engine.docker('load', '-i', await pull('/docker/team_another_1.tar'));
      const before = await images();
      await assert.rejects(engine.docker('load', '-i', update), refused);
      assert.equal(await images(), before, 'another image is as it was');
      await engine.docker('image', 'rm', `${registry.host}/team/another:1`);

      await engine.docker('load', '-i', await pull('/docker/team_app_1.tar'));
      assert.equal((await engine.docker('load', '-i', update)).trim(), `Loaded image: ${next}`);
      const { Id, RootFS } = await engine.inspect(next);
      const { configDigest } = await published(registry, 'team/app:2');
      assert.equal(Id, configDigest);
      const options = registry.pushArguments.map((argument) => argument.replace('--dest-', '--'));
      const config = JSON.parse(
        await run('skopeo', ['inspect', '--config', '--raw', ...options, `docker://${next}`]),
      );
      assert.deepEqual(RootFS.Layers, config.rootfs.diff_ids);
      assert.equal(await engine.runContainer(next), 'version 2');
      assert.equal(await engine.runContainer(next, '/bin/busybox', 'cat', '/etc/words'), 'own');
      assert.equal(await engine.runContainer(base), 'version 1');
      await engine.docker('image', 'rm', base, next);
      assert.equal(await images(), '');
    });
  }
  await untilNothingHeld(service);
});

test('podman, ctr and skopeo take updates in layout oci, where they take any', {
  timeout: 180_000,
}, async (t) => {
  if (!requireParts(t, ...NEEDED, 'podman', 'docker', 'dockerd', 'ctr') || !requireRoot(t)) return;
  const stack = cleanup(t);
  const [{ directory, registry, pull }, engine] = await Promise.all([
    openShop(stack),
    startDockerEngine(stack),
  ]);
  const podmanOptions = [
    ...['--root', join(directory, 'root'), '--runroot', join(directory, 'run')],
    ...['--tmpdir', join(directory, 'tmp'), '--storage-driver=vfs'],
  ];
  const podman = (...args: readonly string[]) => run('podman', [...podmanOptions, ...args]);
  const next = `${registry.host}/team/app:2`;
  const { configDigest, manifestDigest } = await published(registry, 'team/app:2');

  for (const layout of ['docker', 'docker-gzip', 'oci'] as const) {
    const update = await pull(`/since/1/${layout}/team_app_2.tar`);
    const base = await pull(`/${layout}/team_app_1.tar`);
    const refuses = async (command: string, args: readonly string[], why: RegExp) => {
      const { code, stderr } = await attempt(command, args);
      assert.notEqual(code, 0, `${command} ${args.join(' ')}`);
      assert.match(stderr, why);
    };

    await t.test(`podman: ${layout}`, async () => {
      const load = [...podmanOptions, 'load', '--quiet', '--input', update];
      await refuses('podman', load, layout === 'oci' ? BLOB_MISSING : TAR_MISSING);
      assert.equal(await podman('images', '--quiet'), '', 'nothing is left of an update without its base');
      await podman('load', '--quiet', '--input', base);
      if (layout === 'oci') {
        await podman('load', '--quiet', '--input', update);
        const id = await podman('image', 'inspect', '--format', '{{.Id}}', next);
        assert.equal(`sha256:${id.trim()}`, configDigest);
        const files = await podman('image', 'mount', next);
        assert.equal(await readFile(join(files.trim(), 'etc/words'), 'utf8'), 'own');
        await podman('image', 'unmount', next);
      } else await refuses('podman', load, TAR_MISSING);
      assert.match(await podman('images', '--no-trunc'), /team\/app +1 /, 'the base is as it was');
      await podman('image', 'rm', '--all', '--force');
    });

    await t.test(`ctr: ${layout}`, async () => {
      const options = ['--address', engine.containerdAddress, '--namespace', `updates-${layout}`, 'images'];
      const load = [...options, 'import', '--snapshotter', 'native', update];
      await refuses('ctr', load, layout === 'oci' ? CONTENT_MISSING : LAYER_NOT_FOUND);
      await run('ctr', [...options, 'import', '--snapshotter', 'native', base]);
      if (layout === 'oci') {
        await run('ctr', load);
        const lines = (await run('ctr', [...options, 'ls'])).split('\n');
        assert.ok(lines.some((line) => line.startsWith(`${next} `) && line.includes(manifestDigest)));
      } else await refuses('ctr', load, LAYER_NOT_FOUND);
      const checked = (await run('ctr', [...options, 'check'])).split('\n');
      assert.match(checked.find((line) => line.includes('team/app:1 ')) ?? '', / complete \(3\/3\) /);
    });

    await t.test(`skopeo: ${layout}`, async () => {
      const source = layout === 'oci' ? `oci-archive:${update}:2` : `docker-archive:${update}`;
      const copy = ['--insecure-policy', 'copy', source, `dir:${join(directory, `copy-${layout}`)}`];
      await refuses('skopeo', copy, layout === 'oci' ? BLOB_MISSING : TAR_MISSING);
    });
  }
});

test('an update in layout oci of which a layer has moved is for those that look blobs up', {
  timeout: 120_000,
}, async (t) => {
  if (!requireParts(t, ...NEEDED, 'docker', 'dockerd') || !requireRoot(t)) return;
  const stack = cleanup(t);
  const [{ registry, pull }, engine] = await Promise.all([openShop(stack), startDockerEngine(stack)]);
  await engine.docker('load', '-i', await pull('/docker/team_app_1.tar'));
  const moved = `${registry.host}/team/app:moved`;
  await assert.rejects(
    engine.docker('load', '-i', await pull('/since/1/oci/team_app_moved.tar')),
    LAYER_MISSING.oci,
  );
  await engine.docker('load', '-i', await pull('/since/1/docker/team_app_moved.tar'));
  const { configDigest } = await published(registry, 'team/app:moved');
  assert.equal((await engine.inspect(moved)).Id, configDigest);
  assert.equal(await engine.runContainer(moved, '/bin/busybox', 'cat', '/etc/words'), 'common');
});
