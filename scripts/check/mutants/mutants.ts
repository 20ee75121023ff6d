/**
 * `npm run mutants`: how many small faults the tests notice. Makes mutants of the sources, one at a time, in a temporary copy of
 * the tree, and runs for each the tests of its folder until the first one fails. A mutant that no test notices is offered to
 * the type checker: one that it refuses could not be merged, and does not count in the score.
 *
 * Takes half an hour or more. Ends with exit code 0 whatever the score, unless `--min-score` asks for one.
 */

import { execFile } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  globSync,
  mkdtempSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { chooseMutants, type Folder, type Mutant } from './choose-mutants.ts';
import { mutated } from './mutate.ts';
import { type Bounds, removeFolder, runTests, type TestRun } from './run-tests.ts';

const USAGE = `usage: npm run mutants -- [options]
  --seed N          which mutants (1): the same seed gives the same ones
  --count N         how many (100)
  --folders A,B     folders of sources, with those below them
  --jobs N          how many at once, each with one test file at a time (1)
  --only N,M        these alone, by their numbers in the list
  --list            show the list and run nothing
  --min-score N     fail below this many percent`;

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));

/** Folders unless said. Those that are not there are left out. */
const FOLDERS = 'src/http,src/pull,src/registry,src/storage,src/streams,src/util';

/** Tests without any mutant must end within this, in seconds. */
const BASELINE_BOUNDS: Bounds = { total: 900, gap: 120 };

/** Bounds of a mutant's tests: so many times what they took without it, and some seconds for a busy machine. */
const SLOWER = 3;
const EXTRA_S = 30;

/** Longest time of the type checker in milliseconds. */
const TYPES_MS = 120_000;

/** Rules of the type checker about code that is not used any more: they would refuse a call that is gone for its import alone. */
const LENIENT = [
  '--noUnusedLocals',
  'false',
  '--noUnusedParameters',
  'false',
  '--allowUnreachableCode',
  'true',
];

/** Longest text of a line that is shown. */
const MAX_SHOWN = 90;

type Outcome = 'tests' | 'timeout' | 'types' | 'survived';

/** What became of a mutant. */
interface Result {
  readonly mutant: Mutant;
  readonly outcome: Outcome;
  readonly run: TestRun;
}

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    count: { type: 'string', default: '100' },
    folders: { type: 'string', default: FOLDERS },
    jobs: { type: 'string', default: '1' },
    only: { type: 'string' },
    list: { type: 'boolean', default: false },
    'min-score': { type: 'string', default: '0' },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) {
  console.log(USAGE);
  process.exit(0);
}
const seed = wholeNumber('seed', values.seed);
const jobs = wholeNumber('jobs', values.jobs);
const only = values.only?.split(',').map((number) => wholeNumber('only', number));
const folders = values.folders
  .split(',')
  .filter((name) => values.folders !== FOLDERS || existsSync(join(ROOT, name)));
const all = chooseMutants(folders.map(readFolder), wholeNumber('count', values.count), seed);
const mutants = all.filter(({ number }) => only?.includes(number) ?? true);
if (mutants.length === 0) throw new Error(`Nothing to run: ${all.length} mutants in ${folders.join(', ')}`);

if (values.list) {
  for (const mutant of mutants) console.log(describe(mutant));
} else {
  console.log(`node ${process.version}, seed ${seed}, ${mutants.length} mutants in ${folders.join(', ')}`);
  report(await runAll(), Number(values['min-score']));
}

async function runAll(): Promise<Result[]> {
  const abort = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(name, () => abort.abort(new Error(`Stopped by ${name}`)));
  }
  const { signal } = abort;
  const directory = mkdtempSync(join(tmpdir(), 'mutants-'));
  // Some tests give up root's rights, and must still reach their folders.
  chmodSync(directory, 0o755);
  try {
    const first = copyTree(join(directory, '1'));
    const copies = [first];
    for (let job = 2; job <= jobs; job += 1) copies.push(copyTree(join(directory, String(job))));
    const bounds = await runBaseline(first, signal);
    const waiting = [...mutants];
    const results = await Promise.all(
      copies.map(async (copy) => {
        const done: Result[] = [];
        for (let mutant = waiting.shift(); mutant !== undefined; mutant = waiting.shift()) {
          const result = await tryMutant(copy, mutant, bounds.get(mutant.folder) ?? BASELINE_BOUNDS, signal);
          console.log(`${describe(mutant)}  ${describeEnd(result)}`);
          done.push(result);
        }
        return done;
      }),
    );
    return results.flat();
  } catch (error) {
    // Other jobs, if this one has failed.
    abort.abort(error);
    throw error;
  } finally {
    removeFolder(directory);
  }
}

/** Runs everything once without a mutant, which must pass, and measures it. */
async function runBaseline(copy: string, signal: AbortSignal): Promise<Map<string, Bounds>> {
  if (!(await hasTypes(copy, signal))) throw new Error('The type checker refuses the sources as they are');
  const bounds = new Map<string, Bounds>();
  for (const folder of new Set(mutants.map((mutant) => mutant.folder))) {
    const files = testsOf(copy, folder);
    if (files.length === 0) throw new Error(`No tests for ${folder}`);
    const run = await runTests(copy, files, BASELINE_BOUNDS, signal);
    const { outcome, failure, seconds, longestGap } = run;
    console.log(`baseline of ${folder}: ${files.length} files, ${outcome}, ${seconds.toFixed(1)} s`);
    if (outcome !== 'passed') throw new Error(`The tests do not pass as they are: ${failure ?? outcome}`);
    bounds.set(folder, { total: seconds * SLOWER + EXTRA_S, gap: longestGap * SLOWER + EXTRA_S });
  }
  return bounds;
}

