/** Packages for Cisco IOx, made here, or as ioxclient makes them. */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { before, describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { isPassthroughError } from '../../src/errors.ts';
import { verify } from '../../src/tarball.ts';
import { applicationImage, readPackage } from '../support/iox.ts';
import { startPair } from '../support/pair.ts';
import { type RawEntry, rawTar } from '../support/raw-tar.ts';

const IMAGE = applicationImage();
const DESCRIPTOR = 'descriptor-schema-version: "2.2"\napp:\n  type: docker\n';

const hex = (algorithm: string, bytes: string | Buffer) => createHash(algorithm).update(bytes).digest('hex');

/** A package as ioxclient 1.18 makes it, with its extra entries. */
function ioxclientPackage(
  rootfs: Buffer,
  changes: Readonly<Record<string, RawEntry | undefined>> = {},
): Buffer {
  const artifacts = gzipSync(
    rawTar({ name: './', typeflag: '5' }, { name: './rootfs.tar', content: rootfs }),
  );
  const lines = [
    `SHA1(package.yaml)= ${hex('sha1', DESCRIPTOR)}`,
    `SHA256(artifacts.tar.gz)= ${hex('sha256', artifacts)}`,
    `SHA512(.package.metadata)= ${hex('sha512', '{}')}`,
  ];
  const entries: readonly RawEntry[] = [
    { name: 'package.yaml', content: DESCRIPTOR },
    { name: 'artifacts.mf', content: `SHA256(rootfs.tar)= ${hex('sha256', rootfs)}\n` },
    { name: '.package.metadata', content: '{}' },
    { name: 'package.mf', content: `${lines.join('\n')}\n` },
    { name: 'artifacts.tar.gz', content: artifacts },
  ];
  return rawTar(
    ...entries.flatMap((entry) =>
      String(entry.name) in changes ? (changes[String(entry.name)] ?? []) : entry,
    ),
  );
}

async function* pieces(bytes: Buffer, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield Buffer.from(bytes.subarray(at, at + size));
}

describe('a package', () => {
  let served: Buffer = Buffer.alloc(0);
  let rootfs: Buffer = Buffer.alloc(0);
  before(async () => {
    await using pair = await startPair({}, (registry) => registry.push('team/app', '1', IMAGE));
    served = (await pair.request('/iox/team_app_1.tar')).body;
    rootfs = readPackage(served).rootfs;
  });

  test('of this service is verified, in every form', async () => {
    for (const source of [served, pieces(served, 100), pieces(served, 70_000), gzipSync(served)]) {
      const { images, package: around } = await verify(source);
      assert.deepEqual(
        images.map(({ config, layers }) => [config, layers.map(({ diffId }) => diffId)]),
        [[IMAGE.config.digest, IMAGE.diffIds]],
      );
      assert.equal(around?.descriptor, readPackage(served).descriptor);
      assert.deepEqual(
        around?.files.map(({ name, isListed }) => [name, isListed]),
        [
          ['package.yaml', true],
          ['package.mf', false],
          ['artifacts.tar.gz', true],
        ],
      );
      const { artifacts } = readPackage(served);
      const last = around?.files.at(-1);
      assert.deepEqual([last?.size, last?.digest], [artifacts.length, `sha256:${hex('sha256', artifacts)}`]);
    }
  });

  test('of ioxclient is verified, with SHA-1 and SHA-512 and its extra entries', async () => {
    const { images, package: around } = await verify(ioxclientPackage(rootfs));
    assert.deepEqual(
      images.map(({ config }) => config),
      [IMAGE.config.digest],
    );
    assert.equal(around?.descriptor, DESCRIPTOR);
    assert.deepEqual(
      around?.files.filter(({ isListed }) => isListed).map(({ name }) => name),
      ['package.yaml', '.package.metadata', 'artifacts.tar.gz'],
    );
  });

  test('of another type has no images', async () => {
    const script = gzipSync(rawTar({ name: 'app.py', content: 'print()' }));
    const bytes = rawTar(
      { name: 'package.yaml', content: 'app:\n  type: paas\n' },
      { name: 'package.mf', content: `SHA1(artifacts.tar.gz)= ${hex('sha1', script)}\n` },
      { name: 'artifacts.tar.gz', content: script },
    );
    const { images, package: around } = await verify(bytes);
    assert.deepEqual(images, []);
    assert.equal(around?.files.length, 3);
  });

  const refused: readonly [what: string, make: () => Buffer, message: RegExp][] = [
    [
      'whose descriptor was changed',
      () =>
        ioxclientPackage(rootfs, {
          'package.yaml': { name: 'package.yaml', content: `${DESCRIPTOR}  x: y\n` },
        }),
      /"package\.yaml": package\.mf has SHA1/,
    ],
    [
      'without a descriptor',
      () => ioxclientPackage(rootfs, { 'package.yaml': undefined }),
      /has no package\.yaml|names "package\.yaml"/,
    ],
    [
      'without artifacts',
      () => ioxclientPackage(rootfs, { 'artifacts.tar.gz': undefined }),
      /names "artifacts\.tar\.gz"/,
    ],
    [
      'with a line of digests that is none',
      () => ioxclientPackage(rootfs, { 'package.mf': { name: 'package.mf', content: 'MD5(a)= 00\n' } }),
      /no digest in line "MD5\(a\)= 00"/,
    ],
    [
      'with two descriptors',
      () => ioxclientPackage(rootfs, { 'artifacts.mf': { name: './package.yaml', content: 'a' } }),
      /two entries of this name/,
    ],
    [
      'with artifacts that are no tar',
      () =>
        ioxclientPackage(rootfs, {
          'package.mf': { name: 'package.mf', content: '' },
          'artifacts.tar.gz': { name: 'artifacts.tar.gz', content: gzipSync('x'.repeat(600)) },
        }),
      /./,
    ],
    ['whose image is damaged', () => ioxclientPackage(damaged(rootfs)), /Cannot verify layer/],
    ['that was cut', () => served.subarray(0, served.length - 2000), /./],
  ];
  for (const [what, make, message] of refused) {
    test(`${what} is refused`, async () => {
      const bytes = make();
      for (const source of [bytes, pieces(bytes, 5000)]) {
        await assert.rejects(verify(source), (error) => {
          assert.ok(isPassthroughError(error, 'INVALID_ARCHIVE', 'VERIFICATION_FAILED'), String(error));
          assert.match(error.message, message);
          return true;
        });
      }
    });
  }
});

/** An archive with another byte in its first layer. */
function damaged(rootfs: Buffer): Buffer {
  const copy = Buffer.from(rootfs);
  const at = copy.indexOf('app app app') + 4;
  copy[at] = 0x41;
  return copy;
}
