import '../support/own-temporary-folder.ts';

import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { type Progress, Puller, type PullerOptions } from '../../src/index.ts';
import { machinePlatform } from '../../src/library/machine-platform.ts';
import { listTar, readAll } from '../support/collect.ts';
import { type FakeRegistryOptions, startFakeRegistry } from '../support/fake-registry.ts';
import { makeImage, makeIndex, makeLayer } from '../support/image.ts';
import { makeSigningKey, signatureTags, signedByTag } from '../support/signing.ts';
import { makeCertificates } from '../support/tls.ts';
import { within } from '../support/within.ts';

const LAYERS = [
  { tar: makeLayer({ hello: 'world' }) },
  { tar: makeLayer({ big: Buffer.alloc(600_000, 'x') }) },
];
const IMAGE = makeImage({ layers: LAYERS });
const ARM = makeImage({ layers: [{ tar: makeLayer({ arm: 'y' }) }] });
const INDEX = makeIndex([
  { image: IMAGE, platform: { os: 'linux', architecture: 'amd64' } },
  { image: ARM, platform: { os: 'linux', architecture: 'arm64' } },
]);
const AMD64 = { os: 'linux', arch: 'amd64' };

/** A registry with a single-platform image and a list, and a folder. Temporary files of pullers are in it, too. */
async function start(options: FakeRegistryOptions = {}) {
  await using stack = new AsyncDisposableStack();
  const registry = stack.use(await startFakeRegistry(options));
  registry.push('team/app', '1', IMAGE);
  registry.push('team/all', '1', INDEX);
  const folder = await mkdtemp(join(tmpdir(), 'puller-'));
  stack.defer(() => rm(folder, { recursive: true }));
  const puller = (name: string, given: Partial<PullerOptions> = {}) =>
    new Puller({ url: `${registry.host}/${name}`, scheme: options.tls ? 'https' : 'http', ...given });
  const all = stack.move();
  return {
    registry,
    folder,
    puller,
    file: join(folder, 'a.tar'),
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  };
}

