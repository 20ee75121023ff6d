/** Images that are seldom, but are: none that a builder here makes, so they are made by hand, and what loads them is real. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sha256 } from '../support/collect.ts';
import { type FakeRegistry, startFakeRegistry } from '../support/fake-registry.ts';
import { type BuiltImage, type ImageSpec, makeImage, makeLayer } from '../support/image.ts';
import { startScriptedServer } from '../support/scripted-server.ts';
import { entryOf, manifestOf, namesIn } from './archive.ts';
import { curl, textOf } from './curl.ts';
import { claims, LOADED_WITH, type Loader, startLoaders } from './load.ts';
import type { ExpectedImage, Served } from './loaded.ts';
import { cleanup, requireParts, requireRoot, run, temporaryDirectory } from './parts.ts';
import { startService } from './service.ts';

const PROOF = { path: 'etc/proof', content: 'odd' };
const LAYOUTS = ['docker', 'docker-gzip', 'oci'] as const;

/** Most layers that Docker Engine takes: https://github.com/moby/moby/blob/v20.10.24/layer/layer_store.go `maxLayerDepth` */
const DOCKER_LAYERS = 125;

const top = { tar: makeLayer({ [PROOF.path]: PROOF.content }) };
const empty = { tar: makeLayer({}) };
const numbered = (count: number) =>
  Array.from({ length: count - 1 }, (_, index) => ({ tar: makeLayer({ [`layers/${index}`]: `${index}` }) }));

/** Images by what is odd about them; the tag is their place here. */
const IMAGES: Readonly<Record<string, ImageSpec>> = {
  [`${DOCKER_LAYERS} layers`]: { layers: [...numbered(DOCKER_LAYERS), top] },
  '127 layers': { layers: [...numbered(127), top] },
  'empty layers, and commands that made none': {
    layers: [empty, top, empty],
    history: [
      { created_by: 'COPY nothing /' },
      { created_by: 'ENV A=1', empty_layer: true },
      { created_by: 'COPY proof /etc/' },
      { created_by: 'RUN true' },
    ],
  },
  'duplicate layers': { layers: [top, ...numbered(2), top, top] },
  'a config of 1 MB': {
    layers: [top],
    config: { config: { Cmd: ['/bin/hello'], Labels: { large: 'x'.repeat(1_000_000) } } },
  },
  'annotations of any kind': {
    layers: [{ ...top, descriptor: { annotations: { 'org.example.layer': '\u0000"\\\n' } } }],
    manifest: {
      annotations: {
        'org.opencontainers.image.ref.name': '../../etc/passwd',
        'io.containerd.image.name': 'docker.io/library/other:latest',
        'org.example.schön': 'Größe 📦 \u202e\u0007',
        'org.example.long': 'ß'.repeat(200_000),
        '': '',
      },
    },
  },
};

/** What a loader must find of an image in an archive. */
function expectedOf({ host }: URL, repository: string, tag: string, built: BuiltImage): ExpectedImage {
  const { manifest, config, layers } = built;
  return {
    ...{ name: `${host}/${repository}:${tag}`, tag, proof: PROOF },
    published: {
      ...{ mediaType: manifest.mediaType, digest: manifest.digest, manifestDigest: manifest.digest },
      configDigest: config.digest,
      layers: layers.map(({ mediaType, digest, blob }) => ({ mediaType, digest, size: blob.length })),
    },
  };
}

/** The deepest image that the engine takes is tried with it alone, for it is slow; a deeper one with all others. */
function isFor({ name }: Loader, layers: number): boolean {
  if (layers < DOCKER_LAYERS) return true;
  return name === 'docker load' ? layers === DOCKER_LAYERS : layers > DOCKER_LAYERS;
}

async function openRepository(stack: AsyncDisposableStack): Promise<FakeRegistry> {
  const registry = await startFakeRegistry();
  return stack.use(registry);
}

test('odd images are loaded by every loader that claims the layout', { timeout: 180_000 }, async (t) => {
  if (!requireParts(t, ...LOADED_WITH, 'curl', 'tar') || !requireRoot(t)) return;
  const stack = cleanup(t);
  const directory = await temporaryDirectory(stack, 'odd');
  const [registry, loaders] = await Promise.all([openRepository(stack), startLoaders(stack)]);
  const service = await startService(stack, { REGISTRY_URL: registry.origin });

  for (const [at, [behaviour, spec]] of Object.entries(IMAGES).entries()) {
    await t.test(behaviour, async (t) => {
      const built = makeImage(spec);
      registry.push('team/odd', `${at}`, built);
      const expected = expectedOf(new URL(registry.origin), 'team/odd', `${at}`, built);
      for (const content of LAYOUTS) {
        const { file, status } = await curl(directory, `${service.origin}/${content}/team_odd_${at}.tar`);
        assert.equal(status, 200, content);
        const archive: Served = { content, ending: '.tar', file, isIndex: false, images: [expected] };
        const able = loaders.filter(
          (loader) => claims(loader, archive) && isFor(loader, built.layers.length),
        );
        for (const loader of able) {
          await t.test(`${content}: ${loader.name}`, () => loader.load(archive));
        }
      }
    });
  }
});