async function tryMutant(copy: string, mutant: Mutant, bounds: Bounds, signal: AbortSignal): Promise<Result> {
  const { source, mutation, folder } = mutant;
  const path = join(copy, source.path);
  writeFileSync(path, mutated(source.text, mutation));
  try {
    const run = await runTests(copy, testsOf(copy, folder, source.path), bounds, signal);
    if (run.outcome === 'failed') return { mutant, outcome: 'tests', run };
    if (run.outcome === 'timeout') return { mutant, outcome: 'timeout', run };
    return { mutant, outcome: (await hasTypes(copy, signal)) ? 'survived' : 'types', run };
  } finally {
    writeFileSync(path, source.text);
  }
}

/** Whether the type checker takes the sources. */
async function hasTypes(copy: string, signal: AbortSignal): Promise<boolean> {
  const { promise, resolve, reject } = Promise.withResolvers<boolean>();
  const options = { cwd: copy, timeout: TYPES_MS, signal };
  execFile(join(ROOT, 'node_modules/.bin/tsc'), LENIENT, options, (error) => {
    if (error === null) resolve(true);
    else if (typeof error.code === 'number') resolve(false);
    else reject(error);
  });
  return promise;
}

function copyTree(to: string): string {
  cpSync(ROOT, to, {
    recursive: true,
    filter: (path) => !/^(?:node_modules|dist|coverage|\.git)$/.test(relative(ROOT, path)),
  });
  symlinkSync(join(ROOT, 'node_modules'), join(to, 'node_modules'));
  return to;
}

function readFolder(name: string): Folder {
  const paths = globSync(`${name}/**/*.ts`, { cwd: ROOT }).map((path) => path.replaceAll(sep, '/'));
  if (paths.length === 0) throw new Error(`No sources in ${name}`);
  return {
    name,
    sources: paths.sort().map((path) => ({ path, text: readFileSync(join(ROOT, path), 'utf8') })),
  };
}

/** The tests of a folder; first those named after the module, then those in its own folder: they are likely to notice it. */
function testsOf(copy: string, folder: string, path = ''): string[] {
  const mirrored = (name: string) => name.replace(/^src\b/, 'test');
  const distance = (file: string) => {
    if (dirname(file) !== mirrored(dirname(path))) return 2;
    return basename(file).startsWith(basename(path, '.ts')) ? 0 : 1;
  };
  return globSync(`${mirrored(folder)}/**/*.test.ts`, { cwd: copy })
    .map((file) => file.replaceAll(sep, '/'))
    .sort()
    .sort((one, other) => distance(one) - distance(other));
}

function describe({ number, source, mutation: { line, operator, before, after } }: Mutant): string {
  return `${number}  ${source.path}:${line}  ${operator}  ${shorten(before)}  →  ${shorten(after)}`;
}

function describeEnd({ outcome, run: { failure = '', seconds } }: Result): string {
  const ends: Record<Outcome, string> = {
    tests: `killed by ${shorten(failure)}`,
    timeout: 'killed by timeout',
    types: 'killed by types alone',
    survived: 'SURVIVED',
  };
  return `${ends[outcome]}  ${seconds.toFixed(1)} s`;
}

function shorten(text: string): string {
  const line = text.replace(/\s+/g, ' ').trim();
  return line.length > MAX_SHOWN ? `${line.slice(0, MAX_SHOWN - 1)}…` : line;
}

/** Prints the survivors and a table, and fails below the score that was asked for. */
function report(results: readonly Result[], minScore: number): void {
  const survivors = results.filter(({ outcome }) => outcome === 'survived');
  if (survivors.length > 0) console.log('\nSurvivors');
  for (const { mutant } of survivors.sort((one, other) => one.mutant.number - other.mutant.number)) {
    console.log(describe(mutant));
  }
  const columns = ['folder', 'mutants', 'tests', 'timeout', 'types', 'survived', 'score'];
  const rows = folders.map((folder) =>
    rowOf(
      folder,
      results.filter(({ mutant }) => mutant.folder === folder),
    ),
  );
  console.log(`\n| ${columns.join(' | ')} |\n|${columns.map(() => '---').join('|')}|`);
  for (const row of [...rows, rowOf('all', results)]) console.log(`| ${row.join(' | ')} |`);
  const score = scoreOf(results);
  if (score >= minScore) return;
  console.error(`The score is ${score.toFixed(1)} %, below ${minScore} %`);
  process.exitCode = 1;
}

function rowOf(name: string, results: readonly Result[]): string[] {
  const count = (outcome: Outcome) => String(results.filter((result) => result.outcome === outcome).length);
  const score = count('types') === String(results.length) ? '–' : `${scoreOf(results).toFixed(1)} %`;
  return [
    name,
    String(results.length),
    ...(['tests', 'timeout', 'types', 'survived'] as const).map(count),
    score,
  ];
}

/** Percentage of mutants that tests noticed, of those that the type checker takes. */
function scoreOf(results: readonly Result[]): number {
  const typed = results.filter(({ outcome }) => outcome !== 'types');
  return (100 * typed.filter(({ outcome }) => outcome !== 'survived').length) / Math.max(typed.length, 1);
}

function wholeNumber(name: string, text: string): number {
  if (!/^\d+$/.test(text))
    throw new Error(`Cannot read --${name} "${text}": expected a whole number\n${USAGE}`);
  return Number(text);
}
