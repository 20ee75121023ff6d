/** Packages for Cisco IOx, as clients get them. */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { gunzipSync, zstdCompressSync } from 'node:zlib';
import { Puller } from '../../../src/index.ts';
import { sha256 } from '../../support/collect.ts';
import { makeImage, makeLayer } from '../../support/image.ts';
import { applicationImage, expectedDigests, readPackage, validDescriptor } from '../../support/iox.ts';
import { startPair } from '../../support/pair.ts';
import { prepareDone } from '../../support/preparing.ts';
import { assertError, firstLine } from '../../support/reading.ts';
import { startTestService } from '../../support/service.ts';
import { within } from '../../support/within.ts';

const FILE = '/iox/team_app_1.tar';

const startApp = (env: Readonly<Record<string, string>> = {}, image = applicationImage()) =>
  startPair({ env }, (registry) => registry.push('team/app', '1', image));

const WAYS: readonly [what: string, env: Readonly<Record<string, string>>][] = [
  ['spliced', {}],
  ['compressed as a whole', { ARCHIVE_GZIP: 'whole' }],
];

describe('a package', () => {
  for (const [what, env] of WAYS) {
    test(`has a descriptor, digests, and artifacts that are ${what}`, async () => {
      await using pair = await startApp(env);
      const reply = await pair.request(FILE);
      assert.equal(reply.status, 200, firstLine(reply));
      assert.equal(reply.headers['content-type'], 'application/x-tar');
      assert.equal(Number(reply.headers['content-length']), reply.body.length);
      const read = readPackage(reply.body);
      assert.deepEqual(read.names, ['package.yaml', 'package.mf', 'artifacts.tar.gz']);
      assert.equal(read.digests, expectedDigests(read, 'sha256'));
      assert.ok(read.rootfs.equals((await pair.request('/docker/team_app_1.tar')).body));
      validDescriptor(read.descriptor);
    });

    test(`comes in parts, ${what}`, async () => {
      await using pair = await startApp(env);
      const { body, headers } = await pair.request(FILE);
      const etag = String(headers.etag);
      for (const start of [0, 1, 511, 512, 1500, Math.floor(body.length / 2), body.length - 1]) {
        for (const end of [start + 1, Math.min(start + 700, body.length), body.length]) {
          const range = `bytes=${start}-${end - 1}`;
          const part = await pair.request(FILE, { headers: { range, 'if-range': etag } });
          assert.equal(part.status, 206, range);
          assert.ok(part.body.equals(body.subarray(start, end)), range);
        }
      }
      assert.equal((await pair.request(FILE, { headers: { 'if-none-match': etag } })).status, 304);
      assert.equal((await pair.request(FILE, { headers: { 'if-match': '"other"' } })).status, 412);
    });

    test(`is the same at a replica, and has its checksum, ${what}`, async () => {
      await using pair = await startApp(env);
      const first = await pair.request(FILE);
      await using replica = await startTestService({ REGISTRY_URL: pair.registry.url, ...env });
      await replica.request('/docker/team_app_1.tar');
      const head = await replica.request(FILE, { method: 'HEAD' });
      assert.equal(Number(head.headers['content-length']), first.body.length);
      const again = await replica.request(FILE);
      assert.ok(again.body.equals(first.body));
      assert.equal(again.headers.etag, first.headers.etag);
      const hex = createHash('sha256').update(first.body).digest('hex');
      const line = (await replica.request(`${FILE}.sha256`)).body.toString();
      assert.equal(line, `${hex}  team_app_1.tar\n`);
    });

    test(`can be gzipped, and has another tag then, ${what}`, async () => {
      await using pair = await startApp(env);
      const plain = await pair.request(FILE);
      const packed = await pair.request('/iox/team_app_1.tgz');
      assert.ok(gunzipSync(packed.body).equals(plain.body));
      assert.equal(Number(packed.headers['content-length']), packed.body.length);
      assert.notEqual(packed.headers.etag, plain.headers.etag);
    });
  }

  test('is in reach by every kind of route', async () => {
    await using pair = await startApp();
    const { body } = await pair.request(FILE);
    const host = new URL(pair.registry.url).host;
    const auth = { headers: { authorization: `Basic ${btoa('a:b')}` } };
    for (const path of [
      '/platform/linux/amd64/iox/team_app_1.tar',
      '/platform/cat9300/profile/c1.small/iox/team_app_1.tar',
      '/profile/c1.small/platform/linux/amd64/iox/team_app_1.tar',
      '/bundle.tar?image=team/app:1&layout=iox',
      '/team/app:1?layout=iox&format=tar',
      `/registry/http/${host}/iox/team_app_1.tar`,
      `/registry-auth/http/${host}/iox/team_app_1.tar`,
    ]) {
      const reply = await pair.request(path, path.startsWith('/registry-auth') ? auth : {});
      assert.equal(reply.status, 200, `${path}: ${firstLine(reply)}`);
      const [one, other] = [readPackage(reply.body), readPackage(body)];
      if (!path.startsWith('/registry')) assert.ok(one.rootfs.equals(other.rootfs), path);
    }
  });

  test('with a blob that is no gzip has a tag with the version of zlib', async () => {
    const tar = makeLayer({ a: 'a'.repeat(9000) });
    const image = makeImage({
      layers: [{ blob: zstdCompressSync(tar), diffId: sha256(tar) }],
      config: { config: { Cmd: ['/a'] } },
    });
    await using pair = await startApp({}, image);
    const reply = await pair.request(FILE);
    const read = readPackage(reply.body);
    assert.equal(read.digests, expectedDigests(read, 'sha256'));
    assert.ok(reply.headers.etag?.includes(process.versions.zlib));
    const same = await pair.request(FILE, { headers: { 'if-none-match': String(reply.headers.etag) } });
    assert.equal(same.status, 304);
  });

  test('has the digests that are configured', async () => {
    await using pair = await startApp({ IOX_DIGEST: 'sha1' });
    const read = readPackage((await pair.request(FILE)).body);
    assert.equal(read.digests, expectedDigests(read, 'sha1'));
    await using without = await startTestService({ REGISTRY_URL: pair.registry.url, IOX_DIGEST: 'none' });
    const plain = await without.request(FILE);
    assert.deepEqual(readPackage(plain.body).names, ['package.yaml', 'artifacts.tar.gz']);
  });
});

