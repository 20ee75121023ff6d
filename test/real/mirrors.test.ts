/** Real registries as mirrors: a pull-through cache, a plain copy, one that dies, and two registries with users of their own. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { curl, sha256Of, textOf } from './curl.ts';
import { image, largeImage, openBench, push, twoPlatforms } from './images.ts';
import { attempt, cleanup, requireParts, temporaryDirectory } from './parts.ts';
import { PASSWORD, startRegistry, USERNAME } from './registry.ts';
import { type Service, startService } from './service.ts';
import { startStallingRelay } from './stalling-relay.ts';

const OPTIONS = { timeout: 120_000 };
const PARTS = ['busybox', 'curl', 'docker-registry', 'htpasswd', 'openssl', 'skopeo', 'tar'] as const;
const MIB = 1024 * 1024;
const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url));
const FILE = '/docker/team_app_1.tar';

/** Another user than that of the registry. */
const MIRROR_USER = { username: 'mirror-robot', password: 'm:ï/2+=' };

const eventsOf = (service: Service) =>
  service.logs().flatMap(({ event = '' }) => (event.startsWith('mirror') ? [event] : []));

test('a pull-through cache serves what it has while the registry is down', OPTIONS, async (t) => {
  if (!requireParts(t, ...PARTS)) return;
  const stack = cleanup(t);
  const directory = await temporaryDirectory(stack, 'curl');
  const [registry, bench] = await Promise.all([startRegistry(stack, 'none'), openBench(stack)]);
  const cache = await startRegistry(stack, 'none', { proxy: { remoteurl: registry.origin } });
  await push(registry, bench, await twoPlatforms(bench, 'mirrored'), 'team/app:1');
  await push(registry, bench, await image(bench, 'not mirrored'), 'team/app:2');
  const env = { REGISTRY_URL: registry.origin, REGISTRY_MIRRORS: `${registry.host}=${cache.origin}` };
  const plain = await startService(stack, { REGISTRY_URL: registry.origin });
  const service = await startService(stack, env);

  const expected = await curl(directory, plain.origin + FILE);
  const first = await curl(directory, service.origin + FILE);
  assert.equal(first.status, 200, first.stderr);
  assert.equal(await sha256Of(first.file), await sha256Of(expected.file));

  await registry.stop();
  const again = await curl(directory, service.origin + FILE);
  assert.equal(again.status, 200, again.stderr);
  assert.equal(await sha256Of(again.file), await sha256Of(expected.file));
  const missing = await curl(directory, `${service.origin}/docker/team_app_2.tar`);
  assert.equal(missing.status, 502);
  assert.match(await textOf(missing), /REGISTRY_UNREACHABLE/);
});

test('a pull-through cache that may not fetch a private image keeps its other images', OPTIONS, async (t) => {
  if (!requireParts(t, ...PARTS)) return;
  const stack = cleanup(t);
  const directory = await temporaryDirectory(stack, 'curl');
  const [registry, open, bench] = await Promise.all([
    startRegistry(stack, 'token'),
    startRegistry(stack, 'none'),
    openBench(stack),
  ]);
  // A cache of the private registry, without an account there. It answers 500 for the layers.
  const cache = await startRegistry(stack, 'none', { proxy: { remoteurl: registry.origin } });
  await push(registry, bench, await image(bench, 'private'), 'team/app:1');
  await push(open, bench, await image(bench, 'copied'), 'team/tool:1');
  const service = await startService(stack, {
    REGISTRY_URL: registry.origin,
    REGISTRY_MIRRORS: `${registry.host}=${cache.origin}|${open.origin}`,
  });
  const right = await curl(directory, service.origin + FILE, '-u', `${USERNAME}:${PASSWORD}`);
  assert.equal(right.status, 200, right.stderr);
  const line = service.logs().find(({ event }) => event === 'mirror_left_alone');
  assert.deepEqual([line?.['repository'], line?.['seconds']], ['team/app', 30]);
  // Neither has the client's image for others.
  assert.equal((await curl(directory, service.origin + FILE)).status, 502);
  // The cache is asked for another repository, and the next mirror has it.
  const tool = await curl(directory, `${service.origin}/docker/team_tool_1.tar`);
  assert.equal(tool.status, 200, tool.stderr);
});

