/**
 * `npm run compare -- OLD NEW`: runs the services of two checkouts side by side, against the same registry, asks both the same,
 * and prints every difference in what comes of it: status, reason, headers, bodies, log, spans, metrics, and what reaches the
 * registry.
 *
 *     node scripts/check/compare/builds.ts OLD NEW [--only TEXT]… [--jobs N] [--again] [--full] [--show]
 *
 *     --only TEXT  scenarios whose name holds it
 *     --jobs N     scenarios at once; as many as there are cores unless said
 *     --again      a difference counts where a second run shows it too
 *     --full       every line of every difference
 *     --show       everything that the old side gives
 *
 * Exit code 0: no difference; 1: differences; 2: a scenario could not be run on either side. Without `--full` a difference is
 * printed once, whichever scenarios show it too, and the first of its kind stands for all.
 */

import { availableParallelism } from 'node:os';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { within } from '../../../test/support/within.ts';
import { type Difference, differencesOf, kindOf, shownLines } from './diff.ts';
import { type Rendered, render } from './render.ts';
import type { Scenario } from './scenario.ts';
import { SCENARIOS } from './scenarios.ts';
import { Visit } from './visit.ts';
import { startWorld, type World } from './world.ts';

/** Milliseconds that a scenario may take on one side: many times what any takes on a busy machine. */
const SCENARIO_LIMIT_MS = 120_000;

/** What is printed without `--full`: lines of a difference, characters of a line, kinds of differences of a scenario. */
const SHOWN_LINES = 12;
const SHOWN_WIDTH = 200;
const SHOWN_KINDS = 12;

/** What came of a scenario on one side. */
interface SideResult {
  readonly rendered: readonly Rendered[];
  /** Why it could not be run to its end. */
  readonly failure: string | undefined;
}

/** What came of a scenario. */
interface Result {
  readonly scenario: Scenario;
  /** Everything that the old side has given. */
  readonly before: readonly Rendered[];
  readonly seconds: number;
  readonly differences: readonly Difference[];
  readonly failures: readonly string[];
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      only: { type: 'string', multiple: true, default: [] },
      jobs: { type: 'string', default: String(availableParallelism()) },
      full: { type: 'boolean', default: false },
      show: { type: 'boolean', default: false },
      again: { type: 'boolean', default: false },
    },
  });
  const [before, after] = positionals;
  if (before === undefined || after === undefined || positionals.length > 2) {
    console.error('Usage: compare-builds.ts OLD NEW [--only TEXT]… [--jobs N] [--again] [--full] [--show]');
    return 2;
  }
  const chosen = SCENARIOS.filter(
    ({ name }) => values.only.length === 0 || values.only.some((text) => name.includes(text)),
  );
  const begun = performance.now();
  const report = new Report(values.full);
  const runs = inTurns(chosen, Math.max(1, Number(values.jobs)), (scenario) =>
    compareSurely(scenario, [resolve(before), resolve(after)], values.again),
  );
  for (const running of runs) {
    const result = await running;
    if (values.show) show(result.before);
    report.add(result);
  }
  return report.end((performance.now() - begun) / 1000);
}

/** Runs something for each of a list, so many at once. */
function inTurns<T, R>(items: readonly T[], places: number, run: (item: T) => Promise<R>): Promise<R>[] {
  const waiting = items.map((item) => ({ item, ...Promise.withResolvers<R>() }));
  const queue = [...waiting];
  const work = async (): Promise<void> => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      await run(next.item).then(next.resolve, next.reject);
    }
  };
  for (let place = 0; place < places; place += 1) void work();
  return waiting.map(({ promise }) => promise);
}

/**
 * Compares the sides in a scenario, once more where it could not be run to its end: a busy machine may be the cause.
 *
 * @param isAgain whether a difference must show twice
 */
async function compareSurely(
  scenario: Scenario,
  checkouts: readonly [string, string],
  isAgain: boolean,
): Promise<Result> {
  const first = await compare(scenario, checkouts);
  if (first.failures.length === 0 && (!isAgain || first.differences.length === 0)) return first;
  const second = await compare(scenario, checkouts);
  if (first.failures.length > 0 || second.failures.length > 0) return second;
  const kinds = new Set(second.differences.map(kindOf));
  return { ...first, differences: first.differences.filter((difference) => kinds.has(kindOf(difference))) };
}