describe('a puller', () => {
  test('pulls the image for its platform to a tar file', async () => {
    await using scene = await start();
    for (const [arch, image] of [
      ['amd64', IMAGE],
      ['arm64', ARM],
    ] as const) {
      const puller = scene.puller('team/all:1', { os: 'linux', arch });
      const { path, size, digest } = await puller.pullTar(scene.file);
      const bytes = await readFile(scene.file);
      assert.deepEqual([path, size, digest], [scene.file, bytes.length, image.manifest.digest]);
      const files = new Map(listTar(bytes).map(({ name, content }) => [name, content]));
      const [{ RepoTags, Config }] = JSON.parse(String(files.get('manifest.json')));
      assert.deepEqual(RepoTags, [`${scene.registry.host}/team/all:1`]);
      assert.deepEqual(files.get(Config), image.config.bytes);
    }
  });

  test('gives the same bytes as an iteration, in each layout', async () => {
    await using scene = await start();
    const puller = scene.puller('team/app:1', AMD64);
    for (const layout of ['docker', 'docker-gzip', 'oci'] as const) {
      await puller.pullTar(scene.file, { layout });
      assert.ok((await readAll(puller.bytes({ layout }))).equals(await readFile(scene.file)), layout);
    }
  });

  test('pulls an update: the layers that the base has are neither in it nor fetched', async () => {
    await using scene = await start();
    scene.registry.push('team/base', '1', makeImage({ layers: LAYERS.slice(1) }));
    scene.registry.push('team/app', 'base', makeImage({ layers: LAYERS.slice(0, 1) }));
    const [shared, own] = IMAGE.layers;
    const puller = scene.puller('team/app:1', AMD64);
    const bases = ['base', 'team/app:base', `${scene.registry.host}/team/app:base`];
    for (const layout of ['docker', 'docker-gzip', 'oci'] as const) {
      for (const since of bases) {
        const { size } = await puller.pullTar(scene.file, { layout, since });
        const bytes = await readFile(scene.file);
        assert.equal(bytes.length, size);
        assert.ok((await readAll(puller.bytes({ layout, since }))).equals(bytes), layout);
        const files = new Map(listTar(bytes).map(({ name, content }) => [name, content]));
        const [{ Layers }] = JSON.parse(String(files.get('manifest.json')));
        const isThere = Layers.map((name: string) => files.has(name));
        assert.deepEqual(isThere, [false, true], `${layout} since ${since}`);
      }
    }
    const { registry } = scene;
    assert.equal(registry.countRequests(new RegExp(`GET .*/blobs/${shared?.digest}`)), 0);
    assert.ok(registry.countRequests(new RegExp(`GET .*/blobs/${own?.digest}`)) > 0);
    await assert.rejects(puller.pullTar(scene.file, { since: 'other.example/a:1' }), {
      code: 'INVALID_REFERENCE',
    });
    await assert.rejects(puller.pullTar(scene.file, { since: 'none' }), { code: 'IMAGE_NOT_FOUND' });
  });

  test('pulls manifests, and says which kind they are', async () => {
    await using scene = await start();
    const all = scene.puller('team/all:1', { os: 'linux', arch: 'arm64' });
    const single = scene.puller('team/app:1', AMD64);
    const rows = [
      [await all.pullManifest('list'), 'list', INDEX],
      [await all.pullManifest('image'), 'image', ARM],
      [await all.getManifest(), 'list', INDEX],
      [await single.pullManifest('image'), 'image', IMAGE],
      [await single.getManifest(), 'image', IMAGE],
    ] as const;
    for (const [{ type, digest, mediaType, size, bytes, content }, expected, { manifest }] of rows) {
      assert.deepEqual([type, digest, mediaType], [expected, manifest.digest, manifest.mediaType]);
      assert.deepEqual([size, Buffer.from(bytes)], [manifest.bytes.length, manifest.bytes]);
      assert.deepEqual(content, JSON.parse(manifest.bytes.toString()));
    }
    await assert.rejects(single.pullManifest('list'), {
      code: 'PLATFORM_NOT_FOUND',
      message: /it is for a single platform and has none$/,
    });
    await assert.rejects(scene.puller('team/all:1', { os: 'windows' }).pullManifest('image'), {
      code: 'PLATFORM_NOT_FOUND',
    });
    // A caller in JavaScript can pass anything.
    const wrong = 'index' as 'list';
    await assert.rejects(async () => await single.pullManifest(wrong), { code: 'INVALID_CONFIGURATION' });
  });

  test('asks for digest, media type and size without the manifest', async () => {
    await using scene = await start();
    const { digest, mediaType, bytes } = INDEX.manifest;
    const facts = { digest, mediaType, size: bytes.length };
    assert.deepEqual(await scene.puller('team/all:1').headManifest(), facts);
    assert.equal(scene.registry.countRequests(/^GET .*manifests/), 0);
    scene.registry.defects.wrongHeaderDigest = null;
    assert.deepEqual(await scene.puller('team/all:1').headManifest(), facts);
    assert.equal(scene.registry.countRequests(/^GET .*manifests/), 1);
    await assert.rejects(scene.puller('team/none:1').headManifest(), { code: 'IMAGE_NOT_FOUND' });
  });

  test('runs calls at the same time, and leaves nothing behind', async () => {
    await using scene = await start();
    const before = await readdir(tmpdir());
    const puller = scene.puller('team/app:1', AMD64);
    await Promise.all([
      puller.pullTar(scene.file),
      puller.pullTar(join(scene.folder, 'b.tar')),
      puller.getManifest(),
      readAll(puller.bytes()),
    ]);
    await puller.headManifest();
    for await (const _ of puller.bytes()) {
      assert.equal((await readdir(tmpdir())).length, before.length + 1);
      break;
    }
    assert.deepEqual(await readdir(tmpdir()), before);
  });
});