const FOREIGN = 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip';
const WINDOWS = { os: 'windows', architecture: 'amd64', 'os.version': '10.0.20348.2322' };

/** A Windows image whose base lies outside of the registry, with a server for the base. */
async function openWindows(stack: AsyncDisposableStack) {
  const base = makeLayer({ 'Files/Windows/System32/kernel.txt': 'base' });
  const elsewhere = stack.use(
    await startScriptedServer((_, response) => {
      response.end(image.layers[0]?.blob);
    }),
  );
  const urls = [`${elsewhere.origin}/base`];
  const image = makeImage({
    platform: WINDOWS,
    mediaTypes: 'docker',
    layers: [
      { tar: base, mediaType: FOREIGN, descriptor: { urls } },
      { tar: makeLayer({ 'Files/app': 'app' }) },
    ],
  });
  const [foreign] = image.layers;
  assert.ok(foreign);
  const registry = await openRepository(stack);
  const blobs = new Map([...image.blobs].filter(([digest]) => digest !== foreign.digest));
  registry.push('team/windows', '1', { ...image, blobs });
  const start = (env: Readonly<Record<string, string>>) =>
    startService(stack, { REGISTRY_URL: registry.origin, DEFAULT_PLATFORM: 'windows/amd64', ...env });
  return { image, foreign, urls, elsewhere, start };
}

/** Checks with skopeo that an archive holds the image: its platform, its layers, each against its digest. */
async function assertWindows(file: string, directory: string, image: BuiltImage): Promise<void> {
  const source = `docker-archive:${file}`;
  const config = await run('skopeo', ['inspect', '--config', '--raw', source]);
  assert.equal(sha256(Buffer.from(config)), image.config.digest);
  assert.equal(JSON.parse(config)['os.version'], WINDOWS['os.version']);
  const place = `${directory}/copied-${file.split('-').at(-1)}`;
  await run('skopeo', ['--insecure-policy', 'copy', '--quiet', source, `dir:${place}`]);
}

test('a Windows image with a foreign layer', { timeout: 180_000 }, async (t) => {
  if (!requireParts(t, 'curl', 'skopeo', 'tar')) return;
  const stack = cleanup(t);
  const directory = await temporaryDirectory(stack, 'windows');
  const { image, foreign, urls, elsewhere, start } = await openWindows(stack);
  const source = { mediaType: FOREIGN, size: foreign.blob.length, digest: foreign.digest, urls };
  const fileOf = (digest: string) => `${digest.replace('sha256:', '')}.tar.gz`;

  await t.test('docker-gzip names the layer and where it is, and does not fetch it', async () => {
    const service = await start({});
    const { file, status } = await curl(directory, `${service.origin}/docker-gzip/team_windows_1.tar`);
    assert.equal(status, 200);
    const manifest = (await manifestOf(file)) as { readonly LayerSources?: object; readonly Layers: object };
    assert.deepEqual(manifest.LayerSources, { [foreign.diffId]: source });
    assert.deepEqual(
      manifest.Layers,
      image.layers.map(({ digest }) => fileOf(digest)),
    );
    const names = await namesIn(file);
    assert.ok(!names.includes(fileOf(foreign.digest)), 'the foreign layer is not there');
    assert.ok(names.includes(fileOf(image.layers[1]?.digest ?? '')), 'the other one is');
    const config = await entryOf(file, `${image.config.digest.replace('sha256:', '')}.json`);
    assert.equal(config, image.config.bytes.toString());
    assert.equal(elsewhere.requests.length, 0);
  });

  await t.test('the other layouts refuse it and say what to do', async () => {
    const service = await start({});
    for (const layout of ['docker', 'oci']) {
      const answer = await curl(directory, `${service.origin}/${layout}/team_windows_1.tar`);
      assert.equal(answer.status, 502);
      assert.match(await textOf(answer), /lies outside of the registry; set REGISTRY_FOREIGN_LAYERS=fetch/);
    }
    assert.equal(elsewhere.requests.length, 0);
  });

  await t.test('every layout has it with REGISTRY_FOREIGN_LAYERS=fetch, without credentials', async () => {
    const credentials = { REGISTRY_USERNAME: 'user', REGISTRY_PASSWORD: 'secret' };
    const service = await start({ REGISTRY_FOREIGN_LAYERS: 'fetch', ...credentials });
    for (const layout of LAYOUTS) {
      const { file, status } = await curl(directory, `${service.origin}/${layout}/team_windows_1.tar`);
      assert.equal(status, 200, layout);
      await assertWindows(file, directory, image);
    }
    assert.equal(elsewhere.requests.length, LAYOUTS.length);
    assert.ok(elsewhere.requests.every(({ headers }) => headers.authorization === undefined));
  });
});
