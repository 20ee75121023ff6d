/** The module for archives, with archives of real programs, and with real engines for what it writes. */
import assert from 'node:assert/strict';
import { createReadStream } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { IMAGE_LAYOUTS } from '../../src/archive/archive.ts';
import { image, layer, open, verify, write } from '../../src/tarball.ts';
import { type Files, FLAVOURS, IMAGE, tarOf } from '../tarball/flavours.ts';
import { startDockerEngine } from './docker-engine.ts';
import { image as makeImage, openBench } from './images.ts';
import { digestOf } from './oci-layout.ts';
import { cleanup, requireParts, requireRoot, run, temporaryDirectory } from './parts.ts';

const NAME = 'example.com/team/app:1';
const WORDS = 'read and written';

/** Size of the large archive: several times the memory that may be taken. */
const LARGE_MIB = 600;

/** Most memory of a process that verifies an archive. */
const MAX_MEMORY_KIB = 150 * 1024;

/** An OCI layout with one image, whose first layer above the base is there twice. */
async function openShop(t: TestContext) {
  const stack = cleanup(t);
  const [directory, bench] = await Promise.all([temporaryDirectory(stack, 'tarball'), openBench(stack)]);
  const [one, two] = await Promise.all([
    bench.layout.layer({ 'etc/one': 'one' }),
    bench.layout.layer({ 'etc/two': 'two' }),
  ]);
  const manifest = await makeImage(bench, WORDS, one, two, one);
  await bench.layout.name(manifest, 'app');
  const { config } = JSON.parse(String(await bench.layout.read(manifest))) as {
    readonly config: { readonly digest: string };
  };
  const diffIds = [bench.base, one, two, one].map(({ diffId }) => diffId);
  const podman = (...args: readonly string[]) =>
    run('podman', [
      ...['--root', join(directory, 'root'), '--runroot', join(directory, 'run')],
      ...['--tmpdir', join(directory, 'tmp'), '--storage-driver=vfs', ...args],
    ]);
  return {
    ...{ stack, directory, bench, podman, diffIds, config: config.digest },
    source: `oci:${bench.layout.directory}:app`,
    path: (name: string) => join(directory, name),
  };
}

type Shop = Awaited<ReturnType<typeof openShop>>;

/**
 * Checks an archive of the image: as a file, as a stream, and each layer as it is opened.
 *
 * @returns the image ID. skopeo converts the config for docker-archive, so that it has another digest than in the OCI layout
 */
async function assertArchive(file: string, tags: readonly string[], { diffIds }: Shop): Promise<string> {
  const report = await verify(file);
  const [found] = report.images;
  assert.ok(found);
  assert.deepEqual(
    {
      ...found,
      tags: found.tags.toSorted(),
      config: undefined,
      layers: found.layers.map(({ diffId }) => diffId),
    },
    { tags, config: undefined, platform: 'linux/amd64', layers: diffIds },
  );
  assert.equal(report.images.length, 1);
  assert.deepEqual(await verify(createReadStream(file)), report);
  await using archive = await open(file);
  for (const opened of await (await archive.image()).layers()) {
    const tar = await Array.fromAsync(opened.uncompressed(), (chunk) => Buffer.from(chunk));
    assert.equal(digestOf(Buffer.concat(tar)), opened.diffId);
  }
  return found.config;
}

test('archives of skopeo, podman and buildah are read', { timeout: 120_000 }, async (t) => {
  if (!requireParts(t, 'skopeo', 'podman', 'buildah', 'busybox', 'tar') || !requireRoot(t)) return;
  const shop = await openShop(t);
  const { podman, path, source } = shop;
  const skopeo = (target: string) => run('skopeo', ['--insecure-policy', 'copy', source, target]);

  await t.test('skopeo copy docker-archive', async () => {
    await skopeo(`docker-archive:${path('skopeo.tar')}:${NAME}`);
    await assertArchive(path('skopeo.tar'), [NAME], shop);
  });
  await t.test('skopeo copy oci-archive', async () => {
    await skopeo(`oci-archive:${path('skopeo-oci.tar')}:${NAME}`);
    assert.equal(await assertArchive(path('skopeo-oci.tar'), [NAME], shop), shop.config);
  });
  await t.test('podman save', async () => {
    await podman('load', '--quiet', '--input', path('skopeo.tar'));
    await podman('tag', NAME, 'localhost/second:2');
    await podman(
      'save',
      '--quiet',
      '--format',
      'docker-archive',
      '-o',
      path('podman.tar'),
      NAME,
      'localhost/second:2',
    );
    const id = await podman('image', 'inspect', '--format', '{{.Id}}', NAME);
    const tags = [NAME, 'localhost/second:2'];
    assert.equal(await assertArchive(path('podman.tar'), tags, shop), `sha256:${id.trim()}`);
  });
  await t.test('podman save, OCI', async () => {
    await podman('save', '--quiet', '--format', 'oci-archive', '-o', path('podman-oci.tar'), NAME);
    const [found] = (await verify(path('podman-oci.tar'))).images;
    // podman writes an OCI config, which has another digest.
    assert.deepEqual([found?.tags, found?.layers.map(({ diffId }) => diffId)], [[NAME], shop.diffIds]);
  });
  await t.test('buildah push', async () => {
    const options = ['--root', path('root'), '--runroot', path('run'), '--storage-driver', 'vfs'];
    for (const transport of ['docker-archive', 'oci-archive']) {
      const file = path(`buildah-${transport}.tar`);
      await run('buildah', [...options, 'push', '--quiet', NAME, `${transport}:${file}:${NAME}`]);
      const [found] = (await verify(file)).images;
      assert.deepEqual([found?.tags, found?.layers.map(({ diffId }) => diffId)], [[NAME], shop.diffIds]);
    }
  });
});

