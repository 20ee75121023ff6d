/**
 * `npm run build:binary`: makes `binary/docker-http-passthrough`, one file with Node.js, the program and OpenTelemetry's SDK. It
 * needs glibc, libstdc++, libgcc and libatomic, and no other file.
 *
 * A single executable runs one script and cannot import further ones. So everything is in one script, except for the SDK, which is
 * ten times as large as the rest and which most commands do not use: it is a second script, stored beside the first. Both are
 * CommonJS, in which a module of Node is loaded where it is first used: an ES module loads all of them at the start, which took
 * three times as long.
 *
 * @see https://nodejs.org/api/single-executable-applications.html
 */

import { execFile } from 'node:child_process';
import { chmod, copyFile, mkdir, mkdtemp, readFile, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { build as bundle, type Plugin } from 'esbuild';
import { commit, OPTIONS } from './build.ts';
import { bundledPackages, licensesText, noticeText } from './bundled-packages.ts';
import { manPage } from './man-page.ts';
import { builtPage } from './page.ts';

const ROOT = join(import.meta.dirname, '..');

/** File name of the program. */
const NAME = 'docker-http-passthrough';

/** The module of the SDK, and the name under which its script is stored. */
const SDK = 'src/telemetry/sdk.ts';
const SDK_ASSET = 'sdk.cjs';

const API = '@opentelemetry/api';

/** Loads the script of the SDK. It gets the program's own copy of the API, or its spans would go nowhere. */
const SDK_LOADER = `
import { getAsset } from 'node:sea';
import { compileFunction } from 'node:vm';
import * as api from '${API}';
const requireFromSdk = (name) => (name === '${API}' ? api : require(name));
const module = { exports: {} };
const parameters = ['exports', 'require', 'module'];
const run = compileFunction(getAsset('${SDK_ASSET}', 'utf8'), parameters, { filename: '${SDK_ASSET}' });
run(module.exports, requireFromSdk, module);
export const { startTelemetry } = module.exports;
`;

/** Replaces the module of the SDK by its loader. */
const sdkFromAsset: Plugin = {
  name: 'sdk-from-asset',
  setup: ({ onLoad }) =>
    onLoad({ filter: /[/\\]src[/\\]telemetry[/\\]sdk\.ts$/ }, () => ({
      contents: SDK_LOADER,
      loader: 'js',
      resolveDir: ROOT,
    })),
};

/** Puts the statements of main.ts behind its imports into a function: CommonJS has no `await` outside of functions. */
const asyncMain: Plugin = {
  name: 'async-main',
  setup: ({ onLoad }) =>
    onLoad({ filter: /[/\\]src[/\\]main\.ts$/ }, async ({ path }) => {
      const [, head, imports, body] =
        /^(#!.*\n)((?:import .*\n)+)([\s\S]*)$/.exec(await readFile(path, 'utf8')) ?? [];
      if (head === undefined) throw new Error(`Cannot find the imports of ${path}`);
      return { contents: `${imports}(async () => {${body}})();`, loader: 'ts' };
    }),
};

/**
 * Builds the executable, its man page and its licenses.
 *
 * @param directory target folder
 */
export async function buildBinary(directory: string): Promise<void> {
  const folder = resolve(directory);
  const work = await mkdtemp(join(tmpdir(), 'binary-'));
  try {
    const define = { BUILD_COMMIT: JSON.stringify(await commit()) };
    const common = { ...OPTIONS, format: 'cjs' as const, splitting: false, conditions: ['require'], define };
    const main = join(work, 'main.cjs');
    const program = await bundle({
      ...common,
      ...{ entryPoints: ['src/main.ts'], outfile: main, plugins: [sdkFromAsset, asyncMain, builtPage] },
    });
    const sdk = await bundle({
      ...common,
      ...{ entryPoints: [SDK], outfile: join(work, SDK_ASSET), external: [API] },
    });
    for (const { path, contents } of [...program.outputFiles, ...sdk.outputFiles])
      await writeFile(path, contents);

    await mkdir(folder, { recursive: true });
    const output = join(folder, NAME);
    const config = join(work, 'sea.json');
    await writeFile(
      config,
      JSON.stringify({
        ...{ main, mainFormat: 'commonjs', output, executable: await strippedNode(work) },
        ...{ useCodeCache: true, disableExperimentalSEAWarning: true },
        assets: { [SDK_ASSET]: join(work, SDK_ASSET) },
        // As npm start does: docs/performance.md.
        execArgv: ['--max-semi-space-size=4'],
      }),
    );
    await promisify(execFile)(process.execPath, ['--build-sea', config]);
    await chmod(output, 0o755);

    const inputs = { ...program.metafile.inputs, ...sdk.metafile.inputs };
    const packages = await bundledPackages({ ...program.metafile, inputs }, ROOT);
    await writeFile(join(folder, 'THIRD-PARTY-LICENSES.txt'), licensesText(packages));
    await writeFile(join(folder, 'NOTICE'), noticeText(packages));
    await copyFile(join(ROOT, 'LICENSE'), join(folder, 'LICENSE'));
    await writeFile(join(folder, `${NAME}.1`), manPage());
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** A copy of Node.js without its symbols, which are a fifth of it. The finished executable cannot be stripped: it would not start. */
async function strippedNode(work: string): Promise<string> {
  const node = join(work, 'node');
  await copyFile(await realpath(process.execPath), node);
  try {
    await promisify(execFile)('strip', [node]);
  } catch (error) {
    console.warn(`The executable keeps its symbols: ${error instanceof Error ? error.message : error}`);
  }
  return node;
}

if (import.meta.main) await buildBinary(join(ROOT, 'binary'));
