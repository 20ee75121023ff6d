/** The examples of the README work as they stand, and the URLs and commands of all pages exist. */

import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { type FakeRegistry, startFakeRegistry } from '../support/fake-registry.ts';
import { makeImage, makeIndex, makeLayer } from '../support/image.ts';
import { AFTER, BEFORE, take } from '../support/moving.ts';
import { startTestService, type TestService } from '../support/service.ts';
import { within } from '../support/within.ts';
import { codeBlocks, pagePaths, ROOT, readPage } from './markdown.ts';

const run = promisify(execFile);

/** Milliseconds that one block of commands may take. */
const BLOCK_LIMIT_MS = 120_000;

/** Milliseconds that the demo may take to print what to type. */
const DEMO_LIMIT_MS = 120_000;

/** Where the examples reach the service. */
const SERVICE = /http:\/\/(?:localhost|10\.20\.30\.40):8080(\/[^\s'"]*)/g;

/** Stands for the engine: an archive is loaded when its `manifest.json` can be read. */
const DOCKER = '#!/bin/sh\n[ "$1 $2" = "load -i" ] && exec tar -xOf "$3" manifest.json\n';

/** What the README's examples download: file, tags, architecture. Sorted. */
const DOWNLOADS = [
  ['ir1101.tar', 'nginx:latest', 'arm64'],
  ['lab.tar', 'nginx:1.25 redis:7', 'amd64'],
  ['my-org__private-image_latest.tar', 'GHCR/my-org/private-image:latest', 'amd64'],
  ['nginx_1.25.tar', 'nginx:1.25', 'amd64'],
  ['nginx_1.25.tar', 'nginx:1.25', 'amd64'],
  ['nginx_1.25.tgz', 'nginx:1.25', 'amd64'],
  ['nginx_latest.tar', 'nginx:latest', 'amd64'],
  ['nginx_latest.tar', 'nginx:latest', 'arm64'],
];

const readme = await readPage('README.md');
const paths = await pagePaths();
const pages = new Map(await Promise.all(paths.map(async (path) => [path, await readPage(path)] as const)));
const blocks = codeBlocks(readme).filter(({ language }) => language === 'sh');
const isOfNpm = (text: string) =>
  text
    .trim()
    .split(/\n|&&/)
    .every((line) => /^\s*npm /.test(line));

/** An index of one image for each architecture. */
function makeMultiPlatform(name: string) {
  const images = ['amd64', 'arm64'].map((architecture) =>
    makeImage({
      platform: { os: 'linux', architecture },
      layers: [{ tar: makeLayer({ name: `${name} ${architecture}` }), compression: 'gzip' }],
    }),
  );
  return makeIndex(images.map((image) => ({ image })));
}

let hub: FakeRegistry;
let ghcr: FakeRegistry;
let service: TestService;
let folder = '';

before(async () => {
  hub = await startFakeRegistry();
  for (const tag of ['latest', '1.25']) hub.push('library/nginx', tag, makeMultiPlatform('nginx'));
  hub.push('library/redis', '7', makeMultiPlatform('redis'));
  ghcr = await startFakeRegistry({ auth: { mode: 'token', users: new Map([['my-user', 'my-token']]) } });
  ghcr.push('my-org/private-image', 'latest', makeMultiPlatform('private'));
  service = await startTestService({
    REGISTRY_URL: hub.url,
    REGISTRY_NAME: 'docker.io',
    REGISTRY_DEFAULT_NAMESPACE: 'library',
    REGISTRY_ALLOWED_HOSTS: `${hub.host},${ghcr.host}`,
    CACHE_MAX_BYTES: '100MiB',
  });
  folder = await mkdtemp(join(tmpdir(), 'readme-'));
  await writeFile(join(folder, 'docker'), DOCKER);
  await chmod(join(folder, 'docker'), 0o755);
  await writeFile(
    join(folder, '.curlrc'),
    `silent\nshow-error\nconnect-to = "localhost:8080:127.0.0.1:${service.port}"\n`,
  );
});

after(async () => {
  await service[Symbol.asyncDispose]();
  await Promise.all([hub.close(), ghcr.close()]);
  await rm(folder, { recursive: true, force: true });
});

/** Runs a block in a folder; one thing is replaced, the registry of the private image. */
async function runBlock(text: string, cwd: string): Promise<string> {
  await mkdir(cwd, { recursive: true });
  const script = text.replaceAll('https/ghcr.io', `http/${ghcr.host}`);
  const env = { PATH: `${folder}:${process.env['PATH']}`, HOME: folder, CURL_HOME: folder };
  const { stdout } = await run('sh', ['-euc', script], { cwd, env, timeout: BLOCK_LIMIT_MS });
  return stdout;
}

/** Tags and architectures of an archive, read with tar. */
async function describeArchive(file: string): Promise<readonly [tags: string, architectures: string]> {
  const read = async (name: string): Promise<unknown> =>
    JSON.parse((await run('tar', ['-xOf', file, name])).stdout);
  const manifest = (await read('manifest.json')) as { Config: string; RepoTags: string[] }[];
  const configs = await Promise.all(manifest.map(({ Config }) => read(Config)));
  const architectures = configs.map((config) => (config as { architecture: string }).architecture);
  const tags = manifest.flatMap(({ RepoTags }) => RepoTags).join(' ');
  return [tags.replaceAll(ghcr.host, 'GHCR'), [...new Set(architectures)].join(' ')];
}

describe('the examples of the README', () => {
  test('download the images that they name, and load them', async () => {
    const downloads: string[][] = [];
    for (const [at, { text }] of blocks.filter((block) => !isOfNpm(block.text)).entries()) {
      const cwd = join(folder, `block-${at}`);
      const output = await runBlock(text, cwd);
      const files = (await readdir(cwd)).filter((name) => /\.(?:tar|tgz)$/.test(name));
      for (const file of files) downloads.push([file, ...(await describeArchive(join(cwd, file)))]);
      assert.ok(!text.includes('docker load') || output.includes('"RepoTags"'), text);
      assert.ok(!text.includes('sha256sum') || output.includes(': OK'), text);
    }
    assert.deepEqual(downloads.map(String).toSorted(), DOWNLOADS.map(String));
  });

  test('copy what the service gives', async () => {
    const commands = codeBlocks(readme).flatMap(({ text }) => [...text.matchAll(/copy (http:\S+)/g)]);
    assert.ok(commands.length >= 2);
    for (const [, url = ''] of commands) {
      const reply = await service.request(new URL(url).pathname);
      assert.deepEqual([reply.status, reply.headers['content-type']], [200, 'application/x-tar'], url);
    }
  });

  test('tell a newcomer how to start and how to test, as CI does', async () => {
    const commands = blocks.map(({ text }) => text.trim());
    assert.ok(commands.includes('npm ci && npm start'));
    const [last = ''] = (await readPage('.ci/run')).trim().split('\n').toReversed();
    assert.ok(
      commands.some((text) => text.split('\n').includes(last)),
      last,
    );
  });

  test('compare with figures that docs/performance.md has, too', () => {
    const [, table = ''] = readme.split('\n## Why this and not another tool\n');
    const figures = [...(table.split('\n## ')[0] ?? '').matchAll(/\d+(?:\.\d+)? (?:s|MB)\b/g)].map(
      ([figure]) => figure,
    );
    assert.ok(figures.length >= 6);
    const known = pages.get('docs/performance.md') ?? '';
    assert.deepEqual(
      figures.filter((figure) => !known.includes(figure)),
      [],
    );
  });

  test('npm run demo prints what to type, and ends after SIGTERM', async () => {
    const env = { PATH: process.env['PATH'], HTTP_PORT: '0', HTTP_HOST: '127.0.0.1' };
    const demo = spawn(process.execPath, [join(ROOT, 'scripts', 'demo.ts')], { cwd: folder, env });
    const ended = once(demo, 'exit');
    try {
      let output = '';
      const isReady = new Promise<void>((resolve, reject) => {
        demo.stdout.setEncoding('utf8').on('data', (text: string) => {
          output += text;
          if (output.includes('Ctrl-C ends the demo')) resolve();
        });
        demo.once('exit', () => reject(new Error(`The demo has ended: ${output}`)));
      });
      await within(isReady, 'what to type', DEMO_LIMIT_MS);
      assert.match(output, /curl --fail -O http:\/\/localhost:\d+\/\S*docker\/demo_hello_1\.0\.tar/);
    } finally {
      demo.kill('SIGTERM');
      assert.deepEqual(await within(ended, 'the end of the demo'), [0, null]);
    }
  });
});

describe('the lines for curl', () => {
  const commands = blocks.flatMap(({ text }) =>
    text
      .replaceAll(/\\\n\s*/g, '')
      .split(/\n|&&/)
      .filter((line) => line.startsWith('curl ')),
  );
  const exitCode = (line: string, cwd: string) =>
    runBlock(line, cwd).then(
      () => 0,
      (error: { readonly code?: number }) => error.code,
    );

  test('are all those that download', () => assert.equal(commands.length, DOWNLOADS.length));

  for (const [at, line] of commands.entries()) {
    test(`write no file while the registry is down, and the archive when it is back: ${line}`, async () => {
      const cwd = join(folder, `down-${at}`);
      // The registries refuse what the service asks, so that nothing is answered from what it has stored.
      for (const { defects } of [hub, ghcr]) defects.failWith = { status: 503 };
      try {
        assert.equal(await exitCode(line, cwd), 22);
        assert.deepEqual(await readdir(cwd), []);
      } finally {
        for (const { defects } of [hub, ghcr]) defects.failWith = undefined;
      }
      assert.equal(await exitCode(line, cwd), 0);
      const archives = (await readdir(cwd)).filter((name) => /\.(?:tar|tgz)$/.test(name));
      assert.equal(archives.length, 1);
      await describeArchive(join(cwd, archives[0] ?? ''));
    });
  }

  test('go on with a part, and leave it as it is after the tag has moved', async () => {
    const [, options = ''] = /`curl (--fail [^`]+)`/.exec(readme.slice(readme.indexOf('breaks off'))) ?? [];
    const line = `curl ${options} http://localhost:8080/docker/nginx_moving.tar`;
    const cwd = join(folder, 'moving');
    const file = join(cwd, 'nginx_moving.tar');
    hub.push('library/nginx', 'moving', BEFORE);
    assert.equal(await exitCode(line, cwd), 0);
    const whole = await readFile(file);
    await truncate(file, 1_000);
    assert.equal(await exitCode(line, cwd), 0);
    assert.deepEqual(await readFile(file), whole);

    await writeFile(file, await take(service, '/docker/nginx_moving.tar', 1_000));
    hub.push('library/nginx', 'moving', AFTER);
    assert.notEqual(await exitCode(line, cwd), 0);
    assert.equal((await stat(file)).size, 1_000);
  });
});