describe('blobs', () => {
  const hex = (digest: string) => digest.replace(/^sha256:/, '');
  const names = [IMAGE.config.digest, ...IMAGE.layers.map(({ digest }) => digest)].map(hex);

  test('are pulled into a folder, and only those that are missing or wrong are fetched again', async () => {
    await using scene = await start();
    const puller = scene.puller('team/app:1', AMD64);
    const folder = join(scene.folder, 'deep', 'blobs');
    const manifest = await puller.pullManifest('image');
    const reports: Progress[] = [];
    const pulled = await puller.pullBlobs(manifest, folder, { onProgress: (one) => void reports.push(one) });
    assert.deepEqual(
      pulled.map(({ path, wasThere }) => [path, wasThere]),
      names.map((name) => [join(folder, name), false]),
    );
    for (const { digest, blob } of IMAGE.layers)
      assert.deepEqual(await readFile(join(folder, hex(digest))), blob);
    const { layers, bytes } = reports.at(-1) ?? assert.fail();
    assert.deepEqual([layers.done, bytes.done], [3, bytes.total]);

    const [config = '', small = '', big = ''] = names.map((name) => join(folder, name));
    // The same size with other bytes, another size, and a missing file.
    await writeFile(small, Buffer.alloc((await readFile(small)).length, 'x'));
    await writeFile(config, 'short');
    const again = await puller.pullBlobs(manifest, folder);
    assert.deepEqual(
      again.map(({ wasThere }) => wasThere),
      [false, false, true],
    );
    assert.deepEqual(await readFile(small), IMAGE.layers[0]?.blob);
    assert.deepEqual(await readFile(config), IMAGE.config.bytes);
    assert.equal(scene.registry.countRequests(new RegExp(`^GET .*${hex(IMAGE.layers[1]?.digest ?? '')}`)), 1);
    assert.deepEqual((await readdir(folder)).toSorted(), names.toSorted());
    assert.ok(big.length > 0);
  });

  test('that are wrong are refused, and leave no file', async () => {
    await using scene = await start({ defects: { wrongBlobDigest: true } });
    const puller = scene.puller('team/app:1', AMD64);
    const folder = join(scene.folder, 'blobs');
    await assert.rejects(puller.pullBlobs(await puller.getManifest(), folder), {
      code: 'VERIFICATION_FAILED',
    });
    assert.deepEqual(await readdir(folder), []);
  });

  test('of a list are refused, and so is a folder that is a file', async () => {
    await using scene = await start();
    const all = scene.puller('team/all:1', AMD64);
    await assert.rejects(all.pullBlobs(await all.getManifest(), scene.folder), { code: 'UNSUPPORTED_IMAGE' });
    await writeFile(scene.file, '');
    await assert.rejects(all.pullBlobs(await all.pullManifest('image'), scene.file), {
      code: 'CANNOT_WRITE',
    });
    // A folder where a blob belongs
    const folder = join(scene.folder, 'blobs');
    await mkdir(join(folder, hex(IMAGE.config.digest)), { recursive: true });
    await assert.rejects(all.pullBlobs(await all.pullManifest('image'), folder), { code: 'CANNOT_WRITE' });
  });
});

