/** The same request gives the same bytes: twice, and from two replicas. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Answer, curl, sha256Of } from './curl.ts';
import { openBench, push, pushWithBuildah, twoPlatforms } from './images.ts';
import { cleanup, requireParts, requireRoot, temporaryDirectory } from './parts.ts';
import { startRegistry } from './registry.ts';
import { type Service, startService } from './service.ts';

const PARTS = ['buildah', 'busybox', 'curl', 'docker-registry', 'skopeo'] as const;

test('an archive is a function of the image, the reference and the layout', {
  timeout: 120_000,
}, async (t) => {
  if (!requireParts(t, ...PARTS) || !requireRoot(t)) return;
  const stack = cleanup(t);
  const directory = await temporaryDirectory(stack, 'curl');
  const [registry, bench] = await Promise.all([startRegistry(stack, 'none'), openBench(stack)]);
  await push(registry, bench, await twoPlatforms(bench, 'the same'), 'team/app:1');
  await pushWithBuildah(registry, bench, 'the same', 'team/today:1');
  const env = { REGISTRY_URL: registry.origin };
  const one = await startService(stack, env);
  const other = await startService(stack, { ...env, TZ: 'Asia/Kathmandu', LANG: 'tr_TR.UTF-8' });

  const get = async (service: Service, path: string): Promise<Answer> => {
    const answer = await curl(directory, service.origin + path);
    assert.equal(answer.status, 200, `${path}: ${answer.stderr}`);
    return answer;
  };

  for (const path of [
    '/docker/team_app_1.tar',
    '/platform/linux/arm64/docker/team_app_1.tar',
    '/docker/team_today_1.tar',
  ]) {
    await t.test(`${path} is the same twice, and from another process`, async () => {
      const answers = [await get(one, path), await get(one, path), await get(other, path)];
      const sums = await Promise.all(answers.map(({ file }) => sha256Of(file)));
      assert.equal(new Set(sums).size, 1, sums.join(' '));
      assert.equal(new Set(answers.map(({ headers }) => headers.get('etag'))).size, 1);
    });
  }

  await t.test('the two platforms differ in bytes and in entity tag', async () => {
    const amd64 = await get(one, '/docker/team_app_1.tar');
    const arm64 = await get(one, '/platform/linux/arm64/docker/team_app_1.tar');
    assert.notEqual(await sha256Of(amd64.file), await sha256Of(arm64.file));
    assert.notEqual(amd64.headers.get('etag'), arm64.headers.get('etag'));
  });
});
