/** The package as npm would publish it, installed into a project that is empty otherwise. */

import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

const ROOT = join(import.meta.dirname, '..', '..');

/** Longest step, in milliseconds: the build and npm on a busy machine. */
const STEP_LIMIT_MS = 120_000;

/** An installed package. */
export interface InstalledPackage extends AsyncDisposable {
  /** Folder of the project. */
  readonly folder: string;
  /** Path of the packed file. */
  readonly archive: string;
  /** Paths in the package. */
  readonly files: readonly string[];
  /** Runs a program in the folder of the project. */
  run(
    file: string,
    args: readonly string[],
    env?: Readonly<Record<string, string>>,
  ): Promise<{ stdout: string; stderr: string }>;
  /** Compiles the files of the project that match, and returns what the compiler says. */
  compile(include: string): Promise<string>;
}

/**
 * Builds, packs and installs the package. Its only dependency, the API of OpenTelemetry, is installed from the folder that the
 * repository has of it, so no registry of packages is asked.
 */
export async function installPackage(): Promise<InstalledPackage> {
  const folder = await mkdtemp(join(tmpdir(), 'installed-'));
  const runIn: InstalledPackage['run'] = (file, args, env = {}) =>
    run(file, [...args], { cwd: folder, env: { ...process.env, ...env }, timeout: STEP_LIMIT_MS });
  try {
    await writeFile(join(folder, 'package.json'), '{"type":"module","private":true}');
    // npm builds the package before it packs it, into the folder dist of the repository.
    const pack = ['pack', ROOT, '--json', '--pack-destination', folder];
    const { stdout } = await runIn('npm', pack);
    const report: unknown = JSON.parse(stdout.slice(stdout.search(/^[[{]/m)));
    const [packed] = Object.values(report as Record<string, { filename: string; files: { path: string }[] }>);
    if (packed === undefined) throw new Error('Cannot install the package: npm has packed nothing');
    const api = join(ROOT, 'node_modules', '@opentelemetry', 'api');
    const quiet = ['--offline', '--no-audit', '--no-fund', '--no-update-notifier', '--install-links'];
    await runIn('npm', ['install', ...quiet, join(folder, packed.filename), api]);
    const compile = async (include: string) => {
      for (const name of ['@types', 'undici-types']) {
        await symlink(join(ROOT, 'node_modules', name), join(folder, 'node_modules', name)).catch(
          () => undefined,
        );
      }
      const compilerOptions = {
        ...{ module: 'nodenext', target: 'esnext', lib: ['esnext'], types: ['node'] },
        ...{ strict: true, noEmit: true, exactOptionalPropertyTypes: true, skipLibCheck: false },
      };
      await writeFile(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, include: [include] }));
      const compiler = join(ROOT, 'node_modules', '.bin', 'tsc');
      const said = await runIn(compiler, ['-p', folder]).catch((error: { readonly stdout: string }) => error);
      return said.stdout;
    };
    return {
      folder,
      archive: join(folder, packed.filename),
      files: packed.files.map(({ path }) => path),
      run: runIn,
      compile,
      [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
    };
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
}

/** The dependencies of the package, by name. */
export async function dependenciesOfPackage(): Promise<readonly string[]> {
  const { dependencies } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8'));
  return Object.keys(dependencies);
}
