/** How the service ends: whole downloads on SIGTERM, and nothing left behind after SIGKILL. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { assertArchive } from './archive.ts';
import { type Answer, curl, sha256Of, sizeOf, transfer } from './curl.ts';
import { assertFailure } from './failure.ts';
import { largeImage, openBench, published, push } from './images.ts';
import { cleanup, exitWithin, requireParts, temporaryDirectory, until } from './parts.ts';
import { startRegistry } from './registry.ts';
import { filesHeld, startService, untilNothingHeld } from './service.ts';
import { startStallingRelay } from './stalling-relay.ts';

const OPTIONS = { timeout: 120_000 };

/** Time after which the service closes an idle connection, in milliseconds. */
const IDLE_MS = 120_000;

/** Bytes of the image: more than all socket buffers between the service and curl take. */
const LARGE = 32_000_000;

/** What curl takes a second: slow enough that it can be stopped on the way, and does not wait for anything else. */
const SLOW = ['--limit-rate', '16M'] as const;

function isReady(t: TestContext): boolean {
  return requireParts(t, 'busybox', 'curl', 'docker-registry', 'skopeo', 'tar');
}

/** A download that has begun, and then stands still until it is resumed. */
async function halfWay(stack: AsyncDisposableStack, directory: string, url: string) {
  const { file, running, answer } = transfer(directory, url, ...SLOW);
  // A stopped process takes no SIGTERM.
  stack.defer(() => {
    running.child.kill('SIGKILL');
  });
  await until('first bytes of the download', async () => ((await sizeOf(file)) > 0 ? true : undefined));
  running.child.kill('SIGSTOP');
  const finish = (): Promise<Answer> => {
    running.child.kill('SIGCONT');
    return answer;
  };
  return { running, finish };
}

test('SIGTERM lets a download finish and takes no new one', OPTIONS, async (t) => {
  if (!isReady(t)) return;
  const stack = cleanup(t);
  const directory = await temporaryDirectory(stack, 'curl');
  const [registry, bench] = await Promise.all([startRegistry(stack, 'none'), openBench(stack)]);
  await push(registry, bench, await largeImage(bench, LARGE), 'team/large:1');
  const service = await startService(stack, { REGISTRY_URL: registry.origin });
  const path = '/docker/team_large_1.tar';
  const whole = await curl(directory, service.origin + path);
  assert.equal((await curl(directory, `${service.origin}/ready`)).status, 200);

  const download = await halfWay(stack, directory, service.origin + path);
  service.running.child.kill('SIGTERM');
  const ready = await until('draining service', async () => {
    const answer = await curl(directory, `${service.origin}/ready`);
    return answer.status === 200 ? undefined : answer;
  });
  assert.equal(ready.status, 503);
  assert.equal((await curl(directory, `${service.origin}/health`)).status, 200);
  await assertFailure(directory, service.origin, {
    ...{ path, status: 503, title: 'Busy' },
    headers: { 'retry-after': /^\d+$/ },
  });
  assert.ok(service.running.isRunning() && download.running.isRunning(), 'the download goes on');

  const answer = await download.finish();
  await assertArchive(answer, 'team_large_1.tar', await published(registry, 'team/large:1'));
  assert.equal(await sha256Of(answer.file), await sha256Of(whole.file));
  assert.deepEqual(await exitWithin(service.running, 60_000), { code: 0, signal: null });
  assert.deepEqual(await filesHeld(service), []);
});

test('a download that outlasts SHUTDOWN_TIMEOUT is cut, and the client sees it', OPTIONS, async (t) => {
  if (!isReady(t)) return;
  const stack = cleanup(t);
  const directory = await temporaryDirectory(stack, 'curl');
  const [registry, bench] = await Promise.all([startRegistry(stack, 'none'), openBench(stack)]);
  await push(registry, bench, await largeImage(bench, LARGE), 'team/large:1');
  const env = { REGISTRY_URL: registry.origin, SHUTDOWN_TIMEOUT: '0.5' };
  const service = await startService(stack, env);

  const download = await halfWay(stack, directory, `${service.origin}/docker/team_large_1.tar`);
  await service.stop();
  const answer = await download.finish();
  assert.equal(answer.status, 200);
  assert.notEqual(answer.exitCode, 0, 'curl tells that the file is not whole');
});

test('SIGTERM ends an idle service at once, kept-alive connections or not', OPTIONS, async (t) => {
  if (!isReady(t)) return;
  const stack = cleanup(t);
  const service = await startService(stack, {
    REGISTRY_URL: 'http://127.0.0.1:1',
    HTTP_IDLE_TIMEOUT: String(IDLE_MS / 1000),
  });
  // fetch keeps its connection open after the answer.
  assert.equal((await fetch(`${service.origin}/health`)).status, 200);
  const begun = performance.now();
  await service.stop();
  assert.ok(performance.now() - begun < IDLE_MS / 2, 'it does not wait for the connection to time out');
});

test('SIGKILL in the middle of a preparation leaves nothing', OPTIONS, async (t) => {
  if (!isReady(t)) return;
  const stack = cleanup(t);
  const directory = await temporaryDirectory(stack, 'curl');
  const workspace = await temporaryDirectory(stack, 'workspace');
  const [registry, bench] = await Promise.all([startRegistry(stack, 'none'), openBench(stack)]);
  await push(registry, bench, await largeImage(bench, 8_000_000), 'team/large:1');
  const relay = await startStallingRelay(stack, registry.port, 2_000_000);
  const killed = await startService(stack, { REGISTRY_URL: relay.origin, WORKSPACE_DIR: workspace });

  const download = transfer(directory, `${killed.origin}/docker/team_large_1.tar`);
  await until('stalled registry', () => relay.hasStalled() || undefined);
  await until('file of the preparation', async () => (await filesHeld(killed)).length > 0 || undefined);
  await killed.kill();
  const cut = await download.answer;
  assert.equal(cut.status, 0, 'no 200 had been sent');
  assert.notEqual(cut.exitCode, 0);

  const next = await startService(stack, { REGISTRY_URL: registry.origin, WORKSPACE_DIR: workspace });
  await untilNothingHeld(next);
  const answer = await curl(directory, `${next.origin}/docker/team_large_1.tar`);
  await assertArchive(answer, 'team_large_1.tar', await published(registry, 'team/large:1'));
  await untilNothingHeld(next);
});
