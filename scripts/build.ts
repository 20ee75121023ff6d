/**
 * `npm run build`: builds `src` to `dist`, the content of the package.
 *
 * The program is bundled with all its imports. This halves its start time, mostly for OpenTelemetry's SDK, which has almost a
 * thousand files. Modules of `import()`, such as the SDK, become separate files, so a service without telemetry does not load
 * them. The result needs no node_modules.
 *
 * `main.js` checks the version of Node and then loads the program. An older Node would refuse the program before it runs a line of
 * it, with an error that names a missing export of a module of Node.
 *
 * The library is bundled apart from the program. So the program stays in as few files as before, and no part of it comes with the
 * library.
 *
 * Nothing is minified and names are kept, so that errors and stack traces match the sources. There are no source maps: Node reads
 * them only with an option, and with the sources in them they would be larger than the code.
 */

import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { isBuiltin } from 'node:module';
import { basename, dirname, extname, join, relative, resolve } from 'node:path';
import { promisify } from 'node:util';
import { build as bundle, type Metafile, type OutputFile, type Plugin } from 'esbuild';
import { bundledPackages, licensesText, noticeText } from './bundled-packages.ts';
import { lazyHttp } from './lazy-http.ts';
import { builtPage, WEBSITE, website } from './page.ts';

const ROOT = join(import.meta.dirname, '..');

/** Path of the entry module in the metafile. */
const ENTRY = 'src/main.ts';

/** The built program without the check of Node's version, which is in `main.js`. */
const PROGRAM = 'program.js';

/** Start of the paths of commands, which the program loads on demand. */
const COMMANDS = 'src/cli/';

/** Entry modules of the library: the `exports` of package.json. */
const LIBRARY = ['src/index.ts', 'src/tarball.ts'];

const API = '@opentelemetry/api';

/** Optional packages: others require them in a `try`, and work without them. */
const DISPENSABLE: ReadonlySet<string> = new Set(['supports-color', '@opentelemetry/winston-transport']);

/** Options of esbuild for program and library. */
export const OPTIONS = {
  absWorkingDir: ROOT,
  chunkNames: 'chunks/[name]-[hash]',
  bundle: true,
  splitting: true,
  platform: 'node',
  format: 'esm',
  target: 'node24',
  keepNames: true,
  metafile: true,
  // The result is checked before it is written.
  write: false,
  logLevel: 'warning',
} as const;

/** Settings of a build. */
export interface BuildOptions {
  /** Whether to check the types and to write declarations. */
  readonly declarations?: boolean | undefined;
  /** Further options of esbuild: a benchmark leaves out a part of the program. */
  readonly plugins?: readonly Plugin[] | undefined;
}

/**
 * Builds the program.
 *
 * @param directory target folder; its content is removed before
 * @throws Error when the sources cannot be built or {@link bundleFaults} finds a fault; nothing is written then
 */
export async function build(
  directory: string,
  { declarations = false, plugins = [] }: BuildOptions = {},
): Promise<void> {
  const outdir = resolve(directory);
  const main = join(outdir, 'main.js');
  const conditions = ['require'];
  const define = { BUILD_COMMIT: JSON.stringify(await commit()) };
  const { outputFiles, metafile } = await bundle({
    ...OPTIONS,
    entryPoints: [ENTRY],
    outdir,
    // OpenTelemetry's .mjs files require '@grpc/grpc-js' through createRequire, which esbuild does not see. Its .cjs files
    // use require itself.
    conditions,
    define,
    // CommonJS modules in the bundle require modules of Node, but an ES module has no require.
    banner: {
      js: "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);",
    },
    plugins: [lazyHttp, builtPage, ...plugins],
  });
  // The library takes the API of the program that uses it, so that its spans belong to that program's traces.
  const library = await bundle({
    ...OPTIONS,
    entryPoints: LIBRARY,
    outdir,
    external: [API],
    plugins: [lazyHttp],
  });
  const faults = [...bundleFaults(metafile), ...libraryFaults(library.metafile)];
  if (faults.length > 0) throw new Error(`Cannot build ${main}:\n${faults.join('\n')}`);

  // With splitting, what main.ts imports lies in ten files, because commands import it, too: 20 ms for --version. So the program
  // is built a second time, in one file with copies of its own, and takes from the first build only what it loads on demand.
  const entry = await bundle({
    ...OPTIONS,
    entryPoints: [ENTRY],
    outdir,
    splitting: false,
    conditions,
    define,
    plugins: [loadedFrom(metafile, outdir), lazyHttp, builtPage, ...plugins],
  });
  const files = [
    ...outputFiles
      .filter(({ path }) => path !== main)
      .map((file) => ({ path: file.path, text: withNames(file, metafile) })),
    ...entry.outputFiles.map(({ path, text }) => ({
      path: path === main ? join(outdir, PROGRAM) : path,
      text,
    })),
    ...library.outputFiles.map(({ path, text }) => ({ path, text })),
    { path: main, text: await starter() },
  ];
  await rm(outdir, { recursive: true, force: true });
  for (const file of files) {
    await mkdir(dirname(file.path), { recursive: true });
    await writeFile(file.path, file.text, { mode: file.path === main ? 0o755 : 0o644 });
  }
  // Makes the .js files ES modules in any folder. Otherwise their names would have to end in .mjs, also that of main.js, which
  // package.json and users know.
  await writeFile(join(outdir, 'package.json'), '{ "type": "module" }\n');
  const packages = await bundledPackages(metafile, ROOT);
  await writeFile(join(outdir, 'THIRD-PARTY-LICENSES.txt'), licensesText(packages));
  await writeFile(join(outdir, 'NOTICE'), noticeText(packages));
  if (declarations) await declare(outdir);
}

