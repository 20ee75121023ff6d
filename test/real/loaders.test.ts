/** The archives in the hands of what they are made for: real loaders, and containers that run. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { entryOf, manifestOf, namesIn } from './archive.ts';
import { curl } from './curl.ts';
import { startDockerEngine } from './docker-engine.ts';
import {
  image,
  manyLayers,
  openBench,
  published,
  push,
  pushWithBuildah,
  pushWithUmoci,
  twoPlatforms,
} from './images.ts';
import { cleanup, requireParts, requireRoot, run, temporaryDirectory } from './parts.ts';
import { startRegistry } from './registry.ts';
import { startService, untilNothingHeld } from './service.ts';

const PULLED_WITH = ['busybox', 'curl', 'docker-registry', 'skopeo', 'tar', 'buildah', 'umoci'] as const;
const LAYER_COUNT = 40;

/** An image in the registry and what its container prints. */
interface Case {
  readonly behaviour: string;
  readonly reference: string;
  readonly filename: string;
  /** The command, where it is not the image's own. */
  readonly command?: readonly string[];
  readonly prints: string;
}

/** Pushes one image of each kind and starts the service in front of them. */
async function openShop(stack: AsyncDisposableStack) {
  const directory = await temporaryDirectory(stack, 'archives');
  const [registry, bench] = await Promise.all([startRegistry(stack, 'none'), openBench(stack)]);
  const layer = (words: string, ...rest: ['zstd' | 'none'] | []) =>
    bench.layout.layer({ 'etc/words': words }, ...rest);
  const [first, second] = await Promise.all([layer('first'), layer('second')]);

  await push(registry, bench, await twoPlatforms(bench, 'an index'), 'team/index:1');
  await push(registry, bench, await twoPlatforms(bench, 'a manifest list'), 'team/list:1', 'docker');
  await push(registry, bench, await image(bench, 'no index'), 'plain:1', 'docker');
  await push(registry, bench, await image(bench, 'zstd', await layer('zstd', 'zstd')), 'team/zstd:1');
  await push(registry, bench, await image(bench, 'raw', await layer('raw', 'none')), 'team/raw:1');
  await push(registry, bench, await image(bench, 'twice', first, second, first), 'team/twice:1');
  await push(registry, bench, await manyLayers(bench, LAYER_COUNT), 'team/many:1');
  await pushWithUmoci(registry, bench, 'by umoci', 'team/umoci:1');
  await pushWithBuildah(registry, bench, 'by buildah', 'team/path/buildah:1.0');

  const service = await startService(stack, { REGISTRY_URL: registry.origin });
  const pull = async (path: string): Promise<string> => {
    const answer = await curl(directory, service.origin + path);
    assert.equal(answer.status, 200, `${path}: ${answer.stderr}`);
    return answer.file;
  };
  return { directory, registry, service, pull };
}

const CAT = ['/bin/busybox', 'cat', '/etc/words'] as const;
const CASES: readonly Case[] = [
  {
    behaviour: 'an OCI index',
    reference: 'team/index:1',
    filename: 'team_index_1.tar',
    prints: 'an index on amd64',
  },
  {
    behaviour: 'a Docker manifest list',
    reference: 'team/list:1',
    filename: 'team_list_1.tar',
    prints: 'a manifest list on amd64',
  },
  {
    behaviour: 'a Docker manifest of one component',
    reference: 'plain:1',
    filename: 'plain_1.tar',
    prints: 'no index',
  },
  {
    behaviour: 'a layer packed with zstd',
    reference: 'team/zstd:1',
    filename: 'team_zstd_1.tar',
    command: CAT,
    prints: 'zstd',
  },
  {
    behaviour: 'a layer that is not compressed',
    reference: 'team/raw:1',
    filename: 'team_raw_1.tar',
    command: CAT,
    prints: 'raw',
  },
  {
    behaviour: 'a layer that occurs twice',
    reference: 'team/twice:1',
    filename: 'team_twice_1.tar',
    command: CAT,
    prints: 'first',
  },
  {
    behaviour: `${LAYER_COUNT} layers, one of which removes a file`,
    reference: 'team/many:1',
    filename: 'team_many_1.tar',
    command: ['/bin/busybox', 'sh', '-c', 'set -- /layers/*; echo $# $1'],
    prints: `${LAYER_COUNT - 3} /layers/10`,
  },
  {
    behaviour: 'an image that umoci built',
    reference: 'team/umoci:1',
    filename: 'team_umoci_1.tar',
    prints: 'by umoci',
  },
  {
    behaviour: 'an image that buildah built',
    reference: 'team/path/buildah:1.0',
    filename: 'team__path__buildah_1.0.tar',
    prints: 'by buildah',
  },
];

