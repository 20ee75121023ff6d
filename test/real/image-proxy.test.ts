/**
 * `proxy` with real registries, driven over a passed socket as the Rust client of container-image-proxy does it. What it gives is
 * put together to an OCI layout, which skopeo reads; skopeo verifies each digest.
 */
import assert from 'node:assert/strict';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { OneConnection, startProxyOnSocket } from '../cli/proxy/proxying.ts';
import { codeBlocks, readPage } from '../docs/markdown.ts';
import { builtMain } from '../support/built-service.ts';
import { image, openBench, published, push, pushWithBuildah, twoPlatforms } from './images.ts';
import { digestOf, OCI_MANIFEST, OciLayout } from './oci-layout.ts';
import { cleanup, requireParts, run, temporaryDirectory } from './parts.ts';
import { PASSWORD, type Registry, type RegistryMode, startRegistry, USERNAME } from './registry.ts';

const OPTIONS = { timeout: 180_000 };

/** How a registry lets the proxy in. */
const ACCESS: Readonly<Record<RegistryMode, (registry: Registry) => readonly string[]>> = {
  none: () => [],
  htpasswd: () => ['-u', USERNAME, '-p', PASSWORD],
  token: () => ['-u', USERNAME, '-p', PASSWORD],
  tls: ({ authority = '' }) => ['-s', 'https', '--cacert', authority],
};

/** Puts an image together from what the proxy gives. */
async function rebuild(
  reference: string,
  args: readonly string[],
  directory: string,
): Promise<Record<'manifestDigest' | 'indexDigest' | 'configDigest', string | undefined>> {
  await using proxy = await startProxyOnSocket([...args, reference]);
  const connection = new OneConnection(proxy.socket);
  const { headers, body } = await connection.request('/manifest');
  assert.equal(headers['content-type'], OCI_MANIFEST, String(body));
  const manifest = JSON.parse(String(body));
  const layout = await OciLayout.create(directory);
  for (const { mediaType, digest } of [manifest.config, ...manifest.layers]) {
    const blob = await connection.request(`/blobs/${digest}`);
    assert.equal((await layout.blob(mediaType, blob.body)).digest, digest);
  }
  await layout.name(await layout.blob(OCI_MANIFEST, body), 'rebuilt');
  assert.equal((await connection.request('/quit', 'POST')).status, 200);
  assert.deepEqual(await proxy.ended(), { code: 0, signal: null, stderr: '' });
  return {
    manifestDigest: headers['manifest-digest'] as string | undefined,
    indexDigest: headers['index-digest'] as string | undefined,
    configDigest: manifest.config.digest,
  };
}

for (const mode of Object.keys(ACCESS) as RegistryMode[]) {
  test(`proxy gives an image that skopeo reads, from a registry with ${mode}`, OPTIONS, async (t) => {
    if (!requireParts(t, 'busybox', 'docker-registry', 'htpasswd', 'openssl', 'skopeo')) return;
    const stack = cleanup(t);
    const folder = await temporaryDirectory(stack, 'proxy');
    const [registry, bench] = await Promise.all([startRegistry(stack, mode), openBench(stack)]);
    const zstd = await bench.layout.layer({ 'etc/zstd': 'zstd' }, 'zstd');
    await push(registry, bench, await image(bench, 'proxied', zstd), 'team/app:oci');
    await push(registry, bench, await image(bench, 'proxied'), 'team/app:docker', 'docker');
    await push(registry, bench, await twoPlatforms(bench, 'two'), 'team/app:index', 'docker');

    for (const [tag, platform] of [
      ['oci', 'amd64'],
      ['docker', 'amd64'],
      ['index', 'amd64'],
      ['index', 'arm64'],
    ] as const) {
      const directory = join(folder, `${tag}-${platform}`);
      const args = [...ACCESS[mode](registry), '--platform', `linux/${platform}`];
      const rebuilt = await rebuild(`${registry.host}/team/app:${tag}`, args, directory);
      const there = await published(registry, `team/app:${tag}`, platform);
      assert.deepEqual(
        rebuilt,
        {
          manifestDigest: there.manifestDigest,
          indexDigest: tag === 'index' ? there.digest : undefined,
          configDigest: there.configDigest,
        },
        tag,
      );
      const inspected = JSON.parse(await run('skopeo', ['inspect', `oci:${directory}:rebuilt`]));
      assert.equal(inspected.Architecture, platform);
      assert.deepEqual(
        inspected.Layers,
        there.layers.map(({ digest }) => digest),
      );
      // The copy reads and verifies every blob, and unpacks those for a docker-archive, which cannot hold zstd.
      const target = `${tag === 'oci' ? 'oci' : 'docker'}-archive:${directory}.tar:rebuilt:${tag}`;
      const copy = ['--insecure-policy', '--override-arch', platform, 'copy', '--quiet'];
      await run('skopeo', [...copy, `oci:${directory}:rebuilt`, target]);
    }
  });
}

