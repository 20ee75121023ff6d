/** What a user sees when it does not work, and that nothing stays behind. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { curl, transfer } from './curl.ts';
import { assertFailure, type Failure } from './failure.ts';
import { image, largeImage, openBench, push } from './images.ts';
import { cleanup, requireParts, temporaryDirectory, until } from './parts.ts';
import { startRegistry } from './registry.ts';
import { filesHeld, startService, untilNothingHeld } from './service.ts';
import { startStallingRelay } from './stalling-relay.ts';

const OPTIONS = { timeout: 120_000 };

function isReady(t: TestContext): boolean {
  return requireParts(t, 'busybox', 'curl', 'docker-registry', 'skopeo', 'tar');
}

test('a request that fails says what, in the form that was asked for', OPTIONS, async (t) => {
  if (!isReady(t)) return;
  const stack = cleanup(t);
  const directory = await temporaryDirectory(stack, 'curl');
  const [registry, bench] = await Promise.all([startRegistry(stack, 'none'), openBench(stack)]);
  await push(registry, bench, await image(bench, 'there'), 'team/app:1');
  const service = await startService(stack, { REGISTRY_URL: registry.origin });
  const here = `/registry/http/${registry.host}`;

  const failed = { status: 502, title: 'Failed to prepare image' };
  const failures: readonly (Failure & { readonly behaviour: string })[] = [
    {
      behaviour: 'no such image',
      path: '/docker/team_missing_1.tar',
      ...failed,
      tells: /(MANIFEST|NAME)_UNKNOWN/,
    },
    { behaviour: 'no such tag', path: '/docker/team_app_2.tar', ...failed, tells: /MANIFEST_UNKNOWN/ },
    {
      behaviour: 'no such platform',
      path: '/platform/linux/s390x/docker/team_app_1.tar',
      ...failed,
      tells: /linux\/amd64/,
    },
    {
      behaviour: 'a registry that is down',
      path: '/registry/http/127.0.0.1:1/docker/team_app_1.tar',
      ...failed,
      tells: /127\.0\.0\.1:1\b/,
    },
    {
      behaviour: 'a filename without a tag',
      path: '/docker/nginx.tar',
      status: 400,
      title: 'Invalid filename format',
      tells: /nginx\.tar/,
    },
    {
      behaviour: 'a platform that is none',
      path: '/docker/team_app_1.tar?platform=linux',
      status: 400,
      title: 'Invalid platform',
    },
    {
      behaviour: 'a registry with a user in it',
      path: '/registry/http/user%40127.0.0.1/docker/team_app_1.tar',
      status: 400,
      title: 'Invalid registry',
    },
    {
      behaviour: 'a scheme that is neither http nor https',
      path: '/registry/ftp/127.0.0.1/docker/team_app_1.tar',
      status: 400,
      title: 'Invalid registry',
    },
    {
      behaviour: 'credentials that are missing',
      path: `${here.replace('/registry', '/registry-auth')}/docker/team_app_1.tar`,
      status: 401,
      title: 'Registry credentials are required',
      headers: { 'www-authenticate': /^Basic realm="registry credentials"$/ },
    },
    {
      behaviour: 'credentials that cannot be read',
      path: `${here.replace('/registry', '/registry-auth')}/docker/team_app_1.tar`,
      args: ['-H', 'Authorization: Basic %%%'],
      status: 401,
      title: 'Registry credentials are required',
      headers: { 'www-authenticate': /^Basic realm="registry credentials"$/ },
    },
    { behaviour: 'no such route', path: `${here}/rpm/team_app_1.tar`, status: 404 },
    {
      behaviour: 'a method that a route has not',
      path: '/docker/team_app_1.tar',
      args: ['-X', 'POST', '-d', 'x=1'],
      status: 405,
      headers: { allow: /\bGET\b.*\bHEAD\b/ },
    },
  ];
  for (const failure of failures) {
    await t.test(failure.behaviour, async () => {
      await assertFailure(directory, service.origin, failure);
      await untilNothingHeld(service);
    });
  }

  await t.test('a registry that the policy does not list', async (t) => {
    const stack = cleanup(t);
    const { host } = registry;
    const strict = await startService(stack, { REGISTRY_URL: registry.origin, REGISTRY_ALLOWED_HOSTS: host });
    const path = (name: string) => `/registry/http/${name}/docker/team_app_1.tar`;
    assert.equal((await curl(directory, strict.origin + path(host))).status, 200);
    await assertFailure(directory, strict.origin, {
      path: path('registry.example.com'),
      status: 403,
      title: 'Registry not allowed',
      tells: /registry\.example\.com/,
    });
  });

  await t.test('the service still answers', async () => {
    assert.equal((await curl(directory, `${service.origin}/health`)).status, 200);
    assert.equal((await curl(directory, `${service.origin}/ready`)).status, 200);
    assert.equal((await curl(directory, `${service.origin}/docker/team_app_1.tar`)).status, 200);
  });
});

test('a client that leaves takes its preparation with it', OPTIONS, async (t) => {
  if (!isReady(t)) return;
  const stack = cleanup(t);
  const directory = await temporaryDirectory(stack, 'curl');
  const [registry, bench] = await Promise.all([startRegistry(stack, 'none'), openBench(stack)]);
  await push(registry, bench, await largeImage(bench, 8_000_000), 'team/large:1');
  const relay = await startStallingRelay(stack, registry.port, 2_000_000);
  const service = await startService(stack, { REGISTRY_URL: relay.origin });

  const { running, answer } = transfer(directory, `${service.origin}/docker/team_large_1.tar`);
  await until('stalled registry', () => relay.hasStalled() || undefined);
  await until('file of the preparation', async () => (await filesHeld(service)).length > 0 || undefined);
  running.child.kill('SIGINT');
  assert.equal((await answer).status, 0, 'no answer had begun');

  await untilNothingHeld(service);
  await until('end of the stalled connection', () => !relay.hasStalledConnection() || undefined);
  assert.equal((await curl(directory, `${service.origin}/health`)).status, 200);
});