describe('a call that is stopped', () => {
  const pattern = new RegExp(`blobs/${IMAGE.layers[1]?.digest}`);

  test('by its signal rejects with the reason, and leaves no file', async () => {
    await using scene = await start({ defects: { stallRequests: { pattern } } });
    const puller = scene.puller('team/app:1', AMD64);
    const manifest = await puller.getManifest();
    const calls: ((signal: AbortSignal) => Promise<unknown>)[] = [
      (signal) => puller.pullTar(scene.file, { signal }),
      (signal) => puller.pullTar(scene.file, { signal, layout: 'oci' }),
      (signal) => readAll(puller.bytes({ signal })),
      (signal) => puller.pullBlobs(manifest, scene.folder, { signal }),
    ];
    for (const call of calls) {
      const stop = new AbortController();
      const reason = new Error('enough');
      const calling = call(stop.signal);
      await scene.registry.waitForStalled();
      stop.abort(reason);
      await assert.rejects(within(calling, 'the end of the call'), (error) => error === reason);
      await assert.rejects(call(stop.signal), (error) => error === reason, 'before it starts');
      scene.registry.releaseStalled();
    }
    assert.ok((await readdir(scene.folder)).every((name) => /^[0-9a-f]{64}$/.test(name)));
  });

  test('by the end of the puller rejects, and the end waits for it', async () => {
    await using scene = await start({ defects: { stallRequests: { pattern } } });
    const puller = scene.puller('team/app:1', AMD64);
    const pulling = assert.rejects(puller.pullTar(scene.file), { code: 'ABORTED' });
    await scene.registry.waitForStalled();
    await within(puller[Symbol.asyncDispose](), 'the end of the puller');
    await pulling;
    assert.deepEqual(await readdir(scene.folder), []);
    await assert.rejects(puller.getManifest(), {
      code: 'ABORTED',
      message: 'Cannot use the puller: it is closed',
    });
    await puller[Symbol.asyncDispose]();
  });

  test('is not waited for if it is an iteration that its reader has left in the middle', async () => {
    await using scene = await start();
    const puller = scene.puller('team/app:1', AMD64);
    const bytes = puller.bytes();
    assert.equal((await bytes.next()).done, false);
    await within(puller[Symbol.asyncDispose](), 'the end of the puller');
    await assert.rejects(readAll(bytes), { code: 'ABORTED' });
  });
});

describe('the options', () => {
  test('are shown with their defaults, and the example works as it stands', () => {
    const { os, architecture } = machinePlatform();
    const puller = new Puller({ url: 'docker.io/hello-world:latest' });
    assert.equal(puller.url, 'docker.io/hello-world:latest');
    assert.deepEqual(puller.options, {
      url: 'docker.io/hello-world:latest',
      scheme: 'https',
      os,
      arch: architecture,
      insecure: false,
    });
    assert.equal(new Puller({ url: 'docker://alpine', arch: 'arm/v6' }).options.arch, 'arm/v6');
    assert.doesNotMatch(JSON.stringify(new Puller({ url: 'a', username: 'u', password: 'p-7Q' })), /p-7Q/);
  });

  const rows: readonly [what: string, options: Partial<PullerOptions>, code: string][] = [
    ['a reference that is none', { url: 'alpine:' }, 'INVALID_REFERENCE'],
    ['an empty reference', { url: '' }, 'INVALID_REFERENCE'],
    ['a URL', { url: 'https://docker.io/alpine' }, 'INVALID_REFERENCE'],
    ['a scheme', { scheme: 'ftp' as 'http' }, 'INVALID_REGISTRY'],
    ['a system', { os: 'plan10' }, 'INVALID_PLATFORM'],
    ['an architecture', { arch: 'z80' }, 'INVALID_PLATFORM'],
    ['a password alone', { password: 'secret' }, 'INVALID_CONFIGURATION'],
    ['a user name with a colon', { username: 'a:b', password: 'secret' }, 'INVALID_CONFIGURATION'],
    ['a certificate without key', { tlsCert: '-----BEGIN CERTIFICATE-----' }, 'INVALID_CONFIGURATION'],
    ['a key without certificate', { tlsKey: '-----BEGIN PRIVATE KEY-----' }, 'INVALID_CONFIGURATION'],
    ['a file of authorities that is missing', { caCert: '/nowhere/ca.pem' }, 'INVALID_CONFIGURATION'],
    ['a file of authorities that is none', { caCert: import.meta.filename }, 'INVALID_CONFIGURATION'],
  ];
  for (const [what, options, code] of rows) {
    test(`refuse ${what} at once`, () => {
      assert.throws(
        () => new Puller({ url: 'alpine', ...options }),
        (error: Error & { code?: string }) => {
          assert.equal(error.code, code);
          assert.doesNotMatch(error.message, /secret/);
          return true;
        },
      );
    });
  }

  test('refuse a namespace that is none when the puller is used', async () => {
    const puller = new Puller({ url: 'alpine', namespace: 'a/b' });
    await assert.rejects(puller.getManifest(), { code: 'INVALID_CONFIGURATION' });
  });

  test('lead to registries with a namespace, credentials and certificates', async () => {
    const { ca, cert, key, clientCert, clientKey } = await makeCertificates();
    const auths: FakeRegistryOptions['auth'][] = [
      { mode: 'none' },
      { mode: 'basic' },
      { mode: 'token', allowAnonymous: false },
    ];
    const user = { username: 'user', password: 'secret' };
    for (const auth of auths) {
      for (const clientCa of [undefined, ca]) {
        await using scene = await start({
          ...(auth !== undefined && { auth }),
          tls: { cert, key, ...(clientCa !== undefined && { clientCa }) },
        });
        const paths = {
          ca: join(scene.folder, 'ca'),
          cert: join(scene.folder, 'c'),
          key: join(scene.folder, 'k'),
        };
        await Promise.all([
          writeFile(paths.ca, ca),
          writeFile(paths.cert, clientCert),
          writeFile(paths.key, clientKey),
        ]);
        const identity = { tlsCert: paths.cert, tlsKey: paths.key };
        const needsUser = auth?.mode !== 'none';
        for (const trust of [{ caCert: paths.ca }, { insecure: true }]) {
          const options = { ...AMD64, ...identity, ...trust, ...(needsUser && user) };
          const puller = scene.puller('team/app:1', { ...options, namespace: 'quay.io' });
          assert.equal((await puller.pullTar(scene.file)).digest, IMAGE.manifest.digest);
          if (needsUser) {
            const wrong = scene.puller('team/app:1', { ...options, password: 'wrong' });
            await assert.rejects(wrong.pullTar(scene.file), { code: 'REGISTRY_DENIED' });
          }
          if (clientCa !== undefined) {
            const anonymous = scene.puller('team/app:1', {
              ...options,
              tlsCert: undefined,
              tlsKey: undefined,
            });
            await assert.rejects(anonymous.getManifest(), { code: 'REGISTRY_UNREACHABLE' });
          }
        }
        await assert.rejects(scene.puller('team/app:1', { ...identity, ...user }).getManifest(), {
          code: 'REGISTRY_UNREACHABLE',
        });
        const blobs = scene.registry.requests.filter(({ path }) => path.includes('/blobs/'));
        assert.ok(blobs.length >= 3 && blobs.every(({ path }) => path.endsWith('?ns=quay.io')));
      }
    }
  });
});

