import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { zstdCompressSync } from 'node:zlib';
import { IMAGE_LAYOUTS } from '../../../src/archive/archive.ts';
import { ImageService } from '../../../src/pull/image-service.ts';
import type { ImageServiceOptions } from '../../../src/pull/options.ts';
import type { Progress } from '../../../src/pull/progress.ts';
import { type ArchiveRequest, archiveRequest, imageRequest } from '../../../src/pull/request.ts';
import { DOCKER_HUB } from '../../../src/registry/registry-host.ts';
import { testOnSmallDisk } from '../../storage/folder.ts';
import { readAll, sha256 } from '../../support/collect.ts';
import { type FakeRegistryOptions, startFakeRegistry } from '../../support/fake-registry.ts';
import { makeImage, makeIndex, makeLayer } from '../../support/image.ts';
import { QUICK_RETRY } from '../../support/service.ts';
import { NEVER } from '../pulling.ts';

const POLICY = { defaultHost: DOCKER_HUB, defaultNamespace: '', allowedHosts: undefined, plainHttpHosts: [] };

const SHARED = { tar: makeLayer({ base: Buffer.alloc(900_000, 'b') }) };
const IMAGE = makeImage({
  layers: [
    SHARED,
    { tar: makeLayer({ small: 'x' }), compression: 'none' },
    SHARED,
    { tar: makeLayer({ big: Buffer.alloc(700_001, 'z') }), compression: 'zstd' },
  ],
});
const OTHER = makeImage({ layers: [SHARED, { tar: makeLayer({ top: 'y' }) }] });
const EMPTY = makeImage({ layers: [] });
const ZEROS = makeLayer({ zeros: Buffer.alloc(3_000_000) });
/** Its media types say gzip of each layer. */
const LYING = makeImage({
  layers: [
    SHARED,
    { blob: zstdCompressSync(ZEROS), diffId: sha256(ZEROS) },
    { blob: ZEROS, diffId: sha256(ZEROS) },
  ],
});
const INDEX = makeIndex([
  { image: IMAGE, platform: { os: 'linux', architecture: 'amd64' } },
  { image: OTHER, platform: { os: 'linux', architecture: 'arm64' } },
]);

/** A service, a registry with images, and a folder for files. */
async function start(options: ImageServiceOptions = {}, registryOptions: FakeRegistryOptions = {}) {
  await using stack = new AsyncDisposableStack();
  const registry = stack.use(await startFakeRegistry(registryOptions));
  registry.push('team/app', '1', IMAGE);
  registry.push('team/other', '2', OTHER);
  registry.push('team/empty', '3', EMPTY);
  registry.push('team/all', '4', INDEX);
  registry.push('team/lying', '5', LYING);
  const folder = await mkdtemp(join(tmpdir(), 'pull-to-'));
  stack.defer(() => rm(folder, { recursive: true }));
  const workspaceDirectory = await mkdtemp(join(tmpdir(), 'work-'));
  stack.defer(() => rm(workspaceDirectory, { recursive: true }));
  const images = await ImageService.open({ workspaceDirectory, ...options }, { retry: QUICK_RETRY });
  stack.defer(() => images.close());
  const request = (names: readonly string[], given: Partial<ArchiveRequest> = {}) => {
    const [first = assert.fail(), ...rest] = names.map((name) =>
      imageRequest(`${registry.host}/${name}`, POLICY),
    );
    return archiveRequest([first, ...rest], given);
  };
  const all = stack.move();
  return {
    images,
    registry,
    folder,
    destination: join(folder, 'image.tar'),
    request,
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  };
}

/** The archive as the service would send it. */
async function served(images: ImageService, request: ArchiveRequest): Promise<Buffer> {
  const file = await images.pull(await images.resolve(request, { signal: NEVER }), { signal: NEVER });
  try {
    return await readAll(file.bytes());
  } finally {
    file.close();
  }
}

describe('a file has the bytes that the service would send', () => {
  const rows: readonly [what: string, names: readonly string[], given: Partial<ArchiveRequest>][] = [
    ...IMAGE_LAYOUTS.flatMap((layout): [string, string[], Partial<ArchiveRequest>][] => [
      [`${layout}, with a layer twice`, ['team/app:1'], { layout }],
      [`${layout}, several images`, ['team/app:1', 'team/other:2', 'team/empty:3'], { layout }],
      [`${layout}, an image without layers`, ['team/empty:3'], { layout }],
      [`${layout}, with layers against their media types`, ['team/lying:5'], { layout }],
      [
        `${layout}, from an index`,
        ['team/all:4'],
        { layout, platform: { os: 'linux', architecture: 'arm64' } },
      ],
    ]),
    ['oci, all platforms', ['team/all:4'], { layout: 'oci', platform: 'all' }],
    ['docker, gzipped', ['team/app:1'], { compression: 'gzip' }],
  ];
  for (const [what, names, given] of rows) {
    test(what, async () => {
      await using scene = await start();
      const request = scene.request(names, given);
      const { path, size, resolved } = await scene.images.pullTo(request, scene.destination, {
        signal: NEVER,
      });
      const written = await readFile(scene.destination);
      assert.deepEqual([path, size], [scene.destination, written.length]);
      assert.equal(resolved.images.length, names.length);
      assert.ok(written.equals(await served(scene.images, request)));
      assert.deepEqual(await readdir(scene.folder), ['image.tar']);
    });
  }
});