test('a copy that dies in the middle of a layer: the registry gives the rest', OPTIONS, async (t) => {
  if (!requireParts(t, ...PARTS)) return;
  const stack = cleanup(t);
  const directory = await temporaryDirectory(stack, 'curl');
  const [registry, copy, bench] = await Promise.all([
    startRegistry(stack, 'none'),
    startRegistry(stack, 'none'),
    openBench(stack),
  ]);
  const large = await largeImage(bench, 8 * MIB);
  await push(registry, bench, large, 'team/app:1');
  await push(copy, bench, large, 'team/app:1');
  const plain = await startService(stack, { REGISTRY_URL: registry.origin });
  const expected = await curl(directory, plain.origin + FILE);
  for (const isCut of [true, false]) {
    const relay = await startStallingRelay(stack, copy.port, 3 * MIB, isCut);
    const service = await startService(stack, {
      REGISTRY_URL: registry.origin,
      REGISTRY_MIRRORS: `${registry.host}=${relay.origin}`,
      REGISTRY_STALL_TIMEOUT: '1',
    });
    const answer = await curl(directory, service.origin + FILE);
    assert.equal(answer.status, 200, answer.stderr);
    assert.equal(await sha256Of(answer.file), await sha256Of(expected.file));
    assert.ok(relay.hasStalled());
    assert.deepEqual(new Set(eventsOf(service)), new Set(['mirror_left_alone']));
  }
});

test('two registries with users of their own', OPTIONS, async (t) => {
  if (!requireParts(t, ...PARTS)) return;
  const stack = cleanup(t);
  const directory = await temporaryDirectory(stack, 'curl');
  const [registry, copy, bench] = await Promise.all([
    startRegistry(stack, 'token'),
    startRegistry(stack, 'htpasswd', { user: MIRROR_USER }),
    openBench(stack),
  ]);
  const what = await image(bench, 'private');
  await push(registry, bench, what, 'team/app:1');
  await push(copy, bench, what, 'hub/team/app:1');
  const mirrors = { REGISTRY_MIRRORS: `${registry.host}=${copy.origin}/hub` };
  const entry = (username: string, password: string) => ({
    auth: Buffer.from(`${username}:${password}`).toString('base64'),
  });
  const auths = {
    [registry.host]: entry(USERNAME, PASSWORD),
    [`${copy.host}/hub`]: entry(MIRROR_USER.username, MIRROR_USER.password),
  };
  const authFile = join(directory, 'auth.json');
  const pull = async (known: object, ...args: readonly string[]) => {
    await writeFile(authFile, JSON.stringify({ auths: known }));
    const options = ['pull', ...args, '--authfile', authFile, '--platform', 'linux/amd64'];
    const env = { ...mirrors, REGISTRY_PLAIN_HTTP_HOSTS: `${registry.host},${copy.host}` };
    return await attempt(process.execPath, [MAIN, ...options, `${registry.host}/team/app:1`, '-'], {
      cwd: directory,
      env,
    });
  };

  // The client of the service has the right at the registry; the mirror refuses it.
  const service = await startService(stack, { REGISTRY_URL: registry.origin, ...mirrors });
  const right = await curl(directory, service.origin + FILE, '-u', `${USERNAME}:${PASSWORD}`);
  assert.equal(right.status, 200, right.stderr);
  for (const user of [`${MIRROR_USER.username}:${MIRROR_USER.password}`, `${USERNAME}:wrong`]) {
    const wrong = await curl(directory, service.origin + FILE, '-u', user);
    assert.equal(wrong.status, 502);
    assert.match(await textOf(wrong), /REGISTRY_DENIED/);
  }
  assert.ok(eventsOf(service).every((event) => event === 'mirror_refused'));
  for (const secret of [PASSWORD, MIRROR_USER.password, entry(USERNAME, PASSWORD).auth])
    assert.ok(!service.said().includes(secret));

  // On the command line, each account goes to its own place, and the mirror serves while the registry is down.
  const both = await pull(auths);
  assert.equal(both.code, 0, both.stderr);
  await registry.stop();
  const offline = await pull(auths);
  assert.equal(offline.code, 0, offline.stderr);
  const without = await pull({ [registry.host]: auths[registry.host] });
  assert.notEqual(without.code, 0);
});
