/**
 * `npm run build`: makes of `src` what is published, in `dist`.
 *
 * The program is bundled with all that it imports: it starts in half the time, above all with OpenTelemetry's SDK, which
 * is made of almost a thousand files. What `import()` loads, the SDK above all, becomes files of its own, so that whoever
 * exports no telemetry does not load them. The result runs with no node_modules beside it.
 *
 * Nothing is minified and names are kept, so that errors and stack traces say what the sources say. Hence no source maps
 * either: Node reads them only when told to, and with the sources in them they would be larger than the files they map.
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdir, rm, writeFile } from 'node:fs/promises';
import { isBuiltin } from 'node:module';
import { basename, dirname, extname, join, relative, resolve } from 'node:path';
import { build as bundle, type Metafile, type OutputFile, type Plugin } from 'esbuild';
import { bundledPackages, licensesText, noticeText } from './bundled-packages.ts';

const ROOT = join(import.meta.dirname, '..');

/** The program's first module, as the metafile names it. */
const ENTRY = 'src/main.ts';

const API = '@opentelemetry/api';

/** What packages look for at run time and do without: each is required in a `try`. */
const DISPENSABLE: ReadonlySet<string> = new Set(['supports-color', '@opentelemetry/winston-transport']);

/** What may differ from one build to the next. */
export interface BuildOptions {
  /** Whether to check the types and to write declarations as well. */
  readonly declarations?: boolean | undefined;
  /** What esbuild is to do besides: a benchmark leaves out a part of the program by it. */
  readonly plugins?: readonly Plugin[] | undefined;
}

/**
 * Build the program.
 *
 * @param directory where to put it; all that is there is removed before
 * @throws Error when the sources cannot be built, or when {@link bundleFaults} finds something; nothing is written then
 */
export async function build(
  directory: string,
  { declarations = false, plugins = [] }: BuildOptions = {},
): Promise<void> {
  const outdir = resolve(directory);
  const main = join(outdir, 'main.js');
  const { outputFiles, metafile } = await bundle({
    absWorkingDir: ROOT,
    entryPoints: [ENTRY],
    outdir,
    chunkNames: 'chunks/[name]-[hash]',
    bundle: true,
    splitting: true,
    platform: 'node',
    format: 'esm',
    target: 'node24',
    // OpenTelemetry's .mjs files hide their require('@grpc/grpc-js') behind createRequire, so that it would be left out.
    // Its .cjs files do not.
    conditions: ['require'],
    // CommonJS modules in the bundle require Node's own; an ES module has no require.
    banner: {
      js: "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);",
    },
    keepNames: true,
    plugins: [...plugins],
    metafile: true,
    // Looked at before it is written.
    write: false,
    logLevel: 'warning',
  });
  const faults = bundleFaults(metafile);
  if (faults.length > 0) throw new Error(`Cannot build ${main}:\n${faults.join('\n')}`);

  const files = outputFiles.map((file) => ({ path: file.path, text: withNames(file, metafile) }));
  await rm(outdir, { recursive: true, force: true });
  for (const file of files) {
    await mkdir(dirname(file.path), { recursive: true });
    await writeFile(file.path, file.text, { mode: file.path === main ? 0o755 : 0o644 });
  }
  // Says that the .js files are ES modules wherever the folder is put. Their names would have to end in .mjs otherwise,
  // that of the program too, which package.json and its users know as main.js.
  await writeFile(join(outdir, 'package.json'), '{ "type": "module" }\n');
  const packages = await bundledPackages(metafile, ROOT);
  await writeFile(join(outdir, 'THIRD-PARTY-LICENSES.txt'), licensesText(packages));
  await writeFile(join(outdir, 'NOTICE'), noticeText(packages));
  if (declarations) await declare(outdir);
}

/**
 * Look for what would run, and yet not work.
 *
 * @param metafile esbuild's account of the bundle
 * @returns what is wrong, one sentence each
 */
export function bundleFaults(metafile: Metafile): string[] {
  return [...faultsOfApi(metafile), ...faultsOfStart(metafile), ...faultsOfExternals(metafile)];
}

/**
 * The SDK registers itself with the copy of the API that it imports. Tracers and meters that the program got from
 * another copy before would stay without effect.
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
  // A set goes through what is added meanwhile, too.
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

/** What is not in the bundle must be in Node. */
function faultsOfExternals({ outputs }: Metafile): string[] {
  const externals = new Set(
    Object.values(outputs)
      .flatMap(({ imports }) => imports)
      .filter(({ external }) => external)
      .map(({ path }) => path),
  );
  return [...externals]
    .filter((path) => !isBuiltin(path) && !DISPENSABLE.has(path))
    .map((path) => `${path} is left out of the bundle`);
}

/**
 * A CommonJS module that `import()` loads becomes a file with nothing but a default export, so that `name` would be
 * undefined in `const { name } = await import('cjs')`, although Node itself finds it. This puts in what Node does.
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

async function declare(directory: string): Promise<void> {
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
