/** The published program: the result of `npm run build` in an otherwise empty folder. */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { gunzipSync } from 'node:zlib';
import { parse } from 'acorn';
import { build, bundleFaults, libraryFaults } from '../scripts/build.ts';
import { startBuiltService } from './support/built-service.ts';

const run = promisify(execFile);

const ROOT = join(import.meta.dirname, '..');

/** Longest run of a program that only prints, in milliseconds. */
const PRINT_LIMIT_MS = 60_000;

/** An address without a listener: the port of the discard service. */
const NO_COLLECTOR = 'http://127.0.0.1:9';

/** The comment of esbuild before each module of a package. */
const PACKAGE_MARK = /^\/\/ (?:.*\/)?node_modules\/((?:@[^/\n]+\/)?[^/\n]+)\//gm;

/** A path of a file of the program in a string: each import, also on demand, is one. */
const ANY_IMPORT = /["'](\.\.?\/[^"'\s]+\.js)["']/g;

/** An import of a file of the program that is not on demand. */
const STATIC_IMPORT = /^(?:import|export) (?:[^"]*? from )?"(\.[^"]+)";$/gm;

describe('the built program', () => {
  let folder = '';
  let main = '';
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'build-'));
    main = join(folder, 'main.js');
    await build(folder);
  });
  after(() => rm(folder, { recursive: true, force: true }));

  test('serves without node_modules', async () => {
    await using service = await startBuiltService({}, { main });
    const reply = await service.request('/health');
    assert.deepEqual([reply.status, reply.body.toString()], [200, 'ok\n']);
    const { code, signal } = await service.stop();
    assert.deepEqual([code, signal], [0, null], service.output());
    assert.deepEqual(
      service.logs().filter(({ event }) => event === undefined),
      [],
    );
  });

  test('has the page in it, and not what bundles the page', async () => {
    await using service = await startBuiltService({}, { main });
    const headers = { accept: 'text/html', 'accept-encoding': 'gzip' };
    const reply = await service.request('/', { headers });
    assert.deepEqual([reply.status, reply.headers['content-encoding']], [200, 'gzip']);
    assert.match(
      gunzipSync(reply.body).toString(),
      /^<!doctype html>\n[\s\S]*<script>[\s\S]+<\/script>\n<\/body><\/html>\n$/,
    );
    const form = await service.request('/?image=nginx', { headers: { accept: 'text/html' } });
    assert.match(form.body.toString(), /docker load -i nginx_latest\.tar/);
    assert.doesNotMatch(await readFile(main, 'utf8'), /esbuild/);
    const packages = await packagesOf(main, ANY_IMPORT);
    assert.ok(!packages.includes('esbuild'), packages.join(' '));
  });

  test('serves with the telemetry SDK and resource detectors', async () => {
    const env = { OTEL_EXPORTER_OTLP_ENDPOINT: NO_COLLECTOR, OTEL_NODE_RESOURCE_DETECTORS: 'env,container' };
    await using service = await startBuiltService(env, { main });
    assert.equal((await service.request('/health')).status, 200);
  });

  test('contains the license of every bundled package', async () => {
    const licenses = await readFile(join(folder, 'THIRD-PARTY-LICENSES.txt'), 'utf8');
    const packages = await packagesOf(main, ANY_IMPORT);
    assert.ok(packages.length > 10, packages.join(' '));
    for (const name of packages) assert.ok(licenses.includes(`${name} `), name);
    assert.match(licenses, /Apache License/);
  });

  test('has the NOTICE that the repository shows', async () => {
    const [built, shown] = await Promise.all(
      [folder, ROOT].map((where) => readFile(join(where, 'NOTICE'), 'utf8')),
    );
    assert.equal(shown, built, 'NOTICE is out of date: npm run build writes it');
    for (const name of await packagesOf(main, ANY_IMPORT)) {
      assert.match(built ?? '', new RegExp(`^  ${RegExp.escape(name)} \\d\\S+  \\S`, 'm'));
    }
  });

  test('is a command', async () => {
    assert.equal((await stat(main)).mode & 0o111, 0o111);
    assert.match(await readFile(main, 'utf8'), /^#!\/usr\/bin\/env node\n/);
    const { version } = JSON.parse(await readFile(join(import.meta.dirname, '..', 'package.json'), 'utf8'));
    const { stdout, stderr } = await run(main, ['--version'], {
      cwd: folder,
      // Only the folder of Node, which the first line of the program needs.
      env: { PATH: dirname(process.execPath) },
      timeout: PRINT_LIMIT_MS,
    });
    assert.equal(stderr, '');
    assert.match(stdout, /^docker-http-passthrough \S+ \(Node\.js v\d+\.\d+\.\d+, commit [0-9a-f]{12}\)\n$/);
    assert.ok(stdout.startsWith(`docker-http-passthrough ${version} `), stdout);
  });

  test('says which Node.js it needs before it imports anything', async () => {
    // The syntax of Node 16, and no import but import(): an older Node refuses other imports before it runs a line.
    const program = parse(await readFile(main, 'utf8'), {
      ecmaVersion: 2022,
      sourceType: 'module',
      allowHashBang: true,
    });
    assert.deepEqual(
      program.body.map(({ type }) => type),
      ['IfStatement'],
    );
    const { engines } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8'));
    const least = /[\d.]+/.exec(engines.node)?.[0];
    const runAs = async (version: string) => {
      const as = `data:text/javascript,Object.defineProperty(process.versions, 'node', { value: '${version}' })`;
      return await run(process.execPath, ['--import', as, main, '--version']).catch((error) => error);
    };
    for (const version of [`${least}.0`, '24.10.0', '25.0.0', '100.1.0'])
      assert.match((await runAs(version)).stdout, /^docker-http-passthrough /, version);
    for (const version of ['3.99.0', '16.20.2', '23.11.1', '24.4.9']) {
      const { code, stdout, stderr } = (await runAs(version)) as Record<string, unknown>;
      assert.deepEqual(
        { code, stdout, stderr },
        {
          ...{ code: 1, stdout: '' },
          stderr: `docker-http-passthrough needs Node.js ${least} or newer, but ${process.execPath} is Node.js ${version}\n`,
        },
      );
    }
  });

  test('does not make Node load its second HTTP client, undici', async () => {
    // Node has no other way to tell which of its modules are loaded.
    const names =
      'process.moduleLoadList.filter((name) => /NativeModule http$|undici[/]undici/.test(name)).join()';
    const report = `data:text/javascript,process.on('exit', () => console.error(${names}))`;
    const { stderr } = await run(process.execPath, ['--import', report, main, 'explain', 'nginx'], {
      timeout: PRINT_LIMIT_MS,
    });
    assert.equal(stderr, 'NativeModule http\n');
  });

  test('is one file until it runs a command', async () => {
    assert.doesNotMatch(await readFile(join(folder, 'program.js'), 'utf8'), STATIC_IMPORT);
  });

  test('has a library of its own: no package, and no part of the program', async () => {
    const library = join(folder, 'tarball.js');
    assert.deepEqual(await packagesOf(library, ANY_IMPORT), []);
    const text = await readFile(library, 'utf8');
    assert.doesNotMatch(text, /^\/\/ src\/(?:main|cli|http|config|pull|storage|telemetry)/m);
    const script = `import { verify } from ${JSON.stringify(library)}; console.log(typeof verify)`;
    const { stdout } = await run(process.execPath, ['--input-type=module', '-e', script], { cwd: folder });
    assert.equal(stdout, 'function\n');
  });

  test('loads no package for a command except the API of OpenTelemetry', async () => {
    const chunks = join(folder, 'chunks');
    const commands = (await readdir(chunks)).filter((name) => /^(?:serve|pull|explain)-/.test(name));
    assert.equal(commands.length, 3);
    for (const name of commands) {
      assert.deepEqual(await packagesOf(join(chunks, name), STATIC_IMPORT), ['@opentelemetry/api'], name);
    }
    // The same search finds the SDK when it includes later imports.
    const later = await packagesOf(main, ANY_IMPORT);
    assert.ok(later.includes('@opentelemetry/sdk-node'), later.join(' '));
    assert.ok(later.includes('@grpc/grpc-js'), later.join(' '));
  });
});

/** The packages in a file and in its imports, which `imports` matches. */
async function packagesOf(main: string, imports: RegExp): Promise<string[]> {
  const files = new Set([main]);
  const packages = new Set<string>();
  // The iteration of a set includes elements that are added meanwhile.
  for (const file of files) {
    const text = await readFile(file, 'utf8');
    for (const [, name = ''] of text.matchAll(PACKAGE_MARK)) packages.add(name);
    for (const [, path = ''] of text.matchAll(imports)) {
      const target = join(dirname(file), path);
      if (await stat(target).catch(() => undefined)) files.add(target);
    }
  }
  return [...packages].sort();
}

describe('a faulty bundle is found', () => {
  const API = 'node_modules/@opentelemetry/api/dist/index.cjs';
  const SDK = 'node_modules/@opentelemetry/sdk-node/dist/index.cjs';

  /** A bundle with the program, a shared chunk and a chunk of the SDK. */
  function bundle({
    inputs = [API, SDK],
    kind = 'dynamic-import',
    shared = API,
    external = 'node:fs',
  }: {
    inputs?: readonly string[];
    kind?: 'dynamic-import' | 'import-statement';
    shared?: string;
    external?: string;
  }): Parameters<typeof bundleFaults>[0] {
    const file = (names: readonly string[]) => ({
      bytes: 1,
      exports: [],
      inputs: Object.fromEntries(names.map((name) => [name, { bytesInOutput: 1 }])),
    });
    return {
      inputs: Object.fromEntries(inputs.map((name) => [name, { bytes: 1, imports: [] }])),
      outputs: {
        'dist/main.js': {
          ...file(['src/main.ts']),
          entryPoint: 'src/main.ts',
          imports: [
            { path: 'dist/chunks/shared.js', kind: 'import-statement' },
            { path: 'node:http', kind: 'import-statement', external: true },
          ],
        },
        'dist/chunks/shared.js': {
          ...file([shared]),
          imports: [{ path: 'dist/chunks/sdk.js', kind }],
        },
        'dist/chunks/sdk.js': {
          ...file(['src/telemetry/sdk.ts', SDK]),
          imports: [{ path: external, kind: 'require-call', external: true }],
        },
      },
    };
  }

  test('and a valid one is accepted', () => assert.deepEqual(bundleFaults(bundle({})), []));

  test('a library with a package', () => {
    assert.deepEqual(libraryFaults(bundle({ inputs: ['src/tarball.ts'] })), []);
    assert.deepEqual(libraryFaults(bundle({ inputs: [API], external: 'undici' })), [
      'the library contains @opentelemetry/api',
      'undici is left out of the bundle',
    ]);
  });

  const wrong: readonly [what: string, options: Parameters<typeof bundle>[0], fault: RegExp][] = [
    ['no API', { inputs: [SDK] }, /^@opentelemetry\/api must be there once.*none$/],
    ['an API of ES modules', { inputs: [API.replace('.cjs', '.mjs')] }, /as CommonJS; there is .*\.mjs$/],
    ['an API of each kind', { inputs: [API, API.replace('.cjs', '.mjs')] }, /\.cjs and .*\.mjs$/],
    [
      'an API of two versions',
      { inputs: [API, `node_modules/@opentelemetry/sdk-node/${API}`] },
      /there is .*\.cjs and .*\/sdk-node\/node_modules\/@opentelemetry\/api/,
    ],
    [
      'an SDK that is always loaded',
      { kind: 'import-statement' },
      /^loaded whenever .*: @opentelemetry\/sdk-node$/,
    ],
    [
      'another package that is always loaded',
      { shared: 'node_modules/protobufjs/index.js' },
      /^loaded whenever the program starts: protobufjs$/,
    ],
    ['a package that is left out', { external: '@grpc/grpc-js' }, /^@grpc\/grpc-js is left out/],
  ];
  for (const [what, options, fault] of wrong) {
    test(what, () => {
      const faults = bundleFaults(bundle(options));
      assert.equal(faults.length, 1, faults.join('\n'));
      assert.match(faults[0] ?? '', fault);
    });
  }
});
