/**
 * `npm run build`: builds `src` to `dist`, the content of the package.
 *
 * The program is bundled with all its imports. This halves its start time, mostly for OpenTelemetry's SDK, which has almost a
 * thousand files. Modules of `import()`, such as the SDK, become separate files, so a service without telemetry does not load
 * them. The result needs no node_modules.
 *
 * The library is bundled apart from the program. So the program stays in as few files as before, and no part of it comes with the
 * library.
 *
 * Nothing is minified and names are kept, so that errors and stack traces match the sources. There are no source maps: Node reads
 * them only with an option, and with the sources in them they would be larger than the code.
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdir, rm, writeFile } from 'node:fs/promises';
import { isBuiltin } from 'node:module';
import { basename, dirname, extname, join, relative, resolve } from 'node:path';
import { build as bundle, type Metafile, type OutputFile, type Plugin } from 'esbuild';
import { bundledPackages, licensesText, noticeText } from './bundled-packages.ts';

const ROOT = join(import.meta.dirname, '..');

/** Path of the entry module in the metafile. */
const ENTRY = 'src/main.ts';

/** Entry modules of the library: the `exports` of package.json. */
const LIBRARY = ['src/index.ts', 'src/tarball.ts'];

const API = '@opentelemetry/api';

/** Optional packages: others require them in a `try`, and work without them. */
const DISPENSABLE: ReadonlySet<string> = new Set(['supports-color', '@opentelemetry/winston-transport']);

/** Options of esbuild for program and library. */
const OPTIONS = {
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
  const { outputFiles, metafile } = await bundle({
    ...OPTIONS,
    entryPoints: [ENTRY],
    outdir,
    // OpenTelemetry's .mjs files require '@grpc/grpc-js' through createRequire, which esbuild does not see. Its .cjs files
    // use require itself.
    conditions: ['require'],
    // CommonJS modules in the bundle require modules of Node, but an ES module has no require.
    banner: {
      js: "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);",
    },
    plugins: [...plugins],
  });
  // The library takes the API of the program that uses it, so that its spans belong to that program's traces.
  const library = await bundle({ ...OPTIONS, entryPoints: LIBRARY, outdir, external: [API] });
  const faults = [...bundleFaults(metafile), ...libraryFaults(library.metafile)];
  if (faults.length > 0) throw new Error(`Cannot build ${main}:\n${faults.join('\n')}`);

  const files = [
    ...outputFiles.map((file) => ({ path: file.path, text: withNames(file, metafile) })),
    ...library.outputFiles.map(({ path, text }) => ({ path, text })),
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

/** Without `import()`, the program may load no package but the API. */
function faultsOfStart({ outputs }: Metafile): string[] {
  const [main] = Object.keys(outputs).filter((path) => outputs[path]?.entryPoint === ENTRY);
  if (main === undefined) return [`nothing is made of ${ENTRY}`];
  const loaded = new Set([main]);
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
    // The repository has a copy, so that a reader finds it without building; test/build.test.ts compares the two.
    await copyFile(join(ROOT, 'dist', 'NOTICE'), join(ROOT, 'NOTICE'));
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 1;
  }
}
