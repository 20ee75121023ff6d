/** kubernetes.yaml, run by podman: one replica of it, and the end of its pod while a client downloads. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { build } from '../../scripts/build.ts';
import { readPage } from '../docs/markdown.ts';
import { type Manifest, parseManifests } from '../support/kubernetes-types.ts';
import { curl, sha256Of, sizeOf, transfer } from './curl.ts';
import { freePort } from './free-port.ts';
import { largeImage, openBench, push } from './images.ts';
import { attempt, cleanup, requireParts, requireRoot, run, temporaryDirectory, until } from './parts.ts';
import { startRegistry } from './registry.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const IMAGE = 'localhost/passthrough:test';
const POD = 'docker-http-passthrough-pod-0';
const MIB = 1024 * 1024;

/** The limits that podman sets unless told otherwise are above those of a container in a container. */
const LIMITS = '[containers]\ndefault_ulimits=["nofile=1024:1024","nproc=1024:1024"]\n';

/**
 * The manifests as this podman can run them: one replica, on the network of the host, and probes by command, because podman
 * makes a probe over HTTP a call of curl in the shell of the container, which has neither.
 */
async function playable(env: Readonly<Record<string, string>>): Promise<readonly Manifest[]> {
  const manifests = parseManifests(await readPage('kubernetes.yaml'));
  for (const manifest of manifests.filter(({ kind }) => kind === 'Deployment')) {
    const { template } = manifest['spec'];
    const [container] = template.spec.containers;
    manifest['spec'].replicas = 1;
    template.spec.hostNetwork = true;
    Object.assign(container, { image: IMAGE, imagePullPolicy: 'Never', ports: [] });
    for (const probe of ['startupProbe', 'readinessProbe', 'livenessProbe']) {
      const { httpGet: _, ...rest } = container[probe];
      container[probe] = { ...rest, exec: { command: ['docker-http-passthrough', 'health'] } };
    }
    container.env.push(...Object.entries(env).map(([name, value]) => ({ name, value })));
  }
  return manifests;
}

test('kubernetes.yaml runs, and the end of a pod cuts no download', { timeout: 300_000 }, async (t) => {
  if (
    !requireRoot(t) ||
    !requireParts(t, 'catatonit', 'curl', 'docker-registry', 'podman', 'runc', 'skopeo', 'tar')
  )
    return;
  const stack = cleanup(t);
  const directory = await temporaryDirectory(stack, 'kube');
  const [registry, bench] = await Promise.all([startRegistry(stack, 'none'), openBench(stack)]);
  await push(registry, bench, await largeImage(bench, 24 * MIB), 'team/app:1');

  const limits = join(directory, 'containers.conf');
  await writeFile(limits, LIMITS);
  const storage = (name: string) => join(directory, name);
  const options = [
    ...['--root', storage('root'), '--runroot', storage('run'), '--tmpdir', storage('tmp')],
    ...[
      '--storage-driver',
      'vfs',
      '--cgroup-manager',
      'cgroupfs',
      '--runtime',
      'runc',
      '--events-backend',
      'file',
    ],
  ];
  const env = { CONTAINERS_CONF: limits };
  const podman = (...args: readonly string[]) => run('podman', [...options, ...args], { env });

  const tree = join(directory, 'image');
  await build(join(directory, 'dist'));
  await run('sh', ['scripts/image-files.sh', tree, join(directory, 'dist')], {
    cwd: ROOT,
    env: { PATH: process.env['PATH'] ?? '' },
  });
  const archive = join(directory, 'image.tar');
  await run('tar', ['-cf', archive, '-C', tree, '.']);
  const changes = [
    'USER 65532:65532',
    'ENV PATH=/usr/bin',
    'ENTRYPOINT ["docker-http-passthrough"]',
    'CMD ["serve"]',
  ];
  await podman('import', ...changes.flatMap((change) => ['--change', change]), archive, IMAGE);

  const port = await freePort();
  const file = join(directory, 'play.yaml');
  const variables = { HTTP_HOST: '127.0.0.1', HTTP_PORT: `${port}`, REGISTRY_URL: registry.origin };
  const manifests = await playable(variables);
  await writeFile(file, manifests.map((manifest) => JSON.stringify(manifest)).join('\n---\n'));
  stack.defer(async () => {
    await attempt('podman', [...options, 'kube', 'play', '--down', file], { env });
    // Mounts of containers would keep the folder from being removed.
    await attempt('podman', [...options, 'system', 'reset', '--force'], { env });
  });
  await podman('kube', 'play', file);

  const origin = `http://127.0.0.1:${port}`;
  await until(
    'ready pod',
    async () => {
      const { status } = await curl(directory, `${origin}/ready`);
      return status === 200 ? true : undefined;
    },
    30_000,
  );
  const path = `${origin}/docker/team_app_1.tar`;
  const whole = await curl(directory, path);
  assert.equal(whole.status, 200);

  const slow = transfer(directory, path, '--limit-rate', '6M');
  await until('running download', async () => ((await sizeOf(slow.file)) > 0 ? true : undefined));
  const stopping = podman('pod', 'stop', '--time', '60', POD);
  await until('refusal of new downloads', async () => {
    const { status } = await curl(directory, `${origin}/ready`);
    return status === 503 ? true : undefined;
  });
  const total = await sizeOf(whole.file);
  assert.ok((await sizeOf(slow.file)) < total, 'the download still runs when the pod has been told to end');
  const { exitCode, status } = await slow.answer;
  assert.deepEqual([exitCode, status, await sizeOf(slow.file)], [0, 200, total]);
  assert.equal(await sha256Of(slow.file), await sha256Of(whole.file));
  await stopping;
});