test('docker loads the archives and runs what is in them', { timeout: 180_000 }, async (t) => {
  if (!requireParts(t, ...PULLED_WITH, 'docker', 'dockerd') || !requireRoot(t)) return;
  const stack = cleanup(t);
  const [{ registry, service, pull }, engine] = await Promise.all([
    openShop(stack),
    startDockerEngine(stack),
  ]);
  t.diagnostic(`Docker Engine ${engine.version}`);

  for (const { behaviour, reference, filename, command = [], prints } of CASES) {
    await t.test(behaviour, async () => {
      const name = `${registry.host}/${reference}`;
      assert.equal(
        (await engine.docker('load', '-i', await pull(`/docker/${filename}`))).trim(),
        `Loaded image: ${name}`,
      );
      const inspected = await engine.inspect(name);
      const { configDigest, layers } = await published(registry, reference);
      assert.equal(inspected.Id, configDigest);
      assert.deepEqual(inspected.RepoTags, [name]);
      assert.equal(inspected.Architecture, 'amd64');
      assert.equal(inspected.RootFS.Layers.length, layers.length);
      assert.equal(await engine.runContainer(name, ...command), prints);
      await engine.docker('image', 'rm', name);
    });
  }

  await t.test('the image of another platform', async () => {
    const name = `${registry.host}/team/index:1`;
    await engine.docker('load', '-i', await pull('/platform/linux/arm64/docker/team_index_1.tar'));
    const inspected = await engine.inspect(name);
    assert.equal(inspected.Architecture, 'arm64');
    assert.equal(inspected.Id, (await published(registry, 'team/index:1', 'arm64')).configDigest);
  });

  await t.test('containerd imports the archive', async (t) => {
    if (!requireParts(t, 'ctr')) return;
    const ctr = ['--address', engine.containerdAddress, '--namespace', 'test', 'images'];
    await run('ctr', [...ctr, 'import', '--no-unpack', await pull('/docker/team_twice_1.tar')]);
    assert.match(await run('ctr', [...ctr, 'ls', '-q']), new RegExp(`^${registry.host}/team/twice:1$`, 'm'));
  });

  await untilNothingHeld(service);
});

test('podman and skopeo read the archives', { timeout: 120_000 }, async (t) => {
  if (!requireParts(t, ...PULLED_WITH, 'podman') || !requireRoot(t)) return;
  const stack = cleanup(t);
  const { directory, registry, pull } = await openShop(stack);
  const podman = (...args: readonly string[]) =>
    run('podman', [
      ...['--root', join(directory, 'root'), '--runroot', join(directory, 'run')],
      ...['--tmpdir', join(directory, 'tmp'), '--storage-driver=vfs', ...args],
    ]);

  for (const { behaviour, reference, filename } of CASES) {
    await t.test(behaviour, async () => {
      const file = await pull(`/docker/${filename}`);
      const { configDigest, layers } = await published(registry, reference);
      const name = `${registry.host}/${reference}`;

      const archive = `docker-archive:${file}`;
      const config = await run('skopeo', ['inspect', '--config', '--raw', archive]);
      assert.equal(JSON.parse(config)['architecture'], 'amd64');
      const inspected = JSON.parse(await run('skopeo', ['inspect', archive])) as { Layers: string[] };
      assert.equal(inspected.Layers.length, layers.length);

      await podman('load', '--quiet', '--input', file);
      const [id] = (await podman('image', 'inspect', '--format', '{{.Id}}', name)).trim().split('\n');
      assert.equal(`sha256:${id}`, configDigest);
    });
  }
});

test('the layout is the one that everything loads', { timeout: 120_000 }, async (t) => {
  if (!requireParts(t, ...PULLED_WITH, 'bsdtar') || !requireRoot(t)) return;
  const { pull } = await openShop(cleanup(t));

  for (const { behaviour, filename } of CASES) {
    await t.test(behaviour, async () => {
      const file = await pull(`/docker/${filename}`);
      const names = await namesIn(file);
      const manifest = await manifestOf(file);
      assert.equal(new Set(names).size, names.length, 'each name once');
      assert.deepEqual(
        names.filter((name) => !/^[0-9a-f]{64}\/($|VERSION$|json$|layer\.tar$)/.test(name)),
        [manifest.Config, 'manifest.json', 'repositories'],
      );
      assert.match(manifest.Config, /^[0-9a-f]{64}\.json$/);
      for (const layer of manifest.Layers) {
        const folder = layer.replace(/layer\.tar$/, '');
        assert.deepEqual(names.filter((name) => name.startsWith(folder) && name !== folder).toSorted(), [
          `${folder}VERSION`,
          `${folder}json`,
          layer,
        ]);
        assert.equal((await entryOf(file, `${folder}VERSION`)).trim(), '1.0');
      }
      const [tag = ''] = manifest.RepoTags;
      const [, name = '', version = ''] = /^(.*):(.*)$/.exec(tag) ?? [];
      const top = manifest.Layers.at(-1)?.replace(/\/layer\.tar$/, '');
      assert.deepEqual(JSON.parse(await entryOf(file, 'repositories')), { [name]: { [version]: top } });

      const lines = (await run('tar', ['--utc', '--full-time', '--numeric-owner', '-tvf', file]))
        .trim()
        .split('\n');
      assert.equal(lines.length, names.length);
      const times = new Set<string>();
      for (const line of lines) {
        const [mode = '', owner, , date, time] = line.split(/\s+/);
        assert.match(mode, /^[-d]/, `a file or a directory, no link: ${line}`);
        assert.equal(owner, '0/0');
        times.add(`${date} ${time}`);
      }
      assert.equal(times.size, 1, 'one time for all entries');
      assert.equal(
        (await run('bsdtar', ['-tf', file])).trim(),
        names.join('\n'),
        'libarchive reads the same',
      );
    });
  }
});