test('archives of tar programs in all their formats are read', { timeout: 120_000 }, async (t) => {
  if (!requireParts(t, 'bsdtar', 'tar', 'busybox', 'umoci') || !requireRoot(t)) return;
  const shop = await openShop(t);
  const { path, bench } = shop;
  await run('umoci', ['gc', '--layout', bench.layout.directory]);
  const formats = [
    ...['v7', 'oldgnu', 'gnu', 'ustar', 'posix'].map((format) => ['tar', `--format=${format}`]),
    ...['v7', 'gnutar', 'ustar', 'pax', 'pax --xattrs'].map((format) => ['bsdtar', `--format=${format}`]),
    ['tar', '--gzip'],
    ['tar', '--zstd'],
    ['busybox', 'tar'],
  ];
  for (const [program = '', option = ''] of formats) {
    await t.test(`${program} ${option}`, async () => {
      const file = path('formats.tar');
      const options = [...option.split(' '), '-cf', file, '-C', bench.layout.directory, '.'];
      await run(program, options);
      assert.equal(await assertArchive(file, ['app'], shop), shop.config);
    });
  }
  for (const [option, format] of [
    ['--xz', 'xz'],
    ['--bzip2', 'bzip2'],
  ] as const) {
    await t.test(`but not with ${format}`, async () => {
      await run('bsdtar', [option, '-cf', path('refused.tar'), '-C', bench.layout.directory, '.']);
      const message = `Cannot unpack archive: it is compressed with ${format}`;
      await assert.rejects(verify(path('refused.tar')), { code: 'UNSUPPORTED_IMAGE', message });
    });
  }
  await t.test('and a sparse file is refused by name', async () => {
    const folder = path('sparse');
    await run('mkdir', [folder]);
    await run('truncate', ['--size=1M', join(folder, 'layer.tar')]);
    for (const format of ['gnu', 'posix']) {
      await run('tar', [`--format=${format}`, '--sparse', '-cf', path('sparse.tar'), '-C', folder, '.']);
      await assert.rejects(verify(path('sparse.tar')), { message: /it is a sparse file of GNU tar$/ });
    }
  });
});

test('a large archive takes little memory: as a file, gzipped, and through a pipe', {
  timeout: 180_000,
}, async (t) => {
  const stack = cleanup(t);
  const directory = await temporaryDirectory(stack, 'large');
  const path = join(directory, 'large.tar');
  const made = await layer(zeros, { compression: 'none' });
  await write(path, { large: image({ config: { os: 'linux', architecture: 'amd64' }, layers: [made] }) });
  await run('sh', ['-c', `gzip -1 < ${path} > ${path}.gz`]);
  const module = JSON.stringify(join(import.meta.dirname, '../../src/tarball.ts'));
  const script = `
    const { verify } = await import(${module});
    const { images } = await verify(process.argv[1] ?? process.stdin);
    console.log(images.length, process.resourceUsage().maxRSS);`;
  const node = `${process.execPath} --input-type=module -e '${script}'`;
  for (const [what, command] of [
    ['a file', `${node} ${path}`],
    ['gzipped', `${node} ${path}.gz`],
    ['a pipe', `cat ${path} | ${node}`],
    ['a pipe by its path', `cat ${path} | ${node} /dev/stdin`],
  ] as const) {
    const [count, kibibytes] = (await run('sh', ['-c', command], { timeout: 120_000 }))
      .split(' ')
      .map(Number);
    assert.equal(count, 1, what);
    t.diagnostic(`${what}: ${Math.round((kibibytes ?? 0) / 1024)} MiB`);
    assert.ok((kibibytes ?? Number.POSITIVE_INFINITY) < MAX_MEMORY_KIB, `${what}: ${kibibytes} KiB`);
  }
});