describe('a package by other faces', () => {
  for (const [what, env] of WAYS)
    test(`is prepared beforehand, ${what}`, async () => {
      await using pair = await startApp({ ...env, CACHE_MAX_BYTES: '100MB' });
      await prepareDone(pair.service, '/profile/c1.large/iox/team_app_1.tar');
      const count = pair.registry.requests.length;
      assert.equal((await pair.request('/profile/c1.large/iox/team_app_1.tar')).status, 200);
      const blobs = pair.registry.requests.slice(count).filter(({ path }) => path.includes('/blobs/'));
      assert.deepEqual(blobs, []);
    });

  test('is pulled to a file by Puller, with the same bytes', async () => {
    await using pair = await startApp();
    const folder = await mkdtemp(join(tmpdir(), 'iox-'));
    try {
      const url = `${pair.registry.host}/team/app:1`;
      await using puller = new Puller({ url, scheme: 'http', os: 'linux', arch: 'amd64' });
      const call = { layout: 'iox', sizing: { profile: 'c1.large' } } as const;
      const { path } = await puller.pullTar(join(folder, 'app.tar'), call);
      const file = await readFile(path);
      const { descriptor, rootfs } = readPackage(file);
      validDescriptor(descriptor);
      assert.match(descriptor, /profile: "c1\.large"/);
      assert.ok(rootfs.includes(Buffer.from(`"${url}"`)));
      assert.ok(
        Buffer.concat(await Array.fromAsync(puller.bytes(call), (chunk) => Buffer.from(chunk))).equals(file),
      );
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

describe('the size of an application', () => {
  const table: readonly [path: string, resources: Readonly<Record<string, unknown>>][] = [
    [FILE, { profile: 'c1.small' }],
    ['/profile/c1.medium/iox/team_app_1.tar', { profile: 'c1.medium' }],
    ['/profile/C1.Large/iox/team_app_1.tar', { profile: 'c1.large' }],
    ['/iox/team_app_1.tar?profile=exclusive', { profile: 'exclusive' }],
    ['/profile/custom/400/256/64/iox/team_app_1.tar', { profile: 'custom', cpu: 400, memory: 256, disk: 64 }],
    [
      '/iox/team_app_1.tar?cpu=400&memory=256&disk=64',
      { profile: 'custom', cpu: 400, memory: 256, disk: 64 },
    ],
  ];
  for (const [path, resources] of table) {
    test(`${path} has ${JSON.stringify(resources)}`, async () => {
      await using pair = await startApp();
      const fields = validDescriptor(readPackage((await pair.request(path)).body).descriptor);
      const { app } = fields as { app: { resources: Record<string, unknown> } };
      const { network: _, ...sizes } = app.resources;
      assert.deepEqual(sizes, resources);
    });
  }

  const refused: readonly [path: string, line: RegExp][] = [
    ['/profile/c1.smal/iox/team_app_1.tar', /did you mean c1\.small\?/],
    ['/profile/custom/0/256/64/iox/team_app_1.tar', /cpu="0" is out of range/],
    ['/iox/team_app_1.tar?profile=custom&cpu=400', /memory is missing/],
    ['/iox/team_app_1.tar?cpu=99999999999&memory=1&disk=1', /out of range/],
    ['/iox/team_app_1.tar?profile=c1.small&cpu=1', /only custom takes/],
    ['/profile/c1.small/iox/team_app_1.tar?profile=c1.large', /in the path and in the query/],
    ['/docker/team_app_1.tar?profile=c1.small', /layout docker has no profile/],
    ['/profile/c1.small/docker/team_app_1.tar', /layout docker has no profile/],
    ['/bundle.tar?image=team/app:1&image=team/app:1&layout=iox', /Cannot put 2 images into a package/],
    ['/platform/windows/amd64/iox/team_app_1.tar', /devices run linux/],
    ['/platform/all/iox/team_app_1.tar', /only layout oci/],
  ];
  for (const [path, line] of refused) {
    test(`${path} is refused`, async () => {
      await using pair = await startApp();
      assertError(await pair.request(path), 400, line);
      assert.equal(pair.registry.requests.length, 0);
    });
  }

  for (const path of ['/profile/c1.small/team/app:1', '/profile/c1.small', '/profile/c1.small/health']) {
    test(`does not stand before ${path}`, async () => {
      await using pair = await startApp();
      assertError(await pair.request(path), 404, /with a reference, the profile is a parameter/);
    });
  }

  test('of an update is refused: a device needs the whole package', async () => {
    await using pair = await startApp();
    for (const path of ['/since/0/iox/team_app_1.tar', '/iox/team_app_1.tar?since=0'])
      assertError(await pair.request(path), 400, /Cannot make an update of layout iox/);
    assertError(await pair.request('/manifest/team/app:1?layout=iox&since=0'), 400, /layout iox/);
  });

  test('is never early', async () => {
    await using pair = await startApp();
    const reply = await pair.request('/early/iox/team_app_1.tar');
    assert.equal(Number(reply.headers['content-length']), reply.body.length);
  });

  test('stands once', async () => {
    await using pair = await startApp();
    const reply = await pair.request('/profile/c1.small/profile/c1.large/iox/team_app_1.tar');
    assertError(reply, 400, /it has \/profile\/ twice/);
  });
});

describe('labels', () => {
  const LABELS = { 'cisco.resources.privileged': 'true', 'cisco.info.name': 'Sensor' };

  test('that open the device are left out, and the answer and the log say so', async () => {
    await using pair = await startApp({}, applicationImage({ Labels: LABELS }));
    for (const method of ['HEAD', 'GET']) {
      const reply = await pair.request(FILE, { method });
      assert.equal(reply.headers['iox-labels-left-out'], 'cisco.resources.privileged');
    }
    const { descriptor } = readPackage((await pair.request(FILE)).body);
    assert.doesNotMatch(descriptor, /privileged/);
    assert.match(descriptor, /name: "Sensor"/);
    const shown = await pair.request('/manifest/team/app:1?layout=iox');
    assert.equal(shown.body.toString(), descriptor);
    assert.equal(shown.headers['iox-labels-left-out'], 'cisco.resources.privileged');
  });

  test('that open the device are taken where the operator allows it', async () => {
    const env = { IOX_ALLOW_PRIVILEGED: 'yes' };
    await using pair = await startApp(env, applicationImage({ Labels: LABELS }));
    const reply = await pair.request(FILE);
    assert.equal(reply.headers['iox-labels-left-out'], undefined);
    assert.match(readPackage(reply.body).descriptor, /privileged: true/);
  });

  test('that make no valid descriptor are an error that names them', async () => {
    const Labels = { 'cisco.resources.cpu': 'many' };
    await using pair = await startApp({}, applicationImage({ Labels }));
    for (const path of [FILE, '/manifest/team/app:1?layout=iox'])
      assertError(await pair.request(path), 502, /"cisco\.resources\.cpu"/);
  });

  test('that make no valid descriptor fail the request before its layers are there', async () => {
    const image = applicationImage({ Labels: { 'cisco.resources.cpu': 'many' } });
    await using pair = await startApp({}, image);
    // The layers never arrive.
    pair.registry.defects.stallBlob = image.layers.map(({ digest }) => ({ digest, afterBytes: 0 }));
    const reply = await within(pair.request(FILE), 'the answer');
    assertError(reply, 502, /"cisco\.resources\.cpu"/);
  });
});

describe('the descriptor before pulling', () => {
  test('is that of the package, and no layer is fetched for it', async () => {
    await using pair = await startApp();
    const shown = await pair.request('/manifest/team/app:1?layout=iox&profile=c1.large');
    assert.equal(shown.status, 200, firstLine(shown));
    assert.equal(shown.headers['content-type'], 'application/yaml');
    const layers = applicationImage().layers.map(({ digest }) => digest);
    assert.ok(!pair.registry.requests.some(({ path }) => layers.some((digest) => path.includes(digest))));
    const reply = await pair.request('/profile/c1.large/iox/team_app_1.tar');
    assert.equal(readPackage(reply.body).descriptor, shown.body.toString());
  });

  test('is refused beside a type', async () => {
    await using pair = await startApp();
    assertError(await pair.request('/manifest/team/app:1?layout=iox&type=index'), 400, /type/);
    assertError(await pair.request('/manifest/team/app:1?profile=c1.small'), 400, /layout=iox/);
  });
});