/**
 * `main.js`: refuses a Node that is too old, else loads the program. Its syntax is that of Node 14. An ES module cannot check first
 * and import later, except by `import()`: all other imports are resolved before the first line runs.
 */
async function starter(): Promise<string> {
  const { engines } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8'));
  const [, major, minor] = /^>=(\d+)\.(\d+)$/.exec(engines.node) ?? [];
  if (minor === undefined) throw new Error(`Cannot read the least version of Node in "${engines.node}"`);
  const least = `${major}.${minor}`;
  const isNew = `(at) => at[0] > ${major} || (at[0] === ${major} && at[1] >= ${minor})`;
  return `#!/usr/bin/env node
if ((${isNew})(process.versions.node.split('.').map(Number))) {
  await import('./${PROGRAM}');
} else {
  console.error(
    'docker-http-passthrough needs Node.js ${least} or newer, but ' + process.execPath + ' is Node.js ' + process.versions.node
  );
  process.exitCode = 1;
}
`;
}

/**
 * Finds faults of a bundle that runs but does not work.
 *
 * @param metafile esbuild's description of the bundle
 * @returns one sentence for each fault
 */
export function bundleFaults(metafile: Metafile): string[] {
  return [...faultsOfApi(metafile), ...faultsOfStart(metafile), ...faultsOfExternals(metafile)];
}

/**
 * Finds faults of the bundle of the library: it may contain no package, and import none but the API of OpenTelemetry.
 *
 * @param metafile esbuild's description of the bundle
 * @returns one sentence for each fault
 */
export function libraryFaults(metafile: Metafile): string[] {
  const packages = new Set(Object.keys(metafile.inputs).map(packageOf));
  const faults = [...packages]
    .filter((name) => name !== undefined)
    .map((name) => `the library contains ${name}`);
  return [...faults, ...faultsOfExternals(metafile, [API])];
}

/**
 * The SDK registers itself with the copy of the API that it imports. Tracers and meters of another copy would have no effect.
 */
function faultsOfApi({ inputs }: Metafile): string[] {
  const copies = new Set(
    Object.keys(inputs)
      .filter((path) => packageOf(path) === API)
      .map((path) => `${path.slice(0, path.lastIndexOf(API))}${API}/**/*${extname(path)}`),
  );
  return copies.size === 1 && [...copies][0]?.endsWith('.cjs') === true
    ? []
    : [`${API} must be there once, as CommonJS; there is ${[...copies].join(' and ') || 'none'}`];
}

/** The program and each command may load no package but the API, unless by a further `import()`. */
function faultsOfStart({ outputs }: Metafile): string[] {
  const isStart = (path: string) => {
    const entry = outputs[path]?.entryPoint;
    return entry === ENTRY || entry?.startsWith(COMMANDS) === true;
  };
  const starts = Object.keys(outputs).filter(isStart);
  if (!starts.some((path) => outputs[path]?.entryPoint === ENTRY)) return [`nothing is made of ${ENTRY}`];
  const loaded = new Set(starts);
  // The iteration of a set includes elements that are added meanwhile.
  for (const path of loaded) {
    for (const { path: next, kind } of outputs[path]?.imports ?? []) {
      if (kind === 'import-statement' && next in outputs) loaded.add(next);
    }
  }
  const packages = new Set(
    [...loaded].flatMap((path) => Object.keys(outputs[path]?.inputs ?? {})).map(packageOf),
  );
  const others = [...packages].filter((name) => name !== undefined && name !== API);
  return others.length === 0 ? [] : [`loaded whenever the program starts: ${others.join(', ')}`];
}