async function* zeros(): AsyncGenerator<Uint8Array> {
  for (let count = 0; count < LARGE_MIB; count += 1) yield new Uint8Array(2 ** 20);
}

test('a Docker engine saves what is read, and loads what is written', { timeout: 180_000 }, async (t) => {
  if (!requireParts(t, 'docker', 'dockerd', 'podman', 'skopeo', 'busybox', 'tar') || !requireRoot(t)) return;
  const shop = await openShop(t);
  const { path, podman, source, diffIds } = shop;
  await run('skopeo', ['--insecure-policy', 'copy', source, `docker-archive:${path('skopeo.tar')}:${NAME}`]);
  const engine = await startDockerEngine(shop.stack);
  t.diagnostic(`Docker Engine ${engine.version}`);
  await engine.docker('load', '-i', path('skopeo.tar'));

  await t.test('docker save', async () => {
    await engine.docker('tag', NAME, 'second:2');
    await engine.docker('save', '-o', path('docker.tar'), NAME, 'second:2');
    const { Id } = await engine.inspect(NAME);
    assert.equal(await assertArchive(path('docker.tar'), [NAME, 'second:2'], shop), Id);
  });

  await using archive = await open(path('docker.tar'));
  const saved = await archive.image('second:2');
  const top = await layer(path('docker.tar'));
  const more = image({
    config: { ...(await saved.config()), rootfs: undefined },
    layers: [...(await saved.layers()), top],
  });
  for (const layout of IMAGE_LAYOUTS) {
    await t.test(`layout ${layout} is loaded`, async () => {
      const file = path(`written-${layout}.tar`);
      await write(
        file,
        { [`localhost/lab/${layout}:1`]: saved, [`localhost/lab/more-${layout}:1`]: more },
        { layout },
      );
      await engine.docker('load', '-i', file);
      for (const [name, id, count] of [
        [`localhost/lab/${layout}:1`, saved.id, diffIds.length],
        [`localhost/lab/more-${layout}:1`, more.id, diffIds.length + 1],
      ] as const) {
        const inspected = await engine.inspect(name);
        assert.deepEqual([inspected.Id, inspected.RootFS.Layers.length], [id, count]);
        assert.equal(await engine.runContainer(name), WORDS);
      }
      await podman('load', '--quiet', '--input', file);
      const shown = await podman('image', 'inspect', '--format', '{{.Id}}', `localhost/lab/${layout}:1`);
      assert.equal(`sha256:${shown.trim()}`, saved.id);
    });
  }
});

/** Engines before 29 and podman load these; both refuse an OCI layout without `manifest.json` of one kind or another. */
const LOADED = Object.entries(FLAVOURS).filter(([, { files }]) => namesOf(files).has('manifest.json'));

function namesOf(files: Files): ReadonlySet<string> {
  const names = Array.isArray(files)
    ? files.map(([name]: readonly [string, unknown]) => name)
    : Object.keys(files);
  return new Set(names.map((name: string) => name.replace(/^\.\//, '')));
}

test('engines see in archives of other programs what is read here', { timeout: 300_000 }, async (t) => {
  if (!requireParts(t, 'docker', 'dockerd', 'podman', 'skopeo', 'busybox') || !requireRoot(t)) return;
  const { stack, path, podman } = await openShop(t);
  const engine = await startDockerEngine(stack);
  t.diagnostic(`Docker Engine ${engine.version}`);
  const file = path('flavour.tar');
  for (const [what, { files }] of LOADED) {
    await t.test(what, async () => {
      await writeFile(file, tarOf(files));
      const [found] = (await verify(file)).images;
      const id = found?.config ?? '';
      await engine.docker('load', '-i', file);
      const { RepoTags, RootFS } = await engine.inspect(id);
      assert.deepEqual([RepoTags.toSorted(), RootFS.Layers], [found?.tags.toSorted(), IMAGE.diffIds]);
      await engine.docker('image', 'rm', '--force', id);
      await podman('load', '--quiet', '--input', file);
      const [one = id] = found?.tags ?? [];
      assert.equal(`sha256:${(await podman('image', 'inspect', '--format', '{{.Id}}', one)).trim()}`, id);
      await podman('image', 'rm', '--force', id);
    });
  }
});