describe('verifyKeys', () => {
  const key = makeSigningKey();

  test('accept an image that one of them has signed, and no other', async () => {
    await using scene = await start();
    const keys = [makeSigningKey().pem, key.pem];
    const puller = scene.puller('team/app:1', { ...AMD64, verifyKeys: keys });
    const unsigned = { code: 'IMAGE_NOT_SIGNED' };
    await assert.rejects(puller.pullTar(scene.file), unsigned);
    await assert.rejects(puller.pullManifest('image'), unsigned);
    await assert.rejects(puller.getManifest(), unsigned);
    await assert.rejects(readAll(puller.bytes()), unsigned);
    const { digest } = IMAGE.manifest;
    scene.registry.push('team/app', signatureTags(digest).tag, signedByTag(digest, key));
    assert.equal((await puller.pullTar(scene.file)).digest, digest);
    assert.equal((await puller.getManifest()).digest, digest);
  });

  test('that cannot be used are an error of the constructor', async () => {
    await using scene = await start();
    const bad = join(scene.folder, 'bad.pub');
    await writeFile(bad, 'x');
    for (const verifyKeys of [
      [],
      [bad],
      [join(scene.folder, 'missing.pub')],
      [makeSigningKey('ed25519').pem],
    ])
      assert.throws(() => scene.puller('team/app:1', { verifyKeys }), { code: 'INVALID_CONFIGURATION' });
    scene.puller('team/app:1', { verifyKeys: [`ed25519:${makeSigningKey('ed25519').pem}`] });
  });
});
