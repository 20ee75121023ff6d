/** Every layout and ending in the hands of every loader that claims it. `npm run matrix` tells what others make of them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { curl, sha256Of } from './curl.ts';
import { claims, LOADED_WITH, startLoaders } from './load.ts';
import { CONTENTS, ENDINGS, openShop, SERVED_WITH, type Served } from './loaded.ts';
import { cleanup, requireParts, requireRoot } from './parts.ts';

test('every loader finds in every archive that it claims what the registry has', {
  timeout: 240_000,
}, async (t) => {
  if (!requireParts(t, ...SERVED_WITH, ...LOADED_WITH) || !requireRoot(t)) return;
  const stack = cleanup(t);
  const [shop, loaders] = await Promise.all([openShop(stack), startLoaders(stack)]);
  const archives: Served[] = [];
  for (const content of CONTENTS) {
    for (const ending of ENDINGS) archives.push(await shop.fetch(content, ending));
  }

  for (const loader of loaders) {
    await t.test(`${loader.name} ${loader.version}`, async (t) => {
      for (const archive of archives.filter((archive) => claims(loader, archive))) {
        await t.test(`${archive.content}, ${archive.ending}`, () => loader.load(archive));
      }
    });
  }

  await t.test('.tar.gz has the bytes of .tgz', async () => {
    for (const layout of ['docker', 'docker-gzip', 'oci'] as const) {
      const tgz = archives.find(({ content, ending }) => content === layout && ending === '.tgz');
      const other = await curl(shop.directory, `${shop.service.origin}/${layout}/team_app_1.tar.gz`);
      assert.equal(await sha256Of(other.file), await sha256Of(tgz?.file ?? ''));
    }
  });
});