describe('a pull that fails leaves no file, and an older one as it was', () => {
  const [blob = ''] = IMAGE.layers.flatMap(({ digest }, index) => (index === 3 ? [digest] : []));
  const rows: readonly [
    what: string,
    code: string,
    spoil: FakeRegistryOptions['defects'],
    names: string[],
  ][] = [
    ['a wrong layer', 'VERIFICATION_FAILED', { wrongBlobDigest: { digest: blob } }, ['team/app:1']],
    ['a missing layer', 'IMAGE_NOT_FOUND', { dropBlob: { digest: blob } }, ['team/app:1']],
    [
      'a wrong config',
      'VERIFICATION_FAILED',
      { wrongBlobDigest: { digest: IMAGE.config.digest } },
      ['team/app:1'],
    ],
    ['a missing image', 'IMAGE_NOT_FOUND', {}, ['team/app:1', 'team/none:1']],
  ];
  for (const layout of IMAGE_LAYOUTS) {
    for (const [what, code, defects, names] of rows) {
      test(`${layout}: ${what}`, async () => {
        await using scene = await start({}, { defects: defects ?? {} });
        await writeFile(scene.destination, 'older');
        const pulling = scene.images.pullTo(scene.request(names, { layout }), scene.destination, {
          signal: NEVER,
        });
        await assert.rejects(pulling, { code });
        assert.deepEqual(await readdir(scene.folder), ['image.tar']);
        assert.equal(await readFile(scene.destination, 'utf8'), 'older');
      });
    }

    test(`${layout}: an abort`, async () => {
      await using scene = await start(
        {},
        { defects: { stallRequests: { pattern: new RegExp(`blobs/${blob}`) } } },
      );
      const stop = new AbortController();
      const pulling = scene.images.pullTo(scene.request(['team/app:1'], { layout }), scene.destination, {
        signal: stop.signal,
      });
      await scene.registry.waitForStalled();
      stop.abort();
      await assert.rejects(pulling, { name: 'AbortError' });
      assert.deepEqual(await readdir(scene.folder), []);
    });

    test(`${layout}: an image beyond the limit`, async () => {
      await using scene = await start({ limits: { uncompressedBytes: 800_000, compressedBytes: 500 } });
      const pulling = scene.images.pullTo(scene.request(['team/app:1'], { layout }), scene.destination, {
        signal: NEVER,
      });
      await assert.rejects(pulling, { code: 'IMAGE_TOO_LARGE' });
      assert.deepEqual(await readdir(scene.folder), []);
    });
  }

  test('a full disk', async () => {
    await using scene = await start();
    for (const layout of IMAGE_LAYOUTS) {
      await assert.rejects(
        scene.images.pullTo(scene.request(['team/app:1'], { layout }), '/dev/full', { signal: NEVER }),
        { code: 'NO_SPACE' },
      );
    }
  });

  test('a folder that is not there', async () => {
    await using scene = await start();
    const destination = join(scene.folder, 'none', 'image.tar');
    await assert.rejects(scene.images.pullTo(scene.request(['team/app:1']), destination, { signal: NEVER }), {
      code: 'CANNOT_WRITE',
    });
    assert.equal(scene.registry.requests.length, 0, 'nothing is fetched in vain');
  });

  testOnSmallDisk(
    'a disk that cannot hold the layers, before they are fetched',
    [64 * 1024],
    async (disk) => {
      await using scene = await start();
      const large = makeImage({ layers: [{ tar: makeLayer({ large: randomBytes(200_000) }) }] });
      scene.registry.push('team/large', '1', large);
      for (const layout of ['docker-gzip', 'oci'] as const) {
        const request = scene.request(['team/large:1'], { layout });
        await assert.rejects(scene.images.pullTo(request, join(disk, 'image.tar'), { signal: NEVER }), {
          code: 'NO_SPACE',
          message: /image\.tar": it needs at least 20\d kB, and 65\.5 kB are free$/,
        });
      }
      assert.equal(scene.registry.countRequests(/blobs/), 0);
      assert.deepEqual(await readdir(disk), []);
    },
  );
});

test('progress counts every layer once, up to all of them', async () => {
  for (const layout of IMAGE_LAYOUTS) {
    await using scene = await start();
    const reports: Progress[] = [];
    await scene.images.pullTo(scene.request(['team/app:1', 'team/other:2'], { layout }), scene.destination, {
      signal: NEVER,
      onProgress: (progress) => void reports.push(progress),
    });
    const { layers, bytes } = reports.at(-1) ?? assert.fail();
    assert.deepEqual([layers.done, layers.total], [4, 4], layout);
    assert.equal(bytes.done, bytes.total);
    assert.ok(reports.every((report, index) => report.bytes.done >= (reports[index - 1]?.bytes.done ?? 0)));
  }
});

test('a pull with a kept folder takes the layers that are there', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'kept-'));
  try {
    await using scene = await start({ cache: { directory: join(directory, 'first') } });
    await scene.images.pullTo(scene.request(['team/other:2']), scene.destination, { signal: NEVER });
    await scene.images.pullTo(scene.request(['team/app:1']), scene.destination, { signal: NEVER });
    for (const { digest } of [...IMAGE.layers, ...OTHER.layers]) {
      assert.equal(scene.registry.countRequests(new RegExp(`^GET .*${digest}`)), 1);
    }
  } finally {
    await rm(directory, { recursive: true });
  }
});
