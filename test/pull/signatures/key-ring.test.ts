import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rename, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { KeyRing } from '../../../src/pull/signatures/key-ring.ts';
import { makeSigningKey } from '../../support/signing.ts';
import { refusal } from '../pulling.ts';

const [ONE, OTHER] = [makeSigningKey(), makeSigningKey()];
const BYTES = Buffer.from('bytes');

/** A ring whose only file can be changed, and a clock that the test moves. */
async function start(t: { after(fn: () => Promise<void>): void }) {
  const folder = await mkdtemp(join(tmpdir(), 'keys-'));
  t.after(() => rm(folder, { recursive: true }));
  const path = join(folder, 'release.pub');
  await writeFile(path, ONE.pem);
  let now = 0;
  const faults: string[] = [];
  const ring = await KeyRing.open(
    [path],
    (fault) => faults.push(fault),
    () => now,
  );
  const signers = async (seconds: number) => {
    now += seconds * 1000;
    const { keys } = await ring.current();
    return [ONE, OTHER].filter((key) => keys.some((known) => known.verifies(BYTES, key.sign(BYTES))));
  };
  return { folder, path, faults, signers, ring };
}

describe('keys of a file', () => {
  test('are named by it, and read again when it has changed', async (t) => {
    const { path, signers, ring } = await start(t);
    const { id, keys } = await ring.current();
    assert.equal(keys[0]?.name, 'release.pub');
    assert.deepEqual(await signers(2), [ONE]);
    assert.equal((await ring.current()).id, id);
    await writeFile(path, `${ONE.pem}${OTHER.pem}`);
    assert.deepEqual(await signers(0.5), [ONE], 'the file is looked at once a second');
    assert.deepEqual(await signers(0.5), [ONE, OTHER]);
    assert.notEqual((await ring.current()).id, id);
  });

  test('are read again when neither size nor time tell that they have changed, as after cp -p', async (t) => {
    const { path } = await start(t);
    const write = async (pem: string) => {
      await writeFile(path, pem);
      await utimes(path, 1_700_000_000, 1_700_000_000);
    };
    await write(ONE.pem);
    assert.equal(OTHER.pem.length, ONE.pem.length);
    let now = 0;
    const ring = await KeyRing.open([path], assert.fail, () => now);
    await write(OTHER.pem);
    now = 2_000;
    const [key] = (await ring.current()).keys;
    assert.ok(key?.verifies(BYTES, OTHER.sign(BYTES)));
  });

  test('are read again when a link on the way is swapped, as Kubernetes does it', async (t) => {
    const { folder } = await start(t);
    for (const [name, { pem }] of Object.entries({ v1: ONE, v2: OTHER })) {
      await mkdir(join(folder, name));
      await writeFile(join(folder, name, 'k.pub'), pem);
    }
    await symlink('v1', join(folder, '..data'));
    await symlink('..data/k.pub', join(folder, 'k.pub'));
    let now = 0;
    const ring = await KeyRing.open([join(folder, 'k.pub')], assert.fail, () => now);
    await symlink('v2', join(folder, '..next'));
    await rename(join(folder, '..next'), join(folder, '..data'));
    now = 2_000;
    const [key] = (await ring.current()).keys;
    assert.ok(key?.verifies(BYTES, OTHER.sign(BYTES)));
  });

  const broken: readonly [name: string, change: (path: string) => Promise<unknown>, why: RegExp][] = [
    [
      'is broken',
      (path) => writeFile(path, 'x'),
      /it has no public key in PEM form.*its keys of before still count/,
    ],
    ['is gone', (path) => rm(path), /release\.pub": it does not exist; its keys of before still count/],
    ['is too large', (path) => writeFile(path, 'x'.repeat(70_000)), /it has more than 65536 bytes/],
  ];
  for (const [name, change, why] of broken) {
    test(`still count when it ${name}, which is reported once`, async (t) => {
      const { path, faults, signers } = await start(t);
      await change(path);
      assert.deepEqual(await signers(2), [ONE]);
      assert.deepEqual(await signers(2), [ONE]);
      assert.equal(faults.length, 1);
      assert.match(faults[0] ?? '', why);
      await writeFile(path, OTHER.pem);
      assert.deepEqual(await signers(2), [OTHER]);
    });
  }
});

describe('a ring is not opened', () => {
  const table: readonly [name: string, source: (folder: string) => string, why: RegExp][] = [
    ['without its file', (folder) => join(folder, 'missing.pub'), /missing\.pub": it does not exist/],
    ['with a folder', (folder) => folder, /it is no file/],
    [
      'with an Ed25519 key that is not marked',
      () => makeSigningKey('ed25519').pem,
      /write ed25519: before the path/,
    ],
  ];
  for (const [name, source, why] of table) {
    test(name, async (t) => {
      const { folder } = await start(t);
      const { message, details } = await refusal(
        KeyRing.open([source(folder)], assert.fail),
        'INVALID_CONFIGURATION',
      );
      assert.match(message, why);
      assert.equal(details.setting, 'signatureKeys');
    });
  }

  test('but with one that is', async () => {
    const key = makeSigningKey('ed25519');
    const ring = await KeyRing.open([`ed25519:${key.pem}`], assert.fail);
    assert.ok((await ring.current()).keys[0]?.verifies(BYTES, key.sign(BYTES)));
  });
});
