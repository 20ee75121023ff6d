/** Cached files that are damaged on the disk: clients get the right bytes or an error, and no other bytes. */

import assert from 'node:assert/strict';
import { open, readFile, rm, stat, truncate } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { basename } from 'node:path';
import { describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import {
  APP,
  APP_FILE,
  assertHolds,
  BASE,
  BASE_DIGEST,
  blobsOf,
  layerOf,
  startScene,
  storedFiles,
} from '../../support/cached.ts';
import { readAll, sha256 } from '../../support/collect.ts';
import { makeGzipBombLayer, makeImage } from '../../support/image.ts';
import { LARGE_BYTES, LARGE_FILE } from '../../support/two-sizes.ts';
import { within } from '../../support/within.ts';

const BASE_REQUEST = `GET team/app/blobs/${BASE_DIGEST}`;
/** Archives are compressed as a whole, into a file of their own. */
const WHOLE = { ARCHIVE_GZIP: 'whole' };
const GZIP_FILE = '/docker/team_app_1.tgz';
const BASE_BLOB = APP.layers[0]?.blob ?? assert.fail();
/** Bytes that tell the file of a compressed archive from that of a blob. */
const startOf = ({ body }: { readonly body: Buffer }) => body.subarray(0, 1000);

/** A scene, and a service with its cache in `CACHE_DIR` that records the damaged files that it finds. */
async function startDamaged(env: Readonly<Record<string, string>> = {}) {
  await using stack = new AsyncDisposableStack();
  const scene = stack.use(await startScene());
  const damaged: string[] = [];
  const start = () =>
    scene.start({ CACHE_DIR: scene.directory, ...env }, { onDamage: (name) => damaged.push(name) });
  let service = stack.use(await start());
  const all = stack.move();
  return {
    ...scene,
    damaged,
    get service() {
      return service;
    },
    restart: async () => {
      await service[Symbol.asyncDispose]();
      service = all.use(await start());
    },
    /** Path of the stored file that begins with these bytes. */
    fileWith: async (start: Uint8Array): Promise<string> => {
      for (const path of await storedFiles(scene.directory)) {
        if ((await readFile(path)).subarray(0, start.length).equals(start)) return path;
      }
      assert.fail('no stored file begins with these bytes');
    },
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  };
}

/** Overwrites some bytes of a file. */
async function overwrite(path: string, position: number): Promise<void> {
  const file = await open(path, 'r+');
  try {
    await file.write(Buffer.from('these bytes are wrong'), 0, undefined, position);
  } finally {
    await file.close();
  }
}

/** Damages to a file of so many bytes. */
const DAMAGES: Readonly<Record<string, (path: string, bytes: number) => Promise<void>>> = {
  'whose first bytes are overwritten': (path) => overwrite(path, 0),
  'whose middle is overwritten': (path, bytes) => overwrite(path, Math.floor(bytes / 2)),
  'that is cut to half its length': (path, bytes) => truncate(path, Math.floor(bytes / 2)),
  'that is emptied': (path) => truncate(path, 0),
};

/** Damages that concern only a service that opens the file later. */
const DAMAGES_WHEN_OPENED: typeof DAMAGES = {
  'whose checksums are overwritten': (path, bytes) => overwrite(path, bytes - 100),
  'whose last byte is cut off': (path, bytes) => truncate(path, bytes - 1),
  'that is removed': (path) => rm(path),
};

async function apply(damage: (typeof DAMAGES)[string], path: string): Promise<void> {
  await damage(path, (await stat(path)).size);
}

describe('a cached layer', () => {
  const opened = Object.entries(DAMAGES).map((one) => [...one, false] as const);
  const closed = Object.entries({ ...DAMAGES, ...DAMAGES_WHEN_OPENED }).map((one) => [...one, true] as const);
  for (const [what, damage, isRestarted] of [...opened, ...closed]) {
    test(`${what} is inflated again from its blob${isRestarted ? ', after a restart' : ''}`, async () => {
      await using scene = await startDamaged();
      const expected = await scene.service.request(APP_FILE);
      assertHolds(expected, APP);
      if (isRestarted) await scene.restart();
      const { service } = scene;
      const path = await scene.fileWith(BASE.tar);
      await apply(damage, path);
      scene.takeRequests();
      assert.ok((await service.request(APP_FILE)).body.equals(expected.body));
      const blobs = blobsOf(scene.takeRequests()).filter((line) => !line.includes(APP.config.digest));
      assert.deepEqual(blobs, []);
      assert.deepEqual(scene.damaged, [basename(path)]);
      assert.ok((await service.request(APP_FILE)).body.equals(expected.body), 'the new file is sound');
      assert.deepEqual(blobsOf(scene.takeRequests()), []);
      assert.equal(scene.damaged.length, 1);
      assert.deepEqual(
        service.logs().filter(({ level }) => level === 'error' || level === 'warn'),
        [],
      );
    });
  }

  for (const [what, damage] of Object.entries(DAMAGES)) {
    test(`${what} is fetched once more if its blob is as bad`, async () => {
      await using scene = await startDamaged();
      const { service } = scene;
      const expected = await service.request(APP_FILE);
      const paths = [await scene.fileWith(BASE.tar), await scene.fileWith(BASE_BLOB)];
      for (const path of paths) await apply(damage, path);
      scene.takeRequests();
      assert.ok((await service.request(APP_FILE)).body.equals(expected.body));
      assert.deepEqual(blobsOf(scene.takeRequests()), [BASE_REQUEST]);
      assert.deepEqual(
        scene.damaged,
        paths.map((path) => basename(path)),
      );
      for (const path of [APP_FILE, GZIP_FILE, '/oci/team_app_1.tar'])
        assert.equal((await service.request(path)).status, 200);
      assert.deepEqual(blobsOf(scene.takeRequests()), [], 'the new files are sound');
      assert.equal(scene.damaged.length, 2);
    });
  }

  for (const [what, damage] of Object.entries(DAMAGES_WHEN_OPENED)) {
    test(`${what} is still served by a service that has it open`, async () => {
      await using scene = await startDamaged();
      const { service } = scene;
      const expected = await service.request(APP_FILE);
      await apply(damage, await scene.fileWith(BASE.tar));
      scene.takeRequests();
      assert.ok((await service.request(APP_FILE)).body.equals(expected.body));
      assert.deepEqual(blobsOf(scene.takeRequests()), []);
    });
  }

  test('that is damaged and missing in the registry cuts the answer before the damage', async () => {
    await using scene = await startDamaged();
    const { service, registry } = scene;
    const expected = await service.request(APP_FILE);
    for (const start of [BASE.tar, BASE_BLOB]) await overwrite(await scene.fileWith(start), 70_000);
    registry.defects.dropBlob = { digest: BASE_DIGEST };
    const broken = await service.request(APP_FILE);
    assert.deepEqual([broken.status, broken.isCut], [200, true]);
    assert.ok(broken.body.length < expected.body.length);
    assert.ok(expected.body.subarray(0, broken.body.length).equals(broken.body));
    const line = await service.waitForLog({ event: 'request', outcome: 'broken' });
    assert.equal(line['error'], 'IMAGE_NOT_FOUND');
    assert.equal((await service.request(APP_FILE)).status, 502, 'the file is no longer used');
    registry.defects.dropBlob = undefined;
    assert.ok((await service.request(APP_FILE)).body.equals(expected.body));
  });

  test('is fetched once for several requests that find the damage together', async () => {
    await using scene = await startDamaged();
    const { service } = scene;
    const expected = await service.request(APP_FILE);
    for (const start of [BASE.tar, BASE_BLOB]) await overwrite(await scene.fileWith(start), 70_000);
    scene.takeRequests();
    const replies = await Promise.all(Array.from({ length: 10 }, () => service.request(APP_FILE)));
    for (const { body } of replies) assert.ok(body.equals(expected.body));
    assert.equal(blobsOf(scene.takeRequests()).length, 1);
  });
});

describe('a client in the middle of an archive', () => {
  /** Takes the first bytes of an answer and leaves the rest unread. */
  async function takeSome(response: IncomingMessage, bytes: number): Promise<Buffer> {
    const taken = Promise.withResolvers<Buffer>();
    response.on('readable', function take() {
      const some = response.read(bytes) as Buffer | null;
      if (some === null) return;
      response.off('readable', take);
      taken.resolve(some);
    });
    return await within(taken.promise, 'the first bytes');
  }

  for (const [what, damage] of Object.entries({
    'is overwritten': (path: string) => overwrite(path, LARGE_BYTES - 1_000_000),
    'is cut short': (path: string) => truncate(path, LARGE_BYTES - 1_000_000),
  })) {
    test(`gets the right bytes of a layer that ${what} before it is sent`, async () => {
      await using scene = await startDamaged();
      const { service, registry, damaged } = scene;
      const image = makeImage({ layers: [layerOf('first'), await makeGzipBombLayer(LARGE_BYTES)] });
      registry.push('team/large', '1', image);
      const response = await service.open(LARGE_FILE);
      const start = await takeSome(response, 1000);
      const path = await scene.fileWith(Buffer.from('bomb\0'));
      await damage(path);
      scene.takeRequests();
      const rest = await within(readAll(response), 'the rest of the archive', 60_000);
      const body = Buffer.concat([start, rest]);
      assert.equal(body.length, Number(response.headers['content-length']));
      assertHolds({ status: 200, reason: '', headers: {}, body, isCut: false }, image);
      assert.deepEqual(scene.takeRequests(), [], 'it is inflated again from its blob');
      assert.deepEqual(damaged, [basename(path)]);
      const line = await service.waitForLog({ event: 'request', outcome: 'ok' });
      assert.equal(line['bytes'], body.length);
      assert.equal(sha256((await service.request(LARGE_FILE)).body), sha256(body));
      assert.deepEqual(blobsOf(scene.takeRequests()), []);
    });
  }

  test('gets the right bytes of a compressed archive that is overwritten before it is sent', async () => {
    await using scene = await startDamaged(WHOLE);
    const { service, registry, damaged } = scene;
    registry.push('team/large', '1', makeImage({ layers: [layerOf('large', 20_000_000)] }));
    const file = LARGE_FILE.replace('.tar', '.tgz');
    const expected = await service.request(file);
    const response = await service.open(file);
    const start = await takeSome(response, 1000);
    const path = await scene.fileWith(startOf(expected));
    await overwrite(path, 19_000_000);
    scene.takeRequests();
    const rest = await within(readAll(response), 'the rest of the archive', 60_000);
    assert.ok(Buffer.concat([start, rest]).equals(expected.body));
    assert.deepEqual(damaged, [basename(path)]);
    assert.deepEqual(scene.takeRequests(), [], 'it is compressed again from the cached layers');
  });
});

describe('a cached blob of a .tgz', () => {
  for (const [what, damage] of Object.entries(DAMAGES)) {
    test(`${what} is fetched once more`, async () => {
      await using scene = await startDamaged();
      const { service, damaged } = scene;
      const expected = await service.request(GZIP_FILE);
      const path = await scene.fileWith(BASE_BLOB);
      await apply(damage, path);
      scene.takeRequests();
      assert.ok((await service.request(GZIP_FILE)).body.equals(expected.body));
      assert.deepEqual(blobsOf(scene.takeRequests()), [BASE_REQUEST]);
      assert.deepEqual(damaged, [basename(path)]);
    });

    test(`${what} is fetched once more when it is unpacked`, async () => {
      await using scene = await startDamaged();
      const { service } = scene;
      await service.request(GZIP_FILE);
      const path = await scene.fileWith(BASE_BLOB);
      await apply(damage, path);
      const reply = await service.request(APP_FILE);
      assertHolds(reply, APP);
    });
  }
});

describe('an early archive', () => {
  for (const path of ['/docker-gzip/team_app_1.tar', '/oci/team_app_1.tgz', GZIP_FILE]) {
    test(`gets a stored blob that is damaged from the registry: ${path}`, async () => {
      await using scene = await startDamaged();
      // Another image has brought the common layer.
      await scene.service.request(path.replace('team_app', 'org_tool'));
      await overwrite(await scene.fileWith(BASE_BLOB), Math.floor(BASE_BLOB.length / 2));
      await scene.restart();
      scene.takeRequests();
      const early = await scene.service.request(`${path}?start=early`);
      assert.deepEqual([early.status, early.isCut], [200, false]);
      assert.equal(scene.damaged.length, 1);
      assert.ok(scene.takeRequests().includes(BASE_REQUEST));
      assert.ok(early.body.equals((await scene.service.request(path)).body));
    });
  }
});

describe('an archive that is compressed as a whole', () => {
  for (const [what, damage] of Object.entries(DAMAGES)) {
    test(`${what} is compressed again from the cached layers`, async () => {
      await using scene = await startDamaged(WHOLE);
      const { service, damaged } = scene;
      const expected = await service.request(GZIP_FILE);
      const path = await scene.fileWith(startOf(expected));
      await apply(damage, path);
      scene.takeRequests();
      const again = await service.request(GZIP_FILE);
      assert.ok(again.body.equals(expected.body));
      assert.equal(again.headers['repr-digest'], expected.headers['repr-digest']);
      assert.deepEqual(scene.takeRequests(), ['HEAD team/app/manifests/1']);
      assert.deepEqual(damaged, [basename(path)]);
    });
  }

  test('is repaired together with one of its layers', async () => {
    await using scene = await startDamaged(WHOLE);
    const { service, damaged } = scene;
    const expected = await service.request(GZIP_FILE);
    const paths = await Promise.all([startOf(expected), BASE.tar, BASE_BLOB].map(scene.fileWith));
    for (const path of paths) await overwrite(path, 70_000);
    scene.takeRequests();
    assert.ok((await service.request(GZIP_FILE)).body.equals(expected.body));
    assert.deepEqual(blobsOf(scene.takeRequests()), [BASE_REQUEST]);
    assert.deepEqual(
      damaged,
      paths.map((path) => basename(path)),
    );
  });

  test('whose layer is damaged, too, and missing in the registry is answered with an error', async () => {
    await using scene = await startDamaged(WHOLE);
    const { service, registry } = scene;
    const expected = await service.request(GZIP_FILE);
    for (const start of [startOf(expected), BASE.tar, BASE_BLOB])
      await overwrite(await scene.fileWith(start), 0);
    registry.defects.dropBlob = { digest: BASE_DIGEST };
    const { status, isCut, body } = await service.request(GZIP_FILE);
    assert.deepEqual([status, isCut], [502, false]);
    assert.match(body.toString(), /does not have|not found|missing/i);
  });
});

describe('a cached blob of an early archive', () => {
  for (const path of ['/oci/org_tool_1.tar', '/docker-gzip/org_tool_1.tgz', '/docker/org_tool_1.tgz']) {
    test(`that is damaged is fetched once more: ${path}`, async () => {
      await using scene = await startDamaged();
      const { service, damaged } = scene;
      assert.equal((await service.request('/docker/team_app_1.tgz')).status, 200);
      const stored = await scene.fileWith(BASE_BLOB);
      await overwrite(stored, 70_000);
      const early = await service.request(`${path}?start=early`);
      assert.deepEqual([early.status, early.isCut], [200, false]);
      assert.deepEqual(damaged, [basename(stored)]);
      assert.ok((await service.request(path)).body.equals(early.body));
    });
  }
});

test('a cached blob is fetched once more from the repository of its image, though another image has the same layer', async () => {
  await using scene = await startDamaged();
  const { service, registry } = scene;
  const { tar } = layerOf('twice');
  const blobs = [1, 9].map((level) => gzipSync(tar, { level }));
  for (const [at, blob] of blobs.entries())
    registry.push(`team/part${at}`, '1', makeImage({ layers: [{ blob, diffId: sha256(tar) }] }));
  const path = `/bundle.tgz?${[0, 1].map((at) => `image=${registry.host}/team/part${at}:1`).join('&')}`;
  const expected = await service.request(path);
  assert.equal(expected.status, 200);
  for (const blob of blobs) await overwrite(await scene.fileWith(blob), 70_000);
  const again = await service.request(path);
  assert.deepEqual([again.status, again.isCut], [200, false]);
  assert.ok(again.body.equals(expected.body));
});