/** Imports that are not in the bundle must be modules of Node, or allowed. */
function faultsOfExternals({ outputs }: Metafile, allowed: readonly string[] = []): string[] {
  const externals = new Set(
    Object.values(outputs)
      .flatMap(({ imports }) => imports)
      .filter(({ external }) => external)
      .map(({ path }) => path),
  );
  return [...externals]
    .filter((path) => !isBuiltin(path) && !DISPENSABLE.has(path) && !allowed.includes(path))
    .map((path) => `${path} is left out of the bundle`);
}

/**
 * esbuild gives a CommonJS module of `import()` only a default export. So `name` would be undefined in
 * `const { name } = await import('cjs')`, which works in Node. This function adds the missing exports.
 *
 * @see https://github.com/evanw/esbuild/issues/3245
 * @returns the file's text
 */
function withNames({ path, text }: OutputFile, { inputs, outputs }: Metafile): string {
  const here = outputs[relative(ROOT, path)];
  const targets = (here?.imports ?? [])
    .filter(({ path, kind }) => {
      const entry = outputs[path]?.entryPoint;
      return kind === 'dynamic-import' && entry !== undefined && inputs[entry]?.format === 'cjs';
    })
    .map(({ path }) => basename(path));
  return targets.reduce((changed, target) => {
    const call = new RegExp(`\\bimport\\("[./\\w-]*/${RegExp.escape(target)}"\\)`, 'g');
    if (!call.test(text)) throw new Error(`Cannot find where ${path} imports ${target}`);
    return changed.replaceAll(call, '$&.then(({ default: all }) => ({ ...all, default: all }))');
  }, text);
}

/** The package that a file is from; `undefined` for the program's own. */
function packageOf(path: string): string | undefined {
  return /^(?:.*\/)?node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path)?.[1];
}

/** Leaves modules of `import()` to a build that has them as files of their own. */
function loadedFrom({ outputs }: Metafile, outdir: string): Plugin {
  const files = new Map(
    Object.entries(outputs).map(([path, { entryPoint }]) => [
      entryPoint,
      relative(outdir, resolve(ROOT, path)),
    ]),
  );
  return {
    name: 'loaded-from',
    setup: ({ onResolve }) =>
      onResolve({ filter: /^\./ }, ({ kind, path, resolveDir }) => {
        const file = files.get(relative(ROOT, join(resolveDir, path)));
        if (kind !== 'dynamic-import') return undefined;
        if (file === undefined) throw new Error(`Cannot find the file of ${path}`);
        return { path: `./${file}`, external: true };
      }),
  };
}

/** Hexadecimal digits of a commit that `--version` prints. */
const COMMIT_LENGTH = 12;

/** The commit of the sources, as `--version` prints it; `unknown` outside of a git checkout, such as in a source archive. */
export async function commit(): Promise<string> {
  const given = process.env['SOURCE_COMMIT'];
  if (given !== undefined && given !== '') return given.slice(0, COMMIT_LENGTH);
  try {
    const { stdout } = await promisify(execFile)('git', ['rev-parse', `--short=${COMMIT_LENGTH}`, 'HEAD'], {
      cwd: ROOT,
    });
    return stdout.trim();
  } catch {
    return 'unknown';
  }
}

/**
 * Writes the declarations of all modules.
 *
 * @throws Error when the sources have errors
 */
export async function declare(directory: string): Promise<void> {
  const args = ['-p', join('scripts', 'tsconfig.build.json'), '--outDir', directory];
  const compiler = spawn(join(ROOT, 'node_modules', '.bin', 'tsc'), args, { cwd: ROOT, stdio: 'inherit' });
  const [code] = await once(compiler, 'exit');
  if (code !== 0) throw new Error('Cannot build: the compiler has found errors');
}

if (import.meta.main) {
  try {
    await build(join(ROOT, 'dist'), { declarations: true });
    // The folder is not there where only the program is built, as in the Dockerfile.
    await mkdir(join(ROOT, dirname(WEBSITE)), { recursive: true });
    await writeFile(join(ROOT, WEBSITE), await website());
    // The repository has a copy, so that a reader finds it without building; test/build.test.ts compares the two.
    await copyFile(join(ROOT, 'dist', 'NOTICE'), join(ROOT, 'NOTICE'));
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 1;
  }
}