test('proxy gives an image of buildah, of Docker types, that skopeo reads', OPTIONS, async (t) => {
  if (!requireParts(t, 'buildah', 'busybox', 'docker-registry', 'skopeo')) return;
  const stack = cleanup(t);
  const folder = await temporaryDirectory(stack, 'proxy');
  const [registry, bench] = await Promise.all([startRegistry(stack, 'none'), openBench(stack)]);
  await pushWithBuildah(registry, bench, 'built', 'team/app:1');
  const directory = join(folder, 'layout');
  const { manifestDigest } = await rebuild(`${registry.host}/team/app:1`, [], directory);
  assert.equal(manifestDigest, (await published(registry, 'team/app:1')).manifestDigest);
  const config = JSON.parse(await run('skopeo', ['inspect', '--config', `oci:${directory}:rebuilt`]));
  assert.deepEqual(config.config.Cmd.slice(-1), ['built']);
});

test('the program in Python of the documents runs', OPTIONS, async (t) => {
  if (!requireParts(t, 'busybox', 'docker-registry', 'python3', 'skopeo')) return;
  const stack = cleanup(t);
  const folder = await temporaryDirectory(stack, 'proxy');
  const [registry, bench] = await Promise.all([startRegistry(stack, 'none'), openBench(stack)]);
  await push(registry, bench, await image(bench, 'alpine'), 'library/alpine:3.20', 'docker');
  const page = await readFile(new URL('../../docs/proxy.md', import.meta.url), 'utf8');
  const [, program = assert.fail()] = /```python\n(.*?)```/s.exec(page) ?? [];
  const bin = join(folder, 'bin');
  await mkdir(bin);
  const script = `#!/bin/sh\nexec '${process.execPath}' '${await builtMain()}' "$@"\n`;
  await writeFile(join(bin, 'docker-http-passthrough'), script, { mode: 0o755 });
  const stdout = await run('python3', ['-c', program], {
    env: {
      PATH: `${bin}:${process.env['PATH']}`,
      REGISTRY_URL: registry.origin,
      REGISTRY_DEFAULT_NAMESPACE: 'library',
    },
  });
  const [digest, ...words] = stdout.trimEnd().split(' ');
  const there = await published(registry, 'library/alpine:3.20');
  assert.equal(digest, there.manifestDigest);
  // Converted, so that its digest is another one.
  const text = words.join(' ');
  assert.notEqual(digestOf(Buffer.from(text)), digest);
  assert.equal(JSON.parse(text).config.digest, there.configDigest);
});

test('the program of docs/proxy.md reads a manifest over a passed socket', OPTIONS, async (t) => {
  if (!requireParts(t, 'busybox', 'docker-registry', 'python3', 'skopeo')) return;
  const stack = cleanup(t);
  const directory = await temporaryDirectory(stack, 'python');
  const [registry, bench] = await Promise.all([startRegistry(stack, 'none'), openBench(stack)]);
  await push(registry, bench, await image(bench, 'proxied'), 'alpine:3.20');
  const { manifestDigest } = await published(registry, 'alpine:3.20');
  const [program] = codeBlocks(await readPage('docs/proxy.md')).filter(
    ({ language }) => language === 'python',
  );
  const path = join(directory, 'program.py');
  await writeFile(path, program?.text.replace('"alpine:3.20"', `"${registry.host}/alpine:3.20"`) ?? '');
  const main = join(directory, 'docker-http-passthrough');
  await writeFile(main, `#!/bin/sh\nexec '${process.execPath}' '${await builtMain()}' "$@"\n`, {
    mode: 0o755,
  });
  const env = { PATH: `${directory}:${process.env['PATH']}` };
  const printed = await run('python3', [path], { cwd: directory, env });
  const [digest, manifest = ''] = printed.split(/ (.*)/s);
  assert.deepEqual([digest, JSON.parse(manifest).mediaType], [manifestDigest, OCI_MANIFEST]);
});
