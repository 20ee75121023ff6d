/** A digest in the place of a tag, in file names and in references. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { makeImage, makeIndex, makeLayer } from '../../support/image.ts';
import { type Pair, startPair } from '../../support/pair.ts';
import { firstLine, hexOf, tagsOf } from '../../support/reading.ts';

const AMD64 = makeImage({ layers: [{ tar: makeLayer({ 'bin/hello': 'amd64' }) }] });
const ARM64 = makeImage({
  platform: { os: 'linux', architecture: 'arm64' },
  layers: [{ tar: makeLayer({ 'bin/hello': 'arm64' }) }],
});
const INDEX = makeIndex([{ image: AMD64 }, { image: ARM64 }]);
const NOWHERE = '0'.repeat(64);

const start = (): Promise<Pair> =>
  startPair({}, (registry) => {
    registry.push('team/app', '1', INDEX);
  });

/** Each spelling of an image by digest. */
const SPELLINGS: readonly ((host: string, hex: string) => string)[] = [
  (_, hex) => `/docker/team_app_sha256=${hex}.tar`,
  (_, hex) => `/docker/team__app_sha256%3D${hex}.tar`,
  (host, hex) => `/registry/http/${host}/docker/team_app_sha256=${hex}.tar`,
  (_, hex) => `/oci/team_app_sha256=${hex}.tar`,
  (_, hex) => `/docker-gzip/team_app_sha256=${hex}.tgz`,
  (_, hex) => `/team/app@sha256:${hex}`,
  (_, hex) => `/team/app@sha256%3A${hex}?format=tar`,
  (host, hex) => `/${host}/team/app%40sha256%3A${hex}`,
  (host, hex) => `/bundle.tar?image=${host}/team/app@sha256:${hex}`,
];

describe('an image by digest', () => {
  for (const spell of SPELLINGS) {
    test(`comes from ${spell('{host}', '…')}, through an index or at once`, async () => {
      await using pair = await start();
      const { host } = pair.registry;
      for (const [digest, manifest] of [
        [INDEX.manifest.digest, AMD64.manifest.digest],
        [ARM64.manifest.digest, ARM64.manifest.digest],
      ] as const) {
        const reply = await pair.service.request(spell(host, hexOf(digest)));
        assert.equal(reply.status, 200, firstLine(reply));
        assert.equal(reply.headers['docker-content-digest'], manifest);
        assert.deepEqual(tagsOf(reply), [`${host}/team/app:${hexOf(digest).slice(0, 12)}`]);
      }
      assert.equal(pair.registry.countRequests(/manifests\/1$/), 0);
    });

    test(`that the registry does not have is 502 from ${spell('{host}', '…')}`, async () => {
      await using pair = await start();
      const reply = await pair.service.request(spell(pair.registry.host, NOWHERE));
      assert.equal(reply.status, 502);
      assert.match(firstLine(reply), new RegExp(`sha256:${NOWHERE}.*not found`));
      assert.match(reply.body.toString(), /^registry code: MANIFEST_UNKNOWN$/m);
    });
  }

  test('wins over the tag beside it, which names the image', async () => {
    await using pair = await start();
    const reply = await pair.service.request(`/team/app:9@${ARM64.manifest.digest}`);
    assert.equal(reply.headers['docker-content-digest'], ARM64.manifest.digest);
    assert.deepEqual(tagsOf(reply), [`${pair.registry.host}/team/app:9`]);
  });

  const wrong: readonly [what: string, digest: string][] = [
    ['too short', `sha256:${NOWHERE.slice(1)}`],
    ['too long', `sha256:${NOWHERE}0`],
    ['of capital letters', `sha256:${'A'.repeat(64)}`],
    ['no hexadecimal number', `sha256:${'g'.repeat(64)}`],
    ['of sha512, with the length of sha256', `sha512:${NOWHERE}`],
    ['of an algorithm that is not known', `sha1:${'a'.repeat(40)}`],
    ['nothing', 'sha256:'],
  ];
  for (const [what, digest] of wrong) {
    test(`that is ${what} is 400, and the registry is not asked`, async () => {
      await using pair = await start();
      for (const [path, title] of [
        [`/docker/team_app_${digest.replace(':', '=')}.tar`, 'Invalid filename format'],
        [`/team/app@${digest}`, 'Invalid image reference'],
        [`/manifest/team/app@${digest}`, 'Invalid image reference'],
        [`/bundle.tar?image=team/app@${digest}`, 'Invalid image reference'],
      ] as const) {
        const reply = await pair.service.request(path);
        assert.equal(reply.status, 400, path);
        assert.equal(reply.reason, title);
        assert.match(firstLine(reply), /digest ".*" must be/);
      }
      assert.deepEqual(pair.registry.requests, []);
    });
  }

  test('with a colon in a file name is 400, and is told how it is written', async () => {
    await using pair = await start();
    const reply = await pair.service.request(`/docker/team_app_${AMD64.manifest.digest}.tar`);
    assert.equal(reply.status, 400);
    assert.equal(reply.reason, 'Invalid filename format');
  });
});
