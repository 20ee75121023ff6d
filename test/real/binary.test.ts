/** The single executable, in an empty root folder with glibc alone, and what is delivered with it. */
import assert from 'node:assert/strict';
import { chmod, copyFile, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { buildBinary } from '../../scripts/build-binary.ts';
import { COMMANDS } from '../../src/cli/commands.ts';
import { startOtlpReceiver } from '../support/otlp-receiver.ts';
import { curl, sha256Of } from './curl.ts';
import { freePort } from './free-port.ts';
import { largeImage, openBench, push } from './images.ts';
import {
  attempt,
  cleanup,
  end,
  requireParts,
  requireRoot,
  run,
  start,
  temporaryDirectory,
  until,
} from './parts.ts';
import { startRegistry } from './registry.ts';
import { startService } from './service.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const UNIT = 'docker-http-passthrough.service';

/** What the executable may be linked with: glibc, and the libraries of the compiler. */
const LIBRARIES = /^(?:ld-linux-.*|lib(?:c|m|dl|pthread|stdc\+\+|gcc_s|atomic))\.so\.\d+$/;

test('the executable runs every command in an empty root folder', { timeout: 300_000 }, async (t) => {
  if (Number.parseInt(process.versions.node, 10) < 26) {
    // The executable has the Node.js that builds it: that of the project.
    t.skip('Node.js builds single executables from version 26 on');
    return;
  }
  if (!requireRoot(t) || !requireParts(t, 'curl', 'docker-registry', 'mandoc', 'skopeo', 'strip')) return;
  const stack = cleanup(t);
  const directory = await temporaryDirectory(stack, 'binary');
  const built = join(directory, 'built');
  await buildBinary(built);
  assert.deepEqual((await readdir(built)).sort(), [
    ...[
      'LICENSE',
      'NOTICE',
      'THIRD-PARTY-LICENSES.txt',
      'docker-http-passthrough',
      'docker-http-passthrough.1',
    ],
  ]);

  const root = join(directory, 'root');
  await mkdir(join(root, 'tmp'), { recursive: true });
  await chmod(join(root, 'tmp'), 0o1777);
  const program = join(built, 'docker-http-passthrough');
  await copyFile(program, join(root, 'program'));
  const libraries = [...(await run('ldd', [program])).matchAll(/(\/\S+\/([^/\s]+\.so\S*))/g)];
  assert.ok(libraries.length > 5);
  for (const [, path = '', name = ''] of libraries) {
    assert.match(name, LIBRARIES);
    await mkdir(join(root, dirname(path)), { recursive: true });
    await copyFile(path, join(root, path));
  }

  const [registry, bench] = await Promise.all([startRegistry(stack, 'none'), openBench(stack)]);
  await push(registry, bench, await largeImage(bench, 500_000), 'team/app:1');
  const image = `${registry.host}/team/app:1`;
  const call = (...args: readonly string[]) => attempt('chroot', [root, '/program', ...args]);

  const receiver = await startOtlpReceiver();
  stack.defer(() => receiver.close());
  const port = await freePort();
  const settings = {
    ...{ HTTP_HOST: '127.0.0.1', HTTP_PORT: `${port}`, REGISTRY_URL: registry.origin },
    OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${receiver.port}`,
  };
  const serving = start('chroot', [root, '/program', 'serve'], { env: settings });
  stack.defer(async () => {
    await end(serving, 10_000);
  });
  await until('listening service', () => {
    if (!serving.isRunning()) throw new Error(`Cannot serve: ${serving.stdout()}${serving.stderr()}`);
    return serving.stdout().includes('"listening"') || undefined;
  });

  const commands: readonly [args: readonly string[], output: RegExp][] = [
    [['--version'], /^docker-http-passthrough \d+\.\d+\.\d+ \(Node\.js v\d+/],
    [['help', 'pull'], /^Usage: docker-http-passthrough pull/],
    [['pull', '-q', image, '/tmp/app.tar'], /^$/],
    [['inspect', '/tmp/app.tar'], /team\/app:1/],
    [['manifest', image], /"layers"/],
    [['tags', `${registry.host}/team/app`], /^1\n$/],
    [['explain', image], /team\/app/],
    [['health', '--port', `${port}`, '--host', '127.0.0.1'], /^ok\n$/],
    [['completion', 'bash'], /complete /],
  ];
  for (const [args, output] of commands) {
    const { code, stdout, stderr } = await call(...args);
    assert.deepEqual([code, stderr], [0, ''], args.join(' '));
    assert.match(stdout, output);
  }
  const proxy = start('chroot', [root, '/program', 'proxy', image]);
  stack.defer(async () => {
    await end(proxy, 10_000);
  });
  const address = await until('address of the proxy', () => proxy.stdout().trim() || undefined);
  const { status, file } = await curl(directory, `${address}/manifest`);
  assert.equal(status, 200);
  assert.match(await readFile(file, 'utf8'), /"layers"/);
  assert.equal((await curl(directory, `${address}/quit`, '-X', 'POST')).status, 200);
  // serve and proxy have run beside.
  const called = new Set(commands.map(([[name]]) => name)).add('serve').add('proxy');
  assert.deepEqual(
    COMMANDS.map(({ name }) => name).filter((name) => !called.has(name)),
    [],
  );

  const page = await curl(directory, `http://127.0.0.1:${port}/`, '-H', 'Accept: text/html');
  assert.equal(page.status, 200);
  assert.match(await readFile(page.file, 'utf8'), /^<!doctype html>/);

  const service = await startService(stack, { REGISTRY_URL: registry.origin });
  const [own, other] = [`http://127.0.0.1:${port}`, service.origin];
  const sums = [own, other].map(async (origin) => {
    const { status, file } = await curl(directory, `${origin}/docker/team_app_1.tar`);
    return [status, await sha256Of(file)];
  });
  const [first, second] = await Promise.all(sums);
  assert.deepEqual(first, second);
  assert.equal(first?.[0], 200);
  assert.equal((await end(serving, 15_000)).code, 0);
  // The SDK in the executable has exported the request.
  const names = receiver.spans.map(({ name }) => name);
  assert.ok(names.includes('GET /docker/{filename}') && names.includes('download_layer_1'), names.join(', '));

  await t.test('its man page has every command and option, and mandoc reads it', async () => {
    const page = join(built, 'docker-http-passthrough.1');
    const said = await attempt('mandoc', ['-T', 'lint', '-W', 'warning', page]);
    // A build of a commit is the same on any day.
    assert.deepEqual(
      said.stdout.split('\n').filter((line) => line !== '' && !line.includes('missing date')),
      [],
    );
    const text = (await run('mandoc', ['-T', 'ascii', page])).replaceAll(/.[\b]/g, '');
    for (const { name, options } of COMMANDS) {
      assert.match(text, new RegExp(`^ {3}${name}$`, 'm'));
      for (const option of options) assert.ok(text.includes(`--${option.name}`), option.name);
    }
    for (const code of ['0', '1', '2', '3', '4', '130 and 143'])
      assert.match(text, new RegExp(`^ {7}${code}\\b`, 'm'));
  });
});

test('the unit of systemd is valid and leaves little to attack', async (t) => {
  if (!requireParts(t, 'systemd-analyze')) return;
  const directory = await temporaryDirectory(cleanup(t), 'unit');
  const unit = await readFile(join(ROOT, 'deploy/systemd', UNIT), 'utf8');
  const path = join(directory, UNIT);
  // systemd looks whether the program is there.
  const program = /^ExecStart=(\S+)/m.exec(unit)?.[1] ?? '';
  assert.equal(program, '/usr/local/bin/docker-http-passthrough');
  await writeFile(path, unit.replace(program, '/bin/true'));
  const sockets = ['', '-https'].map((name) => UNIT.replace('.service', `${name}.socket`));
  const paths = sockets.map((name) => join(directory, name));
  for (const [at, name] of sockets.entries())
    await copyFile(join(ROOT, 'deploy/systemd', name), paths[at] ?? '');
  const verified = await attempt('systemd-analyze', ['verify', '--man=no', path, ...paths]);
  assert.deepEqual([verified.code, verified.stdout, verified.stderr], [0, '', '']);
  await run('systemd-analyze', ['security', '--offline=true', '--threshold=20', '--no-pager', path]);

  const seconds = (name: string) => Number(new RegExp(`^${name}=(\\d+)$`, 'm').exec(unit)?.[1]);
  // SHUTDOWN_TIMEOUT is 25 s, and the last export of telemetry takes 3 s at most.
  assert.ok(seconds('TimeoutStopSec') >= 25 + 3 + 5);
});