async function compare(scenario: Scenario, checkouts: readonly [string, string]): Promise<Result> {
  const begun = performance.now();
  await using world = await startWorld(scenario);
  const before = await visit(scenario, world, checkouts[0]);
  const after = await visit(scenario, world, checkouts[1]);
  return {
    scenario,
    before: before.rendered,
    seconds: (performance.now() - begun) / 1000,
    differences: differencesOf(before.rendered, after.rendered),
    failures: [before, after].flatMap(({ failure }, at) =>
      failure === undefined ? [] : [`${at === 0 ? 'old' : 'new'}: ${failure}`],
    ),
  };
}

async function visit(scenario: Scenario, world: World, checkout: string): Promise<SideResult> {
  const { env = () => ({}), isWithoutService = false, hasUnevenBytes = false, run } = scenario;
  await world.reset();
  world.takeRequests();
  await using visited = await Visit.open({ world, checkout, env });
  const steps = async (): Promise<void> => {
    if (!isWithoutService) await visited.start();
    await run(visited);
    if (visited.isRunning) await visited.stop();
  };
  const failure = await within(steps(), `the end of "${scenario.name}"`, SCENARIO_LIMIT_MS).then(
    () => undefined,
    (error: unknown) => (error instanceof Error ? error.message : String(error)),
  );
  // What it has given up to the failure is compared all the same.
  if (failure !== undefined) await within(visited.stop(), 'the end').catch(() => undefined);
  return { rendered: render(visited, world, hasUnevenBytes), failure };
}

/** Prints results as they come, each kind of difference once. */
class Report {
  readonly #isFull: boolean;
  readonly #kinds = new Map<string, number>();
  #scenarios = 0;
  #observations = 0;
  #differing = 0;
  #failed = 0;

  constructor(isFull: boolean) {
    this.#isFull = isFull;
  }

  add({ scenario, before, seconds, differences, failures }: Result): void {
    const observations = before.length;
    this.#scenarios += 1;
    this.#observations += observations;
    const facts = `${observations} steps, ${seconds.toFixed(1)} s`;
    const isFailed = failures.length === 2;
    const isSame = failures.length === 0 && differences.length === 0;
    const verdict = isFailed ? 'NOT RUN' : isSame ? 'same' : 'DIFFERS';
    console.log(`${verdict.padEnd(8)} ${scenario.name} (${facts})`);
    if (isFailed) this.#failed += 1;
    else if (!isSame) this.#differing += 1;
    for (const failure of failures) console.log(indented(failure, '    '));
    const kinds = [...Map.groupBy(differences, kindOf)];
    const limit = this.#isFull ? kinds.length : SHOWN_KINDS;
    for (const [kind, [first, ...more]] of kinds.slice(0, limit)) {
      if (first !== undefined) this.#show(kind, first, more.length);
    }
    if (kinds.length > limit) console.log(`    … and ${kinds.length - limit} further kinds: see --full`);
  }

  #show(kind: string, difference: Difference, more: number): void {
    const { label, section, above } = difference;
    const known = this.#kinds.get(kind);
    const number = known ?? this.#kinds.size + 1;
    this.#kinds.set(kind, number);
    const alike = more > 0 ? `, and ${more} more like it` : '';
    console.log(`  #${number} ${section} of ${label.slice(0, SHOWN_WIDTH)}${alike}`);
    if (known !== undefined && !this.#isFull) return;
    if (above.length > 0)
      console.log(`      in ${above.map((line) => line.slice(0, SHOWN_WIDTH)).join(' > ')}`);
    const lines = shownLines(difference, this.#isFull ? Number.POSITIVE_INFINITY : SHOWN_WIDTH);
    const limit = this.#isFull ? lines.length : SHOWN_LINES;
    for (const line of lines.slice(0, limit)) console.log(`      ${line}`);
    if (lines.length > limit) console.log(`      … and ${lines.length - limit} further lines`);
  }

  /** Prints the sum, and returns the exit code. */
  end(seconds: number): number {
    const counts = [
      `${this.#scenarios} scenarios, ${this.#observations} steps on each side, ${seconds.toFixed(0)} s`,
      `${this.#differing} differ in ${this.#kinds.size} ways`,
      `${this.#failed} could not be run`,
    ];
    console.log(`\n${counts.join('; ')}`);
    return this.#failed > 0 ? 2 : this.#differing > 0 ? 1 : 0;
  }
}

function show(rendered: readonly Rendered[]): void {
  for (const { label, sections } of rendered) {
    console.log(`\n=== ${label}`);
    for (const [section, lines] of Object.entries(sections)) {
      if (lines.length > 0) console.log(`--- ${section}\n${lines.join('\n')}`);
    }
  }
}

function indented(text: string, by: string): string {
  return text.replaceAll(/^/gm, by);
}

if (import.meta.main) {
  process.exitCode = await main();
}