describe('all pages', () => {
  for (const [path, page] of pages) {
    const lines = codeBlocks(page).flatMap(({ text }) => text.split('\n'));
    // A line that begins with a prompt shows an error, `…` and `<` stand for something else.
    const examples = lines
      .filter((line) => !line.startsWith('$ '))
      .flatMap((line) => [...line.matchAll(SERVICE)].map(([, target = '']) => ({ line, target })))
      .filter(({ target }) => !/[…<]/.test(target));
    if (examples.length === 0) continue;
    test(`${path} has URLs that the service takes`, async () => {
      for (const { line, target } of examples) {
        const isPost = / POST | --data/.test(line);
        const options = isPost ? { method: 'POST', body: 'nginx:1.25\n' } : {};
        const { status, body } = await service.request(target, options);
        assert.ok(![400, 404, 405, 500].includes(status), `${line}: ${status} ${body}`);
      }
    });
  }

  test('name scripts of package.json', async () => {
    const { scripts } = JSON.parse(await readPage('package.json')) as { scripts: Record<string, string> };
    const named = [...pages.values()].flatMap((page) => [...page.matchAll(/\bnpm run (\w+(?::\w+)*)/g)]);
    const missing = new Set(named.map(([, name = '']) => name)).difference(new Set(Object.keys(scripts)));
    assert.deepEqual([...missing], []);
  });

  test('docs/errors.md shows what the service answers', async () => {
    const [example] = codeBlocks(pages.get('docs/errors.md') ?? '');
    const [command = '', ...answer] = example?.text.split('\n') ?? [];
    const [[, target = ''] = []] = [...command.matchAll(SERVICE)];
    const { body, headers } = await service.request(target);
    const id = /^request: (.+)$/m.exec(answer.join('\n'))?.[1] ?? '';
    assert.equal(body.toString().replace(String(headers['x-request-id']), id), answer.join('\n'));
  });
});
