/** Files of the cache that a disk has changed: whoever asks gets the right bytes, and no other. */

import assert from 'node:assert/strict';
import { open, readFile, rm, stat, truncate } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { basename } from 'node:path';
import { describe, test } from 'node:test';
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
import { LARGE_BYTES } from '../../support/two-sizes.ts';
import { within } from '../../support/within.ts';

const LARGE_FILE = '/docker/team_large_1.tar';

/** The stored file that begins with some bytes. */
async function fileWith(directory: string, start: Uint8Array): Promise<string> {
  for (const path of await storedFiles(directory)) {
    if ((await readFile(path)).subarray(0, start.length).equals(start)) return path;
  }
  assert.fail('no stored file has these bytes');
}

/** The stored file of a compressed archive. */
function gzipIn(directory: string): Promise<string> {
  return fileWith(directory, Buffer.from([0x1f, 0x8b]));
}

/** Puts other bytes in the place of some. */
async function overwrite(path: string, position: number): Promise<void> {
  const file = await open(path, 'r+');
  try {
    await file.write(Buffer.from('not what was written here'), 0, undefined, position);
  } finally {
    await file.close();
  }
}

/** What may happen to a file of so many bytes. */
const DAMAGES: Readonly<Record<string, (path: string, bytes: number) => Promise<void>>> = {
  'whose first bytes are overwritten': (path) => overwrite(path, 0),
  'that is overwritten in the middle': (path, bytes) => overwrite(path, Math.floor(bytes / 2)),
  'that is cut short': (path, bytes) => truncate(path, Math.floor(bytes / 2)),
  'that is emptied': (path) => truncate(path, 0),
};

/** What is noticed only where the file is not open already: who has it open needs none of it. */
const DAMAGES_TO_OTHERS: typeof DAMAGES = {
  'whose checksums are overwritten': (path, bytes) => overwrite(path, bytes - 100),
  'whose end is cut off': (path, bytes) => truncate(path, bytes - 1),
  'that is removed': (path) => rm(path),
};

describe('a layer', () => {
  const opened = Object.entries(DAMAGES).map((one) => [...one, false] as const);
  const closed = Object.entries({ ...DAMAGES, ...DAMAGES_TO_OTHERS }).map((one) => [...one, true] as const);
  for (const [what, damage, isRestarted] of [...opened, ...closed]) {
    test(`${what} is fetched once more${isRestarted ? ', after a restart' : ''}`, async () => {
      await using scene = await startScene();
      const env = { CACHE_DIR: scene.directory };
      const damaged: string[] = [];
      await using stack = new AsyncDisposableStack();
      const begun = stack.use(await scene.start(env, { onDamage: (name) => damaged.push(name) }));
      const expected = await begun.request(APP_FILE);
      assertHolds(expected, APP);
      if (isRestarted) await stack.disposeAsync();
      const next = new AsyncDisposableStack();
      await using _ = next;
      const service = isRestarted
        ? next.use(await scene.start(env, { onDamage: (name) => damaged.push(name) }))
        : begun;
      const path = await fileWith(scene.directory, BASE.tar);
      await damage(path, (await stat(path)).size);
      scene.asked();
      assert.ok((await service.request(APP_FILE)).body.equals(expected.body));
      const again = blobsOf(scene.asked()).filter((line) => !line.includes(APP.config.digest));
      assert.deepEqual(again, [`GET team/app/blobs/${BASE_DIGEST}`]);
      assert.deepEqual(damaged, [basename(path)]);
      // The new file is sound.
      assert.ok((await service.request(APP_FILE)).body.equals(expected.body));
      assert.deepEqual(blobsOf(scene.asked()), []);
      assert.equal(damaged.length, 1);
      assert.deepEqual(
        service.logs().filter(({ level }) => level === 'error' || level === 'warn'),
        [],
      );
    });
  }

  for (const [what, damage] of Object.entries(DAMAGES_TO_OTHERS)) {
    test(`${what} while the service has it open serves on`, async () => {
      await using scene = await startScene();
      await using service = await scene.start({ CACHE_DIR: scene.directory });
      const expected = await service.request(APP_FILE);
      const path = await fileWith(scene.directory, BASE.tar);
      await damage(path, (await stat(path)).size);
      scene.asked();
      assert.ok((await service.request(APP_FILE)).body.equals(expected.body));
      assert.deepEqual(blobsOf(scene.asked()), []);
    });
  }

  test('that is damaged and cannot be had any more breaks the answer off, rather than be wrong', async () => {
    await using scene = await startScene();
    await using service = await scene.start({ CACHE_DIR: scene.directory });
    const expected = await service.request(APP_FILE);
    const path = await fileWith(scene.directory, BASE.tar);
    await overwrite(path, 70_000);
    scene.registry.defects.dropBlob = { digest: BASE_DIGEST };
    const broken = await service.request(APP_FILE);
    assert.equal(broken.status, 200);
    assert.equal(broken.isCut, true);
    assert.ok(broken.body.length < expected.body.length);
    assert.ok(expected.body.subarray(0, broken.body.length).equals(broken.body));
    const line = await service.waitForLog({ event: 'request', outcome: 'broken' });
    assert.equal(line['error'], 'IMAGE_NOT_FOUND');
    const refused = await service.request(APP_FILE);
    assert.equal(refused.status, 502, 'it is known to be missing now');
    scene.registry.defects.dropBlob = undefined;
    assert.ok((await service.request(APP_FILE)).body.equals(expected.body));
  });

  test('is fetched once for several who meet the damage together', async () => {
    await using scene = await startScene();
    await using service = await scene.start({ CACHE_DIR: scene.directory });
    const expected = await service.request(APP_FILE);
    const path = await fileWith(scene.directory, BASE.tar);
    await overwrite(path, 70_000);
    scene.asked();
    const replies = await Promise.all(Array.from({ length: 10 }, () => service.request(APP_FILE)));
    for (const { body } of replies) assert.ok(body.equals(expected.body));
    assert.equal(blobsOf(scene.asked()).length, 1);
  });
});

