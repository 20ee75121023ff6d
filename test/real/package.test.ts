/** The package, installed into an empty project: the examples of docs/library.md run in it, and it is sound. */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { codeBlocks, ROOT, readPage } from '../docs/markdown.ts';
import { listTar } from '../support/collect.ts';
import { type FakeRegistry, startFakeRegistry } from '../support/fake-registry.ts';
import { makeImage, makeIndex, makeLayer } from '../support/image.ts';
import {
  dependenciesOfPackage,
  type InstalledPackage,
  installPackage,
} from '../support/installed-package.ts';

/** Longest run of a checker of packages, in milliseconds. */
const CHECK_LIMIT_MS = 180_000;

const IMAGE = makeImage({ layers: [{ tar: makeLayer({ hello: 'world' }) }] });
const MACHINES = ['amd64', 'arm64', 's390x', 'ppc64le', 'riscv64'];
const INDEX = makeIndex(
  MACHINES.map((architecture) => ({ image: IMAGE, platform: { os: 'linux', architecture } })),
);

const page = await readPage('docs/library.md');
const examples = codeBlocks(page.slice(page.indexOf('\n## Pull images\n'))).filter(
  ({ language }) => language === 'js',
);

/** Records every module that a program loads, one URL a line. */
const RECORDER = `import { appendFileSync } from 'node:fs';
import { registerHooks } from 'node:module';
registerHooks({
  load(url, context, next) {
    appendFileSync(process.env.RECORD, url + '\\n');
    return next(url, context);
  },
});
`;

describe('the package', () => {
  let installed: InstalledPackage;
  let registry: FakeRegistry;
  before(async () => {
    installed = await installPackage();
    registry = await startFakeRegistry();
    registry.push('library/hello-world', 'latest', INDEX);
    await writeFile(join(installed.folder, 'recorder.mjs'), RECORDER);
  });
  after(async () => {
    await registry.close();
    await installed[Symbol.asyncDispose]();
  });

  /** An example with the test's registry in place of Docker Hub. */
  const here = (text: string) =>
    text
      .replaceAll("{ url: 'docker.io/hello-world:", "{ scheme: 'http', url: 'docker.io/hello-world:")
      .replaceAll('docker.io/hello-world', `${registry.host}/library/hello-world`);

  /** Runs a program, and returns what it prints and the modules that it loads. */
  async function runRecorded(name: string, text: string) {
    const record = join(installed.folder, `${name}.modules`);
    await writeFile(join(installed.folder, name), text);
    const args = ['--import', './recorder.mjs', name];
    const { stdout, stderr } = await installed.run(process.execPath, args, {
      HOME: installed.folder,
      RECORD: record,
    });
    assert.equal(stderr, '');
    const loaded = (await readFile(record, 'utf8')).trim().split('\n');
    return { stdout, loaded: loaded.filter((url) => url.startsWith('file:')) };
  }

  test('runs the examples of its documentation, and loads no telemetry SDK', async () => {
    const printed: string[] = [];
    for (const [index, { text }] of examples.entries()) {
      const { stdout, loaded } = await runRecorded(`example-${index}.js`, here(text));
      printed.push(stdout);
      const packages = loaded.flatMap((url) => /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url)?.[1] ?? []);
      assert.deepEqual(new Set(packages), new Set(['docker-http-passthrough', '@opentelemetry/api']));
      const own = loaded.filter((url) => url.includes('/docker-http-passthrough/'));
      for (const url of own)
        assert.doesNotMatch(await readFile(new URL(url), 'utf8'), /sdk-(?:node|trace|metrics)/);
    }
    const [, progress = '', blobs = '', , error, all] = printed;
    assert.match(
      progress,
      new RegExp(`^1 layers, \\d+ bytes\\n(?:.*\\n)*${IMAGE.manifest.digest}: \\d+ bytes\\n$`),
    );
    assert.match(
      blobs,
      new RegExp(`^${RegExp.escape(INDEX.manifest.mediaType)}\\n(blobs/[0-9a-f]{64} is new\\n){2}$`),
    );
    assert.deepEqual([error, all], ['IMAGE_NOT_FOUND\n', `${join(installed.folder, 'hello-all.tar')}\n`]);

    const tars = (await readdir(installed.folder)).filter((name) => name.endsWith('.tar'));
    assert.deepEqual(tars, ['hello-all.tar', 'hello-amd64.tar', 'hello-bytes.tar', 'hello-world.tar']);
    for (const name of tars) {
      const names = listTar(await readFile(join(installed.folder, name))).map((entry) => entry.name);
      assert.ok(names.includes(name === 'hello-all.tar' ? 'index.json' : 'manifest.json'), name);
    }
  });

  test('compiles the examples of its documentation', async () => {
    for (const [index, { text }] of examples.entries()) {
      await writeFile(join(installed.folder, `typed-${index}.ts`), `${text}\nexport {};\n`);
    }
    assert.equal(await installed.compile('typed-*.ts'), '');
    // The compiler does see a wrong use.
    const wrong = "import { Puller } from 'docker-http-passthrough';\nnew Puller({ uri: 'a' });\n";
    await writeFile(join(installed.folder, 'wrong.ts'), wrong);
    assert.match(await installed.compile('wrong.ts'), /'uri' does not exist in type 'PullerOptions'/);
  });

  test('has one class of errors for both of its exports', async () => {
    const text = `import { Puller, PassthroughError } from 'docker-http-passthrough';
import { open, PassthroughError as Other } from 'docker-http-passthrough/tarball';
let error;
try { new Puller({ url: ':' }); } catch (thrown) { error = thrown; }
console.log(PassthroughError === Other, error instanceof Other, error.code, typeof open);
`;
    const { stdout } = await runRecorded('classes.js', text);
    assert.equal(stdout, 'true true INVALID_REFERENCE function\n');
  });

  test('of archives alone loads no other package', async () => {
    const { loaded } = await runRecorded('alone.js', "import 'docker-http-passthrough/tarball';\n");
    assert.deepEqual(
      loaded.filter((url) => url.includes('/@opentelemetry/')),
      [],
    );
  });

  test('contains what is needed and no more', async () => {
    assert.deepEqual(await dependenciesOfPackage(), ['@opentelemetry/api']);
    assert.deepEqual(
      installed.files.filter((path) => !path.startsWith('dist/')),
      ['LICENSE', 'README.md', 'package.json'],
    );
    for (const path of [
      'dist/index.js',
      'dist/index.d.ts',
      'dist/tarball.js',
      'dist/tarball.d.ts',
      'dist/main.js',
      'dist/program.js',
    ]) {
      assert.ok(installed.files.includes(path), path);
    }
    const { stdout } = await installed.run('npx', ['--offline', 'docker-http-passthrough', '--version']);
    assert.match(stdout, /^docker-http-passthrough \d/);
  });

  test('is sound for those who check packages', async () => {
    const bin = (name: string, ...args: readonly string[]) =>
      promisify(execFile)(join(ROOT, 'node_modules', '.bin', name), args, {
        cwd: join(installed.folder, 'node_modules', 'docker-http-passthrough'),
        timeout: CHECK_LIMIT_MS,
      });
    await bin('publint', '--strict', '--pack', 'false');
    await bin('attw', installed.archive, '--profile', 'esm-only');
  });
});
