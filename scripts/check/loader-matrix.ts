/**
 * `npm run matrix`: serves a real image in every layout, loads it with every installed loader, and prints the table of results
 * for docs/archives.md, with reasons. Arguments choose columns by a part of their names: `npm run matrix -- update`. Root only. Exit
 * code 1 means that a preparation has failed, not a loader.
 *
 * To test newer loaders than the system's, run it in a `chroot` with them.
 */

import { LOADED_WITH, type Loader, startLoaders } from '../../test/real/load.ts';
import {
  CONTENTS,
  type Content,
  ENDINGS,
  openShop,
  SERVED_WITH,
  type Served,
} from '../../test/real/loaded.ts';
import { isInstalled } from '../../test/real/parts.ts';

/** Longest printed reason, in characters. */
const SHOWN = 300;

/** Result of each file ending: an empty string if it was loaded, else the reason. */
type Outcome = Readonly<Record<string, string>>;

async function outcomeOf(loader: Loader, archives: readonly Served[]): Promise<Outcome> {
  const outcome: Record<string, string> = {};
  for (const archive of archives) {
    outcome[archive.ending] = await loader.load(archive).then(
      () => '',
      (error: unknown) => reason(error, archive),
    );
  }
  return outcome;
}

/** The last line of an error, without parts that differ in each run. */
function reason(error: unknown, { file }: Served): string {
  const lines = (error instanceof Error ? error.message : String(error)).trim().split('\n');
  return (lines.at(-1) ?? '')
    .replaceAll(file, 'FILE')
    .replaceAll(/(?:\/var)?\/tmp\/(?:[\w.-]+\/)*/g, '…/')
    .replaceAll(/127\.0\.0\.1:\d+/g, 'REGISTRY')
    .replaceAll(/team\/(?:app|tool|old)/g, 'IMAGE')
    .replace(/^.*level=(?:fatal|error) msg="?/, '')
    .replace(/^Error parsing image name \S+ /, '')
    .replace(/^[^\w(]+|"$/g, '')
    .replaceAll('|', '\\|')
    .slice(0, SHOWN);
}

/** Footnotes, one for each distinct reason. */
class Notes {
  readonly #reasons: string[] = [];

  mark(reason: string): string {
    if (!this.#reasons.includes(reason)) this.#reasons.push(reason);
    return `[${this.#reasons.indexOf(reason) + 1}]`;
  }

  toString(): string {
    return this.#reasons.map((reason, index) => `${index + 1}. \`${reason}\``).join('\n');
  }
}

function cell(outcome: Outcome, notes: Notes): string {
  const endings = Object.entries(outcome);
  const works = endings.filter(([, why]) => why === '').map(([ending]) => ending);
  if (works.length === endings.length) return 'yes';
  const marks = [...new Set(endings.flatMap(([, why]) => (why === '' ? [] : [notes.mark(why)])))].join(' ');
  return works.length === 0 ? `no ${marks}` : `only ${works.join(', ')} ${marks}`;
}

const missing = [...SERVED_WITH, ...LOADED_WITH].filter((part) => !isInstalled(part));
if (missing.length > 0 || process.getuid?.() !== 0) {
  console.error(`Cannot try the loaders: root is needed, and ${missing.join(', ') || 'nothing else'}`);
  process.exit(1);
}

await using stack = new AsyncDisposableStack();
const [shop, loaders] = [await openShop(stack), await startLoaders(stack)];
const archives = new Map<Content, readonly Served[]>();
const chosen = process.argv.slice(2);
const contents = CONTENTS.filter(
  (content) => chosen.length === 0 || chosen.some((part) => content.includes(part)),
);
for (const content of contents) {
  archives.set(content, await Promise.all(ENDINGS.map((ending) => shop.fetch(content, ending))));
}

const notes = new Notes();
const row = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
const table = [
  row(['loader', 'version', ...contents]),
  row(['loader', 'version', ...contents].map(() => '---')),
];
for (const loader of loaders) {
  const cells = [];
  for (const content of contents)
    cells.push(cell(await outcomeOf(loader, archives.get(content) ?? []), notes));
  table.push(row([`\`${loader.name}\``, loader.version, ...cells]));
}
console.log(`Each as ${ENDINGS.join(' and ')}; digests and image IDs compared with the registry's.\n`);
console.log(`${table.join('\n')}\n\n${notes}`);
