/** Loaders that people have: each loads an archive and checks, by digests, that it has what the registry has. */
import assert from 'node:assert/strict';
import { mkdir, readFile, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { type DockerEngine, type ImageStore, startDockerEngine } from './docker-engine.ts';
import type { Content, Ending, ExpectedImage, Served } from './loaded.ts';
import { digestOf } from './oci-layout.ts';
import { attempt, isInstalled, run, temporaryDirectory } from './parts.ts';

/** A loader. */
export interface Loader {
  /** The command, as it is typed. */
  readonly name: string;
  readonly version: string;
  /** Loads an archive; rejects where that fails, and where what was loaded is not what the registry has. */
  readonly load: (archive: Served) => Promise<void>;
}

const EVERY_LAYOUT: readonly Content[] = [
  ...(['docker', 'docker-gzip', 'oci', 'oci, Docker types'] as const),
  ...(['bundle, docker', 'bundle, docker-gzip', 'bundle, oci'] as const),
];
const OCI: readonly Content[] = ['oci', 'oci, every platform', 'bundle, oci'];

/** What each loader must load in the version that Debian 12 has. What newer ones load besides, the matrix tells. */
const CLAIMS: Readonly<Record<string, Readonly<Record<Ending, readonly Content[]>>>> = {
  'docker load': { '.tar': EVERY_LAYOUT, '.tgz': EVERY_LAYOUT },
  'podman load': {
    '.tar': [...EVERY_LAYOUT, 'oci, every platform'],
    '.tgz': ['oci', 'oci, every platform', 'oci, Docker types'],
  },
  'ctr images import': { '.tar': [...EVERY_LAYOUT, 'oci, every platform'], '.tgz': [] },
  'skopeo copy docker-archive:': { '.tar': EVERY_LAYOUT, '.tgz': [] },
  'skopeo copy oci-archive:': { '.tar': OCI, '.tgz': OCI },
  'umoci unpack': { '.tar': ['oci', 'bundle, oci'], '.tgz': ['oci', 'bundle, oci'] },
};

/** Whether a loader must load an archive. */
export function claims({ name }: Loader, { content, ending }: Pick<Served, 'content' | 'ending'>): boolean {
  return CLAIMS[name]?.[ending].includes(content) ?? false;
}

/** Commands that {@link startLoaders} needs. */
export const LOADED_WITH = ['ctr', 'docker', 'dockerd', 'podman', 'skopeo', 'umoci'] as const;

/**
 * Starts what has to be started; it ends when `stack` is undone. What Debian 12 has not, crane and an engine with a
 * containerd store, is there where it is installed.
 */
export async function startLoaders(stack: AsyncDisposableStack): Promise<readonly Loader[]> {
  const directory = await temporaryDirectory(stack, 'loaders');
  const engine = await startDockerEngine(stack);
  const hasTwoStores = Number.parseInt(engine.version, 10) >= FIRST_WITH_CONTAINERD;
  const [podman, containerd, skopeo, umoci] = await Promise.all(
    ['podman', 'containerd', 'skopeo', 'umoci'].map((command) => versionOf(command, '--version')),
  );
  return [
    dockerLoader(engine, 'own', hasTwoStores ? 'docker load (graph drivers)' : 'docker load'),
    ...(hasTwoStores
      ? [
          dockerLoader(
            await startDockerEngine(stack, 'containerd'),
            'containerd',
            'docker load (containerd store)',
          ),
        ]
      : []),
    { name: 'podman load', version: `${podman}`, load: (archive) => podmanLoad(directory, archive) },
    {
      name: 'ctr images import',
      version: `${containerd}`,
      load: (archive) => ctrImport(engine.containerdAddress, `${containerd}`, archive),
    },
    ...(['docker-archive', 'oci-archive'] as const).map((transport) => ({
      name: `skopeo copy ${transport}:`,
      version: `${skopeo}`,
      load: (archive: Served) => skopeoCopy(directory, transport, archive),
    })),
    { name: 'umoci unpack', version: `${umoci}`, load: (archive) => umociUnpack(directory, archive) },
    ...(isInstalled('crane')
      ? [
          {
            name: 'crane validate --tarball',
            version: await versionOf('crane', 'version'),
            load: craneValidate,
          },
        ]
      : []),
  ];
}

/** First major version of the engine whose containerd store is no experiment. */
const FIRST_WITH_CONTAINERD = 25;

/** What a command says of its version, else what Debian does: its crane does not know. */
async function versionOf(command: string, question: string): Promise<string> {
  const { stdout } = await attempt(command, [question]);
  const said = /\d+\.\d+\.\d+/.exec(stdout) ?? [
    // The package, a tab, its version.
    (await attempt('dpkg-query', ['--show', command])).stdout.trim().split('\t')[1],
  ];
  return said[0] ?? 'unknown';
}

/** What a loader loads, in this order. */
function filesOf({ base, file }: Served): readonly string[] {
  return base === undefined ? [file] : [base, file];
}

let places = 0;

/** A place that does not exist yet. The name is short: podman takes no path of more than 50 characters. */
function newPlace(directory: string): string {
  places += 1;
  return join(directory, `p${places}`);
}

function dockerLoader(engine: DockerEngine, store: ImageStore, name: string): Loader {
  return {
    ...{ name, version: engine.version },
    load: async (archive) => {
      try {
        for (const file of filesOf(archive)) await engine.docker('load', '-i', file);
        for (const image of archive.images) {
          const { Id, RepoTags } = await engine.inspect(image.name);
          assert.deepEqual(RepoTags, [image.name]);
          // The containerd store calls an image by the digest of its manifest.
          if (store === 'own') assert.equal(Id, image.published.configDigest, 'image ID');
          else await assertInContainerd([engine.containerdAddress, 'moby'], Id, image, archive);
        }
      } finally {
        const left = (await engine.docker('images', '--all', '--quiet')).split('\n');
        for (const id of new Set(left.filter((line) => line !== ''))) {
          await engine.docker('image', 'rm', '--force', id);
        }
      }
    },
  };
}

/** Runs ctr on a namespace of the containerd that listens at an address. */
function ctr([address, namespace]: readonly [string, string], ...args: readonly string[]): Promise<string> {
  return run('ctr', ['--address', address, '--namespace', namespace, ...args]);
}

/**
 * Checks what containerd has under `digest`: of layout oci the very manifest or index that the registry has, of any other a
 * manifest that containerd wrote for the very config.
 */
async function assertInContainerd(
  place: readonly [string, string],
  digest: string,
  { published }: ExpectedImage,
  { content, isIndex }: Served,
): Promise<void> {
  if (content.includes('oci')) {
    assert.equal(digest, isIndex ? published.digest : published.manifestDigest, 'manifest');
    return;
  }
  interface Document {
    readonly config?: { readonly digest: string };
    readonly manifests?: readonly { readonly digest: string }[];
  }
  const read = async (name: string) => JSON.parse(await ctr(place, 'content', 'get', name)) as Document;
  const document = await read(digest);
  const [entry] = document.manifests ?? [];
  const { config } = entry === undefined ? document : await read(entry.digest);
  assert.equal(config?.digest, published.configDigest, 'config');
}

async function podmanLoad(directory: string, archive: Served): Promise<void> {
  const place = newPlace(directory);
  const podman = (...args: readonly string[]) =>
    run('podman', [
      ...['--root', join(place, 'root'), '--runroot', join(place, 'run')],
      ...['--tmpdir', join(place, 'tmp'), '--storage-driver=vfs', ...args],
    ]);
  try {
    for (const file of filesOf(archive)) await podman('load', '--quiet', '--input', file);
    const known = await podman('images', '--no-trunc', '--format', '{{.ID}} {{.Repository}}:{{.Tag}}');
    for (const { name, published } of archive.images) {
      assert.ok(
        known.includes(published.configDigest),
        `no image ${published.configDigest} among ${known.trim()}`,
      );
      assert.ok(
        known.includes(`${published.configDigest} ${name}\n`),
        `no name ${name} among ${known.trim()}`,
      );
    }
  } finally {
    await rm(place, { recursive: true, force: true });
  }
}

async function ctrImport(address: string, version: string, archive: Served): Promise<void> {
  const place = [address, basename(newPlace('/'))] as const;
  // Unpacked too, which is the default: that holds every layer against its diff ID. containerd 1 can do it without a file
  // system of layers; 2 has one way, and finds what it needs itself.
  const snapshotter = version.startsWith('1.') ? ['--snapshotter', 'native'] : [];
  for (const file of filesOf(archive)) await ctr(place, 'images', 'import', ...snapshotter, file);
  const lines = (await ctr(place, 'images', 'ls')).split('\n').map((line) => line.split(/\s+/));
  for (const image of archive.images) {
    const digest = lines.find(([name]) => name === image.name)?.[2];
    assert.ok(digest, `no name ${image.name} among ${lines.map(([name]) => name).join(' ')}`);
    await assertInContainerd(place, digest, image, archive);
  }
}

async function skopeoCopy(
  directory: string,
  transport: 'docker-archive' | 'oci-archive',
  archive: Served,
): Promise<void> {
  for (const { name, tag, published } of archive.images) {
    const reference = transport === 'docker-archive' || archive.images.length > 1 ? name : tag;
    const source = `${transport}:${archive.file}:${reference}`;
    const place = newPlace(directory);
    try {
      const inspected = JSON.parse(await run('skopeo', ['inspect', source])) as { Layers: string[] };
      assert.equal(inspected.Layers.length, published.layers.length, 'layers');
      const options = transport === 'oci-archive' ? ['--all', '--preserve-digests'] : [];
      await run('skopeo', ['--insecure-policy', 'copy', '--quiet', ...options, source, `dir:${place}`]);
      const bytes = await readFile(join(place, 'manifest.json'));
      if (transport === 'oci-archive') {
        assert.equal(digestOf(bytes), archive.isIndex ? published.digest : published.manifestDigest);
      } else {
        const manifest = JSON.parse(bytes.toString()) as { config?: { digest?: string } };
        assert.equal(manifest.config?.digest, published.configDigest);
      }
    } finally {
      await rm(place, { recursive: true, force: true });
    }
  }
}

async function umociUnpack(directory: string, archive: Served): Promise<void> {
  const place = newPlace(directory);
  const layout = join(place, 'layout');
  await mkdir(layout, { recursive: true });
  try {
    // It reads folders only.
    await run('tar', ['-xf', archive.file, '-C', layout]);
    for (const [at, { name, tag, published, proof }] of archive.images.entries()) {
      const named = `${layout}:${archive.images.length > 1 ? name : tag}`;
      const { history } = JSON.parse(await run('umoci', ['stat', '--image', named, '--json'])) as {
        history: { layer: { digest: string } | null }[];
      };
      assert.deepEqual(
        history.flatMap(({ layer }) => layer?.digest ?? []),
        published.layers.map(({ digest }) => digest),
      );
      const bundle = join(place, `bundle-${at}`);
      await run('umoci', ['unpack', '--image', named, bundle]);
      assert.equal(await readFile(join(bundle, 'rootfs', proof.path), 'utf8'), proof.content);
    }
  } finally {
    await rm(place, { recursive: true, force: true });
  }
}

async function craneValidate({ file }: Served): Promise<void> {
  await run('crane', ['validate', '--tarball', file]);
}
