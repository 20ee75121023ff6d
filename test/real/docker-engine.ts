/** A real Docker engine of its own, with nothing shared and no network, in temporary directories. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { attempt, end, run, start, temporaryDirectory, until } from './parts.ts';

/** Milliseconds that the engine has to answer, and to end. */
const START_TIMEOUT = 120_000;
const STOP_GRACE = 15_000;

/** What `docker image inspect` tells, as far as the tests read it. */
export interface InspectedImage {
  readonly Id: string;
  readonly RepoTags: readonly string[];
  readonly Architecture: string;
  readonly RootFS: { readonly Layers: readonly string[] };
}

/** A running engine. */
export interface DockerEngine {
  /** Version of the engine. */
  readonly version: string;
  /** Where the engine listens, for other clients of it. */
  readonly host: string;
  /** Where the engine's own containerd listens. */
  readonly containerdAddress: string;
  /** Runs the docker command against this engine. */
  readonly docker: (...args: readonly string[]) => Promise<string>;
  readonly inspect: (image: string) => Promise<InspectedImage>;
  /** Runs a container without a network and gives what it prints, trimmed. */
  readonly runContainer: (image: string, ...command: readonly string[]) => Promise<string>;
}

async function unmountBelow(directory: string): Promise<void> {
  const mounts = (await readFile('/proc/self/mounts', 'utf8'))
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '');
  for (const mount of mounts.filter((path) => path.startsWith(`${directory}/`)).reverse()) {
    await attempt('umount', ['--lazy', mount]);
  }
}

/** Where an engine keeps its images: as it always has, or in its containerd, which engines since 25 can. */
export type ImageStore = 'own' | 'containerd';

/** What each store needs to work in a folder of any kind, without a file system of layers. */
const STORAGE: Readonly<Record<ImageStore, string>> = { own: 'vfs', containerd: 'native' };

/** Starts an engine (root only); it ends, and its mounts and files go, when `stack` is undone. */
export async function startDockerEngine(
  stack: AsyncDisposableStack,
  store: ImageStore = 'own',
): Promise<DockerEngine> {
  const directory = await temporaryDirectory(stack, 'docker');
  stack.defer(() => unmountBelow(directory));
  const [dataRoot, execRoot] = [join(directory, 'data'), join(directory, 'exec')];
  await Promise.all([mkdir(dataRoot), mkdir(execRoot)]);
  const host = `unix://${join(directory, 'docker.sock')}`;
  const settings = join(directory, 'daemon.json');
  await writeFile(
    settings,
    JSON.stringify({ features: { 'containerd-snapshotter': store === 'containerd' } }),
  );

  const engine = start('dockerd', [
    ...['--data-root', dataRoot, '--exec-root', execRoot],
    ...['-H', host, '--pidfile', join(directory, 'docker.pid')],
    ...['--iptables=false', '--bridge=none', `--storage-driver=${STORAGE[store]}`],
    ...['--config-file', settings],
  ]);
  stack.defer(async () => {
    await end(engine, STOP_GRACE);
  });

  const env = { DOCKER_HOST: host, DOCKER_CONFIG: join(directory, 'config') };
  const docker = (...args: readonly string[]) => run('docker', args, { env });
  const version = await until(
    'answer from dockerd',
    async () => {
      if (!engine.isRunning()) {
        throw new Error(`Cannot start dockerd: ${engine.stderr().slice(-2_000)}`);
      }
      const answer = await attempt('docker', ['version', '--format', '{{.Server.Version}}'], { env });
      return answer.code === 0 ? answer.stdout.trim() : undefined;
    },
    START_TIMEOUT,
  );
  return {
    ...{ version, docker, host, containerdAddress: join(execRoot, 'containerd/containerd.sock') },
    inspect: async (image) => {
      const [inspected] = JSON.parse(await docker('image', 'inspect', image)) as InspectedImage[];
      if (inspected === undefined) {
        throw new Error(`Cannot inspect image "${image}": empty answer`);
      }
      return inspected;
    },
    runContainer: async (image, ...command) =>
      (await docker('run', '--rm', '--network', 'none', image, ...command)).trim(),
  };
}