describe('a client in the middle of an archive', () => {
  /** Takes so many bytes of an answer, and then the rest of it. */
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
    'that is overwritten': (path: string) => overwrite(path, LARGE_BYTES - 1_000_000),
    'that is cut short': (path: string) => truncate(path, LARGE_BYTES - 1_000_000),
  })) {
    test(`gets the right bytes of a layer ${what} in front of it`, async () => {
      const damaged: string[] = [];
      await using scene = await startScene();
      const image = makeImage({ layers: [layerOf('first'), await makeGzipBombLayer(LARGE_BYTES)] });
      const [, large] = image.layers;
      scene.registry.push('team/large', '1', image);
      await using service = await scene.start(
        { CACHE_DIR: scene.directory },
        { onDamage: (name) => damaged.push(name) },
      );
      const response = await service.open(LARGE_FILE);
      const start = await takeSome(response, 1000);
      const path = await fileWith(scene.directory, Buffer.from('bomb\0'));
      await damage(path);
      scene.asked();
      const rest = await within(readAll(response), 'the rest of the archive', 20_000);
      const body = Buffer.concat([start, rest]);
      assert.equal(body.length, Number(response.headers['content-length']));
      assertHolds({ status: 200, reason: '', headers: {}, body, isCut: false }, image);
      assert.deepEqual(scene.asked(), [`GET team/large/blobs/${large?.digest}`]);
      assert.deepEqual(damaged, [basename(path)]);
      const line = await service.waitForLog({ event: 'request', outcome: 'ok' });
      assert.equal(line['bytes'], body.length);
      assert.equal(sha256((await service.request(LARGE_FILE)).body), sha256(body));
      assert.deepEqual(blobsOf(scene.asked()), []);
    });
  }

  test('gets the right bytes of a compressed archive that is damaged in front of it', async () => {
    const damaged: string[] = [];
    await using scene = await startScene();
    scene.registry.push('team/large', '1', makeImage({ layers: [layerOf('large', 20_000_000)] }));
    await using service = await scene.start(
      { CACHE_DIR: scene.directory },
      { onDamage: (name) => damaged.push(name) },
    );
    const file = LARGE_FILE.replace('.tar', '.tgz');
    const expected = await service.request(file);
    const response = await service.open(file);
    const start = await takeSome(response, 1000);
    const path = await gzipIn(scene.directory);
    await overwrite(path, 19_000_000);
    scene.asked();
    const rest = await within(readAll(response), 'the rest of the archive', 20_000);
    assert.ok(Buffer.concat([start, rest]).equals(expected.body));
    assert.deepEqual(damaged, [basename(path)]);
    assert.deepEqual(scene.asked(), [], 'it is compressed again from the layers that are here');
  });
});

describe('a compressed archive', () => {
  for (const [what, damage] of Object.entries(DAMAGES)) {
    test(`${what} is made once more`, async () => {
      const damaged: string[] = [];
      await using scene = await startScene();
      await using service = await scene.start(
        { CACHE_DIR: scene.directory },
        { onDamage: (name) => damaged.push(name) },
      );
      const file = '/docker/team_app_1.tgz';
      const expected = await service.request(file);
      const path = await gzipIn(scene.directory);
      await damage(path, (await stat(path)).size);
      scene.asked();
      const again = await service.request(file);
      assert.ok(again.body.equals(expected.body));
      assert.equal(again.headers['repr-digest'], expected.headers['repr-digest']);
      assert.deepEqual(scene.asked(), ['HEAD team/app/manifests/1']);
      assert.deepEqual(damaged, [basename(path)]);
    });
  }

  test('that is damaged together with a layer of it is right again', async () => {
    const damaged: string[] = [];
    await using scene = await startScene();
    await using service = await scene.start(
      { CACHE_DIR: scene.directory },
      { onDamage: (name) => damaged.push(name) },
    );
    const file = '/docker/team_app_1.tgz';
    const expected = await service.request(file);
    const paths = [await gzipIn(scene.directory), await fileWith(scene.directory, BASE.tar)];
    for (const path of paths) await overwrite(path, 70_000);
    scene.asked();
    assert.ok((await service.request(file)).body.equals(expected.body));
    assert.deepEqual(blobsOf(scene.asked()), [`GET team/app/blobs/${BASE_DIGEST}`]);
    assert.deepEqual(
      damaged,
      paths.map((path) => basename(path)),
    );
  });
});
