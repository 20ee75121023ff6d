/** Real archives of every layout with what a loader must find in them: two images that share a layer, one of them an index. */
import assert from 'node:assert/strict';
import { curl } from './curl.ts';
import { type Bench, image, openBench, type Published, published, push } from './images.ts';
import type { Descriptor } from './oci-layout.ts';
import { type Part, temporaryDirectory } from './parts.ts';
import { type Registry, startRegistry } from './registry.ts';
import { type Service, startService } from './service.ts';

/** Commands without which there are no archives to load. */
export const SERVED_WITH: readonly Part[] = ['busybox', 'curl', 'docker-registry', 'skopeo', 'tar'];

/** What is in an archive. */
export type Content =
  | Layout
  | 'oci, every platform'
  | 'oci, Docker types'
  | `bundle, ${Layout}`
  | `${Layout}, zstd`
  | `update, ${Layout}`;

type Layout = 'docker' | 'docker-gzip' | 'oci';

/** How an archive's name ends. `.tar.gz` has the bytes of `.tgz`. */
export type Ending = '.tar' | '.tgz';

/** An image that a loader must find. */
export interface ExpectedImage {
  /** With its registry and tag, as `docker pull` takes it. */
  readonly name: string;
  readonly tag: string;
  /** As skopeo reads them from the registry. */
  readonly published: Published;
  /** A file in its uppermost layer, and what the file holds. */
  readonly proof: { readonly path: string; readonly content: string };
}

/** An archive on disk. */
export interface Served {
  readonly content: Content;
  readonly ending: Ending;
  readonly file: string;
  /** Whether index.json names an index, as where every platform is in it. */
  readonly isIndex: boolean;
  /** The archive of the image that a loader must have before, for an update. */
  readonly base?: string | undefined;
  readonly images: readonly ExpectedImage[];
}

/** Path of every content, in the order of the matrix in docs/archives.md; `{ending}` stands for the ending. */
const PATHS: Readonly<Record<Content, string>> = {
  docker: '/docker/team_app_1{ending}',
  'docker-gzip': '/docker-gzip/team_app_1{ending}',
  oci: '/oci/team_app_1{ending}',
  'oci, every platform': '/platform/all/oci/team_app_1{ending}',
  'oci, Docker types': '/oci/team_old_1{ending}',
  'bundle, docker': '/bundle{ending}?image={app}&image={tool}',
  'bundle, docker-gzip': '/bundle{ending}?image={app}&image={tool}&layout=docker-gzip',
  'bundle, oci': '/bundle{ending}?image={app}&image={tool}&layout=oci',
  'docker, zstd': '/docker/team_zstd_1{ending}',
  'docker-gzip, zstd': '/docker-gzip/team_zstd_1{ending}',
  'oci, zstd': '/oci/team_zstd_1{ending}',
  'update, docker': '/since/1/docker/team_next_2{ending}',
  'update, docker-gzip': '/since/1/docker-gzip/team_next_2{ending}',
  'update, oci': '/since/1/oci/team_next_2{ending}',
};

/** Path of the archive that a loader must have before an update. */
const BASE_PATHS: Readonly<Partial<Record<Content, string>>> = {
  'update, docker': '/docker/team_next_1.tar',
  'update, docker-gzip': '/docker-gzip/team_next_1.tar',
  'update, oci': '/oci/team_next_1.tar',
};

/** Every content that there is. */
export const CONTENTS = Object.keys(PATHS) as readonly Content[];

/** Every ending. */
export const ENDINGS: readonly Ending[] = ['.tar', '.tgz'];

/** Where archives are served from. */
export interface Shop {
  readonly directory: string;
  readonly registry: Registry;
  readonly service: Service;
  /** Fetches an archive; it stays until the shop goes. */
  readonly fetch: (content: Content, ending: Ending) => Promise<Served>;
}

/** Three gzip layers for each of two platforms: the base, one of the platform and one on top. */
async function app(bench: Bench): Promise<Descriptor> {
  const { layout, base } = bench;
  const manifests = ['arm64', 'amd64'].map(async (architecture) => {
    const own = await layout.layer({ 'etc/architecture': architecture });
    const top = await layout.layer({ 'etc/proof': `app for ${architecture}` });
    return layout.image([base, own, top], architecture, `app on ${architecture}`);
  });
  return layout.index(await Promise.all(manifests));
}

/** Starts a registry that has both images, and the service before it; both go when `stack` is undone. */
export async function openShop(stack: AsyncDisposableStack): Promise<Shop> {
  const directory = await temporaryDirectory(stack, 'loaded');
  const [registry, bench] = await Promise.all([startRegistry(stack, 'none'), openBench(stack)]);
  // One tag for both: what a loader takes for a name must tell them apart all the same.
  await push(registry, bench, await app(bench), 'team/app:1');
  const top = await bench.layout.layer({ 'etc/proof': 'tool' });
  await push(registry, bench, await image(bench, 'tool', top), 'team/tool:1');
  // As most images of Docker Hub are: the layout is OCI's, the manifest in it, as it is, Docker's.
  await push(registry, bench, await image(bench, 'old', top), 'team/old:1', 'docker');
  const zstd = await bench.layout.layer({ 'etc/proof': 'zstd' }, 'zstd');
  await push(registry, bench, await image(bench, 'zstd', zstd), 'team/zstd:1');
  await push(registry, bench, await image(bench, 'base'), 'team/next:1');
  await push(registry, bench, await image(bench, 'next', top), 'team/next:2');
  const service = await startService(stack, { REGISTRY_URL: registry.origin });

  const expected = async (repository: string, content: string, tag = '1'): Promise<ExpectedImage> => ({
    name: `${registry.host}/${repository}:${tag}`,
    tag,
    published: await published(registry, `${repository}:${tag}`),
    proof: { path: 'etc/proof', content },
  });
  const [first, second, old, packed, next] = await Promise.all([
    expected('team/app', 'app for amd64'),
    expected('team/tool', 'tool'),
    expected('team/old', 'tool'),
    expected('team/zstd', 'zstd'),
    expected('team/next', 'tool', '2'),
  ]);
  const imagesOf = (content: Content) => {
    if (content.startsWith('bundle')) return [first, second];
    if (content.startsWith('update')) return [next];
    if (content.endsWith('zstd')) return [packed];
    return [content === 'oci, Docker types' ? old : first];
  };
  const fetchFile = async (path: string) => {
    const answer = await curl(directory, service.origin + path);
    assert.equal(answer.status, 200, `${path}: ${answer.stderr}`);
    return answer.file;
  };
  return {
    ...{ directory, registry, service },
    fetch: async (content, ending) => {
      const path = PATHS[content]
        .replace('{ending}', ending)
        .replace('{app}', first.name)
        .replace('{tool}', second.name);
      const base = BASE_PATHS[content];
      return {
        ...{ content, ending, file: await fetchFile(path), isIndex: content === 'oci, every platform' },
        base: base && (await fetchFile(base)),
        images: imagesOf(content),
      };
    },
  };
}
