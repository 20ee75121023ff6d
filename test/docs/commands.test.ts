/** Every command of the documents is run by a test, or stands in a block that is marked as one for a device. */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmod, mkdir, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { COMMANDS } from '../../src/cli/commands.ts';
import { readLine } from '../../src/cli/options/line.ts';
import { copy } from '../real/switch-client.ts';
import { type FakeRegistry, startFakeRegistry } from '../support/fake-registry.ts';
import { makeImage, makeIndex, makeLayer } from '../support/image.ts';
import { startTestService, type TestService } from '../support/service.ts';
import { codeBlocks, pagePaths, quoted, ROOT, readPage, tableRows } from './markdown.ts';

const run = promisify(execFile);

/** Milliseconds that one block of commands may take. */
const BLOCK_LIMIT_MS = 120_000;

/** Who pulls private images in the documents. */
const USER = { username: 'my-user', password: 'my-token' };

/** Where the documents reach the service. */
const SERVICE = /http:\/\/(?:localhost|10\.20\.30\.40):8080(\/[^\s'"]*)/g;

/** Lines that are run here, in their blocks. */
const RUN_HERE =
  /^(?:printf [^|]+\| )?curl .*(?:localhost|10\.20\.30\.40):8080|^sha256sum -c |^docker load -i /;

/** Other lines, and where they are run. */
const RUN_ELSEWHERE: readonly [line: RegExp, path: string][] = [
  [/^(?:\w+=\S+ )*npm (?:ci|test|start|run [\w:]+)\b/, 'test/docs/readme.test.ts'],
  [/^npm install docker-http-passthrough$/, 'test/real/package.test.ts'],
  [/^node --max-semi-space-size=4 dist\/main\.js$/, 'test/build.test.ts'],
  [/^(?:\w+=\S+ )*docker compose (?:--profile \w+ )?up -d$/, 'test/real/bake-and-compose.test.ts'],
  [/^docker (?:build|buildx bake) /, 'test/real/bake-and-compose.test.ts'],
  [/^docker run /, 'test/real/container.test.ts'],
  [/^skopeo login --authfile /, 'test/real/command-line.test.ts'],
  [/^kubectl apply -f kubernetes\.yaml$/, 'test/real/kube-play.test.ts'],
  [/^kubectl kustomize /, 'test/real/kustomize.test.ts'],
  [/^promtool (?:check|test) rules /, 'test/real/prometheus.test.ts'],
  [/^curl http:\/\/localhost:9464\/metrics$/, 'test/real/prometheus.test.ts'],
  [/^docker-http-passthrough /, 'test/real/command-line.test.ts'],
  [/^SIGNATURE_KEYS=\S+ docker-http-passthrough$/, 'test/real/signatures.test.ts'],
  [/^REGISTRY_MIRRORS='[^']*' npm start$/, 'test/registry/mirrors/mirror-rules.test.ts'],
  [/^[A-Z_]+=\S+$/, 'test/docs/configuration.test.ts'],
  [/^curl --cacert /, 'test/http/listeners/https.test.ts'],
  [/^curl --unix-socket /, 'test/http/listeners/listeners.test.ts'],
  [/^systemd-socket-activate /, 'test/real/systemd.test.ts'],
  // The website from a folder.
  [/^python3 -m http\.server /, 'test/web/page.test.ts'],
  [/^source <\(docker-http-passthrough completion bash\)$/, 'test/real/command-line.test.ts'],
  [/^curl .*http:\/\/127\.0\.0\.1:8080\/(?:manifest|blobs|quit)/, 'test/cli/proxy/proxy.test.ts'],
  [/^sudo (?:install|systemctl) |^journalctl /, 'test/real/binary.test.ts'],
  [/^export \w+=/, 'test/docs/configuration.test.ts'],
  [/^python3 -m http\.server 8088 --directory docs\b/, 'test/real/website.test.ts'],
  // Programs that make keys and signatures.
  [/^(?:cosign|openssl) /, 'test/real/signatures.test.ts'],
];

/** A script that is run as a whole. */
const SCRIPTS: readonly [start: string, path: string][] = [
  ['service=http://passthrough:8080\n', 'test/real/updates.test.ts'],
];

/** Lines of IOS. */
const OF_DEVICE =
  /^ *(?:switch# )?(?:copy |verify \/md5 |configure terminal|end$|no |ip |app-hosting |app-vnic |vlan |show |iox$|interface |switchport |delete )/;

/** What begins a block of a device. */
const STARTS_DEVICE = /^(?:switch# )?(?:copy http|verify \/md5|configure terminal|app-hosting )/m;

/** Stands for the engine: an archive is loaded when its `manifest.json` can be read. */
const DOCKER = '#!/bin/sh\n[ "$1 $2" = "load -i" ] && exec tar -xOf "$3" manifest.json\n';

const paths = await pagePaths();
const blocks = (
  await Promise.all(
    paths.map(async (path) => codeBlocks(await readPage(path)).map((block) => ({ path, ...block }))),
  )
).flat();

/** The commands of a block, one a line; comments are left out. */
function commandsOf(text: string): readonly string[] {
  return text
    .replaceAll(/\\\n\s*/g, '')
    .split('\n')
    .filter((line) => line.trim() !== '' && !line.startsWith('#'));
}

const shells = blocks.filter(({ language }) => language === 'sh');
const isScript = (text: string) => SCRIPTS.some(([start]) => text.startsWith(start));
const commands = shells.filter(({ text }) => !isScript(text)).flatMap(({ text }) => commandsOf(text));
const runnable = shells.filter(
  // `…` stands for something else.
  ({ text }) => !text.includes('…') && commandsOf(text).every((line) => RUN_HERE.test(line)),
);

let hub: FakeRegistry;
let other: FakeRegistry;
let service: TestService;
let folder = '';

const INDEX = makeIndex(
  ['amd64', 'arm64'].map((architecture) => ({
    image: makeImage({
      platform: { os: 'linux', architecture },
      layers: [{ tar: makeLayer({ name: architecture }), compression: 'gzip' }],
    }),
  })),
);

before(async () => {
  hub = await startFakeRegistry();
  other = await startFakeRegistry({
    auth: { mode: 'token', users: new Map([[USER.username, USER.password]]) },
  });
  service = await startTestService({
    REGISTRY_URL: hub.url,
    REGISTRY_NAME: 'docker.io',
    REGISTRY_DEFAULT_NAMESPACE: 'library',
    CACHE_MAX_BYTES: '100MiB',
  });
  folder = await mkdtemp(join(tmpdir(), 'commands-'));
  await writeFile(join(folder, 'docker'), DOCKER);
  await chmod(join(folder, 'docker'), 0o755);
  const ways = ['localhost', '10.20.30.40'].map(
    (host) => `connect-to = "${host}:8080:127.0.0.1:${service.port}"\n`,
  );
  await writeFile(join(folder, '.curlrc'), `silent\nshow-error\nfail\n${ways.join('')}`);
});

after(async () => {
  await service[Symbol.asyncDispose]();
  await Promise.all([hub.close(), other.close()]);
  await rm(folder, { recursive: true, force: true });
});

/** A text with the registry of this test in place of those on the internet. */
function localised(text: string): string {
  return text
    .replaceAll(/https\/ghcr\.io|http\/registry\.example\.com%3A5000/g, `http/${other.host}`)
    .replaceAll(':8080/ghcr.io/', `:8080/${other.host}/`)
    .replaceAll('image=ghcr.io/', `image=${other.host}/`);
}

/** Pushes the images that a URL needs, one after the other, as the service misses them. */
async function pushFor(path: string): Promise<void> {
  const authorization = `Basic ${Buffer.from(`${USER.username}:${USER.password}`).toString('base64')}`;
  for (let missing = 0; missing < 10; missing += 1) {
    const { body } = await service.request(path, { headers: { authorization } });
    const [, reference = '', host = '', name = ''] =
      /Cannot get (?:manifest|tags)(?: "([^"]+)")? of ([^/\s]+)\/([^\s:]+): /.exec(String(body)) ?? [];
    if (!/^error: IMAGE_NOT_FOUND$/m.test(String(body)) || name === '') return;
    (host === 'docker.io' ? hub : other).push(name, reference === '' ? 'latest' : reference, INDEX);
  }
}

describe('a command in a block for a shell', () => {
  test('is there', () => assert.ok(commands.length > 40 && runnable.length > 8));

  for (const line of new Set(commands.filter((one) => !RUN_HERE.test(one)))) {
    test(`is run by a test: ${line}`, async () => {
      const places = RUN_ELSEWHERE.filter(([pattern]) => pattern.test(line)).map(([, path]) => path);
      assert.ok(places.length > 0, 'Run it in a test, and say where in RUN_ELSEWHERE');
      for (const place of places) await stat(join(ROOT, place));
    });
  }

  test('sets only variables of the service', async () => {
    const page = await readPage('docs/configuration.md');
    const known = tableRows(page, '| variable | default | meaning |').flatMap(([names = '']) =>
      quoted(names),
    );
    const set = commands.flatMap((line) => [...line.matchAll(/(?:^|^export |\s)([A-Z][A-Z_]{4,})=/g)]);
    // Variables of bake and of the build.
    const others = ['IMAGE', 'TAG'];
    const unknown = new Set(set.map(([, name = '']) => name)).difference(new Set([...known, ...others]));
    assert.deepEqual([...unknown], []);
  });

  for (const line of new Set(commands.filter((one) => one.startsWith('docker-http-passthrough ')))) {
    test(`has options that exist: ${line}`, () => {
      const words = line.replace(/ [|>].*$| #.*$/, '').split(/\s+/);
      readLine(words.slice(1), COMMANDS);
    });
  }
});

describe('a block of commands for the service works', () => {
  for (const [index, { path, text }] of runnable.entries()) {
    test(`${path}: ${text.split('\n')[0]}`, async () => {
      const script = localised(text);
      for (const [, target = ''] of script.matchAll(SERVICE)) await pushFor(target);
      const cwd = join(folder, `block-${index}`);
      await mkdir(cwd);
      const env = { PATH: `${folder}:${process.env['PATH']}`, HOME: folder, CURL_HOME: folder };
      await run('bash', ['-eu', '-o', 'pipefail', '-c', script], { cwd, env, timeout: BLOCK_LIMIT_MS });
    });
  }
});

describe('a script', () => {
  for (const [start, path] of SCRIPTS) {
    test(`that begins with ${start.trim()} is on a page, and run by ${path}`, async () => {
      assert.ok(shells.some(({ text }) => text.startsWith(start)));
      await stat(join(ROOT, path));
    });
  }
});

describe('commands of a device', () => {
  test('stand in blocks that are marked', () => {
    const unmarked = blocks.filter(({ language, text }) => language !== 'ios' && STARTS_DEVICE.test(text));
    assert.deepEqual(
      unmarked.map(({ path, text }) => `${path}: ${text.split('\n')[0]}`),
      [],
      'begin the block with ```ios',
    );
  });

  test('are all that stands in these blocks', () => {
    const lines = blocks
      .filter(({ language }) => language === 'ios')
      .flatMap(({ text }) => text.trimEnd().split('\n'));
    assert.ok(lines.length > 30);
    assert.deepEqual(
      lines.filter((line) => !OF_DEVICE.test(line)),
      [],
    );
  });

  const copies = blocks
    .filter(({ language }) => language === 'ios')
    .flatMap(({ text }) => [...text.matchAll(SERVICE)].map(([, target = '']) => target));
  for (const target of new Set(copies)) {
    test(`get a file from ${target}`, async () => {
      const path = localised(`:8080${target}`).slice(':8080'.length);
      await pushFor(path);
      const answers = await copy(service.port, path, USER);
      const last = answers.at(-1);
      assert.deepEqual([last?.status, answers.length], [200, path.startsWith('/registry-auth/') ? 2 : 1]);
    });
  }
});
