/** Packages for Cisco IOx: real programs take them apart, and a real engine loads what is inside. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { curl } from './curl.ts';
import { startDockerEngine } from './docker-engine.ts';
import { openBench, published, push, twoPlatforms } from './images.ts';
import { cleanup, requireParts, requireRoot, run, temporaryDirectory } from './parts.ts';
import { startRegistry } from './registry.ts';
import { startService } from './service.ts';

const PARTS = ['busybox', 'curl', 'docker', 'dockerd', 'docker-registry', 'skopeo'] as const;

const WAYS: readonly (readonly [env: Readonly<Record<string, string>>, check: string])[] = [
  [{}, 'sha256sum'],
  [{ IOX_DIGEST: 'sha1', ARCHIVE_GZIP: 'whole' }, 'sha1sum'],
];

test('a package is taken apart, checked, and its image loaded and run', { timeout: 240_000 }, async (t) => {
  if (!requireParts(t, ...PARTS) || !requireRoot(t)) return;
  const stack = cleanup(t);
  const [registry, bench, engine] = await Promise.all([
    startRegistry(stack, 'none'),
    openBench(stack),
    startDockerEngine(stack),
  ]);
  await push(registry, bench, await twoPlatforms(bench, 'an application'), 'team/app:1');
  const { configDigest } = await published(registry, 'team/app:1');
  for (const [env, check] of WAYS) {
    await t.test(`${check} ${JSON.stringify(env)}`, async () => {
      const directory = await temporaryDirectory(stack, 'package');
      const service = await startService(stack, { REGISTRY_URL: registry.origin, ...env });
      const answer = await curl(directory, `${service.origin}/iox/team_app_1.tar`);
      assert.equal(answer.status, 200, answer.stderr);
      await run('tar', ['-xf', answer.file, '-C', directory]);
      const checked = await run(check, ['-c', 'package.mf'], { cwd: directory });
      assert.equal(checked, 'package.yaml: OK\nartifacts.tar.gz: OK\n');
      assert.match(await readFile(join(directory, 'package.yaml'), 'utf8'), /^ {2}cpuarch: "x86_64"$/m);
      await run('tar', ['-xzf', join(directory, 'artifacts.tar.gz'), '-C', directory]);
      await engine.docker('load', '-i', join(directory, 'rootfs.tar'));
      const name = `${registry.host}/team/app:1`;
      assert.equal((await engine.inspect(name)).Id, configDigest);
      assert.equal(await engine.runContainer(name), 'an application on amd64');
      await engine.docker('image', 'rm', name);
    });
  }
});
